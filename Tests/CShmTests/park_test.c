/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Tests of cshm/park.h.
 */
#include "handover.h"

#include <pthread.h>
#include <sched.h>

#include <cshm/park.h>

#include "internal.h"

extern const struct test park_tests[];

static void wake_before_wait(void)
{
    cshm_park park = {0};
    int64_t start = cshm_now_ns();
    for (int i = 0; i < 1000; i++) {
        uint32_t seen = cshm_park_prepare(&park);
        if (i % 2 == 0) {
            cshm_park_wake_one(&park);
        } else {
            cshm_park_wake_all(&park);
        }
        CHECK_EQ(cshm_park_wait(&park, seen, after(10 * SECOND)), 0);
    }
    CHECK(cshm_now_ns() - start < 10 * SECOND); /* a thousand slices would be 25 s */
}

static void timeout(void)
{
    cshm_park park = {0};
    for (int64_t wait = 0; wait < 80 * MILLISECOND; wait = wait * 2 + 100000) {
        int64_t deadline = after(wait);
        while (cshm_park_wait(&park, cshm_park_prepare(&park), deadline) == 0) {
        }
        CHECK(cshm_now_ns() >= deadline);
        CHECK(cshm_now_ns() < deadline + 5 * SECOND);
    }
    CHECK_EQ(cshm_park_wait(&park, cshm_park_prepare(&park), 0), -ETIMEDOUT);
}

struct table {
    cshm_park served;
    cshm_park eaten;
    _Atomic uint32_t plates;
    _Atomic uint32_t empty;
    _Atomic uint32_t is_last;
    int64_t eater_ns; /* how long it was awake */
};

/* Waits until `*count` exceeds `than`. */
static void wait_for(cshm_park *park, const _Atomic uint32_t *count, uint32_t than)
{
    while (atomic_load(count) <= than) {
        uint32_t seen = cshm_park_prepare(park);
        if (atomic_load(count) <= than) {
            CHECK_EQ(cshm_park_wait(park, seen, after(30 * SECOND)), 0);
        }
    }
}

static void *eat(void *context)
{
    struct table *table = context;
    bool is_last = false;
    for (uint32_t i = 0; !is_last; i++) {
        wait_for(&table->served, &table->plates, i);
        is_last = atomic_load(&table->is_last) != 0;
        atomic_fetch_add(&table->empty, 1);
        cshm_park_wake_one(&table->eaten);
    }
    table->eater_ns = awake_ns(gettid());
    return NULL;
}

static void never_loses(void)
{
    static struct table table;
    pthread_t eater;
    struct handover handover = begin_handover();
    CHECK_EQ(pthread_create(&eater, NULL, eat, &table), 0);
    for (uint32_t i = 0; atomic_load(&table.is_last) == 0; i++) {
        atomic_store(&table.is_last, hand_over_again(&handover) ? 0 : 1);
        atomic_fetch_add(&table.plates, 1);
        cshm_park_wake_one(&table.served);
        wait_for(&table.eaten, &table.empty, i);
    }
    CHECK_EQ(pthread_join(eater, NULL), 0);
    expect_awake(&handover, table.eater_ns);
}

/* ---- the sleeper pays: publishers that only store ---- */

/* Where others have the CPUs, the rounds that fit into LITMUS_TIME. */
enum { LITMUS_ROUNDS = 50000, LITMUS_OVER = 1 << 30, HANDOVERS = 200000 };
static const int64_t LITMUS_TIME = 20 * SECOND;

struct litmus {
    cshm_park park;
    uint8_t pad0[124];
    _Atomic uint32_t condition;
    uint8_t pad1[124];
    _Atomic uint32_t go;      /* rounds the sleeper has begun, or LITMUS_OVER */
    _Atomic uint32_t done;    /* rounds the publisher has ended */
    _Atomic uint32_t missing; /* whether the publisher did not see the bit */
};

static uint32_t spin_until(const _Atomic uint32_t *word, uint32_t least)
{
    uint32_t value;
    for (uint32_t round = 0; (value = atomic_load_explicit(word, memory_order_acquire)) < least;
         round++) {
        if (round % 256 == 255) {
            sched_yield();
        }
    }
    return value;
}

/* The first or the last of the CPUs that the test may use: the same one if there is only one. */
static void stay_on_cpu(bool last)
{
    cpu_set_t allowed;
    CHECK_EQ(sched_getaffinity(0, sizeof allowed, &allowed), 0);
    int count = CPU_COUNT(&allowed);
    for (int cpu = 0, nth = 0; cpu < CPU_SETSIZE; cpu++) {
        if (CPU_ISSET((size_t)cpu, &allowed) && nth++ == (last ? count - 1 : 0)) {
            cpu_set_t one;
            CPU_ZERO(&one);
            CPU_SET((size_t)cpu, &one);
            CHECK_EQ(sched_setaffinity(0, sizeof one, &one), 0);
            return;
        }
    }
}

static void publish_rounds(cshm_region *region, void *context)
{
    struct litmus *litmus = context;
    uint64_t random = 1;
    (void)region;
    stay_on_cpu(true);
    for (uint32_t i = 1; spin_until(&litmus->go, i) != LITMUS_OVER; i++) {
        /* At once, or at about the time of the waiter's look, which comes after its barrier. */
        int64_t start = after((int64_t)(next_random(&random) % 2 * (next_random(&random) % 16384)));
        while (cshm_now_ns() < start) {
        }
        atomic_store_explicit(&litmus->condition, i, memory_order_release);
        cshm__publish_barrier();
        uint32_t word =
            atomic_load_explicit((_Atomic uint32_t *)&litmus->park.word, memory_order_relaxed);
        atomic_store_explicit(&litmus->missing, (word & CSHM_PARK_ASLEEP) == 0,
                              memory_order_relaxed);
        atomic_store_explicit(&litmus->done, i, memory_order_release);
    }
}

/* Neither sees the other: what [announce] excludes. Without the membarrier it does happen. */
static void litmus(void)
{
    cshm_region *region = make_region(1u << 20);
    struct litmus *litmus = shared_memory(sizeof *litmus);
    uint64_t random = 2;
    uint32_t missed = 0;
    uint32_t late = 0;
    uint32_t rounds = 0;
    int64_t end = after(LITMUS_TIME);
    pid_t child = spawn(region, publish_rounds, litmus);
    stay_on_cpu(false);
    while (rounds < LITMUS_ROUNDS && cshm_now_ns() < end) {
        uint32_t i = ++rounds;
        atomic_store_explicit((_Atomic uint32_t *)&litmus->park.word, 0, memory_order_seq_cst);
        atomic_store_explicit(&litmus->go, i, memory_order_release);
        for (uint64_t pause = next_random(&random) % 32; pause > 0; pause--) {
            cshm__pause();
        }
        (void)cshm_park_prepare(&litmus->park);
        bool seen = atomic_load_explicit(&litmus->condition, memory_order_acquire) == i;
        spin_until(&litmus->done, i);
        bool missing = atomic_load_explicit(&litmus->missing, memory_order_relaxed) == 1;
        missed += !seen && missing;
        late += !seen;
    }
    atomic_store_explicit(&litmus->go, LITMUS_OVER, memory_order_release);
    expect_success(child);
    fprintf(stderr, "%u of %u rounds had the waiter look first\n", late, rounds);
    CHECK_EQ(missed, 0);
    cshm_region_close(region);
}

struct relay {
    cshm_park park[2];
    uint8_t pad0[120];
    _Atomic uint32_t given[2]; /* by each side */
    uint8_t pad1[120];
    _Atomic uint32_t told[2]; /* whose wake-up call is over */
    _Atomic uint32_t lost;
    _Atomic uint32_t slept;
};

static void relay(struct relay *relay, uint32_t side)
{
    uint32_t other = 1 - side;
    uint64_t random = side;
    uint32_t lost = 0;
    uint32_t slept = 0;
    for (uint32_t i = 1; i <= HANDOVERS; i++) {
        /* Mostly both hurry, so that store and announcement collide. */
        for (uint64_t pause = next_random(&random) % 32; pause > 0; pause--) {
            cshm__pause();
        }
        atomic_store_explicit(&relay->given[side], i, memory_order_release);
        cshm__publish_barrier();
        cshm__park_wake_one_after_store(&relay->park[side]);
        atomic_store_explicit(&relay->told[side], i, memory_order_release);
        const _Atomic uint32_t *theirs = &relay->given[other];
        while (atomic_load_explicit(theirs, memory_order_acquire) < i) {
            uint32_t seen = cshm_park_prepare(&relay->park[other]);
            if (atomic_load_explicit(theirs, memory_order_acquire) < i) {
                CHECK_EQ(cshm_park_wait(&relay->park[other], seen, after(30 * SECOND)), 0);
                slept++;
                /* The other has said all that it has to say, and to nobody: a slice ended this. */
                lost += atomic_load_explicit(&relay->told[other], memory_order_acquire) >= i &&
                        atomic_load_explicit((_Atomic uint32_t *)&relay->park[other].word,
                                             memory_order_relaxed) == seen;
            }
        }
    }
    atomic_fetch_add(&relay->lost, lost);
    atomic_fetch_add(&relay->slept, slept);
}

static void answer(cshm_region *region, void *context)
{
    (void)region;
    stay_on_cpu(true);
    relay(context, 1);
}

static void hand_over(bool on_one_cpu)
{
    cshm_region *region = make_region(1u << 20);
    struct relay *shared = shared_memory(sizeof *shared);
    if (on_one_cpu) {
        stay_on_cpu(false);
    }
    pid_t child = spawn(region, answer, shared);
    stay_on_cpu(false);
    relay(shared, 0);
    expect_success(child);
    fprintf(stderr, "%u of %u slept\n", shared->slept, 2 * HANDOVERS);
    CHECK_EQ(atomic_load(&shared->lost), 0);
    CHECK(shared->slept > 0);
    cshm_region_close(region);
}

static void two_cpus(void)
{
    hand_over(false);
}

static void one_cpu(void)
{
    hand_over(true);
}

const struct test park_tests[] = {
    {"woken_before_the_wait_does_not_sleep", wake_before_wait},
    {"does_not_time_out_early", timeout},
    {"never_loses_a_wake_up", never_loses},
    {"and_publisher_processes_that_only_store_never_miss_each_other", litmus},
    {"wakes_every_sleeper_of_another_process_by_a_plain_store", two_cpus},
    {"wakes_every_sleeper_of_another_process_on_one_cpu", one_cpu},
    {NULL, NULL},
};
