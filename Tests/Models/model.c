/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * The explorer, see model.h:
 *
 *   models [--long] [--list] [text ...]    the models whose name contains a text, or all of them
 */
#include "model.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* The one list of models. */
#define MODELS(X)  \
    X(park)        \
    X(bell)        \
    X(barrier)     \
    X(condition)   \
    X(rwlock)      \
    X(semaphore)   \
    X(permits)     \
    X(queue)       \
    X(lease)       \
    X(tokens)      \
    X(lanes)       \
    X(ring)        \
    X(broadcast)   \
    X(slot)        \
    X(map)         \
    X(list)        \
    X(transaction) \
    X(look)        \
    X(expect)

#define DECLARE(noun) extern const struct model noun##_model;
#define ENTRY(noun)   &noun##_model,

MODELS(DECLARE)

static const struct model *const models[] = {MODELS(ENTRY)};

enum {
    TEXT = 200,
    CHOICES = 8,
    FIRST_TABLE = 1 << 16,
    MEMORY_MAX_MIB = 6144,
};

/* How a state was reached: by the outcome-th outcome of this thread's step, or by its death. */
struct origin {
    uint32_t parent;
    uint8_t thread;
    uint8_t outcome;
    uint8_t death;
};

static struct {
    const struct model *model;
    uint32_t threads;
    uint32_t deaths;
    /* states, in the order in which they were found */
    uint8_t *states;
    struct origin *origin;
    uint32_t *arrivals; /* edges that lead to each */
    uint32_t count;
    uint32_t room;
    /* open addressing: index + 1 */
    uint32_t *table;
    uint32_t table_size;
    uint64_t edges;
    /* of the step being taken */
    char said[TEXT];
    char failure[TEXT];
    bool cannot;
    uint32_t choice[CHOICES];
    uint32_t choices[CHOICES];
    uint32_t choice_count;
} x;

/* ---- what a routine calls ---- */

uint32_t model_depth;

void model_say(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(x.said, sizeof x.said, format, arguments);
    va_end(arguments);
}

void model_fail(const char *format, ...)
{
    va_list arguments;
    if (x.failure[0] == '\0') {
        va_start(arguments, format);
        vsnprintf(x.failure, sizeof x.failure, format, arguments);
        va_end(arguments);
    }
}

void model_cannot(void)
{
    x.cannot = true;
}

uint32_t model_choose(uint32_t count)
{
    if (x.choice_count == CHOICES || count == 0) {
        model_fail("model: no choice left");
        return 0;
    }
    uint32_t i = x.choice_count++;
    x.choices[i] = count;
    return x.choice[i] < count ? x.choice[i] : 0;
}

/* ---- states ---- */

static uint8_t *state_at(uint32_t index)
{
    return x.states + (size_t)index * x.model->size;
}

static uint64_t hash_of(const uint8_t *state)
{
    uint64_t hash = 0x9e3779b97f4a7c15ull;
    for (size_t i = 0; i < x.model->size; i += 8) {
        uint64_t word = 0;
        memcpy(&word, state + i, x.model->size - i < 8 ? x.model->size - i : 8);
        hash = (hash ^ word) * 0xff51afd7ed558ccdull;
        hash ^= hash >> 32;
    }
    return hash;
}

static void *must(void *memory)
{
    if (memory == NULL) {
        fprintf(stderr, "models: no memory\n");
        exit(2);
    }
    return memory;
}

static void double_table(void)
{
    free(x.table);
    x.table_size = x.table_size == 0 ? FIRST_TABLE : 2 * x.table_size;
    x.table = must(calloc(x.table_size, sizeof *x.table));
    for (uint32_t i = 0; i < x.count; i++) {
        uint64_t at = hash_of(state_at(i)) & (x.table_size - 1);
        while (x.table[at] != 0) {
            at = (at + 1) & (x.table_size - 1);
        }
        x.table[at] = i + 1;
    }
}

static void make_room(void)
{
    if (x.count == x.room) {
        x.room = x.room == 0 ? FIRST_TABLE / 2 : 2 * x.room;
        if ((uint64_t)x.room * x.model->size >> 20 > MEMORY_MAX_MIB) {
            fprintf(stderr, "models: %s has more states than memory for them\n", x.model->name);
            exit(2);
        }
        x.states = must(realloc(x.states, (size_t)x.room * x.model->size));
        x.origin = must(realloc(x.origin, x.room * sizeof *x.origin));
        x.arrivals = must(realloc(x.arrivals, x.room * sizeof *x.arrivals));
    }
    if (x.count >= x.table_size / 2) {
        double_table();
    }
}

/* Finds a state, or adds it. @returns its index. */
static uint32_t intern(const uint8_t *state, struct origin origin)
{
    make_room();
    uint64_t at = hash_of(state) & (x.table_size - 1);
    for (; x.table[at] != 0; at = (at + 1) & (x.table_size - 1)) {
        if (memcmp(state_at(x.table[at] - 1), state, x.model->size) == 0) {
            return x.table[at] - 1;
        }
    }
    memcpy(state_at(x.count), state, x.model->size);
    x.origin[x.count] = origin;
    x.arrivals[x.count] = 0;
    x.table[at] = x.count + 1;
    return x.count++;
}

/* ---- steps ---- */

static struct model_common *common_of(uint8_t *state)
{
    return (struct model_common *)(void *)state;
}

static bool can_run(const struct model_common *common, uint32_t thread)
{
    return ((common->ended | common->dead) >> thread & 1) == 0;
}

/* One outcome of a thread's step, in place. @returns false if it cannot move. */
static bool take_step(uint8_t *state, uint32_t thread)
{
    x.cannot = false;
    model_depth = 0;
    x.choice_count = 0;
    snprintf(x.said, sizeof x.said, "begins");
    if (x.model->run(state, thread)) {
        common_of(state)->ended |= (uint8_t)(1u << thread);
    }
    return !x.cannot;
}

/* The next combination of choices. @returns false after the last one. */
static bool next_choices(void)
{
    for (uint32_t i = x.choice_count; i-- > 0;) {
        if (++x.choice[i] < x.choices[i]) {
            memset(&x.choice[i + 1], 0, (CHOICES - i - 1) * sizeof x.choice[0]);
            return true;
        }
        x.choice[i] = 0;
    }
    return false;
}

static void die(uint8_t *state, uint32_t thread)
{
    struct model_common *common = common_of(state);
    common->dead |= (uint8_t)(1u << thread);
    common->deaths++;
    memset(common->pc[thread], 0, sizeof common->pc[thread]);
    snprintf(x.said, sizeof x.said, "DIES");
    if (x.model->died != NULL) {
        x.model->died(state, thread);
    }
}

/* Calls `visit` with each successor, until it returns false. @returns how many there were. */
static uint32_t successors(uint32_t from, uint8_t *scratch,
                           bool (*visit)(const uint8_t *state, struct origin origin))
{
    uint32_t count = 0;
    for (uint32_t thread = 0; thread < x.threads; thread++) {
        if (!can_run(common_of(state_at(from)), thread)) {
            continue;
        }
        memset(x.choice, 0, sizeof x.choice);
        for (uint32_t outcome = 0;; outcome++) {
            memcpy(scratch, state_at(from), x.model->size);
            if (take_step(scratch, thread)) {
                count++;
                if (!visit(scratch, (struct origin){from, (uint8_t)thread, (uint8_t)outcome, 0})) {
                    return count;
                }
            }
            if (!next_choices()) {
                break;
            }
        }
        memcpy(scratch, state_at(from), x.model->size);
        if (common_of(scratch)->deaths < x.deaths &&
            (x.model->can_die == NULL || x.model->can_die(scratch, thread))) {
            die(scratch, thread);
            if (!visit(scratch, (struct origin){from, (uint8_t)thread, 0, 1})) {
                return count;
            }
        }
    }
    return count;
}

/* ---- telling ---- */

static void tell(uint32_t thread, const uint8_t *state)
{
    printf("    thread %-5u %-44s ", thread, x.said);
    x.model->show(state, stdout);
    printf("\n");
}

static void repeat(uint8_t *state, struct origin origin)
{
    memset(x.choice, 0, sizeof x.choice);
    if (origin.death) {
        die(state, origin.thread);
        return;
    }
    for (uint32_t outcome = 0;; outcome++) {
        uint8_t *before = must(malloc(x.model->size));
        memcpy(before, state, x.model->size);
        take_step(state, origin.thread);
        if (outcome == origin.outcome) {
            free(before);
            return;
        }
        memcpy(state, before, x.model->size);
        free(before);
        next_choices();
    }
}

/* Prints how the last step of `origin` was reached. @returns how many steps there were. */
static uint32_t print_trace(struct origin last, bool quiet)
{
    uint32_t length = 1;
    for (uint32_t i = last.parent; i != 0; i = x.origin[i].parent) {
        length++;
    }
    if (quiet) {
        return length;
    }
    struct origin *path = must(calloc(length, sizeof *path));
    path[length - 1] = last;
    for (uint32_t i = length - 1; i > 0; i--) {
        path[i - 1] = x.origin[path[i].parent];
    }
    uint8_t *state = must(malloc(x.model->size));
    memcpy(state, state_at(0), x.model->size);
    printf("    %-12s %-44s ", "", "at first");
    x.model->show(state, stdout);
    printf("\n");
    for (uint32_t i = 0; i < length; i++) {
        repeat(state, path[i]);
        tell(path[i].thread, state);
    }
    free(state);
    free(path);
    return length;
}

/* ---- exploring ---- */

static struct origin failed_at;

static bool visit_new(const uint8_t *state, struct origin origin)
{
    x.edges++;
    if (x.failure[0] == '\0' && x.model->check != NULL) {
        x.model->check(state);
    }
    if (x.failure[0] != '\0') {
        failed_at = origin;
        return false;
    }
    uint32_t index = intern(state, origin); /* may move the arrays */
    x.arrivals[index]++;
    return true;
}

static void check_end(uint32_t index)
{
    const struct model_common *common = common_of(state_at(index));
    uint32_t stuck = 0;
    for (uint32_t i = 0; i < x.threads; i++) {
        stuck |= (uint32_t)can_run(common, i) << i;
    }
    if (x.model->end != NULL) {
        x.model->end(state_at(index), stuck);
    } else {
        CLAIM(stuck == 0, "stuck");
    }
    if (x.failure[0] != '\0') {
        failed_at = x.origin[index];
    }
}

static uint32_t *ready;
static uint32_t ready_count;

static bool visit_removed(const uint8_t *state, struct origin origin)
{
    uint32_t index = intern(state, origin);
    if (--x.arrivals[index] == 0) {
        ready[ready_count++] = index;
    }
    return true;
}

/* Takes away states to which nothing leads any more; what is left then lies on or behind a cycle. */
static void check_acyclic(uint8_t *scratch)
{
    ready = must(malloc((size_t)x.count * sizeof *ready));
    ready_count = 0;
    if (x.arrivals[0] == 0) {
        ready[ready_count++] = 0;
    }
    for (uint32_t i = 0; i < ready_count; i++) {
        (void)successors(ready[i], scratch, visit_removed);
    }
    if (ready_count < x.count) {
        for (uint32_t i = 0; i < x.count; i++) {
            if (x.arrivals[i] != 0) {
                failed_at = x.origin[i];
                break;
            }
        }
        model_fail("a run that never ends begins here");
    }
    free(ready);
}

static void explore(void)
{
    uint8_t *scratch = must(calloc(1, x.model->size));
    x.model->init(scratch);
    for (uint32_t i = 0; i < x.threads; i++) {
        take_step(scratch, i); /* up to its first STEP: nothing shared */
    }
    (void)intern(scratch, (struct origin){0});
    for (uint32_t i = 0; i < x.count && x.failure[0] == '\0'; i++) {
        if (successors(i, scratch, visit_new) == 0 && x.failure[0] == '\0') {
            check_end(i);
        }
    }
    if (x.failure[0] == '\0' && x.model->acyclic) {
        check_acyclic(scratch);
    }
    free(scratch);
}

static double seconds_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* @returns whether the case came out as it must. */
static bool run_case(const struct model *model, const struct model_case *this, bool verbose)
{
    double start = seconds_now();
    memset(&x, 0, sizeof x);
    x.model = model;
    model->configure(this->config, &x.threads, &x.deaths);
    explore();
    bool good = this->error == NULL
                    ? x.failure[0] == '\0'
                    : x.failure[0] != '\0' && strstr(x.failure, this->error) != NULL;
    const char *verdict = !good ? "FAILED" : this->error == NULL ? "holds " : "caught";
    printf("%s  %s: %s (%u states, %.1f s)\n", verdict, model->name, this->name, x.count,
           seconds_now() - start);
    if (x.failure[0] != '\0') {
        char failure[TEXT];
        memcpy(failure, x.failure, sizeof failure);
        uint32_t length = print_trace(failed_at, good && !verbose);
        printf("        after %u steps: %s\n", length, failure);
    } else if (!good) {
        printf("        the error built in was not found: %s\n", this->error);
    }
    free(x.states);
    free(x.origin);
    free(x.arrivals);
    free(x.table);
    return good;
}

static bool is_named(const char *model, const char *name, char **texts, int count)
{
    char full[TEXT];
    snprintf(full, sizeof full, "%s: %s", model, name);
    for (int i = 0; i < count; i++) {
        if (strstr(full, texts[i]) != NULL) {
            return true;
        }
    }
    return count == 0;
}

int main(int argc, char **argv)
{
    bool list = false;
    bool longer = false;
    bool verbose = false;
    uint32_t failed = 0;
    uint32_t done = 0;
    int first = 1;
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (; first < argc && strncmp(argv[first], "--", 2) == 0; first++) {
        list |= strcmp(argv[first], "--list") == 0;
        longer |= strcmp(argv[first], "--long") == 0;
        verbose |= strcmp(argv[first], "--traces") == 0;
    }
    for (size_t i = 0; i < sizeof models / sizeof models[0]; i++) {
        for (const struct model_case *this = models[i]->cases; this->name != NULL; this ++) {
            if ((this->is_long && !longer) ||
                !is_named(models[i]->name, this->name, argv + first, argc - first)) {
                continue;
            }
            if (list) {
                printf("%s: %s\n", models[i]->name, this->name);
            } else {
                failed += !run_case(models[i], this, verbose);
            }
            done++;
        }
    }
    if (!list) {
        printf("%u cases, %u failed\n", done, failed);
    }
    return failed == 0 && done > 0 ? 0 : 1;
}
