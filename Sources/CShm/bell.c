/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * See cshm/bell.h for the model. Pairs:
 *
 *   [announce]  of park.c, with ARMED in the place of ASLEEP: the bell's number is stored, then the
 *               bit, then every publisher is interrupted, then the waitable is asked.
 *   [arm]       arming changes the word's count too. A waker counts itself, rings every number it
 *               finds, and drops the bit only if the word is still its own: a bell that was armed
 *               after the count stays armed, one that was armed before is rung.
 */
#include <cshm/bell.h>

#include <errno.h>
#include <sched.h>
#include <stdlib.h>

#include "internal.h"

enum {
    LOOKS = 16, /* with a sched_yield() between them, before cshm_wait_any() sleeps */
};

struct cshm_bell {
    uint64_t number;
    int descriptor;
};

/* The line of a parking word; NULL if it does not begin one, and so has no room. */
static struct cshm_park_line *line_of(cshm_park *park)
{
    return (uintptr_t)park % CSHM_LINE == 0 ? (struct cshm_park_line *)(void *)park : NULL;
}

int cshm_bell_create(cshm_bell **out)
{
    cshm_bell *bell = calloc(1, sizeof *bell);
    if (bell == NULL) {
        return -ENOMEM;
    }
    int status;
    do {
        status = cshm__random(&bell->number, sizeof bell->number);
        if (status == 0) {
            status = bell->number == 0 ? -EADDRINUSE : cshm__bell_listen(bell->number);
        }
    } while (status == -EADDRINUSE);
    if (status < 0) {
        free(bell);
        return status;
    }
    bell->descriptor = status;
    *out = bell;
    return 0;
}

void cshm_bell_close(cshm_bell *bell)
{
    cshm__close(bell->descriptor);
    free(bell);
}

int cshm_bell_descriptor(const cshm_bell *bell)
{
    return bell->descriptor;
}

void cshm_bell_clear(cshm_bell *bell)
{
    cshm__bell_drain(bell->descriptor);
}

/* Rings every bell of the line; drops those whose owners are gone. @returns false if it could not. */
bool cshm__bell_ring(cshm_park *park)
{
    struct cshm_park_line *line = line_of(park);
    if (line == NULL) {
        return true;
    }
    int sender = cshm__bell_sender();
    for (uint32_t i = 0; sender >= 0 && i < CSHM_BELLS_MAX; i++) {
        uint64_t number = atomic_load_explicit(&line->bells[i], memory_order_acquire); /* [arm] */
        if (number != 0 && cshm__bell_send(sender, number) == -ECONNREFUSED) {
            (void)atomic_compare_exchange_strong_explicit(
                &line->bells[i], &number, 0, memory_order_relaxed, memory_order_relaxed);
        }
    }
    if (sender >= 0) {
        cshm__close(sender);
    }
    return sender >= 0;
}

/* Writes the number into the line, unless it is there. @returns false if there is no room. */
static bool enter(struct cshm_park_line *line, uint64_t number)
{
    for (uint32_t i = 0; i < CSHM_BELLS_MAX; i++) {
        if (atomic_load_explicit(&line->bells[i], memory_order_relaxed) == number) {
            return true;
        }
    }
    for (uint32_t i = 0; i < CSHM_BELLS_MAX; i++) {
        uint64_t none = 0;
        /* release: [arm] */
        if (atomic_compare_exchange_strong_explicit(&line->bells[i], &none, number,
                                                    memory_order_release, memory_order_relaxed)) {
            return true;
        }
    }
    return false;
}

int cshm_bell_arm(cshm_bell *bell, const struct cshm_waitable *waitable)
{
    struct cshm_park_line *line = line_of(waitable->park);
    if (line == NULL) {
        return -EINVAL;
    }
    if (!enter(line, bell->number)) {
        (void)cshm__bell_ring(waitable->park); /* finds out who is gone */
        if (!enter(line, bell->number)) {
            return -EUSERS;
        }
    }
    cshm__park_arm(waitable->park);
    return waitable->is_ready(waitable->object) != 0;
}

void cshm_bell_disarm(cshm_bell *bell, const struct cshm_waitable *waitable)
{
    struct cshm_park_line *line = line_of(waitable->park);
    for (uint32_t i = 0; line != NULL && i < CSHM_BELLS_MAX; i++) {
        uint64_t number = bell->number;
        (void)atomic_compare_exchange_strong_explicit(&line->bells[i], &number, 0,
                                                      memory_order_relaxed, memory_order_relaxed);
    }
}

/* ---- several at once ---- */

static int first_ready(const struct cshm_waitable *waitables, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        if (waitables[i].is_ready(waitables[i].object) != 0) {
            return (int)i;
        }
    }
    return -EAGAIN;
}

/* Two wakes of two channels may both have been spent on this one sleeper: hand on those that the
 * caller is not told of. */
static void hand_on(const struct cshm_waitable *waitables, uint32_t count, uint32_t taken)
{
    for (uint32_t i = taken + 1; i < count; i++) {
        if (waitables[i].is_ready(waitables[i].object) != 0) {
            cshm_park_wake_one(waitables[i].park);
        }
    }
}

int cshm_wait_any(const struct cshm_waitable *waitables, uint32_t count, int64_t deadline_ns)
{
    uint32_t *words[CSHM_WAIT_MAX];
    uint32_t seen[CSHM_WAIT_MAX];
    if (count == 0 || count > CSHM_WAIT_MAX) {
        return -EINVAL;
    }
    for (uint32_t look = 0; look < LOOKS; look++) {
        int found = first_ready(waitables, count);
        if (found >= 0) {
            return found;
        }
        sched_yield();
    }
    for (;;) {
        for (uint32_t i = 0; i < count; i++) {
            words[i] = &waitables[i].park->word;
            seen[i] = cshm__park_announce(waitables[i].park);
        }
        int64_t slice = cshm__park_interrupt();
        int found = first_ready(waitables, count);
        int64_t now = cshm_now_ns();
        if (found < 0 && now >= deadline_ns) {
            return -ETIMEDOUT;
        }
        if (found < 0) {
            cshm__futex_wait_any(words, seen, count,
                                 deadline_ns - now > slice ? now + slice : deadline_ns);
            found = first_ready(waitables, count);
        }
        if (found >= 0) {
            hand_on(waitables, count, (uint32_t)found);
            return found;
        }
    }
}
