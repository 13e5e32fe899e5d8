/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * See cshm/park.h for the model. Pairs:
 *
 *   [announce]  the waiter sets the bit (seq_cst), then looks at its condition;
 *               the waker makes the condition true, then looks at the bit. One of the two must see
 *               the other, so a full barrier belongs between each one's store and load.
 *               The waiter has its own: it is about to sleep, so it can pay. The waker need not:
 *               the waiter also interrupts every registered process that runs (membarrier), after
 *               it set the bit and before it looks. At that instant the waker's program order is
 *               cut in two. If the waker had already looked at the bit, its store of the condition
 *               came before the cut and is seen by the waiter's look; if it had not, its look
 *               comes after the cut and sees the bit. A process that does not run at that instant
 *               was, or will be, switched in by the kernel with a full barrier: the same.
 *               A process that is not registered fences each store (cshm__publish_barrier).
 *   [wake]      the waker counts a wake (seq_cst), then wakes; the waiter sleeps only on the word
 *               it saw. The bits are dropped only if the word is still the waker's own, and
 *               everybody is woken after that. Dropping them counts too: else another waiter's
 *               bit could make the word again what an earlier one saw, who then sleeps through
 *               what was put while the bit was not there.
 *
 * A process whose kernel or sandbox refuses membarrier cannot be sure to be seen by the others, so
 * it sleeps for 1 ms at a time: a wake that missed it costs no more than that.
 */
#include <cshm/park.h>

#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <stdatomic.h>

#include "internal.h"

enum {
    SLICE_NS = 25000000,
    UNSEEN_SLICE_NS = 1000000,
    PAUSING_TICKS = 3000, /* 1 us, more or less: looking as often as a CPU can */
    LOOKS = 16, /* from one reading of the counter to the next, which takes as long as some */
    PATIENCE_NS = 40000, /* then this long: giving the CPU to whoever wants it, between looks */
    SHORT_PATIENCE_NS = 1000, /* or this, where waits are usually long */
    LONG_NS = 100000,         /* if waits usually take this long, patience does not pay */
    LATE = 8,           /* so many waits in a row that outlasted the pausing: no more pausing */
    PROBE = 16,         /* but for one wait in so many */
    DEAR_NS = 1000000,  /* a yield that takes so long took the time slices of others, who compute */
    FIRST_REST = 16,    /* so many waits do not yield then, and twice as many each time, */
    LONGEST_REST = 1024 /* to so many */
};

_Atomic int64_t cshm__patience_ns = PATIENCE_NS;

static _Atomic bool is_unseen; /* membarrier was refused */

static _Atomic uint32_t *word_of(cshm_park *park)
{
    return (_Atomic uint32_t *)(void *)&park->word;
}

uint32_t cshm__park_announce(cshm_park *park)
{
    /* seq_cst: [announce] */
    return atomic_fetch_or_explicit(word_of(park), CSHM_PARK_ASLEEP, memory_order_seq_cst) |
           CSHM_PARK_ASLEEP;
}

int64_t cshm__park_interrupt(void)
{
    bool refused = !cshm__interrupt_publishers();
    if (refused) {
        atomic_store_explicit(&is_unseen, true, memory_order_relaxed);
    }
    atomic_thread_fence(memory_order_seq_cst); /* [announce] */
    return refused ? UNSEEN_SLICE_NS : SLICE_NS;
}

bool cshm__park_is_unseen(void)
{
    return atomic_load_explicit(&is_unseen, memory_order_relaxed); /* stored by this thread, too */
}

uint32_t cshm_park_prepare(cshm_park *park)
{
    uint32_t seen = cshm__park_announce(park);
    (void)cshm__park_interrupt();
    return seen;
}

void cshm__park_arm(cshm_park *park)
{
    _Atomic uint32_t *word = word_of(park);
    uint32_t seen = atomic_load_explicit(word, memory_order_relaxed);
    /* seq_cst: [announce]; counted, so that a waker in the middle of its wake does not drop it */
    while (!atomic_compare_exchange_weak_explicit(word, &seen,
                                                  (seen + CSHM_PARK_ONE) | CSHM_PARK_ARMED,
                                                  memory_order_seq_cst, memory_order_relaxed)) {
    }
    (void)cshm__park_interrupt();
}

static int sleep_for_a_slice(cshm_park *park, uint32_t seen, int64_t deadline_ns, int64_t slice)
{
    int64_t now = cshm_now_ns();
    if (now >= deadline_ns) {
        return -ETIMEDOUT;
    }
    /* relaxed: stored by this thread, in prepare */
    slice = atomic_load_explicit(&is_unseen, memory_order_relaxed) ? UNSEEN_SLICE_NS : slice;
    (void)cshm__futex_wait(&park->word, seen,
                           deadline_ns - now > slice ? now + slice : deadline_ns);
    return 0;
}

int cshm_park_wait(cshm_park *park, uint32_t seen, int64_t deadline_ns)
{
    return sleep_for_a_slice(park, seen, deadline_ns, SLICE_NS);
}

/* Bells that were rung, and sleepers of whom nobody is left, need not be called again. */
void cshm__park_wake(cshm_park *park, int count)
{
    _Atomic uint32_t *word = word_of(park);
    uint32_t now = atomic_fetch_add_explicit(word, CSHM_PARK_ONE, memory_order_seq_cst) +
                   CSHM_PARK_ONE; /* [wake], [arm] */
    uint32_t over = (now & CSHM_PARK_ARMED) != 0 && cshm__bell_ring(park) ? CSHM_PARK_ARMED : 0;
    if ((now & CSHM_PARK_ASLEEP) != 0 &&
        !(cshm__futex_wake(&park->word, count) > 0 && count == 1)) {
        over |= CSHM_PARK_ASLEEP;
    }
    if (over == 0) {
        return;
    }
    uint32_t cleared = (now + CSHM_PARK_ONE) & ~over;
    if (atomic_compare_exchange_strong_explicit(word, &now, cleared, memory_order_seq_cst,
                                                memory_order_relaxed) &&
        (over & CSHM_PARK_ASLEEP) != 0) {
        (void)cshm__futex_wake(&park->word, INT_MAX); /* [wake] */
    }
}

static void wake_if_called(cshm_park *park, int count)
{
    /* seq_cst: [announce] */
    if (atomic_load_explicit(word_of(park), memory_order_seq_cst) & CSHM_PARK_CALLS) {
        cshm__park_wake(park, count);
    }
}

void cshm_park_wake_one(cshm_park *park)
{
    wake_if_called(park, 1);
}

void cshm_park_wake_all(cshm_park *park)
{
    wake_if_called(park, INT_MAX);
}

/* ---- waiting with patience ---- */

/* What recent waits of this thread were like; words whose addresses collide share one. */
struct habit {
    int64_t usual_ns; /* how long they took, asleep or not: a moving average of eight */
    uint32_t late;    /* how many in a row outlasted the pausing */
    uint32_t waits;
};

static struct habit *habit_of(const cshm_park *park)
{
    static _Thread_local struct habit habits[8];
    return &habits[(uintptr_t)park / CSHM_LINE % 8];
}

static bool pausing_pays(const struct habit *habit)
{
    return !cshm__has_one_cpu() && (habit->late < LATE || habit->waits % PROBE == 0);
}

static int64_t min_of(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* Looks as often as it can, and now and then at a counter register. */
static int wait_pausing(int (*attempt)(void *), void *context)
{
    uint64_t start = cshm__ticks();
    int status;
    do {
        for (int i = 0; i < LOOKS; i++) {
            cshm__pause();
            status = attempt(context);
            if (status != -EAGAIN) {
                return status;
            }
        }
    } while (cshm__ticks() - start < PAUSING_TICKS);
    return status;
}

/* Where others compute, who yields is given the CPU again when each of them has had it for its time
 * slice, and who sleeps soon after it is woken: 27 ms and 0.1 ms, with eight of them on two CPUs. */
static _Thread_local struct {
    uint32_t rest; /* waits that did not yield, or are not to, since yielding was dear */
    uint32_t left; /* of these, still */
} crowd;

bool cshm__yield_pays(void)
{
    if (crowd.left == 0) {
        return true;
    }
    crowd.left--;
    return false;
}

bool cshm__yield(int64_t *now)
{
    int64_t before = *now;
    sched_yield();
    *now = cshm_now_ns();
    if (*now - before < DEAR_NS) {
        crowd.rest /= 2;
        return true;
    }
    crowd.rest = crowd.rest == 0 ? FIRST_REST : 2 * crowd.rest;
    crowd.rest = crowd.rest < LONGEST_REST ? crowd.rest : LONGEST_REST;
    crowd.left = crowd.rest;
    return false;
}

/* Gives the CPU to whoever wants it, between looks. */
static int wait_yielding(int (*attempt)(void *), void *context, int64_t now, int64_t end)
{
    int status = -EAGAIN;
    while (status == -EAGAIN && now < end) {
        (void)cshm__yield(&now);
        status = attempt(context);
    }
    return status;
}

/* The announced waiter's last look; @returns -EAGAIN if it must sleep. */
static int look_once_more(int (*attempt)(void *), bool (*is_over)(void *), void *context)
{
    int status = attempt(context);
    if (status != -EAGAIN || is_over == NULL || !is_over(context)) {
        return status;
    }
    status = attempt(context); /* what the dead did last */
    return status == -EAGAIN ? -EPIPE : status;
}

/* Announced once and not again while the word stays as it was: nobody was woken, and the bit is there
 * for every waker that comes. */
static int wait_asleep(cshm_park *park, int (*attempt)(void *), bool (*is_over)(void *),
                       void *context, int64_t deadline)
{
    uint32_t seen = cshm_park_prepare(park);
    for (;;) {
        int status = look_once_more(attempt, is_over, context);
        if (status == -EAGAIN) {
            status = cshm_park_wait(park, seen, deadline);
            if (status == 0) {
                status = attempt(context);
            }
        }
        if (status != -EAGAIN) {
            return status;
        }
        if (atomic_load_explicit(word_of(park), memory_order_relaxed) != seen) { /* [announce] */
            seen = cshm_park_prepare(park);
        }
    }
}

int cshm__await(struct cshm_park *park, int (*attempt)(void *context), void *context,
                int64_t deadline_ns)
{
    int status = attempt(context);
    return status == -EAGAIN ? cshm__await_peer(park, attempt, NULL, context, deadline_ns) : status;
}

/* Without slices: somebody else sees to it that no wake is missing, whoever dies. */
static int wait_watched(cshm_park *park, int (*attempt)(void *), void (*lie_down)(void *),
                        void *context, int64_t deadline)
{
    for (;;) {
        uint32_t seen = cshm_park_prepare(park);
        lie_down(context);
        int status = attempt(context);
        if (status == -EAGAIN) {
            status = sleep_for_a_slice(park, seen, deadline, INT64_MAX);
            if (status == 0) {
                status = attempt(context);
            }
        }
        if (status != -EAGAIN) {
            return status;
        }
    }
}

/* How a wait sleeps, when spinning and yielding were in vain. */
struct sleep {
    bool (*is_over)(void *context);
    void (*lie_down)(void *context); /* not NULL: it is a watched one */
    int64_t deadline;
};

/* @returns -EAGAIN when there is no sense in staying awake any longer; `start` is when pausing was
 * over, 0 if it was enough. */
static int wait_awake(struct habit *habit, int (*attempt)(void *context), void *context,
                      int64_t deadline, int64_t *start)
{
    int64_t patience = atomic_load_explicit(&cshm__patience_ns, memory_order_relaxed);
    habit->waits++;
    if (patience != 0 && pausing_pays(habit)) {
        int status = wait_pausing(attempt, context);
        if (status != -EAGAIN) {
            habit->late = 0;
            habit->usual_ns -= habit->usual_ns / 8;
            *start = 0;
            return status;
        }
        habit->late += habit->late < LATE ? 1 : 0;
    }
    patience = habit->usual_ns > LONG_NS ? min_of(patience, SHORT_PATIENCE_NS) : patience;
    *start = cshm_now_ns();
    if (patience <= PATIENCE_NS && !cshm__yield_pays()) { /* who is more patient is a test */
        return -EAGAIN;
    }
    return wait_yielding(attempt, context, *start, min_of(deadline, *start + patience));
}

static void learn(struct habit *habit, int64_t start)
{
    habit->usual_ns += (min_of(cshm_now_ns() - start, 4 * LONG_NS) - habit->usual_ns) / 8;
}

int cshm__await_awake(struct cshm_park *park, int (*attempt)(void *context), void *context)
{
    int status = attempt(context);
    if (status != -EAGAIN) {
        return status;
    }
    int64_t start = 0;
    struct habit *habit = habit_of(park);
    status = wait_awake(habit, attempt, context, INT64_MAX, &start);
    if (status != -EAGAIN && start != 0) {
        learn(habit, start); /* else the wait that follows will */
    }
    return status;
}

static int await(struct cshm_park *park, int (*attempt)(void *context), void *context,
                 const struct sleep *sleep)
{
    struct habit *habit = habit_of(park);
    int64_t start = 0;
    int status = wait_awake(habit, attempt, context, sleep->deadline, &start);
    if (status == -EAGAIN) {
        status = sleep->lie_down != NULL
                     ? wait_watched(park, attempt, sleep->lie_down, context, sleep->deadline)
                     : wait_asleep(park, attempt, sleep->is_over, context, sleep->deadline);
    }
    if (start != 0) {
        learn(habit, start);
    }
    return status;
}

/* The first attempt was the caller's, who saved a call where it succeeded. */
int cshm__await_peer(struct cshm_park *park, int (*attempt)(void *context),
                     bool (*is_over)(void *context), void *context, int64_t deadline_ns)
{
    struct sleep sleep = {.is_over = is_over, .deadline = deadline_ns};
    return await(park, attempt, context, &sleep);
}

int cshm__await_watched(struct cshm_park *park, int (*attempt)(void *context),
                        void (*lie_down)(void *context), void *context, int64_t deadline_ns)
{
    struct sleep sleep = {.lie_down = lie_down, .deadline = deadline_ns};
    return await(park, attempt, context, &sleep);
}
