/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Tests of cshm/park.h.
 */
#include "support.h"

#include <pthread.h>

#include <cshm/park.h>

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

enum { ROUNDS = 20000 };

struct table {
    cshm_park served;
    cshm_park eaten;
    _Atomic uint32_t plates;
    _Atomic uint32_t empty;
    uint32_t slices;
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
    for (uint32_t i = 0; i < ROUNDS; i++) {
        wait_for(&table->served, &table->plates, i);
        atomic_fetch_add(&table->empty, 1);
        cshm_park_wake_one(&table->eaten);
    }
    return NULL;
}

static void never_loses(void)
{
    static struct table table;
    pthread_t eater;
    int64_t start = cshm_now_ns();
    CHECK_EQ(pthread_create(&eater, NULL, eat, &table), 0);
    for (uint32_t i = 0; i < ROUNDS; i++) {
        atomic_fetch_add(&table.plates, 1);
        cshm_park_wake_one(&table.served);
        wait_for(&table.eaten, &table.empty, i);
    }
    CHECK_EQ(pthread_join(eater, NULL), 0);
    /* Every lost wake-up would cost a slice of 25 ms: 1 in 30 would be seen. */
    CHECK(cshm_now_ns() - start < 15 * SECOND);
}

const struct test park_tests[] = {
    {"woken_before_the_wait_does_not_sleep", wake_before_wait},
    {"does_not_time_out_early", timeout},
    {"never_loses_a_wake_up", never_loses},
    {NULL, NULL},
};
