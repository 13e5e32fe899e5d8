/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Runs the tests, each in a forked process that leads its own group.
 *
 *   cshm-tests [--exclude-processes] [suite.test ...]   all of them, or those named
 *   cshm-tests --list                                   names only
 *
 * CSHM_TEST_FILTER=text keeps the tests whose full name contains the text.
 */
#include "test.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* The one list of suites. */
#define SUITES(X)      \
    X(layout)          \
    X(region)          \
    X(participant)     \
    X(park)            \
    X(bell)            \
    X(post)            \
    X(mutex)           \
    X(lockwatch)       \
    X(event)           \
    X(barrier)         \
    X(condition)       \
    X(rwlock)          \
    X(rwlock_line)     \
    X(semaphore)       \
    X(permits)         \
    X(baton)           \
    X(crowd)           \
    X(value)           \
    X(heap)            \
    X(directory)       \
    X(ring)            \
    X(ring_order)      \
    X(outcome)         \
    X(anchor)          \
    X(board)           \
    X(board_idle)      \
    X(queue)           \
    X(token)           \
    X(queue_pack)      \
    X(queue_lease)     \
    X(lanes)           \
    X(lanes_crowd)     \
    X(broadcast)       \
    X(broadcast_crowd) \
    X(byte_limit)      \
    X(map)             \
    X(map_nest)        \
    X(transaction)     \
    X(list)            \
    X(behaviour)       \
    X(sync_behaviour)  \
    X(refusal)         \
    X(history)         \
    X(lock_history)    \
    X(state_history)   \
    X(glibc)           \
    X(value_crash)     \
    X(crash)

#define DECLARE(noun) extern const struct test noun##_tests[];
#define ENTRY(noun)   {#noun, noun##_tests},

SUITES(DECLARE)

static const struct suite {
    const char *name;
    const struct test *tests;
} suites[] = {SUITES(ENTRY)};

enum {
    SUITE_COUNT = sizeof(suites) / sizeof(suites[0]),
    NAME_MAX_BYTES = 256,
    SKIPPED = 77,
    WATCHDOG_S = 60,
    CRASH_WATCHDOG_S = 240,
};

enum outcome { PASSED, FAILED, OMITTED };

struct selection {
    bool list;
    bool exclude_processes;
    const char *filter;
    char **names; /* all of them if count is 0 */
    int count;
};

static double seconds_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
enum { SLOWER = 4 };
#else
enum { SLOWER = 1 };
#endif

static int watchdog_seconds(const char *name)
{
    const char *longer = getenv("CSHM_TEST_SECONDS"); /* how long some tests go on */
    bool crashes = strncmp(name, "crash.", 6) == 0 || strstr(name, ".crash_") != NULL;
    return SLOWER * (crashes ? CRASH_WATCHDOG_S : WATCHDOG_S) + (longer != NULL ? atoi(longer) : 0);
}

static bool is_selected(const struct selection *selection, const char *name)
{
    if (selection->exclude_processes &&
        (strncmp(name, "crash.", 6) == 0 || strstr(name, "process") || strstr(name, "kill"))) {
        return false;
    }
    if (selection->filter && !strstr(name, selection->filter)) {
        return false;
    }
    for (int i = 0; i < selection->count; i++) {
        if (strcmp(selection->names[i], name) == 0) {
            return true;
        }
    }
    return selection->count == 0;
}

/*
 * Waits for the leader to end, but no longer than `limit` seconds. SIGCHLD is blocked, so one that
 * arrives between the look and the wait is kept for the wait.
 */
static bool wait_for_end(pid_t leader, int limit, int *status)
{
    double end = seconds_now() + limit;
    sigset_t child;

    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    for (;;) {
        pid_t ended = waitpid(leader, status, WNOHANG);
        double left = end - seconds_now();

        if (ended == leader) {
            return true;
        }
        if (left <= 0) {
            return false;
        }
        struct timespec rest = {.tv_sec = (time_t)left,
                                .tv_nsec = (long)((left - (double)(time_t)left) * 1e9)};
        sigtimedwait(&child, NULL, &rest);
    }
}

static volatile sig_atomic_t running_group;

/* Whoever ends this program means the test, too, whose processes are in a group of their own. */
static void end_with_test(int number)
{
    if (running_group > 0) {
        kill(-running_group, SIGKILL);
    }
    signal(number, SIG_DFL);
    raise(number);
}

static enum outcome run_one(const struct test *test, const char *name)
{
    double start = seconds_now();
    int limit = watchdog_seconds(name);
    int status = 0;
    sigset_t child_signal, before;

    sigemptyset(&child_signal);
    sigaddset(&child_signal, SIGCHLD);
    sigprocmask(SIG_BLOCK, &child_signal, &before);

    pid_t parent = getpid();
    pid_t leader = fork();
    if (leader == 0) {
        setpgid(0, 0);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent) {
            _exit(1);
        }
        running_group = 0;
        signal(SIGINT, SIG_DFL);
        signal(SIGTERM, SIG_DFL);
        sigprocmask(SIG_SETMASK, &before, NULL);
        test->run();
        exit(0);
    }
    if (leader < 0) {
        printf("FAILED  %s: fork: %s\n", name, strerror(errno));
        return FAILED;
    }
    setpgid(leader, leader);
    running_group = leader;

    bool in_time = wait_for_end(leader, limit, &status);
    kill(-leader, SIGKILL); /* also what a finished test left running */
    if (!in_time) {
        waitpid(leader, &status, 0);
    }
    running_group = 0;
    sigprocmask(SIG_SETMASK, &before, NULL);

    double took = seconds_now() - start;
    if (!in_time) {
        printf("FAILED  %s: still running after %d s\n", name, limit);
    } else if (WIFSIGNALED(status)) {
        printf("FAILED  %s: %s (%.2f s)\n", name, strsignal(WTERMSIG(status)), took);
    } else if (WEXITSTATUS(status) == 0) {
        printf("passed  %s (%.2f s)\n", name, took);
        return PASSED;
    } else if (WEXITSTATUS(status) == SKIPPED) {
        printf("skipped %s\n", name);
        return OMITTED;
    } else {
        printf("FAILED  %s: exit status %d (%.2f s)\n", name, WEXITSTATUS(status), took);
    }
    return FAILED;
}

/* Visits the selected tests; returns how many there were. */
static int visit(const struct selection *selection, int tally[3])
{
    int selected = 0;

    for (size_t i = 0; i < SUITE_COUNT; i++) {
        for (const struct test *test = suites[i].tests; test->name; test++) {
            char name[NAME_MAX_BYTES];

            snprintf(name, sizeof(name), "%s.%s", suites[i].name, test->name);
            if (!is_selected(selection, name)) {
                continue;
            }
            selected++;
            if (selection->list) {
                printf("%s\n", name);
            } else {
                tally[run_one(test, name)]++;
            }
        }
    }
    return selected;
}

int main(int argc, char **argv)
{
    struct selection selection = {.filter = getenv("CSHM_TEST_FILTER"), .names = argv + 1};
    int tally[3] = {0, 0, 0};

    /* A buffered line would be printed again by every child that calls exit(). */
    setvbuf(stdout, NULL, _IONBF, 0);
    /* A parent that ignores SIGCHLD would have the kernel reap our children. */
    signal(SIGCHLD, SIG_DFL);
    signal(SIGINT, end_with_test);
    signal(SIGTERM, end_with_test);

    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--list") == 0) {
            selection.list = true;
        } else if (strcmp(argv[i], "--exclude-processes") == 0) {
            selection.exclude_processes = true;
        } else if (argv[i][0] == '-') {
            fprintf(stderr, "usage: %s [--list] [--exclude-processes] [suite.test ...]\n", argv[0]);
            return 2;
        } else {
            selection.names[selection.count++] = argv[i];
        }
    }

    int selected = visit(&selection, tally);
    if (selection.list) {
        return 0;
    }
    printf("%d passed, %d failed, %d skipped\n", tally[PASSED], tally[FAILED], tally[OMITTED]);
    if (selected < selection.count) {
        fprintf(stderr, "%d of the tests named do not exist or are filtered out\n",
                selection.count - selected);
        return 1;
    }
    if (selected == 0 && selection.filter != NULL) {
        fprintf(stderr, "no test's name contains CSHM_TEST_FILTER=%s\n", selection.filter);
        return 1;
    }
    return tally[FAILED] > 0 ? 1 : 0;
}
