/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Tests of cshm/region.h.
 */
#include "support.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cshm/directory.h>
#include <cshm/heap.h>
#include <cshm/mutex.h>
#include <cshm/participant.h>
#include <cshm/value.h>

#include "layout.h"

extern const struct test region_tests[];

static const char *unique(const char *word, char name[64])
{
    snprintf(name, 64, "cshm-test-%d-%s", (int)getpid(), word);
    return name;
}

static void write_file(const char *name, const void *bytes, size_t size)
{
    char path[128];
    snprintf(path, sizeof path, "/dev/shm/%s", name);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    CHECK(fd >= 0);
    CHECK_EQ(pwrite(fd, bytes, size, 0), size);
    close(fd);
}

static void attaches(void)
{
    cshm_region *region = make_region(2u << 20);
    cshm_region *second = NULL;
    struct cshm_region_info info;
    struct cshm_region_info same;
    uint64_t offset = 0;
    cshm_region_describe(region, &info);
    CHECK_EQ(info.capacity, 2 << 20);
    CHECK_EQ(info.participants, 1);
    CHECK(info.committed <= info.capacity);
    CHECK_EQ(cshm_region_join(region), -EALREADY);
    CHECK_EQ(cshm_region_attach(cshm_region_descriptor(region), &second), 0);
    cshm_region_describe(second, &same);
    CHECK(memcmp(info.uuid, same.uuid, sizeof info.uuid) == 0);
    CHECK_EQ(same.participants, 2);
    CHECK(cshm_participant_self(region) != cshm_participant_self(second));
    CHECK_EQ(cshm_heap_allocate(region, 16, &offset), 0);
    strcpy(cshm_heap_pointer(region, offset, 16), "hello");
    CHECK(strcmp(cshm_heap_pointer(second, offset, 16), "hello") == 0);
    cshm_region_close(second);
    cshm_region_describe(region, &same);
    CHECK_EQ(same.participants, 1);
    cshm_region_close(region);
}

static void bounds(void)
{
    struct cshm_region_options options = {.capacity = (1u << 20) - 1};
    cshm_region *region = NULL;
    struct cshm_region_info info;
    CHECK_EQ(cshm_region_create(&options, &region), -EINVAL);
    options.capacity = (1ull << 40) + 1;
    CHECK_EQ(cshm_region_create(&options, &region), -EINVAL);
    options.capacity = (1u << 20) + 1;
    CHECK_EQ(cshm_region_create(&options, &region), 0);
    cshm_region_describe(region, &info);
    CHECK_EQ(info.capacity, (1 << 20) + 65536);
    cshm_region_close(region);
    CHECK_EQ(cshm_region_create(NULL, &region), 0);
    cshm_region_close(region);
}

struct search {
    const char *name;
    int found;
};

static void look(const char *name, void *context)
{
    struct search *search = context;
    search->found += strcmp(name, search->name) == 0;
}

static void named(void)
{
    char name[64];
    struct cshm_region_options options = {.capacity = 1u << 20};
    struct search search = {.name = unique("named", name)};
    cshm_region *region = NULL;
    cshm_region *second = NULL;
    CHECK_EQ(cshm_region_open(name, &second), -ENOENT);
    CHECK_EQ(cshm_region_remove(name), -ENOENT);
    CHECK_EQ(cshm_region_create_named(name, &options, &region), 0);
    CHECK_EQ(cshm_region_create_named(name, &options, &second), -EEXIST);
    CHECK_EQ(cshm_region_open(name, &second), 0);
    int all = cshm_region_list(look, &search);
    int gone = cshm_region_remove(name);
    CHECK(all >= 1);
    CHECK_EQ(search.found, 1);
    CHECK_EQ(gone, 0);
    cshm_region_close(second);
    CHECK_EQ(cshm_region_open(name, &second), -ENOENT);
    CHECK_EQ(cshm_region_reap(region), 0);
    cshm_region_close(region);
}

static void persists(void)
{
    char name[64];
    struct cshm_region_options options = {.capacity = 1u << 20};
    cshm_region *region = NULL;
    CHECK_EQ(cshm_region_create_named(unique("persists", name), &options, &region), 0);
    cshm_region_close(region);
    int status = cshm_region_open(name, &region);
    CHECK_EQ(cshm_region_remove(name), 0);
    CHECK_EQ(status, 0);
    cshm_region_close(region);
}

static void bad_names(void)
{
    char long_name[CSHM_NAME_MAX + 2];
    const char *names[] = {"", ".", "..", ".hidden", "a/b", "/a", long_name};
    struct cshm_region_options options = {.capacity = 1u << 20};
    cshm_region *region = NULL;
    memset(long_name, 'x', sizeof long_name);
    long_name[CSHM_NAME_MAX + 1] = 0;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        CHECK_EQ(cshm_region_create_named(names[i], &options, &region), -EINVAL);
        CHECK_EQ(cshm_region_open(names[i], &region), -EINVAL);
        CHECK_EQ(cshm_region_remove(names[i]), -EINVAL);
    }
}

static void foreign(void)
{
    char name[64];
    char path[128];
    static char bytes[1 << 20];
    struct search search = {.name = unique("foreign", name)};
    cshm_region *region = NULL;
    snprintf(path, sizeof path, "/dev/shm/%s", name);
    write_file(name, "short", 5);
    int short_one = cshm_region_open(name, &region);
    write_file(name, bytes, sizeof bytes);
    int long_one = cshm_region_open(name, &region);
    int removed = cshm_region_remove(name);
    (void)!cshm_region_list(look, &search);
    unlink(path);
    int link = symlink("/dev/shm/anything", path);
    int symbolic = cshm_region_open(name, &region);
    unlink(path);
    CHECK_EQ(short_one, -EBADMSG);
    CHECK_EQ(long_one, -EBADMSG);
    CHECK_EQ(removed, -EBADMSG);
    CHECK_EQ(search.found, 0);
    CHECK_EQ(link, 0);
    CHECK_EQ(symbolic, -EBADMSG);
}

static void damaged(void)
{
    char name[64];
    struct cshm_region_options options = {.capacity = 1u << 20};
    cshm_region *region = NULL;
    cshm_region *second = NULL;
    int failures = 0;
    CHECK_EQ(cshm_region_create_named(unique("damaged", name), &options, &region), 0);
    int fd = cshm_region_descriptor(region);
    for (off_t at = 8; at < (off_t)sizeof(struct cshm_header); at++) {
        uint8_t byte = 0;
        CHECK_EQ(pread(fd, &byte, 1, at), 1);
        byte ^= 0x10;
        CHECK_EQ(pwrite(fd, &byte, 1, at), 1);
        failures += cshm_region_open(name, &second) != -EPROTO;
        byte ^= 0x10;
        CHECK_EQ(pwrite(fd, &byte, 1, at), 1);
    }
    int truncated = ftruncate(fd, (1 << 20) - 65536);
    int status = cshm_region_open(name, &second);
    int removed = cshm_region_remove(name);
    CHECK_EQ(failures, 0);
    CHECK_EQ(truncated, 0);
    CHECK_EQ(status, -EPROTO);
    CHECK_EQ(removed, 0);
    CHECK_EQ(ftruncate(fd, 1 << 20), 0);
    cshm_region_close(region);
}

static void read_only(void)
{
    char text[64];
    const char *name = unique("read-only", text);
    struct cshm_type type = {cshm_type_tag("point"), 8, 8, 8};
    struct cshm_directory_entry entry;
    cshm_region *writer = NULL;
    cshm_region *reader = NULL;
    cshm_value *view = NULL;
    uint64_t place = 0;
    uint64_t seen = 0;
    uint64_t number = 41;
    CHECK_EQ(cshm_region_open_read_only(name, &reader), -ENOENT);
    CHECK_EQ(cshm_region_create_named(name, NULL, &writer), 0);
    CHECK_EQ(cshm_value_create(writer, &type, &number, &place), 0);
    CHECK_EQ(cshm_directory_add(writer, "number", CSHM_KIND_VALUE, type.tag, place), 0);
    CHECK_EQ(cshm_region_open_read_only(name, &reader), 0);
    struct cshm_region_info info;
    cshm_region_describe(reader, &info);
    CHECK_EQ(info.participants, 1);
    CHECK_EQ(cshm_region_join(reader), -EROFS);
    CHECK_EQ(cshm_directory_find(reader, "number", &entry), 0);
    CHECK_EQ(cshm_value_open(reader, entry.offset, &type, &view), 0);
    CHECK_EQ(cshm_value_load(view, &seen), 0);
    CHECK_EQ(seen, 41);
    cshm_value *own = NULL;
    CHECK_EQ(cshm_value_open(writer, place, &type, &own), 0);
    number = 42;
    CHECK_EQ(cshm_value_store_until(own, &number, INT64_MAX), 0);
    CHECK_EQ(cshm_value_load(view, &seen), 0);
    CHECK_EQ(seen, 42);
    CHECK_EQ(cshm_value_store_until(view, &number, INT64_MAX), -ECHILD);
    CHECK_EQ(cshm_heap_allocate(reader, 64, &place), -ECHILD);
    cshm_value_close(view);
    cshm_value_close(own);
    pid_t child = fork();
    if (child == 0) {
        signal(SIGSEGV, SIG_DFL);
        *(volatile uint64_t *)cshm_heap_pointer(reader, entry.offset, 8) = 1;
        _exit(0);
    }
    int status = 0;
    CHECK_EQ(waitpid(child, &status, 0), child);
    CHECK(WIFSIGNALED(status) || WEXITSTATUS(status) != 0); /* a sanitizer exits instead */
    CHECK_EQ(cshm_region_close(reader), 0);
    CHECK_EQ(cshm_region_close(writer), 0);
    CHECK_EQ(cshm_region_remove(name), 0);
    CHECK_EQ(cshm_region_remove(name), -ENOENT);
}

struct holding {
    cshm_mutex *mutex;
    _Atomic uint32_t held;
    _Atomic uint32_t done;
};

/* Only its owner may open one, whoever may read the file. */
static void of_another_user(void)
{
    char name[64];
    char path[128];
    struct stat file;
    cshm_region *region = NULL;
    cshm_region *other = NULL;
    unique("owner", name);
    snprintf(path, sizeof path, "/dev/shm/%s", name);
    CHECK_EQ(cshm_region_create_named(name, NULL, &region), 0);
    CHECK_EQ(fstat(cshm_region_descriptor(region), &file), 0);
    CHECK_EQ(file.st_mode, S_IFREG | 0600);
    CHECK_EQ(file.st_uid, geteuid());
    CHECK_EQ(cshm_region_open(name, &other), 0);
    cshm_region_close(other);
    if (geteuid() != 0) {
        CHECK_EQ(cshm_region_remove(name), 0);
        SKIP("only root may give a file away");
    }
    CHECK_EQ(chown(path, 12345, (gid_t)-1), 0);
    CHECK_EQ(cshm_region_open(name, &other), -EACCES);
    CHECK_EQ(cshm_region_attach(cshm_region_descriptor(region), &other), -EACCES);
    CHECK_EQ(chown(path, 0, (gid_t)-1), 0);
    CHECK_EQ(cshm_region_open(name, &other), 0);
    cshm_region_close(other);
    CHECK_EQ(cshm_region_remove(name), 0);
    cshm_region_close(region);
}

static void *hold_for_a_while(void *context)
{
    struct holding *holding = context;
    CHECK_EQ(cshm_mutex_try_acquire(holding->mutex), 0);
    atomic_store(&holding->held, 1);
    wait_until_set(&holding->done, 1);
    CHECK_EQ(cshm_mutex_release(holding->mutex), 0);
    return NULL;
}

static void mutex_held(void)
{
    cshm_region *region = make_region(1u << 20);
    cshm_region *other = make_region(1u << 20);
    struct holding holding = {0};
    uint64_t place = 0;
    pthread_t thread;
    CHECK_EQ(cshm_heap_allocate(region, sizeof(cshm_mutex), &place), 0);
    holding.mutex = cshm_heap_pointer(region, place, sizeof(cshm_mutex));
    cshm_mutex_init(holding.mutex);
    CHECK_EQ(cshm_mutex_try_acquire(holding.mutex), 0);
    CHECK_EQ(cshm_region_close(other), 0); /* another region's is in nobody's way */
    CHECK_EQ(cshm_region_close(region), -EBUSY);
    CHECK_EQ(cshm_mutex_try_acquire(holding.mutex), -EDEADLK);
    CHECK_EQ(cshm_mutex_release(holding.mutex), 0);
    CHECK_EQ(pthread_create(&thread, NULL, hold_for_a_while, &holding), 0);
    wait_until_set(&holding.held, 1);
    CHECK_EQ(cshm_region_close(region), -EBUSY);
    CHECK_EQ(cshm_mutex_try_acquire(holding.mutex), -EAGAIN); /* glibc forgets that it was tried */
    atomic_store(&holding.done, 1);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK_EQ(cshm_region_close(region), 0);
}

const struct test region_tests[] = {
    {"is_created_described_and_attached_by_descriptor", attaches},
    {"has_a_bounded_capacity", bounds},
    {"is_named_opened_listed_and_removed", named},
    {"persists_when_nobody_is_attached", persists},
    {"refuses_bad_names", bad_names},
    {"does_not_take_another_file_for_a_region", foreign},
    {"of_another_user_is_refused_and_its_own_is_nobody_elses", of_another_user},
    {"refuses_a_damaged_header", damaged},
    {"is_read_without_joining_it", read_only},
    {"is_not_closed_while_a_thread_holds_a_mutex_of_it", mutex_held},
    {NULL, NULL},
};
