/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Runs the scenarios, several at a time, each in a process of its own, and judges the points.
 *
 *   cshm-kill [noun.scenario ...]   all of them and then the points; or those named, without
 *   cshm-kill --list                names only
 *   cshm-kill --points              all of them, and what became of each point
 */
#include "kill.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "internal.h"
#include "unreached.h"

/* The one list of nouns. */
#define NOUNS(X)   \
    X(region)      \
    X(participant) \
    X(mutex)       \
    X(lockwatch)   \
    X(event)       \
    X(latch)       \
    X(once)        \
    X(barrier)     \
    X(condition)   \
    X(rwlock)      \
    X(semaphore)   \
    X(permits)     \
    X(baton)       \
    X(park)        \
    X(bell)        \
    X(value)       \
    X(atomic)      \
    X(heap)        \
    X(directory)   \
    X(ring)        \
    X(queue)       \
    X(lanes)       \
    X(broadcast)   \
    X(outcome)     \
    X(anchor)      \
    X(board)       \
    X(board_look)  \
    X(slot)        \
    X(map)         \
    X(map_nest)    \
    X(transaction) \
    X(list)

#define DECLARE(noun) extern const struct scenario noun##_scenarios[];
#define ENTRY(noun)   {#noun, noun##_scenarios},

NOUNS(DECLARE)

static const struct noun {
    const char *name;
    const struct scenario *scenarios;
} nouns[] = {NOUNS(ENTRY)};

enum {
    NOUN_COUNT = sizeof nouns / sizeof nouns[0],
    WATCHDOG_S = 30, /* without a trial's end */
    FAILED_STATUS = 1,
    KILLS_MIN = 20000, /* of all scenarios together */
    PARALLEL_MAX = 64,
};

struct tally {
    _Atomic uint64_t kills; /* at a point; but each victim of a pair is one, too */
    _Atomic uint64_t pairs;
    _Atomic uint64_t stops;
};

static struct tally *total;

/* What the scenario's process is at, for messages. */
static struct {
    const char *noun;
    const struct scenario *scenario;
    enum cut cut; /* the victim's */
    enum cut cut_too;
    uint32_t at;
    uint32_t at_too;
    struct report *report;
    struct tally tally;
} now;

static void *shared_memory(size_t size)
{
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        perror("mmap");
        exit(2);
    }
    return memory;
}

/* ---- messages ---- */

static void print_point(const char *what, uint32_t index_plus_1)
{
    if (index_plus_1 != 0) {
        const struct point *point = &knife_points[index_plus_1 - 1];
        fprintf(stderr, "    %s before %s:%llu, in %s: %s\n", what, point->path,
                (unsigned long long)point->line, point->function, point->text);
    }
}

static void print_trial(void)
{
    fprintf(stderr, "  in %s.%s, victim %s at its point %u", now.noun, now.scenario->name,
            now.cut == CUT_STOP ? "stopped" : "killed", now.at);
    if (now.at_too != 0) {
        fprintf(stderr, ", recoverer %s at %u", now.cut_too == CUT_STOP ? "stopped" : "killed",
                now.at_too);
    }
    fprintf(stderr, "\n");
    print_point("victim", atomic_load(&now.report->cut));
    print_point("recoverer", atomic_load(&now.report->cut_too));
}

_Noreturn void kill_fail(const char *file, int line, const char *what, long long left,
                         long long right)
{
    fprintf(stderr, "%s:%d: %s (%lld, %lld)\n", file, line, what, left, right);
    print_trial();
    _exit(FAILED_STATUS);
}

static void on_alarm(int signal __attribute__((unused)))
{
    fprintf(stderr, "nothing moved for %d s\n", WATCHDOG_S);
    print_trial();
    _exit(FAILED_STATUS);
}

/* ---- processes ---- */

static pid_t fork_child(void)
{
    pid_t parent = getpid();
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent) {
            _exit(FAILED_STATUS);
        }
    }
    return child;
}

/* Waits for a killed or stopped child. @returns whether it was stopped. */
static bool await_child(pid_t child)
{
    int status = 0;
    CHECK_EQ(waitpid(child, &status, WUNTRACED), child);
    if (WIFEXITED(status) && WEXITSTATUS(status) == FAILED_STATUS) {
        _exit(FAILED_STATUS); /* it has said why */
    }
    CHECK(WIFSTOPPED(status) || (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL));
    return WIFSTOPPED(status);
}

static void join(struct world *world)
{
    CHECK_EQ(cshm_region_join(world->region), 0);
}

void kill_after(struct world *world, void (*body)(struct world *))
{
    pid_t child = fork_child();
    if (child == 0) {
        join(world);
        body(world);
        knife_die();
    }
    CHECK(!await_child(child));
}

/* ---- one trial ---- */

static _Noreturn void be_victim(struct world *world, const struct scenario *scenario)
{
    struct report *report = world->report;
    if (!scenario->unattached) {
        join(world);
        atomic_store(&report->stamp, cshm_participant_self(world->region));
    }
    if (scenario->prepare != NULL) {
        scenario->prepare(world);
    }
    knife_arm(now.cut, now.at, &report->cut);
    int status = scenario->operate(world);
    knife_disarm();
    atomic_store(&report->status, status);
    atomic_store(&report->returned, 1);
    knife_die();
}

static void recover(struct world *world, const struct scenario *scenario)
{
    if (scenario->recover != NULL) {
        scenario->recover(world);
    }
    CHECK(cshm_region_reap(world->region) >= 0);
}

static _Noreturn void be_recoverer(struct world *world, const struct scenario *scenario)
{
    knife_arm(now.cut_too, now.at_too, &world->report->cut_too);
    join(world);
    recover(world, scenario);
    knife_die();
}

/* What holds of every region whose objects are gone and whose dead are swept. */
static void check_region(cshm_region *region)
{
    uint64_t self = cshm_participant_self(region);
    uint64_t place = 0;
    for (uint32_t i = 0; i < CSHM_PARTICIPANTS_MAX; i++) {
        uint64_t state = atomic_load(&region->participants[i].state);
        CHECK_EQ(state >> 56, i + 1 == (self & 0xffff) ? CSHM_PARTICIPANT_LIVE : 0);
    }
    CHECK_EQ(blocks_in_use(region), 0);
    uint64_t count = atomic_load(&region->live->committed_spans);
    for (uint64_t i = 0; i < count; i++) {
        uint64_t kind = atomic_load(&region->spans[i].word) >> 56;
        uint64_t owner = atomic_load(&region->spans[i].owner);
        if (kind == CSHM_SPAN_LARGE) { /* a kept run, and whole */
            CHECK_EQ(owner, 0);
            for (uint64_t rest = atomic_load(&region->spans[i].word) & 0xffff; rest > 1; rest--) {
                CHECK_EQ(atomic_load(&region->spans[++i].word) >> 56, CSHM_SPAN_CONTINUED);
            }
            continue;
        }
        CHECK(kind == CSHM_SPAN_FREE || kind == CSHM_SPAN_SMALL);
        CHECK(kind == CSHM_SPAN_FREE || owner == 0 || owner == self);
    }
    /* The heap's lock is free, and its spans can be had again. */
    CHECK_EQ(cshm_heap_allocate(region, CSHM_SPAN * 2, &place), 0);
    CHECK_EQ(cshm_heap_free(region, place), 0);
}

static void check(struct world *world, const struct scenario *scenario)
{
    scenario->check(world);
    CHECK(cshm_region_reap(world->region) >= 0);
    check_region(world->region);
}

static void survive_stop(struct world *world, const struct scenario *scenario, pid_t victim)
{
    uint64_t stamp = atomic_load(&world->report->stamp); /* 0 if it was leaving */
    CHECK(cshm_region_reap(world->region) >= 0);
    if (scenario->meanwhile != NULL) {
        scenario->meanwhile(world);
    }
    CHECK(stamp == 0 || !cshm_participant_is_gone(world->region, stamp));
    kill(victim, SIGCONT);
    CHECK(!await_child(victim));
    CHECK(returned(world));
}

static void run_victim(struct world *world, const struct scenario *scenario)
{
    pid_t victim = fork_child();
    if (victim == 0) {
        be_victim(world, scenario);
    }
    if (await_child(victim)) {
        survive_stop(world, scenario, victim);
    }
    bool was_killed = now.cut == CUT_KILL && atomic_load(&now.report->cut) != 0;
    CHECK_EQ(returned(world), !was_killed);
}

static void run_recoverer(struct world *world, const struct scenario *scenario)
{
    pid_t recoverer = fork_child();
    if (recoverer == 0) {
        be_recoverer(world, scenario);
    }
    if (await_child(recoverer)) {
        CHECK(cshm_region_reap(world->region) >= 0); /* does not wait for it */
        kill(recoverer, SIGCONT);
        CHECK(!await_child(recoverer));
    }
}

static void run_trial(const struct scenario *scenario)
{
    struct cshm_region_options options = {.capacity = scenario->capacity == 0 ? 1u << 20
                                                                              : scenario->capacity};
    struct world world = {.report = now.report};
    alarm(WATCHDOG_S);
    memset(now.report, 0, sizeof *now.report);
    CHECK_EQ(cshm_region_create(&options, &world.region), 0);
    if (scenario->setup != NULL) {
        scenario->setup(&world);
    }
    run_victim(&world, scenario);
    if (now.at_too != 0) {
        run_recoverer(&world, scenario);
    }
    recover(&world, scenario);
    check(&world, scenario);
    cshm_region_close(world.region);
}

/* @returns whether the victim was cut. */
static bool cut_victim(const struct scenario *scenario, enum cut cut, uint32_t at)
{
    now.cut = cut;
    now.at = at;
    now.at_too = 0;
    run_trial(scenario);
    return atomic_load(&now.report->cut) != 0;
}

/* @returns the point at which the recoverer was cut, + 1, or 0. */
static uint32_t cut_recoverer(const struct scenario *scenario, enum cut cut, uint32_t at)
{
    now.cut_too = cut;
    now.at_too = at;
    run_trial(scenario);
    return atomic_load(&now.report->cut_too);
}

/* ---- one scenario ---- */

/* After each death of the victim, kills whoever recovers at each of its points; and stops it there,
 * if nobody was stopped there yet. */
static void run_pairs(const struct scenario *scenario)
{
    uint32_t at_too = 0;
    uint32_t where;
    do {
        where = cut_recoverer(scenario, CUT_KILL, ++at_too);
        now.tally.pairs++;
        if (where != 0 && atomic_load(&knife_uses[where - 1].stopped) == 0) {
            now.tally.stops += cut_recoverer(scenario, CUT_STOP, at_too) != 0;
        }
    } while (where != 0);
}

/* Cuts the victim at each of its points. @returns the first number beyond them. */
static uint32_t run_cuts(const struct scenario *scenario, enum cut cut, _Atomic uint64_t *tally)
{
    uint32_t at = 1;
    while (cut_victim(scenario, cut, at)) {
        at += scenario->step == 0 ? 1 : scenario->step;
        (*tally)++;
    }
    while (scenario->step > 1 && cut_victim(scenario, cut, KNIFE_FRESH)) {
        (*tally)++;
    }
    return at;
}

static void run_scenario(const struct scenario *scenario)
{
    int64_t start = cshm_now_ns();
    uint32_t end = run_cuts(scenario, CUT_KILL, &now.tally.kills);
    (void)run_cuts(scenario, CUT_STOP, &now.tally.stops);
    now.cut = CUT_KILL;
    for (now.at = 1; scenario->pairs != 0 && now.at <= end; now.at += scenario->pairs) {
        run_pairs(scenario);
    }
    printf("passed  %s.%s: %llu kills, %llu pairs, %llu stops (%.2f s)\n", now.noun, scenario->name,
           (unsigned long long)now.tally.kills, (unsigned long long)now.tally.pairs,
           (unsigned long long)now.tally.stops, (double)(cshm_now_ns() - start) / 1e9);
    total->kills += now.tally.kills + 2 * now.tally.pairs;
    total->stops += now.tally.stops;
}

static pid_t start_scenario(const char *noun, const struct scenario *scenario)
{
    pid_t child = fork();
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        signal(SIGALRM, on_alarm);
        now.noun = noun;
        now.scenario = scenario;
        now.report = shared_memory(sizeof *now.report);
        run_scenario(scenario);
        _exit(0);
    }
    return child;
}

static bool scenario_passed(void)
{
    int status = 0;
    return wait(&status) > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* ---- the judgement on the points ---- */

static const struct unreached *excuse_for(const struct point *point)
{
    const char *slash = strrchr(point->path, '/');
    for (const struct unreached *u = unreached; u->file != NULL; u++) {
        if (strcmp(u->file, slash == NULL ? point->path : slash + 1) == 0 &&
            (u->function == NULL || strcmp(u->function, point->function) == 0) &&
            strstr(point->text, u->text) != NULL) {
            return u;
        }
    }
    return NULL;
}

static bool is_same_store(const struct point *a, const struct point *b)
{
    return a->line == b->line && strcmp(a->function, b->function) == 0 &&
           strcmp(a->path, b->path) == 0 && strcmp(a->callee, b->callee) == 0;
}

/* What became of a store, of which the compiler may have made several. */
static struct point_use use_of(uint32_t index)
{
    struct point_use sum = {0};
    for (uint32_t i = 0; i < knife_point_count(); i++) {
        if (is_same_store(&knife_points[i], &knife_points[index])) {
            sum.shared += knife_uses[i].shared;
            sum.local += knife_uses[i].local;
            sum.killed += knife_uses[i].killed;
            sum.stopped += knife_uses[i].stopped;
        }
    }
    return sum;
}

/* @returns what is wrong with how a point fared, or NULL. */
static const char *verdict(const struct point *point, const struct point_use *use)
{
    const struct unreached *excuse = excuse_for(point);
    if (excuse != NULL && excuse->function == NULL) {
        return NULL; /* its scenarios are to come; others may use it */
    }
    if (use->shared == 0) {
        return use->local != 0 || excuse != NULL ? NULL : "was never reached";
    }
    if (excuse != NULL) {
        return "is reached, but unreached.h says that it cannot be";
    }
    return use->killed == 0    ? "was never killed at"
           : use->stopped == 0 ? "was never stopped at"
                               : NULL;
}

static bool excuses_are_current(void)
{
    bool good = true;
    for (const struct unreached *u = unreached; u->file != NULL; u++) {
        uint32_t i = 0;
        while (i < knife_point_count() && excuse_for(&knife_points[i]) != u) {
            i++;
        }
        if (i == knife_point_count()) {
            printf("unreached.h: no such point: %s, %s: %s\n", u->file,
                   u->function == NULL ? "" : u->function, u->text);
            good = false;
        }
    }
    return good;
}

static bool judge_points(bool print)
{
    uint32_t shared = 0;
    bool good = excuses_are_current();
    for (uint32_t i = 0; i < knife_point_count(); i++) {
        const struct point *point = &knife_points[i];
        struct point_use use = use_of(i);
        const char *wrong = verdict(point, &use);
        shared += knife_uses[i].shared != 0;
        if (wrong != NULL || print) {
            printf("%s:%llu: %s: %s: %s (killed %u, stopped %u)\n", point->path,
                   (unsigned long long)point->line, point->function, point->text,
                   wrong == NULL ? "good" : wrong, use.killed, use.stopped);
        }
        good = good && wrong == NULL;
    }
    printf("%u points in the code, %u of them in shared memory or the kernel\n",
           knife_point_count(), shared);
    return good;
}

/* ---- all ---- */

static bool is_named(const char *noun, const char *scenario, char **names)
{
    char full[128];
    snprintf(full, sizeof full, "%s.%s", noun, scenario);
    for (; *names != NULL; names++) {
        if (strcmp(*names, full) == 0 || strcmp(*names, noun) == 0) {
            return true;
        }
    }
    return false;
}

int main(int argc, char **argv)
{
    bool list = argc > 1 && strcmp(argv[1], "--list") == 0;
    bool print = argc > 1 && strcmp(argv[1], "--points") == 0;
    bool all = argc == 1 || list || print;
    int64_t start = cshm_now_ns();
    long parallel = sysconf(_SC_NPROCESSORS_ONLN);
    long running = 0;
    uint32_t selected = 0;
    uint32_t failed = 0;

    setvbuf(stdout, NULL, _IOLBF, 0);
    signal(SIGCHLD, SIG_DFL);
    knife_init();
    total = shared_memory(sizeof *total);
    for (uint32_t i = 0; i < NOUN_COUNT; i++) {
        for (const struct scenario *s = nouns[i].scenarios; s->name != NULL; s++) {
            if (!all && !is_named(nouns[i].name, s->name, argv + 1)) {
                continue;
            }
            selected++;
            if (list) {
                printf("%s.%s\n", nouns[i].name, s->name);
                continue;
            }
            if (running == parallel) {
                failed += scenario_passed() ? 0 : 1;
                running--;
            }
            running += start_scenario(nouns[i].name, s) > 0;
        }
    }
    for (; running > 0; running--) {
        failed += scenario_passed() ? 0 : 1;
    }
    if (list) {
        return 0;
    }
    printf("%u scenarios, %u failed; %llu kills, %llu stops; %.1f s\n", selected, failed,
           (unsigned long long)total->kills, (unsigned long long)total->stops,
           (double)(cshm_now_ns() - start) / 1e9);
    bool good = !all || failed != 0 || judge_points(print);
    if (all && total->kills < KILLS_MIN) {
        printf("fewer than %d kills\n", KILLS_MIN);
        good = false;
    }
    return selected != 0 && failed == 0 && good ? 0 : 1;
}
