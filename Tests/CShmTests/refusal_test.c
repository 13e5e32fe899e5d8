/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * What is refused has its defined error, with each kind of channel: another PID namespace, the child
 * of a user's own fork(), no memory, another layout, another type.
 */
#include "channels.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "layout.h"

extern const struct test refusal_tests[];

enum { LONG = 100000 };

static const char bytes[LONG];

/* ---- PID namespaces ---- */

/* Process and thread ids would mean others there: of locks' holders, of those to be watched. */
enum { SKIPPED = 77 };

static void use_in_another_namespace(cshm_region *region, struct channel *channel)
{
    uint64_t value = 1;
    uint64_t length = 0;
    cshm_region *attached = NULL;
    CHECK_EQ(cshm_region_attach(cshm_region_descriptor(region), &attached), -EXDEV);
    CHECK_EQ(cshm_region_map(cshm_region_descriptor(region), &attached), -EXDEV);
    CHECK_EQ(cshm_region_join(region), -EXDEV);
    for (int i = 0; i < CHANNEL_KINDS; i++) {
        CHECK_EQ(channel_kinds[i].put(&channel[i], &value, 8), channel_kinds[i].forked);
        CHECK_EQ(channel_kinds[i].take(&channel[i], &value, 8, &length), channel_kinds[i].forked);
    }
}

/* By way of a process of its own: the caller's later children are not to be in that namespace. */
static int in_another_namespace(cshm_region *region, struct channel *channel)
{
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        if (unshare(CLONE_NEWPID) != 0) {
            _exit(SKIPPED);
        }
        pid_t inside = fork();
        CHECK(inside >= 0);
        if (inside == 0) {
            use_in_another_namespace(region, channel);
            _exit(0);
        }
        expect_success(inside);
        _exit(0);
    }
    int status = 0;
    CHECK_EQ(waitpid(child, &status, 0), child);
    CHECK(WIFEXITED(status) && (WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == SKIPPED));
    return WEXITSTATUS(status);
}

static void pid_namespace(void)
{
    cshm_region *region = make_region(1u << 20);
    uint64_t value = 1;
    uint64_t length = 0;
    struct channel channel[CHANNEL_KINDS];
    for (int i = 0; i < CHANNEL_KINDS; i++) {
        channel[i] = channel_make(&channel_kinds[i], region);
        CHECK_EQ(channel_kinds[i].put(&channel[i], &value, 8), 0);
    }
    if (in_another_namespace(region, channel) == SKIPPED) {
        SKIP("unshare(CLONE_NEWPID) is not permitted");
    }
    for (int i = 0; i < CHANNEL_KINDS; i++) {
        CHECK_EQ(channel_kinds[i].take(&channel[i], &value, 8, &length), 0);
        channel_kinds[i].destroy(&channel[i]);
    }
    cshm_region_close(region);
}

/* ---- a user's own fork ---- */

/* The child has the parent's handles, and none of its ends: before and after it has joined. */
static void use_inherited(struct channel *channel)
{
    const struct channel_kind *kind = channel->kind;
    uint64_t value = 9;
    uint64_t length = 0;
    for (int joined = 0; joined < 2; joined++) {
        CHECK_EQ(kind->put(channel, &value, 8), kind->forked);
        CHECK_EQ(kind->put(channel, bytes, 1000), kind->forked);
        CHECK_EQ(kind->put_until(channel, &value, 8, INT64_MAX), kind->forked);
        CHECK_EQ(kind->take(channel, &value, 8, &length), kind->forked);
        CHECK_EQ(kind->take_until(channel, &value, 8, &length, INT64_MAX), kind->forked);
        CHECK(joined != 0 || cshm_region_join(channel->region) == 0);
        if (channel->kind->forked == -ECHILD && channel->putter == NULL) {
            return; /* a queue has no ends: with its region joined, the view is the child's, too */
        }
    }
    kind->close(channel);
}

static void own_fork(void)
{
    cshm_region *region = make_region(4u << 20);
    for (int i = 0; i < CHANNEL_KINDS; i++) {
        const struct channel_kind *kind = &channel_kinds[i];
        struct channel channel = channel_make(kind, region);
        uint64_t value = 1;
        uint64_t length = 0;
        CHECK_EQ(kind->put(&channel, &value, 8), 0);
        CHECK_EQ(kind->put(&channel, bytes, 1000), 0);
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            use_inherited(&channel);
            _exit(0);
        }
        expect_success(child);
        /* Nothing of the parent's has changed, neither what it put nor its ends. */
        char taken[1000];
        CHECK_EQ(kind->take(&channel, &value, 8, &length), 0);
        CHECK_EQ(value, 1);
        CHECK_EQ(kind->put(&channel, &value, 8), 0);
        CHECK_EQ(kind->take(&channel, taken, sizeof taken, &length), 0);
        CHECK_EQ(length, 1000);
        CHECK_EQ(kind->take(&channel, &value, 8, &length), 0);
        kind->destroy(&channel);
    }
    cshm_region_close(region);
}

/* ---- no memory ---- */

/* Takes all blocks that are to be had, large ones first. @returns how many; their places in `list`. */
static uint32_t eat(cshm_region *region, uint64_t *list, uint32_t room)
{
    uint32_t count = 0;
    for (uint64_t size = 1u << 19; size >= 64; size -= size / 16 + 1) {
        while (count < room && cshm_heap_allocate(region, size, &list[count]) == 0) {
            count++;
        }
    }
    CHECK(count < room);
    return count;
}

enum { EATEN = 1 << 16 };

/* With no memory left, what needs a block is refused, what does not goes on; and afterwards, too. */
static void use_without_memory(cshm_region *region)
{
    static uint64_t eaten[EATEN];
    struct channel channel[CHANNEL_KINDS];
    uint64_t value = 1;
    uint64_t length = 0;
    uint64_t place = 0;
    for (int i = 0; i < CHANNEL_KINDS; i++) {
        channel[i] = channel_make(&channel_kinds[i], region);
    }
    uint32_t count = eat(region, eaten, EATEN);
    for (int i = 0; i < CHANNEL_KINDS; i++) {
        const struct channel_kind *kind = &channel_kinds[i];
        CHECK_EQ(kind->create(region, &place), -ENOSPC);
        CHECK_EQ(kind->put(&channel[i], bytes, LONG), -ENOSPC);
        CHECK_EQ(kind->put_until(&channel[i], bytes, LONG, INT64_MAX), -ENOSPC);
        CHECK_EQ(kind->put(&channel[i], &value, 8), 0);
        CHECK_EQ(kind->take(&channel[i], &value, 8, &length), 0);
        CHECK_EQ(kind->take(&channel[i], &value, 8, &length), -EAGAIN);
    }
    while (count > 0) {
        CHECK_EQ(cshm_heap_free(region, eaten[--count]), 0);
    }
    char *taken = malloc(LONG);
    for (int i = 0; i < CHANNEL_KINDS; i++) {
        const struct channel_kind *kind = &channel_kinds[i];
        CHECK_EQ(kind->put(&channel[i], bytes, LONG), 0);
        CHECK_EQ(kind->take(&channel[i], taken, LONG, &length), 0);
        CHECK_EQ(length, LONG);
        kind->destroy(&channel[i]);
    }
    free(taken);
}

static void reached_capacity(void)
{
    cshm_region *region = make_region(2u << 20);
    uint64_t before = blocks_in_use(region);
    use_without_memory(region);
    CHECK_EQ(blocks_in_use(region), before);
    cshm_region_close(region);
}

/* In a mount namespace of its own, /dev/shm is a file system of a few MiB: it is full long before the
 * region is, and that is an error and no SIGBUS. */
static void full_file_system(void)
{
    struct cshm_region_options options = {.capacity = 1u << 30};
    cshm_region *region = NULL;
    const char *name = "sharedstate.full";
    if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("tmpfs", "/dev/shm", "tmpfs", 0, "size=16k") != 0) {
        SKIP("mounting in a namespace of its own is not permitted");
    }
    CHECK_EQ(cshm_region_create_named(name, &options, &region), -ENOSPC);
    CHECK_EQ(access("/dev/shm/sharedstate.full", F_OK), -1);
    CHECK_EQ(mount("tmpfs", "/dev/shm", "tmpfs", 0, "size=8m"), 0);
    CHECK_EQ(cshm_region_create_named(name, &options, &region), 0);
    use_without_memory(region);
    cshm_region_close(region);
    CHECK_EQ(cshm_region_remove(name), 0);
}

/* ---- another layout ---- */

/* As if made by another build: the header says so, and is whole. */
static void stale_layout(void)
{
    cshm_region *region = make_region(1u << 20);
    cshm_region *again = NULL;
    struct cshm_header header;
    struct cshm_header stale;
    int fd = cshm_region_descriptor(region);
    CHECK_EQ(pread(fd, &header, sizeof header, 0), sizeof header);
    stale = header;
    stale.layout_id ^= 1;
    stale.checksum = 0xcbf29ce484222325ull; /* FNV-1a */
    for (size_t i = 0; i < offsetof(struct cshm_header, checksum); i++) {
        stale.checksum = (stale.checksum ^ ((const uint8_t *)&stale)[i]) * 0x100000001b3ull;
    }
    CHECK_EQ(pwrite(fd, &stale, sizeof stale, 0), sizeof stale);
    CHECK_EQ(cshm_region_attach(fd, &again), -EPROTO);
    /* Who was attached before believes its own copy, and goes on. */
    struct channel channel[CHANNEL_KINDS];
    for (int i = 0; i < CHANNEL_KINDS; i++) {
        uint64_t value = 3;
        uint64_t length = 0;
        channel[i] = channel_make(&channel_kinds[i], region);
        CHECK_EQ(channel_kinds[i].put(&channel[i], &value, 8), 0);
        CHECK_EQ(channel_kinds[i].take(&channel[i], &value, 8, &length), 0);
        channel_kinds[i].destroy(&channel[i]);
    }
    CHECK_EQ(pwrite(fd, &header, sizeof header, 0), sizeof header);
    CHECK_EQ(cshm_region_attach(fd, &again), 0);
    cshm_region_close(again);
    cshm_region_close(region);
}

/* The bytes of one kind are not another's, nor those of another size or type. */
static void other_type(void)
{
    cshm_region *region = make_region(4u << 20);
    struct channel channel[CHANNEL_KINDS];
    uint64_t block = 0;
    CHECK_EQ(cshm_heap_allocate(region, 4096, &block), 0);
    memset(cshm_heap_pointer(region, block, 4096), 0xff, 4096);
    for (int i = 0; i < CHANNEL_KINDS; i++) {
        channel[i] = channel_make(&channel_kinds[i], region);
    }
    for (int i = 0; i < CHANNEL_KINDS; i++) {
        const struct channel_kind *kind = &channel_kinds[i];
        for (int k = 0; k < CHANNEL_KINDS; k++) {
            struct channel view = {.region = region, .place = channel[k].place};
            bool same = kind->open == channel_kinds[k].open;
            CHECK_EQ(kind->open(&view, CHANNEL_TAG), same ? 0 : -EPROTO);
            if (same) {
                view.kind = kind;
                kind->close(&view);
                CHECK(!kind->has_tag || kind->open(&view, CHANNEL_TAG + 1) == -EPROTO);
                for (uint64_t off = 8; off <= 256; off *= 2) {
                    view.place = channel[k].place + off;
                    CHECK_EQ(kind->open(&view, CHANNEL_TAG), -EPROTO);
                }
            }
        }
        const uint64_t nowhere[] = {0, 1, 8, block, block + 128, 1ull << 40, UINT64_MAX - 7};
        for (size_t k = 0; k < sizeof nowhere / sizeof nowhere[0]; k++) {
            struct channel view = {.region = region, .place = nowhere[k]};
            CHECK_EQ(kind->open(&view, CHANNEL_TAG), -EPROTO);
        }
    }
    for (int i = 0; i < CHANNEL_KINDS; i++) {
        channel_kinds[i].destroy(&channel[i]);
    }
    cshm_region_close(region);
}

const struct test refusal_tests[] = {
    {"of_a_process_in_another_pid_namespace", pid_namespace},
    {"of_a_process_forked_by_the_user_with_open_handles", own_fork},
    {"of_what_needs_memory_when_the_capacity_is_reached", reached_capacity},
    {"of_what_needs_memory_when_the_file_system_is_full", full_file_system},
    {"of_another_builds_layout", stale_layout},
    {"of_another_kind_another_type_and_no_place_at_all", other_type},
    {NULL, NULL},
};
