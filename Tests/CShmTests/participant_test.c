/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Tests of cshm/participant.h.
 */
#include "support.h"

#include <cshm/participant.h>

extern const struct test participant_tests[];

struct report {
    _Atomic uint32_t ready;
    uint64_t stamp;
};

static void sleeper(cshm_region *region, void *context)
{
    struct report *report = context;
    report->stamp = cshm_participant_self(region);
    atomic_store(&report->ready, 1);
    for (;;) {
        pause();
    }
}

static void killed_is_gone(void)
{
    cshm_region *region = make_region(1u << 20);
    struct cshm_region_info info;
    for (uint32_t i = 0; i < 50; i++) {
        struct report *report = shared_memory(sizeof *report);
        pid_t child = spawn(region, sleeper, report);
        wait_until_set(&report->ready, 1);
        CHECK(report->stamp != 0 && report->stamp != cshm_participant_self(region));
        CHECK_EQ(cshm_participant_is_gone(region, report->stamp), 0);
        CHECK_EQ(cshm_region_reap(region), 0);
        kill_child(child);
        CHECK_EQ(cshm_participant_is_gone(region, report->stamp), 1);
        CHECK_EQ(cshm_region_reap(region), 1);
        CHECK_EQ(cshm_region_reap(region), 0);
        CHECK_EQ(cshm_participant_is_gone(region, report->stamp), 1);
        munmap(report, sizeof *report);
    }
    cshm_region_describe(region, &info);
    CHECK_EQ(info.participants, 1);
    CHECK_EQ(cshm_participant_is_gone(region, cshm_participant_self(region)), 0);
    CHECK_EQ(cshm_participant_is_gone(region, 0), 1);
    cshm_region_close(region);
}

static void stopped_is_not_gone(void)
{
    cshm_region *region = make_region(1u << 20);
    struct report *report = shared_memory(sizeof *report);
    pid_t child = spawn(region, sleeper, report);
    wait_until_set(&report->ready, 1);
    stop_child(child);
    CHECK_EQ(cshm_participant_is_gone(region, report->stamp), 0);
    CHECK_EQ(cshm_region_reap(region), 0);
    kill_child(child);
    CHECK_EQ(cshm_region_reap(region), 1);
    cshm_region_close(region);
}

static void reap_for_ever(cshm_region *region, void *context)
{
    (void)context;
    for (;;) {
        (void)cshm_region_reap(region);
    }
}

/* A sweeper holds the lock byte too, and must not be taken for its owner. */
static void gone_stays_gone(void)
{
    cshm_region *region = make_region(1u << 20);
    pid_t reaper = spawn(region, reap_for_ever, NULL);
    for (int round = 0; round < 100; round++) {
        struct report *report = shared_memory(sizeof *report);
        pid_t child = spawn(region, sleeper, report);
        wait_until_set(&report->ready, 1);
        kill(child, SIGKILL);
        bool gone = false;
        for (uint32_t looks = 0; looks < 100;) {
            int now = cshm_participant_is_gone(region, report->stamp);
            CHECK(now == 1 || !gone);
            gone = now == 1;
            looks += gone;
        }
        kill_child(child);
        munmap(report, sizeof *report);
    }
    kill_child(reaper);
    cshm_region_close(region);
}

static void forked_must_join(void)
{
    cshm_region *region = make_region(1u << 20);
    uint64_t parent = cshm_participant_self(region);
    uint64_t offset = 0;
    CHECK_EQ(cshm_heap_allocate(region, 64, &offset), 0);
    pid_t child = fork();
    if (child == 0) {
        uint64_t mine = 0;
        CHECK_EQ(cshm_participant_self(region), 0);
        CHECK_EQ(cshm_heap_allocate(region, 64, &mine), -ECHILD);
        CHECK_EQ(cshm_region_reap(region), -ECHILD);
        CHECK_EQ(cshm_region_join(region), 0);
        CHECK(cshm_participant_self(region) != parent);
        CHECK_EQ(cshm_participant_is_gone(region, parent), 0);
        CHECK_EQ(cshm_region_join(region), -EALREADY);
        CHECK_EQ(cshm_heap_allocate(region, 64, &mine), 0);
        CHECK(mine != offset);
        cshm_region_close(region);
        _exit(0);
    }
    expect_success(child);
    CHECK_EQ(cshm_region_reap(region), 0);
    CHECK_EQ(cshm_heap_free(region, offset), 0);
    cshm_region_close(region);
}

const struct test participant_tests[] = {
    {"of_a_killed_process_is_certified_gone_and_swept", killed_is_gone},
    {"of_a_stopped_process_is_not_gone", stopped_is_not_gone},
    {"of_a_killed_process_stays_gone_while_others_sweep", gone_stays_gone},
    {"must_join_after_fork_in_the_new_process", forked_must_join},
    {NULL, NULL},
};
