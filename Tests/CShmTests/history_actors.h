/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Processes that use an object and write their histories, while a director kills, stops and replaces
 * them at random.
 */
#ifndef CSHM_HISTORY_ACTORS_H
#define CSHM_HISTORY_ACTORS_H

#include "history.h"

/* Sanitizers make them slow, and what they look for is in each. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { HISTORIES = 40 };
#else
enum { HISTORIES = 150 };
#endif

enum {
    ACTORS = 4,
    DEATHS = 8, /* in each */
};

struct scene {
    struct history *history;
    uint64_t offset; /* of the object */
    uint64_t seed;
    int32_t turn; /* the next actor's log, from which its values follow */
    void (*act)(cshm_region *region, void *scene);
    /* Or NULL: what the director does when it has reaped one, after which what that one had begun has
     * taken effect or never will. */
    void (*settle)(cshm_region *region, const struct scene *scene);
    /* Or NULL: what it does then, before that death is over. */
    void (*bury)(cshm_region *region, const struct scene *scene);
};

struct tally {
    int64_t end; /* when the histories that there are will do */
    uint32_t histories;
    uint64_t operations;
    uint64_t unknown; /* in the middle of which somebody was killed */
};

struct history *make_history(void);
void forget(struct history *history);

/* Actors are killed, all of them. */
_Noreturn void wait_for_the_end(void);

/* Kills, stops and continues actors at random, those at work first, and replaces the killed; in the
 * end kills all. Some halt by themselves in the middle of an operation, and are killed there: the
 * director of a busy machine may look so seldom that it finds nobody at work. */
void direct(cshm_region *region, struct scene *scene, void (*act)(cshm_region *region, void *scene),
            uint64_t *random);

void expect_linearizable(const struct history *history, const struct object *object);
/* Whether one more history is wanted: as many as are asked for; where others have the CPUs, and each
 * takes long, those that fit into a third of the test's time, once somebody was killed in the middle
 * of an operation. */
bool wants_more(struct tally *tally, uint32_t most);
void count(const struct history *history, struct tally *tally);
void expect_enough(const struct tally *tally);

#endif /* CSHM_HISTORY_ACTORS_H */
