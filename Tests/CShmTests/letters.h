/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * What crowds of threads and processes send each other: who put it, as the how-many-eth, and bytes
 * that say whether it is whole. A child that finds something wrong ends with 1.
 */
#ifndef CSHM_LETTERS_H
#define CSHM_LETTERS_H

#include "support.h"

/* Those that put, over a run: each successor of a dead one is another. */
enum { INCARNATIONS = 1 << 16 };

struct letter {
    uint64_t incarnation;
    uint64_t number;
    uint64_t check;
    uint64_t filler[10]; /* only long letters have it */
};

static inline struct letter make_letter(uint64_t incarnation, uint64_t number)
{
    struct letter letter = {.incarnation = incarnation, .number = number};
    letter.check = incarnation * 31 + number * 17;
    for (uint64_t i = 0; i < 10; i++) {
        letter.filler[i] = number + i;
    }
    return letter;
}

/* Each fifth is long. */
static inline uint64_t letter_length(const struct letter *letter)
{
    return letter->number % 5 == 0 ? sizeof *letter : offsetof(struct letter, filler);
}

static inline void require_whole(const struct letter *letter, uint64_t length)
{
    REQUIRE(length == letter_length(letter));
    REQUIRE(letter->incarnation < INCARNATIONS);
    REQUIRE(letter->check == letter->incarnation * 31 + letter->number * 17);
    for (uint64_t i = 0; letter->number % 5 == 0 && i < 10; i++) {
        REQUIRE(letter->filler[i] == letter->number + i);
    }
}

/* A child that has told so is to be stopped or killed where it is. */
static inline void hang(_Atomic uint32_t *ready)
{
    atomic_store(ready, 1);
    for (;;) {
        pause();
    }
}

/* Until somebody has counted so many more. */
static inline void wait_for_more(const _Atomic uint64_t *count, uint64_t more)
{
    uint64_t seen = atomic_load(count);
    int64_t end = after(10 * SECOND);
    while (atomic_load(count) < seen + more) {
        CHECK(cshm_now_ns() < end);
        usleep(50);
    }
}

#endif /* CSHM_LETTERS_H */
