/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * What users of Python's multiprocessing take for granted of queues and pipes, with each kind of
 * channel.
 */
#include "channels.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/time.h>

extern const struct test behaviour_tests[];

enum { HUGE_LENGTH = 16 << 20 };

/* What a child does with the putting end. */
struct part {
    const struct channel_kind *kind;
    uint64_t place;
    void (*body)(struct channel *channel);
};

static void play(cshm_region *region, void *context)
{
    const struct part *part = context;
    struct channel channel = channel_open(part->kind, region, part->place);
    CHECK_EQ(part->kind->be_putter(&channel), 0);
    part->body(&channel);
}

/* A channel with its taking end here, and a child at the other. */
static struct channel start(const struct channel_kind *kind, cshm_region *region,
                            void (*body)(struct channel *channel), pid_t *child)
{
    struct part part = {.kind = kind, .body = body};
    CHECK_EQ(kind->create(region, &part.place), 0);
    CHECK_EQ(cshm_heap_share(region, part.place), 0);
    struct channel channel = channel_open(kind, region, part.place);
    CHECK_EQ(kind->be_taker(&channel), 0);
    *child = spawn(region, play, &part);
    return channel;
}

static uint64_t take_number(struct channel *channel)
{
    uint64_t value = 0;
    uint64_t length = 0;
    CHECK_EQ(channel->kind->take_until(channel, &value, 8, &length, after(30 * SECOND)), 0);
    CHECK_EQ(length, 8);
    return value;
}

static void expect_taken(struct channel *channel, uint64_t expected)
{
    CHECK_EQ(take_number(channel), expected);
}

/* All numbers below a count, or those that a channel that loses has left, the last of them always. */
static void expect_all_taken(struct channel *channel, uint64_t count)
{
    for (uint64_t next = 0; next < count; next++) {
        uint64_t value = take_number(channel);
        CHECK(value == next || (channel->kind->loses && value > next && value < count));
        next = value;
    }
}

static void put_number(struct channel *channel, uint64_t number)
{
    CHECK_EQ(channel->kind->put_until(channel, &number, 8, after(30 * SECOND)), 0);
}

/* ---- messages ---- */

/* Never merged, never divided; an empty one is one; looking takes nothing. */
static void boundaries(void)
{
    static const uint64_t lengths[] = {0, 1, CHANNEL_SLOT, CHANNEL_SLOT + 1, 0, 5000, 0, 3};
    static char bytes[5000];
    static char taken[5000];
    cshm_region *region = make_region(2u << 20);
    for (int i = 0; i < CHANNEL_KINDS; i++) {
        const struct channel_kind *kind = &channel_kinds[i];
        struct channel channel = channel_make(kind, region);
        struct cshm_waitable items;
        kind->items(&channel, &items);
        for (size_t n = 0; n < sizeof lengths / sizeof lengths[0]; n++) {
            memset(bytes, (int)n + 1, sizeof bytes);
            CHECK_EQ(kind->put(&channel, bytes, lengths[n]), 0);
        }
        for (size_t n = 0; n < sizeof lengths / sizeof lengths[0]; n++) {
            uint64_t length = UINT64_MAX;
            for (int look = 0; look < 3; look++) {
                CHECK_EQ(cshm_wait_any(&items, 1, 0), 0);
            }
            if (lengths[n] > 0) { /* too little room: it says so, and the message is still there */
                CHECK_EQ(kind->take(&channel, taken, lengths[n] - 1, &length), -EMSGSIZE);
                CHECK_EQ(length, UINT64_MAX);
            }
            CHECK_EQ(kind->take(&channel, taken, lengths[n], &length), 0);
            CHECK_EQ(length, lengths[n]);
            memset(bytes, (int)n + 1, sizeof bytes);
            CHECK_EQ(memcmp(taken, bytes, length), 0);
        }
        uint64_t length = 0;
        CHECK_EQ(kind->take(&channel, taken, sizeof taken, &length), -EAGAIN);
        CHECK_EQ(cshm_wait_any(&items, 1, 0), -ETIMEDOUT);
        CHECK_EQ(kind->put(&channel, bytes, 64u << 20), -ENOSPC); /* more than the region */
        CHECK_EQ(cshm_wait_any(&items, 1, 0), -ETIMEDOUT);
        kind->destroy(&channel);
    }
    cshm_region_close(region);
}

static void put_huge(struct channel *channel)
{
    uint32_t *numbers = malloc(HUGE_LENGTH);
    for (uint32_t i = 0; i < HUGE_LENGTH / 4; i++) {
        numbers[i] = i * 2654435761u;
    }
    CHECK_EQ(channel->kind->put_until(channel, numbers, HUGE_LENGTH, after(30 * SECOND)), 0);
    free(numbers);
}

static void huge(void)
{
    cshm_region *region = make_region(128u << 20);
    uint32_t *numbers = malloc(HUGE_LENGTH);
    for (int i = 0; i < CHANNEL_KINDS; i++) {
        pid_t child = 0;
        uint64_t length = 0;
        struct channel channel = start(&channel_kinds[i], region, put_huge, &child);
        CHECK_EQ(
            channel.kind->take_until(&channel, numbers, HUGE_LENGTH, &length, after(30 * SECOND)),
            0);
        CHECK_EQ(length, HUGE_LENGTH);
        for (uint32_t n = 0; n < HUGE_LENGTH / 4; n++) {
            CHECK_EQ(numbers[n], n * 2654435761u);
        }
        expect_success(child);
        channel.kind->destroy(&channel);
    }
    free(numbers);
    cshm_region_close(region);
}

/* ---- processes ---- */

static void put_five(struct channel *channel)
{
    for (uint64_t i = 0; i < 5; i++) {
        put_number(channel, i);
    }
    CHECK_EQ(channel->kind->put(channel, (char[200]){0}, 200), 0);
}

/* What nobody reads keeps nobody from ending, nor what it put from being read later. */
static void unread(void)
{
    cshm_region *region = make_region(2u << 20);
    for (int i = 0; i < CHANNEL_KINDS; i++) {
        pid_t child = 0;
        struct channel channel = start(&channel_kinds[i], region, put_five, &child);
        expect_success(child);
        expect_taken(&channel, 0);
        struct channel other = channel_open(&channel_kinds[i], region, channel.place);
        channel_kinds[i].close(&other);
        channel.kind->destroy(&channel); /* with messages in it */
    }
    (void)cshm_region_reap(region);
    CHECK_EQ(blocks_in_use(region), 0);
    cshm_region_close(region);
}

static void put_and_finish(struct channel *channel)
{
    put_number(channel, 7);
    channel->kind->finish(channel);
    channel->kind->finish(channel); /* twice is once */
}

/* A grandchild whose standard streams are closed, so that channels get their numbers. */
static void put_from_below(struct channel *channel)
{
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        for (int fd = 0; fd < 3; fd++) {
            close(fd);
        }
        cshm_region *region = channel->region;
        CHECK_EQ(cshm_region_join(region), 0);
        struct channel own = channel_open(channel->kind, region, channel->place);
        if (channel->kind != &channel_kinds[0]) { /* a ring has one producer */
            CHECK_EQ(channel->kind->be_putter(&own), 0);
            put_and_finish(&own);
        }
        _exit(0);
    }
    expect_success(child);
    if (channel->kind == &channel_kinds[0]) {
        put_and_finish(channel);
    }
}

static void grandchild(void)
{
    cshm_region *region = make_region(2u << 20);
    for (int i = 0; i < CHANNEL_KINDS; i++) {
        pid_t child = 0;
        uint64_t value = 0;
        uint64_t length = 0;
        struct channel channel = start(&channel_kinds[i], region, put_from_below, &child);
        expect_taken(&channel, 7);
        CHECK_EQ(channel.kind->take_until(&channel, &value, 8, &length, after(30 * SECOND)),
                 -EPIPE);
        CHECK_EQ(channel.kind->take(&channel, &value, 8, &length), -EPIPE);
        expect_success(child);
        channel.kind->destroy(&channel);
    }
    cshm_region_close(region);
}

static void put_four_more(struct channel *channel)
{
    for (uint64_t n = 4; n < 8; n++) {
        put_number(channel, n);
    }
}

/* Four of the parent's and four of its child's; in lanes, each one's in their order. */
static void expect_parent_then_child(struct channel *channel)
{
    const struct channel_kind *kind = channel->kind;
    uint64_t next[2] = {0, 4};
    uint64_t last = 0;
    for (int n = 0; n < 8 && last < 7; n++) {
        uint64_t value = take_number(channel);
        CHECK(value < 8 && (kind->loses || value == next[value / 4]));
        CHECK(kind->is_sorted_by_lane || n == 0 || value > last);
        next[value / 4]++;
        last = kind->is_sorted_by_lane ? 0 : value;
    }
    CHECK(kind->loses || (next[0] == 4 && next[1] == 8));
}

static void parent_then_child(void)
{
    cshm_region *region = make_region(2u << 20);
    for (int i = 0; i < CHANNEL_KINDS; i++) {
        const struct channel_kind *kind = &channel_kinds[i];
        bool is_ring = kind == &channel_kinds[0]; /* whose producer must leave for another */
        struct part part = {.kind = kind, .body = put_four_more};
        CHECK_EQ(kind->create(region, &part.place), 0);
        CHECK_EQ(cshm_heap_share(region, part.place), 0);
        struct channel taking = channel_open(kind, region, part.place);
        struct channel putting = channel_open(kind, region, part.place);
        CHECK_EQ(kind->be_taker(&taking), 0);
        CHECK_EQ(kind->be_putter(&putting), 0);
        for (uint64_t n = 0; n < 4; n++) {
            put_number(&putting, n);
        }
        if (is_ring) {
            kind->close(&putting);
        }
        expect_success(spawn(region, play, &part));
        expect_parent_then_child(&taking);
        if (!is_ring) {
            kind->close(&putting);
        }
        kind->destroy(&taking);
    }
    cshm_region_close(region);
}

/* ---- waiting ---- */

static void ignore(int signal __attribute__((unused)))
{
}

/* Signals that interrupt system calls, so many us apart, from now on; 0 for no more. */
static void interrupt(long us)
{
    struct sigaction action = {.sa_handler = ignore}; /* and no SA_RESTART */
    struct itimerval timer = {.it_interval.tv_usec = us, .it_value.tv_usec = us};
    CHECK_EQ(sigaction(SIGALRM, &action, NULL), 0);
    CHECK_EQ(setitimer(ITIMER_REAL, &timer, NULL), 0);
}

static void put_slowly(struct channel *channel)
{
    for (uint64_t i = 0; i < 20; i++) {
        usleep(3000);
        put_number(channel, i);
    }
}

/* Who waits is not told of signals, and waits no shorter. */
static void signals(void)
{
    cshm_region *region = make_region(2u << 20);
    cshm_bell *bell = NULL;
    CHECK_EQ(cshm_bell_create(&bell), 0);
    for (int i = 0; i < CHANNEL_KINDS; i++) {
        const struct channel_kind *kind = &channel_kinds[i];
        pid_t child = 0;
        struct cshm_waitable items;
        uint64_t value = 0;
        uint64_t length = 0;
        struct channel idle = channel_make(kind, region);
        struct channel channel = start(kind, region, put_slowly, &child);
        interrupt(500);
        expect_all_taken(&channel, 20);
        int64_t deadline = after(30 * MILLISECOND);
        CHECK_EQ(kind->take_until(&idle, &value, 8, &length, deadline), -ETIMEDOUT);
        CHECK(cshm_now_ns() >= deadline);
        kind->items(&idle, &items);
        deadline = after(30 * MILLISECOND);
        CHECK_EQ(cshm_wait_any(&items, 1, deadline), -ETIMEDOUT);
        CHECK(cshm_now_ns() >= deadline);
        CHECK_EQ(cshm_bell_arm(bell, &items), 0);
        if (!kind->loses) {
            channel_fill(&idle);
            deadline = after(30 * MILLISECOND);
            CHECK_EQ(kind->put_until(&idle, &value, 8, deadline), -ETIMEDOUT);
            CHECK(cshm_now_ns() >= deadline);
        }
        interrupt(0);
        int status = 0;
        CHECK_EQ(waitpid(child, &status, 0), child);
        CHECK_EQ(status, 0);
        kind->destroy(&channel);
        kind->destroy(&idle);
    }
    cshm_bell_close(bell);
    cshm_region_close(region);
}

/* How often this thread has slept; the kernel may have it sleep without a wait of ours, but seldom. */
static long sleeps(void)
{
    struct rusage usage;
    CHECK_EQ(getrusage(RUSAGE_THREAD, &usage), 0);
    return usage.ru_nvcsw;
}

enum { TRIES = 100 };

/* What would have to wait does not, not even for a slice of time. */
static void expect_no_sleep(struct channel *channel, int64_t deadline)
{
    const struct channel_kind *kind = channel->kind;
    struct cshm_waitable items;
    struct cshm_waitable room;
    uint64_t value = 0;
    uint64_t length = 0;
    kind->items(channel, &items);
    kind->room(channel, &room);
    long before = sleeps();
    for (int n = 0; n < TRIES; n++) {
        CHECK_EQ(kind->take_until(channel, &value, 8, &length, deadline), -ETIMEDOUT);
        CHECK_EQ(cshm_wait_any(&items, 1, deadline), -ETIMEDOUT);
    }
    CHECK(sleeps() - before < TRIES);
    if (kind->loses) {
        return;
    }
    channel_fill(channel);
    before = sleeps();
    for (int n = 0; n < TRIES; n++) {
        CHECK_EQ(kind->put_until(channel, &value, 8, deadline), -ETIMEDOUT);
        CHECK_EQ(cshm_wait_any(&room, 1, deadline), -ETIMEDOUT);
    }
    CHECK(sleeps() - before < TRIES);
    while (kind->take(channel, &value, 8, &length) == 0) {
    }
}

/* At once where there is no time to wait, whether there was some once or not. */
static void no_time(void)
{
    cshm_region *region = make_region(2u << 20);
    for (int i = 0; i < CHANNEL_KINDS; i++) {
        const struct channel_kind *kind = &channel_kinds[i];
        struct channel channel = channel_make(kind, region);
        struct cshm_waitable items;
        uint64_t value = 0;
        uint64_t length = 0;
        const int64_t deadlines[] = {INT64_MIN, -1, 0, 1, cshm_now_ns()};
        kind->items(&channel, &items);
        for (size_t n = 0; n < sizeof deadlines / sizeof deadlines[0]; n++) {
            expect_no_sleep(&channel, deadlines[n]);
        }
        CHECK_EQ(kind->put_until(&channel, &value, 8, INT64_MIN), 0);
        CHECK_EQ(cshm_wait_any(&items, 1, INT64_MIN), 0);
        CHECK_EQ(kind->take_until(&channel, &value, 8, &length, INT64_MIN), 0);
        kind->destroy(&channel);
    }
    cshm_region_close(region);
}

/* One poll for channels of every kind, and a pipe. */
static void mixed(void)
{
    cshm_region *region = make_region(4u << 20);
    struct channel channel[CHANNEL_KINDS];
    cshm_bell *bell = NULL;
    int fds[2];
    uint64_t value = 1;
    CHECK_EQ(cshm_bell_create(&bell), 0);
    CHECK_EQ(pipe2(fds, O_CLOEXEC), 0);
    struct pollfd polled[2] = {{.fd = cshm_bell_descriptor(bell), .events = POLLIN},
                               {.fd = fds[0], .events = POLLIN}};
    for (int i = 0; i < CHANNEL_KINDS; i++) {
        struct cshm_waitable items;
        channel[i] = channel_make(&channel_kinds[i], region);
        channel_kinds[i].items(&channel[i], &items);
        CHECK_EQ(cshm_bell_arm(bell, &items), 0);
    }
    CHECK_EQ(poll(polled, 2, 0), 0);
    for (int i = 0; i < CHANNEL_KINDS; i++) {
        struct cshm_waitable items;
        uint64_t length = 0;
        CHECK_EQ(channel_kinds[i].put(&channel[i], &value, 8), 0);
        CHECK_EQ(write(fds[1], "", 1), 1);
        CHECK_EQ(poll(polled, 2, 30000), 2); /* both are told of */
        cshm_bell_clear(bell);
        CHECK_EQ(channel_kinds[i].take(&channel[i], &value, 8, &length), 0);
        CHECK_EQ(read(fds[0], &(char){0}, 1), 1);
        channel_kinds[i].items(&channel[i], &items);
        CHECK_EQ(cshm_bell_arm(bell, &items), 0);
        channel_kinds[i].finish(&channel[i]);
        CHECK_EQ(poll(polled, 2, 30000), 1); /* the end is something, too */
        cshm_bell_clear(bell);
        channel_kinds[i].destroy(&channel[i]);
    }
    cshm_bell_close(bell);
    cshm_region_close(region);
}

const struct test behaviour_tests[] = {
    {"of_messages_keeps_their_boundaries_and_what_does_not_fit", boundaries},
    {"of_16_mib_between_processes", huge},
    {"of_a_parent_that_puts_and_then_its_child_process_in_that_order", parent_then_child},
    {"of_a_process_that_ends_with_what_nobody_read", unread},
    {"of_a_grandchild_process_without_standard_streams", grandchild},
    {"of_waiting_processes_that_signals_interrupt", signals},
    {"of_waits_without_time", no_time},
    {"of_channels_polled_beside_descriptors", mixed},
    {NULL, NULL},
};
