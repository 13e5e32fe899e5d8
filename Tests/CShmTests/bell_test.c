/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Tests of cshm/bell.h.
 */
#include "channels.h"

#include <sys/epoll.h>
#include <sys/resource.h>

#include "internal.h"

extern const struct test bell_tests[];

static cshm_ring *make_ring(cshm_region *region, uint64_t *offset)
{
    cshm_ring *ring = NULL;
    CHECK_EQ(cshm_ring_create(region, 8, 8, offset), 0);
    CHECK_EQ(cshm_heap_share(region, *offset), 0);
    CHECK_EQ(cshm_ring_open(region, *offset, &ring), 0);
    return ring;
}

static bool is_rung(const cshm_bell *bell, int timeout_ms)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = 1};
    int loop = epoll_create1(EPOLL_CLOEXEC);
    CHECK(loop >= 0);
    CHECK_EQ(epoll_ctl(loop, EPOLL_CTL_ADD, cshm_bell_descriptor(bell), &event), 0);
    event = (struct epoll_event){0};
    int count = epoll_wait(loop, &event, 1, timeout_ms);
    CHECK(count == 0 || (count == 1 && event.events == EPOLLIN && event.data.u64 == 1));
    close(loop);
    return count == 1;
}

static void rings_once(void)
{
    cshm_region *region = make_region(1u << 20);
    struct cshm_waitable items;
    cshm_bell *bell = NULL;
    uint64_t offset = 0;
    uint64_t value = 1;
    uint64_t length = 0;
    cshm_ring *ring = make_ring(region, &offset);
    CHECK_EQ(cshm_ring_become_producer(ring), 0);
    CHECK_EQ(cshm_ring_become_consumer(ring), 0);
    CHECK_EQ(cshm_bell_create(&bell), 0);
    cshm_ring_items(ring, &items);
    for (int round = 0; round < 100; round++) {
        CHECK_EQ(cshm_bell_arm(bell, &items), 0);
        CHECK(!is_rung(bell, 0));
        CHECK_EQ(cshm_ring_try_put(ring, &value, 8), 0);
        CHECK(is_rung(bell, 0));
        cshm_bell_clear(bell);
        CHECK_EQ(cshm_ring_try_put(ring, &value, 8), 0); /* not armed again: not rung again */
        CHECK(!is_rung(bell, 0));
        CHECK_EQ(cshm_bell_arm(bell, &items), 1);
        cshm_bell_disarm(bell, &items);
        CHECK_EQ(cshm_ring_try_put(ring, &value, 8), 0);
        CHECK(!is_rung(bell, 0));
        for (int i = 0; i < 3; i++) {
            CHECK_EQ(cshm_ring_try_get(ring, &value, 8, &length), 0);
        }
    }
    for (int i = 0; i < 1000; i++) { /* more than its socket holds */
        CHECK_EQ(cshm_bell_ring(bell), 0);
    }
    CHECK(is_rung(bell, 0));
    cshm_bell_clear(bell);
    CHECK(!is_rung(bell, 0));
    CHECK_EQ(cshm_bell_arm(bell, &items), 0);
    CHECK_EQ(cshm_ring_finish(ring), 0);
    CHECK(is_rung(bell, 0));
    CHECK_EQ(cshm_bell_arm(bell, &items), 1);
    cshm_park alone[2] = {{0}, {0}};
    items.park = (uintptr_t)&alone[0] % CSHM_LINE == 0 ? &alone[1] : &alone[0];
    CHECK_EQ(cshm_bell_arm(bell, &items), -EINVAL);
    cshm_bell_close(bell);
    cshm_ring_destroy(ring);
    cshm_region_close(region);
}

static bool tells(int loop)
{
    struct epoll_event event;
    return epoll_wait(loop, &event, 1, 0) == 1;
}

/* Told of each ring, once, if it was cleared in between; and not of one before that. */
static void edge_triggered(void)
{
    cshm_region *region = make_region(1u << 20);
    struct epoll_event event = {.events = EPOLLIN | EPOLLET};
    struct cshm_waitable items;
    cshm_bell *bell = NULL;
    uint64_t offset = 0;
    uint64_t length = 0;
    cshm_ring *ring = make_ring(region, &offset);
    CHECK_EQ(cshm_ring_become_producer(ring), 0);
    CHECK_EQ(cshm_ring_become_consumer(ring), 0);
    CHECK_EQ(cshm_bell_create(&bell), 0);
    cshm_ring_items(ring, &items);
    int loop = epoll_create1(EPOLL_CLOEXEC);
    CHECK(loop >= 0);
    CHECK_EQ(epoll_ctl(loop, EPOLL_CTL_ADD, cshm_bell_descriptor(bell), &event), 0);
    for (uint64_t round = 0; round < 100; round++) {
        CHECK_EQ(cshm_bell_arm(bell, &items), 0);
        CHECK(!tells(loop));
        CHECK_EQ(cshm_ring_try_put(ring, &round, 8), 0);
        CHECK(tells(loop));
        CHECK(!tells(loop)); /* it is rung, but that was told */
        cshm_bell_clear(bell);
        CHECK(!tells(loop));
        CHECK_EQ(cshm_ring_try_get(ring, &round, 8, &length), 0);
    }
    close(loop);
    cshm_bell_close(bell);
    cshm_ring_destroy(ring);
    cshm_region_close(region);
}

enum { BELL_MESSAGES = 4000, SOURCES = CHANNEL_KINDS };

struct source {
    uint64_t places[SOURCES];
    _Atomic uint32_t ready;
    uint32_t number;
};

/* Every kind of channel rings, and for whatever one may wait for in it. */
static void every_kind(void)
{
    cshm_region *region = make_region(4u << 20);
    cshm_bell *bell = NULL;
    uint64_t length = 0;
    CHECK_EQ(cshm_bell_create(&bell), 0);
    for (int i = 0; i < CHANNEL_KINDS; i++) {
        uint64_t value = 5;
        const struct channel_kind *kind = &channel_kinds[i];
        struct channel channel = channel_make(kind, region);
        struct cshm_waitable items;
        struct cshm_waitable room;
        kind->items(&channel, &items);
        kind->room(&channel, &room);
        CHECK_EQ(cshm_bell_arm(bell, &items), 0);
        CHECK(!is_rung(bell, 0));
        CHECK_EQ(cshm_wait_any(&items, 1, 0), -ETIMEDOUT);
        CHECK_EQ(kind->put(&channel, &value, 8), 0);
        CHECK(is_rung(bell, 0));
        cshm_bell_clear(bell);
        CHECK_EQ(cshm_bell_arm(bell, &items), 1);
        CHECK_EQ(cshm_wait_any(&items, 1, INT64_MAX), 0);
        CHECK_EQ(cshm_bell_arm(bell, &room), 1);
        CHECK_EQ(kind->take(&channel, &value, 8, &length), 0);
        CHECK_EQ(value, 5);
        cshm_bell_clear(bell);
        if (!kind->loses) {
            channel_fill(&channel);
            CHECK_EQ(cshm_bell_arm(bell, &room), 0);
            cshm_bell_clear(bell);
            CHECK_EQ(cshm_wait_any(&room, 1, 0), -ETIMEDOUT);
            CHECK_EQ(kind->take(&channel, &value, 8, &length), 0);
            CHECK(is_rung(bell, 0));
            CHECK_EQ(cshm_wait_any(&room, 1, 0), 0);
            CHECK_EQ(kind->put(&channel, &value, 8), 0);
            CHECK_EQ(kind->put(&channel, &value, 8), -EAGAIN);
        }
        CHECK_EQ(cshm_bell_arm(bell, &room), kind->loses);
        while (kind->take(&channel, &value, 8, &length) == 0) {
        }
        CHECK_EQ(cshm_bell_arm(bell, &items), 0);
        cshm_bell_clear(bell);
        kind->finish(&channel);
        CHECK(is_rung(bell, 0));
        cshm_bell_clear(bell);
        CHECK_EQ(cshm_bell_arm(bell, &items), 1);
        CHECK_EQ(cshm_bell_arm(bell, &room), 1);
        CHECK_EQ(kind->take(&channel, &value, 8, &length), -EPIPE);
        CHECK_EQ(kind->put(&channel, &value, 8), -EPIPE);
        kind->destroy(&channel);
        cshm_bell_clear(bell);
    }
    cshm_bell_close(bell);
    cshm_region_close(region);
}

static void put_now_and_then(cshm_region *region, void *context)
{
    struct source *source = context;
    const struct channel_kind *kind = &channel_kinds[source->number];
    struct channel channel = channel_open(kind, region, source->places[source->number]);
    uint64_t random = source->number;
    CHECK_EQ(kind->be_putter(&channel), 0);
    for (uint64_t i = 0; i < BELL_MESSAGES; i++) {
        for (uint64_t pause = next_random(&random) % 256; pause > 0; pause--) {
            cshm__pause();
        }
        CHECK_EQ(kind->put_until(&channel, &i, 8, after(30 * SECOND)), 0);
    }
    kind->finish(&channel);
}

/* Takes all there is. @returns whether the stream has ended. */
static bool drain(struct channel *channel, uint64_t *next)
{
    uint64_t value = 0;
    uint64_t length = 0;
    int status;
    while ((status = channel->kind->take(channel, &value, 8, &length)) == 0) {
        CHECK(channel->kind->loses ? value >= *next : value == *next);
        *next = value + 1;
    }
    CHECK(status == -EAGAIN || status == -EPIPE);
    return status == -EPIPE;
}

/* Waits until one of the streams that go on may have something. */
static void wait_for_one(struct channel *channels, const bool *ended)
{
    struct cshm_waitable wanted[SOURCES];
    uint32_t count = 0;
    for (uint32_t i = 0; i < SOURCES; i++) {
        if (!ended[i]) {
            channels[i].kind->items(&channels[i], &wanted[count++]);
        }
    }
    int found = cshm_wait_any(wanted, count, after(30 * SECOND));
    CHECK(found >= 0 && found < (int)count);
    CHECK(wanted[found].is_ready(wanted[found].object) != 0);
}

/* The same by a bell; a lost ring would be waited for until the time is out. */
static void wait_for_ring(cshm_bell *bell, struct channel *channels, const bool *ended)
{
    bool ready = false;
    for (uint32_t i = 0; i < SOURCES; i++) {
        if (!ended[i]) {
            struct cshm_waitable items;
            channels[i].kind->items(&channels[i], &items);
            int armed = cshm_bell_arm(bell, &items);
            CHECK(armed == 0 || armed == 1);
            ready = ready || armed == 1;
        }
    }
    CHECK(ready || is_rung(bell, 30000));
    cshm_bell_clear(bell);
}

static void take_from_processes(bool by_bell)
{
    cshm_region *region = make_region(8u << 20);
    struct source *source = shared_memory(sizeof *source);
    struct channel channels[SOURCES];
    uint64_t next[SOURCES] = {0};
    bool ended[SOURCES] = {false};
    pid_t children[SOURCES];
    cshm_bell *bell = NULL;
    uint32_t left = SOURCES;
    CHECK_EQ(cshm_bell_create(&bell), 0);
    for (uint32_t i = 0; i < SOURCES; i++) {
        CHECK_EQ(channel_kinds[i].create(region, &source->places[i]), 0);
        CHECK_EQ(cshm_heap_share(region, source->places[i]), 0);
        channels[i] = channel_open(&channel_kinds[i], region, source->places[i]);
        CHECK_EQ(channel_kinds[i].be_taker(&channels[i]), 0);
    }
    for (uint32_t i = 0; i < SOURCES; i++) {
        source = memcpy(shared_memory(sizeof *source), source, sizeof *source);
        source->number = i;
        children[i] = spawn(region, put_now_and_then, source);
    }
    while (left > 0) {
        if (by_bell) {
            wait_for_ring(bell, channels, ended);
        } else {
            wait_for_one(channels, ended);
        }
        for (uint32_t i = 0; i < SOURCES; i++) {
            if (!ended[i]) {
                ended[i] = drain(&channels[i], &next[i]);
                left -= ended[i];
            }
        }
    }
    for (uint32_t i = 0; i < SOURCES; i++) {
        CHECK_EQ(next[i], BELL_MESSAGES);
        expect_success(children[i]);
        channel_kinds[i].destroy(&channels[i]);
    }
    cshm_bell_close(bell);
    cshm_region_close(region);
}

static void never_misses(void)
{
    take_from_processes(true);
}

static void wait_any(void)
{
    take_from_processes(false);
}

static void wait_any_alone(void)
{
    cshm_region *region = make_region(1u << 20);
    struct cshm_waitable items[2];
    uint64_t offsets[2];
    cshm_ring *rings[2];
    for (int i = 0; i < 2; i++) {
        rings[i] = make_ring(region, &offsets[i]);
        CHECK_EQ(cshm_ring_become_producer(rings[i]), 0);
        CHECK_EQ(cshm_ring_become_consumer(rings[i]), 0);
        cshm_ring_items(rings[i], &items[i]);
    }
    CHECK_EQ(cshm_wait_any(items, 0, 0), -EINVAL);
    CHECK_EQ(cshm_wait_any(items, CSHM_WAIT_MAX + 1, 0), -EINVAL);
    int64_t deadline = after(40 * MILLISECOND);
    CHECK_EQ(cshm_wait_any(items, 2, deadline), -ETIMEDOUT);
    CHECK(cshm_now_ns() >= deadline);
    CHECK_EQ(cshm_ring_try_put(rings[1], &offsets[0], 8), 0);
    CHECK_EQ(cshm_wait_any(items, 2, 0), 1);
    CHECK_EQ(cshm_ring_try_put(rings[0], &offsets[0], 8), 0);
    CHECK_EQ(cshm_wait_any(items, 2, 0), 0);
    for (int i = 0; i < 8; i++) {
        (void)!cshm_ring_try_put(rings[0], &offsets[0], 8);
    }
    cshm_ring_room(rings[0], &items[0]);
    CHECK_EQ(cshm_wait_any(items, 1, 0), -ETIMEDOUT);
    CHECK_EQ(cshm_ring_try_get(rings[0], &offsets[0], 8, &offsets[1]), 0);
    CHECK_EQ(cshm_wait_any(items, 1, 0), 0);
    for (int i = 0; i < 2; i++) {
        cshm_ring_destroy(rings[i]);
    }
    cshm_region_close(region);
}

static void arm_and_hang(cshm_region *region, void *context)
{
    struct source *source = context;
    struct cshm_waitable items;
    cshm_ring *ring = NULL;
    cshm_bell *bell = NULL;
    bool ok = cshm_ring_open(region, source->places[0], &ring) == 0 && cshm_bell_create(&bell) == 0;
    if (ok) {
        cshm_ring_items(ring, &items);
        ok = cshm_bell_arm(bell, &items) == 0;
    }
    if (ok) {
        atomic_fetch_add(&source->ready, 1);
    }
    for (; ok;) {
        pause();
    }
    _exit(1);
}

static void dead_watchers(void)
{
    cshm_region *region = make_region(1u << 20);
    struct source *source = shared_memory(sizeof *source);
    struct cshm_waitable items;
    cshm_bell *bell = NULL;
    pid_t children[CSHM_BELLS_MAX];
    uint64_t value = 0;
    uint64_t length = 0;
    cshm_ring *ring = make_ring(region, &source->places[0]);
    CHECK_EQ(cshm_ring_become_producer(ring), 0);
    CHECK_EQ(cshm_ring_become_consumer(ring), 0);
    CHECK_EQ(cshm_bell_create(&bell), 0);
    cshm_ring_items(ring, &items);
    for (uint32_t i = 0; i < CSHM_BELLS_MAX; i++) {
        children[i] = spawn(region, arm_and_hang, source);
    }
    wait_until_set(&source->ready, CSHM_BELLS_MAX);
    for (int i = 0; i < 20; i++) { /* living ones hold their places, rung or not, stopped or not */
        stop_child(children[0]);
        CHECK_EQ(cshm_bell_arm(bell, &items), -EUSERS);
        kill(children[0], SIGCONT);
    }
    kill_child(children[3]);
    CHECK_EQ(cshm_bell_arm(bell, &items), 0);
    for (uint32_t i = 0; i < CSHM_BELLS_MAX; i++) {
        if (i != 3) {
            kill_child(children[i]);
        }
    }
    CHECK_EQ(cshm_ring_try_put(ring, &value, 8), 0);
    CHECK(is_rung(bell, 0));
    cshm_bell_clear(bell);
    CHECK_EQ(cshm_ring_try_get(ring, &value, 8, &length), 0);
    for (int i = 0; i < 300; i++) { /* killed anywhere from the fork to the sleep */
        pid_t child = spawn(region, arm_and_hang, source);
        usleep((useconds_t)(i * 3));
        kill(child, SIGKILL);
        int status = 0;
        CHECK_EQ(waitpid(child, &status, 0), child);
        CHECK(cshm_bell_arm(bell, &items) == 0);
        CHECK_EQ(cshm_ring_try_put(ring, &value, 8), 0);
        CHECK(is_rung(bell, 0));
        cshm_bell_clear(bell);
        CHECK_EQ(cshm_ring_try_get(ring, &value, 8, &length), 0);
    }
    cshm_bell_close(bell);
    cshm_ring_destroy(ring);
    cshm_region_close(region);
}

/* ---- watching a region ---- */

static void attach_and_wait(cshm_region *region __attribute__((unused)), void *context)
{
    struct source *source = context;
    atomic_fetch_add(&source->ready, 1);
    for (;;) {
        pause();
    }
}

static void attach_and_leave(cshm_region *region, void *context __attribute__((unused)))
{
    cshm_region_close(region);
    for (;;) {
        pause();
    }
}

/* Clears rings until there is none; @returns how many there were. */
static int rings(cshm_bell *bell)
{
    int count = 0;
    while (is_rung(bell, 0)) {
        cshm_bell_clear(bell);
        count++;
    }
    return count;
}

static void watches(void)
{
    cshm_region *region = make_region(1u << 20);
    struct source *source = shared_memory(sizeof *source);
    cshm_bell *bell = NULL;
    CHECK_EQ(cshm_bell_create(&bell), 0);
    CHECK_EQ(cshm_bell_watch(bell, region), 0);
    CHECK_EQ(cshm_bell_watch(bell, region), -EALREADY);
    CHECK(rings(bell) > 0);
    for (int round = 0; round < 20; round++) {
        pid_t child = spawn(region, attach_and_wait, source);
        wait_until_set(&source->ready, (uint32_t)round + 1);
        CHECK(rings(bell) > 0); /* it was attached */
        stop_child(child);
        CHECK_EQ(rings(bell), 0); /* a stopped one is alive */
        kill(child, SIGKILL);
        CHECK(is_rung(bell, 30000));
        CHECK(rings(bell) > 0);
        expect_killed(child);
    }
    pid_t child = spawn(region, attach_and_leave, NULL);
    CHECK(is_rung(bell, 30000));
    struct cshm_region_info info;
    do { /* it leaves at last, and a ring tells so */
        (void)rings(bell);
        cshm_region_describe(region, &info);
    } while (info.participants > 1 && is_rung(bell, 30000));
    CHECK_EQ(info.participants, 1);
    kill_child(child);
    cshm_bell_unwatch(bell, region);
    (void)rings(bell);
    child = spawn(region, attach_and_wait, source);
    wait_until_set(&source->ready, 21);
    kill_child(child);
    CHECK_EQ(rings(bell), 0);
    cshm_bell_close(bell);
    cshm_region_close(region);
}

static void watch_limits(void)
{
    cshm_region *region = make_region(1u << 20);
    struct source *source = shared_memory(sizeof *source);
    cshm_bell *bell[CSHM_WATCHES_MAX + 1];
    struct rlimit limit;
    for (int i = 0; i < CSHM_WATCHES_MAX; i++) {
        CHECK_EQ(cshm_bell_create(&bell[i]), 0);
        CHECK_EQ(cshm_bell_watch(bell[i], region), 0);
    }
    CHECK_EQ(cshm_bell_create(&bell[CSHM_WATCHES_MAX]), 0);
    CHECK_EQ(cshm_bell_watch(bell[CSHM_WATCHES_MAX], region), -EUSERS);
    cshm_bell_close(bell[0]);
    CHECK_EQ(cshm_bell_watch(bell[CSHM_WATCHES_MAX], region), 0);
    for (int i = 1; i < CSHM_WATCHES_MAX; i++) {
        cshm_bell_close(bell[i]);
    }
    /* Without a descriptor for a peer it rings now and then. */
    bell[0] = bell[CSHM_WATCHES_MAX];
    pid_t child = spawn(region, attach_and_wait, source);
    wait_until_set(&source->ready, 1);
    CHECK_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
    struct rlimit none = {.rlim_cur = 0, .rlim_max = limit.rlim_max};
    CHECK_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
    cshm_bell_clear(bell[0]);
    CHECK_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
    for (int i = 0; i < 5; i++) {
        CHECK(is_rung(bell[0], 30000));
        cshm_bell_clear(bell[0]);
    }
    kill_child(child);
    cshm_bell_close(bell[0]);
    cshm_region_close(region);
}

static void put_some_and_wait(cshm_region *region, void *context)
{
    struct source *source = context;
    const struct channel_kind *kind = &channel_kinds[source->number];
    struct channel channel = channel_open(kind, region, source->places[0]);
    CHECK_EQ(kind->be_putter(&channel), 0);
    for (uint64_t i = 0; i < 3; i++) {
        CHECK_EQ(kind->put(&channel, &i, 8), 0);
    }
    attach_and_wait(region, context);
}

/* What makes a stream's end known to who waits at its items. */
typedef void wait_for_end(cshm_bell *bell, const struct cshm_waitable *items);

static void wait_for_bell(cshm_bell *bell, const struct cshm_waitable *items)
{
    if (cshm_bell_arm(bell, items) == 0) {
        CHECK(is_rung(bell, 30000));
        cshm_bell_clear(bell);
    }
}

static void wait_without_bell(cshm_bell *bell __attribute__((unused)),
                              const struct cshm_waitable *items)
{
    CHECK_EQ(cshm_wait_any(items, 1, after(30 * SECOND)), 0);
}

static void end_by_death(cshm_region *region, uint32_t number, wait_for_end *wait)
{
    const struct channel_kind *kind = &channel_kinds[number];
    struct source *source = shared_memory(sizeof *source);
    struct cshm_waitable items;
    cshm_bell *bell = NULL;
    uint64_t next = 0;
    source->number = number;
    CHECK_EQ(kind->create(region, &source->places[0]), 0);
    CHECK_EQ(cshm_heap_share(region, source->places[0]), 0);
    struct channel channel = channel_open(kind, region, source->places[0]);
    CHECK_EQ(kind->be_taker(&channel), 0);
    kind->items(&channel, &items);
    CHECK_EQ(cshm_bell_create(&bell), 0);
    CHECK_EQ(cshm_bell_watch(bell, region), 0);
    pid_t child = spawn(region, put_some_and_wait, source);
    wait_until_set(&source->ready, 1);
    CHECK(!drain(&channel, &next));
    kill(child, SIGKILL);
    while (!drain(&channel, &next)) {
        wait(bell, &items);
    }
    CHECK_EQ(next, 3);
    expect_killed(child);
    cshm_bell_close(bell);
    kind->destroy(&channel);
}

/* As in the example of cshm/bell.h: a ring's end is found out by a call that may wait. */
static void ring_ends_by_death(cshm_region *region)
{
    struct source *source = shared_memory(sizeof *source);
    struct cshm_waitable items;
    cshm_bell *bell = NULL;
    uint64_t value = 0;
    uint64_t length = 0;
    uint64_t next = 0;
    int status = 0;
    cshm_ring *ring = make_ring(region, &source->places[0]);
    CHECK_EQ(cshm_ring_become_consumer(ring), 0);
    CHECK_EQ(cshm_ring_producer_is_gone(ring), 0); /* there was none */
    cshm_ring_items(ring, &items);
    CHECK_EQ(cshm_bell_create(&bell), 0);
    CHECK_EQ(cshm_bell_watch(bell, region), 0);
    pid_t child = spawn(region, put_some_and_wait, source);
    wait_until_set(&source->ready, 1);
    CHECK_EQ(cshm_ring_producer_is_gone(ring), 0);
    kill(child, SIGKILL);
    for (;;) {
        while ((status = cshm_ring_get_until(ring, &value, 8, &length, 0)) == 0) {
            CHECK_EQ(value, next++);
        }
        if (status != -ETIMEDOUT) {
            break;
        }
        wait_for_bell(bell, &items);
    }
    CHECK_EQ(status, -EPIPE);
    CHECK_EQ(next, 3);
    CHECK_EQ(cshm_ring_producer_is_gone(ring), 1);
    CHECK_EQ(cshm_ring_consumer_is_gone(ring), 0);
    expect_killed(child);
    cshm_bell_close(bell);
    cshm_ring_destroy(ring);
}

static void ring_ends_without_rings(void)
{
    cshm_region *region = make_region(1u << 20);
    for (int round = 0; round < 10; round++) {
        ring_ends_by_death(region);
    }
    cshm_region_close(region);
}

static void consume_and_wait(cshm_region *region, void *context)
{
    struct source *source = context;
    cshm_ring *ring = NULL;
    CHECK_EQ(cshm_ring_open(region, source->places[0], &ring), 0);
    CHECK_EQ(cshm_ring_become_consumer(ring), 0);
    attach_and_wait(region, context);
}

/* The same at the other side: its producer waits for room. */
static void ring_consumer_is_killed(void)
{
    cshm_region *region = make_region(1u << 20);
    struct source *source = shared_memory(sizeof *source);
    struct cshm_waitable room;
    cshm_bell *bell = NULL;
    uint64_t value = 0;
    int status = 0;
    cshm_ring *ring = make_ring(region, &source->places[0]);
    CHECK_EQ(cshm_ring_become_producer(ring), 0);
    CHECK_EQ(cshm_ring_consumer_is_gone(ring), 0);
    cshm_ring_room(ring, &room);
    CHECK_EQ(cshm_bell_create(&bell), 0);
    CHECK_EQ(cshm_bell_watch(bell, region), 0);
    pid_t child = spawn(region, consume_and_wait, source);
    wait_until_set(&source->ready, 1);
    CHECK_EQ(cshm_ring_consumer_is_gone(ring), 0);
    kill(child, SIGKILL);
    while ((status = cshm_ring_put_until(ring, &value, 8, 0)) == 0 || status == -ETIMEDOUT) {
        if (status == -ETIMEDOUT) {
            wait_for_bell(bell, &room);
        }
    }
    CHECK_EQ(status, -EPIPE);
    CHECK_EQ(cshm_ring_consumer_is_gone(ring), 1);
    expect_killed(child);
    cshm_bell_close(bell);
    cshm_ring_destroy(ring);
    cshm_region_close(region);
}

static void end_without_rings(void)
{
    cshm_region *region = make_region(8u << 20);
    for (uint32_t i = 0; i < CHANNEL_KINDS; i++) {
        for (int round = 0; channel_kinds[i].ends_itself && round < 10; round++) {
            end_by_death(region, i, wait_for_bell);
            end_by_death(region, i, wait_without_bell);
        }
    }
    cshm_region_close(region);
}

static void lease_and_wait(cshm_region *region, void *context)
{
    struct source *source = context;
    struct channel channel = channel_open(&channel_kinds[1], region, source->places[0]);
    struct cshm_message message;
    CHECK_EQ(cshm_queue_try_lease(channel.view, 1, &message), 0);
    attach_and_wait(region, context);
}

/* Of a finished queue whose last element is leased nothing is ready until the lease ends, or its
 * holder is dead. */
static void leased_end(void)
{
    cshm_region *region = make_region(1u << 20);
    struct source *source = shared_memory(sizeof *source);
    struct channel channel = channel_make(&channel_kinds[1], region);
    struct cshm_message message;
    struct cshm_waitable items;
    uint64_t value = 1;
    uint64_t length = 0;
    source->places[0] = channel.place;
    cshm_queue_items(channel.view, &items);
    CHECK_EQ(cshm_queue_try_put(channel.view, &value, 8), 0);
    CHECK_EQ(cshm_queue_try_put(channel.view, &value, 8), 0);
    cshm_queue_finish(channel.view);
    CHECK_EQ(cshm_queue_try_lease(channel.view, 1, &message), 0);
    pid_t child = spawn(region, lease_and_wait, source);
    wait_until_set(&source->ready, 1);
    CHECK_EQ(channel.kind->take(&channel, &value, 8, &length), -EAGAIN);
    CHECK_EQ(cshm_wait_any(&items, 1, after(50 * MILLISECOND)), -ETIMEDOUT);
    cshm_queue_release(channel.view, &message);
    CHECK_EQ(cshm_wait_any(&items, 1, 0), -ETIMEDOUT);
    kill_child(child);
    CHECK_EQ(cshm_wait_any(&items, 1, after(30 * SECOND)), 0);
    CHECK_EQ(channel.kind->take(&channel, &value, 8, &length), 0);
    CHECK_EQ(cshm_wait_any(&items, 1, 0), 0);
    CHECK_EQ(channel.kind->take(&channel, &value, 8, &length), -EPIPE);
    channel.kind->destroy(&channel);
    cshm_region_close(region);
}

const struct test bell_tests[] = {
    {"is_rung_once_for_each_time_it_was_armed", rings_once},
    {"tells_an_edge_triggered_loop_of_each_ring_that_was_cleared", edge_triggered},
    {"rings_for_every_kind_of_channel", every_kind},
    {"misses_nothing_that_processes_put", never_misses},
    {"forgets_watchers_that_were_killed", dead_watchers},
    {"watches_processes_that_attach_leave_and_are_killed", watches},
    {"watches_a_process_without_a_descriptor_too", watch_limits},
    {"tells_of_the_end_when_the_last_producer_is_killed", end_without_rings},
    {"tells_of_the_end_of_a_ring_when_its_producer_is_killed", ring_ends_without_rings},
    {"tells_a_ring_that_is_full_when_its_consumer_is_killed", ring_consumer_is_killed},
    {"is_not_rung_for_an_end_that_waits_for_a_lease_until_its_holder_is_killed", leased_end},
    {"wait_for_any_channel_finds_the_one_that_is_ready", wait_any_alone},
    {"wait_for_any_channel_of_several_processes", wait_any},
    {NULL, NULL},
};
