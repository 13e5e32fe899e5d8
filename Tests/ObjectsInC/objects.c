/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * The C side of NamesTests.swift: a program that knows the region's name and the objects' names, and
 * no Swift.
 *
 *   ObjectsInC use REGION     finds everything that has a name there, and uses it
 *   ObjectsInC make REGION    makes it and names it, and then does the same
 *
 * It prints "ready" when everything has its name. At the condition, and then at the barrier, it meets
 * the Swift program. What can be held it holds when it ends, as if it had died: the other side sees
 * by that whose lock it is.
 */
#include <cshm.h>

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    THINGS = 3,  /* of a semaphore, permits, or a latch */
    PARTIES = 2, /* this program and the other */
    SIGNAL = 7,  /* what the number is to become */
};

/* By a text of both programs' own; Swift's names of its types for the others. */
struct point {
    double x;
    double y;
};

static const struct cshm_type NUMBER = {0, sizeof(int64_t), sizeof(int64_t), _Alignof(int64_t)};
static const struct cshm_type ELEMENT = {0, sizeof(int32_t), sizeof(int32_t), _Alignof(int32_t)};
static const struct cshm_type POINT = {0, sizeof(struct point), sizeof(struct point),
                                       _Alignof(struct point)};

static struct cshm_type typed(struct cshm_type type, const char *text)
{
    type.tag = cshm_type_tag(text);
    return type;
}

#define EXPECT(condition)                                                   \
    do {                                                                    \
        if (!(condition)) {                                                 \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
            exit(1);                                                        \
        }                                                                   \
    } while (0)

/* look_at_NOUN(): whether one is there. */
#define LOOK(noun)                                                  \
    static int look_at_##noun(cshm_region *region, uint64_t offset) \
    {                                                               \
        cshm_##noun *view = NULL;                                   \
        int status = cshm_##noun##_open(region, offset, &view);     \
        if (status == 0) {                                          \
            cshm_##noun##_close(view);                              \
        }                                                           \
        return status;                                              \
    }

/* ---- what is made at an address of a block of its own ---- */

static void *allocate(cshm_region *region, size_t size, uint64_t *offset)
{
    EXPECT(cshm_heap_allocate(region, size, offset) == 0);
    return cshm_heap_pointer(region, *offset, size);
}

static void *at(cshm_region *region, uint64_t offset, size_t size)
{
    void *bytes = cshm_heap_pointer(region, offset, size);
    EXPECT(bytes != NULL);
    return bytes;
}

static void *named(cshm_region *region, const char *name, size_t size)
{
    struct cshm_directory_entry entry;
    EXPECT(cshm_directory_find(region, name, &entry) == 0);
    return at(region, entry.offset, size);
}

/* ---- mutex, recursive ---- */

static int make_mutex(cshm_region *region, uint64_t *offset)
{
    cshm_mutex_init(allocate(region, sizeof(cshm_mutex), offset));
    return 0;
}

static int make_recursive(cshm_region *region, uint64_t *offset)
{
    cshm_mutex_init_recursive(allocate(region, sizeof(cshm_mutex), offset));
    return 0;
}

static int look_at_lock(cshm_region *region, uint64_t offset, bool recursive)
{
    struct cshm_mutex_info info;
    int status = cshm_mutex_describe(at(region, offset, sizeof(cshm_mutex)), &info);
    return status != 0 ? status : (info.is_recursive != 0) == recursive ? 0 : -EPROTO;
}

static int look_at_mutex(cshm_region *region, uint64_t offset)
{
    return look_at_lock(region, offset, false);
}

static int look_at_recursive(cshm_region *region, uint64_t offset)
{
    return look_at_lock(region, offset, true);
}

static void use_mutex(cshm_region *region, uint64_t offset)
{
    cshm_mutex *mutex = at(region, offset, sizeof *mutex);
    EXPECT(cshm_mutex_acquire_until(mutex, INT64_MAX) == 0);
}

static void use_recursive(cshm_region *region, uint64_t offset)
{
    use_mutex(region, offset);
    use_mutex(region, offset);
}

/* ---- reader-writer lock, baton, permits ---- */

static int make_rwlock(cshm_region *region, uint64_t *offset)
{
    return cshm_rwlock_create(region, 64, offset);
}

LOOK(rwlock)

static void use_rwlock(cshm_region *region, uint64_t offset)
{
    cshm_rwlock *lock = NULL;
    EXPECT(cshm_rwlock_open(region, offset, &lock) == 0);
    EXPECT(cshm_rwlock_acquire_write_until(lock, INT64_MAX) == 0);
}

LOOK(baton)

static void use_baton(cshm_region *region, uint64_t offset)
{
    cshm_baton *baton = NULL;
    EXPECT(cshm_baton_open(region, offset, &baton) == 0);
    EXPECT(cshm_baton_acquire_until(baton, INT64_MAX) == 0);
}

static int make_permits(cshm_region *region, uint64_t *offset)
{
    return cshm_permits_create(region, THINGS, offset);
}

LOOK(permits)

static void use_permits(cshm_region *region, uint64_t offset)
{
    cshm_permits *permits = NULL;
    EXPECT(cshm_permits_open(region, offset, &permits) == 0);
    EXPECT(cshm_permits_count(permits) == THINGS);
    EXPECT(cshm_permits_try_acquire(permits, 2) == 0);
}

/* ---- semaphores ---- */

static int make_semaphore(cshm_region *region, uint64_t *offset)
{
    return cshm_semaphore_init(allocate(region, sizeof(cshm_semaphore), offset), THINGS,
                               CSHM_SEMAPHORE_MAX);
}

static int make_bounded(cshm_region *region, uint64_t *offset)
{
    return cshm_semaphore_init(allocate(region, sizeof(cshm_semaphore), offset), THINGS, THINGS);
}

static int look_at_semaphore(cshm_region *region, uint64_t offset)
{
    int count = cshm_semaphore_count(at(region, offset, sizeof(cshm_semaphore)));
    return count < 0 ? count : 0;
}

static void use_semaphore(cshm_region *region, uint64_t offset)
{
    cshm_semaphore *semaphore = at(region, offset, sizeof *semaphore);
    EXPECT(cshm_semaphore_count(semaphore) == THINGS);
    EXPECT(cshm_semaphore_try_acquire(semaphore) == 0);
}

static void use_bounded(cshm_region *region, uint64_t offset)
{
    EXPECT(cshm_semaphore_release(at(region, offset, sizeof(cshm_semaphore)), 1) == -EOVERFLOW);
    use_semaphore(region, offset);
}

/* ---- condition, barrier: where the two programs meet ---- */

static int make_condition(cshm_region *region, uint64_t *offset)
{
    uint64_t lock = 0;
    make_mutex(region, &lock);
    EXPECT(cshm_directory_add(region, "condition.lock", CSHM_KIND_MUTEX, 0, lock) == 0);
    return cshm_condition_create(region, 0, offset);
}

LOOK(condition)

static int is_signalled(void *number)
{
    return cshm_atomic_load(number, CSHM_INT64, CSHM_RELAXED) == SIGNAL;
}

static void use_condition(cshm_region *region, uint64_t offset)
{
    cshm_mutex *mutex = named(region, "condition.lock", sizeof *mutex);
    cshm_atomic *number = named(region, "atomic", sizeof *number);
    cshm_condition *condition = NULL;
    EXPECT(cshm_condition_open(region, offset, &condition) == 0);
    EXPECT(cshm_mutex_acquire_until(mutex, INT64_MAX) == 0);
    EXPECT(!is_signalled(number));
    EXPECT(cshm_condition_await_until(condition, mutex, is_signalled, number, INT64_MAX) == 0);
    EXPECT(cshm_mutex_release(mutex) == 0);
    cshm_condition_close(condition);
}

static int make_barrier(cshm_region *region, uint64_t *offset)
{
    return cshm_barrier_create(region, PARTIES, offset);
}

LOOK(barrier)

static void use_barrier(cshm_region *region, uint64_t offset)
{
    cshm_barrier *barrier = NULL;
    EXPECT(cshm_barrier_open(region, offset, &barrier) == 0);
    EXPECT(cshm_barrier_wait_until(barrier, NULL, NULL, INT64_MAX, NULL) == 0);
    cshm_barrier_close(barrier);
}

/* ---- event, latch, once ---- */

static int make_event(cshm_region *region, uint64_t *offset)
{
    cshm_event_init(allocate(region, sizeof(cshm_event), offset), CSHM_EVENT_MANUAL);
    return 0;
}

static int look_at_event(cshm_region *region, uint64_t offset)
{
    int status = cshm_event_is_set(at(region, offset, sizeof(cshm_event)));
    return status < 0 ? status : 0;
}

static void use_event(cshm_region *region, uint64_t offset)
{
    cshm_event *event = at(region, offset, sizeof *event);
    EXPECT(cshm_event_try_wait(event) == -EAGAIN);
    EXPECT(cshm_event_set(event) == 0);
}

static int make_latch(cshm_region *region, uint64_t *offset)
{
    return cshm_latch_init(allocate(region, sizeof(cshm_latch), offset), THINGS);
}

static int look_at_latch(cshm_region *region, uint64_t offset)
{
    int status = cshm_latch_count(at(region, offset, sizeof(cshm_latch)));
    return status < 0 ? status : 0;
}

static void use_latch(cshm_region *region, uint64_t offset)
{
    EXPECT(cshm_latch_count_down(at(region, offset, sizeof(cshm_latch)), 1) == THINGS - 1);
}

static int make_once(cshm_region *region, uint64_t *offset)
{
    cshm_once_init(allocate(region, sizeof(cshm_once), offset));
    return 0;
}

static int look_at_once(cshm_region *region, uint64_t offset)
{
    int status = cshm_once_is_done(at(region, offset, sizeof(cshm_once)));
    return status < 0 ? status : 0;
}

static void use_once(cshm_region *region, uint64_t offset)
{
    cshm_once *once = at(region, offset, sizeof *once);
    EXPECT(cshm_once_begin_until(region, once, INT64_MAX) == CSHM_ONCE_RUN);
    EXPECT(cshm_once_end(region, once, 1) == 0);
}

/* ---- values, atomic numbers, arrays ---- */

static int make_value(cshm_region *region, uint64_t *offset)
{
    struct cshm_type type = typed(NUMBER, "Si");
    int64_t one = 1;
    return cshm_value_create(region, &type, &one, offset);
}

static int look_at_typed_value(cshm_region *region, uint64_t offset, struct cshm_type type)
{
    cshm_value *value = NULL;
    int status = cshm_value_open(region, offset, &type, &value);
    if (status == 0) {
        cshm_value_close(value);
    }
    return status;
}

static int look_at_value(cshm_region *region, uint64_t offset)
{
    return look_at_typed_value(region, offset, typed(NUMBER, "Si"));
}

static void use_value(cshm_region *region, uint64_t offset)
{
    struct cshm_type type = typed(NUMBER, "Si");
    cshm_value *value = NULL;
    int64_t number = 0;
    EXPECT(look_at_typed_value(region, offset, typed(NUMBER, "s6UInt64V")) == -EPROTO);
    EXPECT(cshm_value_open(region, offset, &type, &value) == 0);
    EXPECT(cshm_value_load(value, &number) == 0 && number == 1);
    number = SIGNAL;
    EXPECT(cshm_value_store_until(value, &number, INT64_MAX) == 0);
    cshm_value_close(value);
}

static int make_point(cshm_region *region, uint64_t *offset)
{
    struct cshm_type type = typed(POINT, "test.point/1");
    struct point point = {1, 2};
    return cshm_value_create(region, &type, &point, offset);
}

static int look_at_point(cshm_region *region, uint64_t offset)
{
    return look_at_typed_value(region, offset, typed(POINT, "test.point/1"));
}

static void use_point(cshm_region *region, uint64_t offset)
{
    struct cshm_type type = typed(POINT, "test.point/1");
    cshm_value *value = NULL;
    void *bytes = NULL;
    EXPECT(cshm_value_open(region, offset, &type, &value) == 0);
    EXPECT(cshm_value_edit_until(value, &bytes, INT64_MAX) == 0);
    struct point *point = bytes;
    EXPECT(point->x == 1 && point->y == 2);
    *point = (struct point){point->y, point->x};
    cshm_value_commit(value);
    cshm_value_close(value);
}

static int make_atomic(cshm_region *region, uint64_t *offset)
{
    return cshm_atomic_init(allocate(region, sizeof(cshm_atomic), offset), CSHM_INT64, 1);
}

static int look_at_atomic(cshm_region *region, uint64_t offset)
{
    return cshm_atomic_check(at(region, offset, sizeof(cshm_atomic)), CSHM_INT64);
}

static void use_atomic(cshm_region *region, uint64_t offset)
{
    cshm_atomic *number = at(region, offset, sizeof *number);
    EXPECT(cshm_atomic_check(number, CSHM_UINT32) == -EPROTO);
    EXPECT(cshm_atomic_update(number, CSHM_INT64, CSHM_ATOMIC_ADD, 1, CSHM_SEQ_CST) == SIGNAL);
}

static int make_array(cshm_region *region, uint64_t *offset)
{
    struct cshm_type type = typed(ELEMENT, "s5Int32V");
    return cshm_array_create(region, &type, 1, offset);
}

static int look_at_array(cshm_region *region, uint64_t offset)
{
    struct cshm_type type = typed(ELEMENT, "s5Int32V");
    struct cshm_array array;
    return cshm_array_open(region, offset, &type, &array);
}

static void use_array(cshm_region *region, uint64_t offset)
{
    struct cshm_type wrong = typed(ELEMENT, "Sf");
    struct cshm_type type = typed(ELEMENT, "s5Int32V");
    struct cshm_array array;
    EXPECT(cshm_array_open(region, offset, &wrong, &array) == -EPROTO);
    EXPECT(cshm_array_open(region, offset, &type, &array) == 0 && array.count == 1);
    EXPECT(cshm_mutex_acquire_until(array.mutex, INT64_MAX) == 0);
    *(int32_t *)array.elements += SIGNAL;
    EXPECT(cshm_mutex_release(array.mutex) == 0);
}

/* ---- all of them ---- */

struct noun {
    const char *name;
    uint32_t kind;
    size_t size;      /* of what is made at an address, or 0 */
    const char *type; /* what its tag is of, or NULL */
    int (*make)(cshm_region *region, uint64_t *offset);
    int (*look)(cshm_region *region, uint64_t offset); /* 0, or -EPROTO if it is another */
    void (*use)(cshm_region *region, uint64_t offset);
};

/* By their names in NamesTests.swift; in the order in which they are used. */
static const struct noun NOUNS[] = {
    {"condition", CSHM_KIND_CONDITION, 0, NULL, make_condition, look_at_condition, use_condition},
    {"barrier", CSHM_KIND_BARRIER, 0, NULL, make_barrier, look_at_barrier, use_barrier},
    {"lock", CSHM_KIND_MUTEX, sizeof(cshm_mutex), NULL, make_mutex, look_at_mutex, use_mutex},
    {"recursiveLock", CSHM_KIND_MUTEX, sizeof(cshm_mutex), NULL, make_recursive, look_at_recursive,
     use_recursive},
    {"readWriteLock", CSHM_KIND_RWLOCK, 0, NULL, make_rwlock, look_at_rwlock, use_rwlock},
    {"semaphore", CSHM_KIND_SEMAPHORE, sizeof(cshm_semaphore), NULL, make_semaphore,
     look_at_semaphore, use_semaphore},
    {"boundedSemaphore", CSHM_KIND_SEMAPHORE, sizeof(cshm_semaphore), NULL, make_bounded,
     look_at_semaphore, use_bounded},
    {"permits", CSHM_KIND_PERMITS, 0, NULL, make_permits, look_at_permits, use_permits},
    {"asyncLock", CSHM_KIND_BATON, 0, NULL, cshm_baton_create, look_at_baton, use_baton},
    {"event", CSHM_KIND_EVENT, sizeof(cshm_event), NULL, make_event, look_at_event, use_event},
    {"latch", CSHM_KIND_LATCH, sizeof(cshm_latch), NULL, make_latch, look_at_latch, use_latch},
    {"once", CSHM_KIND_ONCE, sizeof(cshm_once), NULL, make_once, look_at_once, use_once},
    {"value", CSHM_KIND_VALUE, 0, "Si", make_value, look_at_value, use_value},
    {"point", CSHM_KIND_VALUE, 0, "test.point/1", make_point, look_at_point, use_point},
    {"atomic", CSHM_KIND_ATOMIC, sizeof(cshm_atomic), NULL, make_atomic, look_at_atomic,
     use_atomic},
    {"array", CSHM_KIND_ARRAY, 0, "s5Int32V", make_array, look_at_array, use_array},
};

enum { NOUN_COUNT = sizeof NOUNS / sizeof NOUNS[0] };

static uint64_t tag_of(const struct noun *noun)
{
    return noun->type != NULL ? cshm_type_tag(noun->type) : 0;
}

static void make_all(cshm_region *region)
{
    for (const struct noun *noun = NOUNS; noun < NOUNS + NOUN_COUNT; noun++) {
        uint64_t offset = 0;
        EXPECT(noun->make(region, &offset) == 0);
        EXPECT(cshm_directory_add(region, noun->name, noun->kind, tag_of(noun), offset) == 0);
    }
}

static uint64_t find(cshm_region *region, const struct noun *noun)
{
    struct cshm_directory_entry entry;
    EXPECT(cshm_directory_find(region, noun->name, &entry) == 0);
    EXPECT(entry.kind == noun->kind && entry.type_tag == tag_of(noun));
    return entry.offset;
}

static int look_as(cshm_region *region, uint64_t offset, const struct noun *noun)
{
    if (noun->size != 0 && cshm_heap_pointer(region, offset, noun->size) == NULL) {
        return -EPROTO;
    }
    return noun->look(region, offset);
}

/* Each is what its name says, and nothing else. */
static void look_at_all(cshm_region *region)
{
    for (const struct noun *noun = NOUNS; noun < NOUNS + NOUN_COUNT; noun++) {
        for (const struct noun *other = NOUNS; other < NOUNS + NOUN_COUNT; other++) {
            int status = look_as(region, find(region, noun), other);
            if (status != (other->look == noun->look ? 0 : -EPROTO)) {
                fprintf(stderr, "%s opened as %s: %d\n", noun->name, other->name, status);
                exit(1);
            }
        }
    }
}

int main(int argc, char **argv)
{
    cshm_region *region = NULL;
    EXPECT(argc == 3);
    EXPECT(cshm_region_open(argv[2], &region) == 0);
    if (strcmp(argv[1], "make") == 0) {
        make_all(region);
    }
    look_at_all(region);
    printf("ready\n");
    fflush(stdout);
    for (const struct noun *noun = NOUNS; noun < NOUNS + NOUN_COUNT; noun++) {
        noun->use(region, find(region, noun));
    }
    _exit(0); /* closes and gives back nothing */
}
