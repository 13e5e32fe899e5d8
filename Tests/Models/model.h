/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * A small explicit-state model checker: every interleaving of a few threads, each of which may die
 * before any of its steps, breadth first, so that the first counterexample is a shortest one.
 *
 * A model is a state (plain bytes that begin with struct model_common), one routine for all threads,
 * and what must hold. A routine reads like the code it stands for:
 *
 *     static bool put(struct state *s, uint32_t self)
 *     {
 *         struct thread *me = &s->thread[self];
 *         BEGIN;
 *         for (;;) {
 *             STEP("[swap] load the cell");
 *             me->seen = s->cell;
 *             ...
 *             CALL(wake(s, self));
 *         }
 *         END;
 *     }
 *
 * What stands between two STEPs happens at once, so there should be one access to shared state in
 * it. Everything else that must survive a STEP lives in the state. Memory is sequentially
 * consistent, unless a model has store buffers of its own.
 *
 * What is checked
 *   check()    in every state
 *   CLAIM()    where it stands in a routine
 *   end()      in every state in which nobody can move; `stuck` has those who did not come to their
 *              end, without being dead
 *   acyclic    no run goes on for ever, whoever is scheduled. Without WAIT_UNTIL this is lock
 *              freedom: a thread that runs alone, beside any number of stopped ones, ends
 */
#ifndef MODEL_H
#define MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum { MODEL_THREADS = 4, MODEL_DEPTH = 8 };

/* How far each thread has come; the first member of every model's state. */
struct model_common {
    uint16_t pc[MODEL_THREADS][MODEL_DEPTH];
    uint8_t ended; /* a bit each */
    uint8_t dead;
    uint8_t deaths;
    uint8_t pad;
};

/* One configuration of a model. */
struct model_case {
    const char *name;
    const void *config;
    const char *error; /* NULL: must hold. Else a known error is built in, and is to be found */
    bool is_long;      /* only with MODELS=long */
};

struct model {
    const char *name;
    size_t size; /* of the state */
    const struct model_case *cases;
    /* Takes the case's configuration; returns how many threads there are, and how many may die. */
    void (*configure)(const void *config, uint32_t *threads, uint32_t *deaths);
    void (*init)(void *state);
    /* Goes to the next STEP of a thread; true at its end. */
    bool (*run)(void *state, uint32_t thread);
    void (*show)(const void *state, FILE *out);
    void (*check)(const void *state); /* or NULL */
    void (*end)(const void *state, uint32_t stuck);
    void (*died)(void *state, uint32_t thread);          /* or NULL */
    bool (*can_die)(const void *state, uint32_t thread); /* or NULL: everybody */
    bool acyclic;
};

/* ---- inside a routine ---- */

#define BEGIN                                              \
    uint16_t *const pc = &s->common.pc[self][model_depth]; \
    switch (*pc) {                                         \
    case 0:

#define STEP(...)                 \
    do {                          \
        *pc = (uint16_t)__LINE__; \
        return false;             \
    case __LINE__:                \
        model_say(__VA_ARGS__);   \
    } while (0)

/* A step that is not possible before the condition holds. */
#define WAIT_UNTIL(condition, ...) \
    do {                           \
        *pc = (uint16_t)__LINE__;  \
        return false;              \
    case __LINE__:                 \
        if (!(condition)) {        \
            model_cannot();        \
            return false;          \
        }                          \
        model_say(__VA_ARGS__);    \
    } while (0)

#define CALL(routine)                 \
    do {                              \
        *pc = (uint16_t)__LINE__;     \
        pc[1] = 0;                    \
        __attribute__((fallthrough)); \
    case __LINE__:                    \
        model_depth++;                \
        if (!(routine)) {             \
            model_depth--;            \
            return false;             \
        }                             \
        model_depth--;                \
    } while (0)

#define RETURN       \
    do {             \
        *pc = 0;     \
        return true; \
    } while (0)

#define END  \
    }        \
    *pc = 0; \
    return true

#define CLAIM(condition, ...)        \
    do {                             \
        if (!(condition)) {          \
            model_fail(__VA_ARGS__); \
        }                            \
    } while (0)

/* How deep in CALLs the step being taken is. */
extern uint32_t model_depth;
/* What the step now taken does, for the trace. The last word counts. */
void model_say(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Something does not hold. */
void model_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The thread cannot move now. */
void model_cannot(void);
/* Any of 0 ... count - 1: each is explored. */
uint32_t model_choose(uint32_t count);

static inline bool model_is_dead(const struct model_common *common, uint32_t thread)
{
    return (common->dead >> thread & 1) != 0;
}

#endif /* MODEL_H */
