/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * See cshm/lockwatch.h for the model. A lock's mark is {number:16, place:48}, with a number that no
 * other lock of the region had lately: memory that becomes another lock is another lock. A record's
 * word is {kind:8, 0:8, stamp:48}. Pairs:
 *
 *   [record]   a record is filled, then MADE, and then the others are looked at (seq_cst) -> who
 *              looks at it loads that (seq_cst). Of two that close a circle one sees the other
 *   [again]    a record is copied, then its word loaded again: a stamp claims a record at most once,
 *              as only records of the dead are freed
 *   [table]    a table is zeroed, then the live page names it (release) -> found by that (acquire)
 */
#include <cshm/lockwatch.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cshm/directory.h>
#include <cshm/heap.h>
#include <cshm/mutex.h>
#include <cshm/participant.h>

#include "internal.h"

enum {
    MAGIC = 0x77617463, /* "watc" */
    RECORDS = CSHM_LOCKWATCH_RECORDS,
    HELD = CSHM_LOCKWATCH_HELD,
    LOOKS = 1 << 20, /* at records, for one circle: a bound for a table of very many locks */
};

enum { CLAIMED = 1, MADE = 2 };

#define WORD(kind, stamp) (((uint64_t)(kind) << 56) | (stamp))
#define KIND(word)        ((uint32_t)((word) >> 56))
#define STAMP(word)       ((word) & ((UINT64_C(1) << 48) - 1))
#define PLACE(mark)       ((mark) & ((UINT64_C(1) << 48) - 1))

_Atomic bool cshm__watches_locks;

static struct {
    pthread_mutex_t lock;
    cshm_lockwatch_report *report;
    void *context;
} reporter = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* What a thread holds, in the order in which it acquired it. */
struct possessions {
    uint64_t thread; /* whose they are: a forked child holds nothing */
    uint32_t count;
    uint32_t more; /* that there was no room for */
    bool is_busy;  /* with a record or a report, in which nothing is watched */
    cshm_mutex *held[HELD];
};

static struct possessions *possessions(void)
{
    static _Thread_local struct possessions own;
    if (own.thread != cshm__thread()) {
        memset(&own, 0, sizeof own);
        own.thread = cshm__thread();
    }
    return &own;
}

/* ---- on and off ---- */

void cshm_lockwatch_begin(cshm_lockwatch_report *report, void *context)
{
    pthread_mutex_lock(&reporter.lock);
    reporter.report = report;
    reporter.context = context;
    pthread_mutex_unlock(&reporter.lock);
    atomic_store_explicit(&cshm__watches_locks, true, memory_order_relaxed);
}

int cshm_lockwatch_is_on(void)
{
    return cshm__lockwatch_is_on();
}

static void ask_environment(void)
{
    const char *value = secure_getenv("CSHM_WATCH_LOCKS");
    if (value != NULL && strcmp(value, "1") == 0 && !cshm__lockwatch_is_on()) {
        cshm_lockwatch_begin(NULL, NULL);
    }
}

void cshm__lockwatch_ask_environment(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, ask_environment);
}

/* ---- the table ---- */

/* Of a region's records, or NULL. */
static struct cshm_lockwatch_shared *find_table(const cshm_region *region)
{
    uint64_t place = atomic_load_explicit(&region->live->lockwatch, memory_order_acquire);
    if (place == 0) {
        return NULL;
    }
    struct cshm_lockwatch_shared *table = cshm_heap_pointer(region, place, sizeof *table);
    return table != NULL && table->magic == MAGIC ? table : NULL;
}

/* The same, made if need be; NULL if there is no room for it, or the region is damaged. */
static struct cshm_lockwatch_shared *table_of(cshm_region *region)
{
    uint64_t place = 0;
    uint64_t none = 0;
    if (atomic_load_explicit(&region->live->lockwatch, memory_order_acquire) != 0) {
        return find_table(region);
    }
    if (cshm__heap_allocate_for(region, sizeof(struct cshm_lockwatch_shared),
                                &region->live->lockwatch, &place) != 0) {
        return NULL;
    }
    struct cshm_lockwatch_shared *table = cshm_heap_pointer(region, place, sizeof *table);
    if (table == NULL) {
        return NULL;
    }
    memset((void *)table, 0, sizeof *table);
    table->magic = MAGIC;
    if (atomic_compare_exchange_strong_explicit(&region->live->lockwatch, &none, place,
                                                memory_order_acq_rel, memory_order_acquire)) {
        cshm__heap_link(region, place); /* [table] */
        return table;
    }
    (void)cshm_heap_free(region, place);
    return find_table(region);
}

/* The lock's mark, which it gets now if it has none. */
static uint64_t mark_of(const cshm_region *region, struct cshm_lockwatch_shared *table,
                        cshm_mutex *mutex)
{
    struct cshm_mutex_shared *shared = (struct cshm_mutex_shared *)(void *)mutex;
    uint64_t place = cshm_heap_offset(region, mutex);
    uint64_t seen = atomic_load_explicit(&shared->mark, memory_order_relaxed);
    while (PLACE(seen) != place) {
        uint64_t number =
            atomic_fetch_add_explicit(&table->number, 1, memory_order_relaxed) & 0xffff;
        if (atomic_compare_exchange_strong_explicit(&shared->mark, &seen, number << 48 | place,
                                                    memory_order_relaxed, memory_order_relaxed)) {
            return number << 48 | place;
        }
    }
    return seen;
}

static void miss(struct cshm_lockwatch_shared *table)
{
    atomic_fetch_add_explicit(&table->missed, 1, memory_order_relaxed);
}

/* ---- records ---- */

/* One, copied. Marks that are held come first, in order of size, and then zeroes. */
struct wish {
    uint64_t word;
    uint64_t thread;
    uint64_t at_ns;
    uint64_t wanted;
    uint64_t held[HELD];
};

static uint64_t load_word(const struct cshm_lock_record *record)
{
    return atomic_load_explicit(&record->word, memory_order_seq_cst); /* [record], [again] */
}

/* @returns whether it is one. */
static bool copy(const struct cshm_lock_record *record, struct wish *out)
{
    out->word = load_word(record);
    if (KIND(out->word) != MADE) {
        return false;
    }
    out->thread = atomic_load_explicit(&record->thread, memory_order_acquire);
    out->at_ns = atomic_load_explicit(&record->at_ns, memory_order_acquire);
    out->wanted = atomic_load_explicit(&record->wanted, memory_order_acquire);
    for (uint32_t i = 0; i < HELD; i++) {
        out->held[i] = atomic_load_explicit(&record->held[i], memory_order_acquire);
    }
    return load_word(record) == out->word; /* [again] */
}

static void fill(struct cshm_lock_record *record, const struct wish *wish)
{
    atomic_store_explicit(&record->thread, wish->thread, memory_order_relaxed);
    atomic_store_explicit(&record->at_ns, wish->at_ns, memory_order_relaxed);
    atomic_store_explicit(&record->wanted, wish->wanted, memory_order_relaxed);
    for (uint32_t i = 0; i < HELD; i++) {
        atomic_store_explicit(&record->held[i], wish->held[i], memory_order_relaxed);
    }
    atomic_store_explicit(&record->word, wish->word, memory_order_seq_cst); /* [record] */
}

static bool is_same(const struct wish *a, const struct wish *b)
{
    return a->word == b->word && a->thread == b->thread && a->wanted == b->wanted &&
           memcmp(a->held, b->held, sizeof a->held) == 0;
}

static uint32_t first_of(const struct wish *wish)
{
    uint64_t hash = wish->thread ^ wish->wanted * 0x9e3779b97f4a7c15ull;
    for (uint32_t i = 0; i < HELD; i++) {
        hash = (hash ^ wish->held[i]) * 0xff51afd7ed558ccdull;
        hash ^= hash >> 32;
    }
    return (uint32_t)(hash % RECORDS);
}

/* Frees a record whose maker is dead. */
static void forget(struct cshm_lock_record *record, uint64_t word)
{
    (void)atomic_compare_exchange_strong_explicit(&record->word, &word, 0, memory_order_seq_cst,
                                                  memory_order_relaxed);
}

/* @returns whether any were. */
static bool forget_the_dead(const cshm_region *region, struct cshm_lockwatch_shared *table)
{
    uint64_t alive = cshm__self(region);
    bool found = false;
    for (uint32_t i = 0; i < RECORDS; i++) {
        uint64_t word = load_word(&table->record[i]);
        if (word == 0 || STAMP(word) == alive) {
            continue;
        }
        if (cshm_participant_is_gone(region, STAMP(word)) == 1) {
            forget(&table->record[i], word);
            found = true;
        } else {
            alive = STAMP(word);
        }
    }
    return found;
}

enum found { IS_NEW, IS_OLD, NO_ROOM };

static enum found enter(struct cshm_lockwatch_shared *table, const struct wish *wish)
{
    uint32_t index = first_of(wish);
    for (uint32_t looked = 0; looked < RECORDS; looked++) {
        struct cshm_lock_record *record = &table->record[index];
        struct wish other;
        uint64_t none = 0;
        if (load_word(record) == 0 && atomic_compare_exchange_strong_explicit(
                                          &record->word, &none, WORD(CLAIMED, STAMP(wish->word)),
                                          memory_order_acq_rel, memory_order_relaxed)) {
            fill(record, wish);
            return IS_NEW;
        }
        if (copy(record, &other) && is_same(&other, wish)) {
            return IS_OLD;
        }
        index = index + 1 == RECORDS ? 0 : index + 1;
    }
    return NO_ROOM;
}

/* ---- circles ---- */

struct search {
    const cshm_region *region;
    struct cshm_lockwatch_shared *table;
    uint32_t looks;
    uint32_t length;
    struct wish path[CSHM_LOCKWATCH_CYCLE];
    struct cshm_lock_record
        *record[CSHM_LOCKWATCH_CYCLE]; /* where they are; the first is the caller's */
};

static bool holds(const struct wish *wish, uint64_t mark)
{
    for (uint32_t i = 0; i < HELD && wish->held[i] != 0; i++) {
        if (wish->held[i] == mark) {
            return true;
        }
    }
    return false;
}

static bool share_a_lock(const struct wish *a, const struct wish *b)
{
    for (uint32_t i = 0; i < HELD && a->held[i] != 0; i++) {
        if (holds(b, a->held[i])) {
            return true;
        }
    }
    return false;
}

/* Whether the next thread can be in the circle: it holds what the last one wants, and all of them
 * can be there at once. */
static bool follows(const struct search *search, const struct wish *next)
{
    if (!holds(next, search->path[search->length - 1].wanted)) {
        return false;
    }
    for (uint32_t i = 0; i < search->length; i++) {
        if (search->path[i].thread == next->thread || share_a_lock(&search->path[i], next)) {
            return false;
        }
    }
    return true;
}

static bool all_live(const struct search *search)
{
    bool live = true;
    for (uint32_t i = 1; i < search->length; i++) {
        if (cshm_participant_is_gone(search->region, STAMP(search->path[i].word)) == 1) {
            forget(search->record[i], search->path[i].word);
            live = false;
        }
    }
    return live;
}

/* From what the path leads to on; recursive, at most CSHM_LOCKWATCH_CYCLE deep. */
static bool find_circle(struct search *search)
{
    for (uint32_t i = 0; i < RECORDS && search->looks < LOOKS; i++) {
        struct cshm_lock_record *record = &search->table->record[i];
        struct wish *next = &search->path[search->length];
        search->looks++;
        if (!copy(record, next) || !follows(search, next)) {
            continue;
        }
        search->record[search->length++] = record;
        if (holds(&search->path[0], next->wanted)
                ? all_live(search)
                : search->length < CSHM_LOCKWATCH_CYCLE && find_circle(search)) {
            return true;
        }
        search->length--;
    }
    return false;
}

/* ---- reports ---- */

struct naming {
    uint64_t place;
    char *name;
};

static void note_name(const struct cshm_directory_entry *entry, void *context)
{
    struct naming *naming = context;
    if (entry->offset == naming->place) {
        memcpy(naming->name, entry->name, sizeof entry->name);
    }
}

static void name_lock(const cshm_region *region, uint64_t place, char *name)
{
    if (cshm_directory_list(region, note_name, &(struct naming){place, name}) < 0) {
        name[0] = '\0'; /* a damaged directory names nothing */
    }
}

static bool is_held_by(const cshm_region *region, uint64_t place, const struct cshm_lock_wait *wait)
{
    const cshm_mutex *mutex = cshm_heap_pointer(region, place, sizeof *mutex);
    struct cshm_mutex_info info;
    return mutex != NULL && cshm_mutex_describe(mutex, &info) == 0 &&
           info.holder_pid == wait->pid && info.holder_thread == wait->thread;
}

static void tell_of(const struct search *search, const struct wish *wish, uint64_t held,
                    struct cshm_lock_wait *out)
{
    out->pid = (int32_t)(wish->thread >> 32);
    out->thread = (int32_t)wish->thread;
    out->at_ns = (int64_t)wish->at_ns;
    out->held = PLACE(held);
    out->wanted = PLACE(wish->wanted);
    name_lock(search->region, out->held, out->held_name);
    name_lock(search->region, out->wanted, out->wanted_name);
    out->is_held = is_held_by(search->region, out->held, out);
}

static int print_lock(char *text, size_t size, const char *name, uint64_t place)
{
    return name[0] != '\0' ? snprintf(text, size, "lock '%s'", name)
                           : snprintf(text, size, "the lock at %llu", (unsigned long long)place);
}

int cshm_lockwatch_print(const struct cshm_lock_cycle *cycle, char *text, size_t size)
{
    int length = snprintf(text, size, "cshm: locks are acquired in a circle, which %s:\n",
                          "can end in a deadlock");
    for (uint32_t i = 0; i < cycle->count && i < CSHM_LOCKWATCH_CYCLE; i++) {
        const struct cshm_lock_wait *wait = &cycle->wait[i];
        char held[CSHM_NAME_MAX + 16];
        char wanted[CSHM_NAME_MAX + 16];
        size_t used = (size_t)length < size ? (size_t)length : size;
        (void)print_lock(held, sizeof held, wait->held_name, wait->held);
        (void)print_lock(wanted, sizeof wanted, wait->wanted_name, wait->wanted);
        length +=
            snprintf(text + used, size - used, "  thread %d of process %d %s %s and wanted %s\n",
                     wait->thread, wait->pid, wait->is_held ? "holds" : "held", held, wanted);
    }
    return length;
}

static void print_to_standard_error(const struct cshm_lock_cycle *cycle)
{
    char text[512 * CSHM_LOCKWATCH_CYCLE];
    int length = cshm_lockwatch_print(cycle, text, sizeof text);
    size_t most = sizeof text - 1;
    ssize_t written = write(STDERR_FILENO, text, (size_t)length < most ? (size_t)length : most);
    (void)written; /* there is nobody to tell */
}

static void report(const struct search *search)
{
    struct cshm_lock_cycle cycle = {.region = (cshm_region *)(uintptr_t)search->region,
                                    .count = search->length};
    for (uint32_t i = 0; i < search->length; i++) {
        uint32_t before = (i == 0 ? search->length : i) - 1;
        tell_of(search, &search->path[i], search->path[before].wanted, &cycle.wait[i]);
    }
    pthread_mutex_lock(&reporter.lock);
    cshm_lockwatch_report *function = reporter.report;
    void *context = reporter.context;
    pthread_mutex_unlock(&reporter.lock);
    if (function == NULL) {
        print_to_standard_error(&cycle);
    } else {
        function(&cycle, context);
    }
}

/* ---- what the mutex calls ---- */

/* Whether it is one of the user's. */
static bool is_watched(const cshm_region *region, const cshm_mutex *mutex)
{
    const uint8_t *bytes = (const uint8_t *)mutex;
    return bytes >= region->base + region->header.heap_offset &&
           bytes < region->base + region->header.capacity;
}

/* What the thread holds in the region, in order. @returns how many locks. */
static uint32_t list_held(const cshm_region *region, struct cshm_lockwatch_shared *table,
                          const struct possessions *own, uint64_t *held)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < own->count; i++) {
        if (is_watched(region, own->held[i])) {
            uint64_t mark = mark_of(region, table, own->held[i]);
            uint32_t at = count++;
            for (; at > 0 && held[at - 1] > mark; at--) {
                held[at] = held[at - 1];
            }
            held[at] = mark;
        }
    }
    return count;
}

static void record_wish(cshm_region *region, const struct possessions *own, cshm_mutex *mutex)
{
    struct cshm_lockwatch_shared *table = table_of(region);
    struct wish wish = {.word = WORD(MADE, cshm__self(region)),
                        .thread = own->thread,
                        .at_ns = (uint64_t)cshm_now_ns()};
    if (table == NULL || list_held(region, table, own, wish.held) == 0) {
        return;
    }
    wish.wanted = mark_of(region, table, mutex);
    enum found found = own->more != 0 ? NO_ROOM : enter(table, &wish);
    if (found == NO_ROOM && own->more == 0 && forget_the_dead(region, table)) {
        found = enter(table, &wish);
    }
    struct search search = {
        .region = region, .table = table, .length = 1, .path = {wish}, .record = {NULL}};
    if (found == NO_ROOM) {
        miss(table);
    } else if (found == IS_NEW && find_circle(&search)) {
        report(&search);
    } else if (search.looks == LOOKS) {
        miss(table);
    }
}

void cshm__lockwatch_wants(cshm_mutex *mutex)
{
    struct possessions *own = possessions();
    if (own->count == 0 || own->is_busy) {
        return;
    }
    own->is_busy = true;
    cshm_region *region = cshm__region_of(mutex);
    if (region != NULL && cshm__self(region) != 0 && is_watched(region, mutex)) {
        record_wish(region, own, mutex);
    }
    own->is_busy = false;
}

void cshm__lockwatch_acquired(cshm_mutex *mutex)
{
    struct cshm_mutex_shared *shared = (struct cshm_mutex_shared *)(void *)mutex;
    struct possessions *own = possessions();
    atomic_store_explicit(&shared->since, (uint64_t)cshm_now_ns(), memory_order_relaxed);
    if (own->is_busy) {
        return;
    }
    if (own->count == HELD) {
        own->more++;
    } else {
        own->held[own->count++] = mutex;
    }
}

void cshm__lockwatch_releases(cshm_mutex *mutex)
{
    struct cshm_mutex_shared *shared = (struct cshm_mutex_shared *)(void *)mutex;
    struct possessions *own = possessions();
    atomic_store_explicit(&shared->since, 0, memory_order_relaxed);
    if (own->is_busy) {
        return;
    }
    uint32_t at = own->count;
    while (at > 0 && own->held[at - 1] != mutex) {
        at--;
    }
    if (at == 0) { /* one that there was no room for, or that was held before all this began */
        own->more -= own->more != 0;
        return;
    }
    own->count--;
    memmove(&own->held[at - 1], &own->held[at], (own->count - at + 1) * sizeof own->held[0]);
}

/* ---- looking ---- */

int cshm_lockwatch_describe(const cshm_region *region, struct cshm_lockwatch_info *out)
{
    struct cshm_lockwatch_shared *table = find_table(region);
    if (table == NULL) {
        return atomic_load_explicit(&region->live->lockwatch, memory_order_relaxed) == 0 ? -ENOENT
                                                                                         : -EPROTO;
    }
    struct cshm_lockwatch_info info = {
        .records_max = RECORDS,
        .missed = atomic_load_explicit(&table->missed, memory_order_relaxed)};
    for (uint32_t i = 0; i < RECORDS; i++) {
        info.records += load_word(&table->record[i]) != 0;
    }
    *out = info;
    return 0;
}
