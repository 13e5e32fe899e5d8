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
 *   [turnover]  a participant joins or leaves, counts that, looks for watchers; a watcher enters its
 *               bell, says that there are watchers, looks at the count (all seq_cst): one of the two
 *               sees the other. Who has not told its watchers yet has done nothing else yet, either.
 */
#include <cshm/bell.h>

#include <errno.h>
#include <stdlib.h>

#include "internal.h"

enum {
    LOOKS = 16, /* with a yield between them, before cshm_wait_any() sleeps */
    ENDS_AT_ONCE = 64,
    TICK_NS = 25000000, /* between two rings, while there is a peer that cannot be watched */
};

/* A region whose participants are watched. */
struct watch {
    cshm_region *region;
    uint64_t stamp;    /* of this process there */
    uint64_t turnover; /* when its participants were looked at */
    struct watch *next;
};

struct peer {
    cshm_region *region;
    uint64_t stamp;
    int process; /* a descriptor */
};

struct cshm_bell {
    uint64_t number;
    int descriptor; /* watches all that follow */
    int socket;
    int ticker; /* or -1 */
    struct watch *watches;
    struct peer *peers;
    uint32_t peer_count;
    uint32_t peer_room;
};

/* The line of a parking word; NULL if it does not begin one, and so has no room for bells. */
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
    bell->socket = status;
    bell->ticker = -1;
    bell->descriptor = cshm__watcher();
    status = bell->descriptor < 0 ? bell->descriptor : cshm__watch(bell->descriptor, bell->socket);
    if (status != 0) {
        cshm_bell_close(bell);
        return status;
    }
    *out = bell;
    return 0;
}

void cshm_bell_close(cshm_bell *bell)
{
    while (bell->watches != NULL) {
        cshm_bell_unwatch(bell, bell->watches->region);
    }
    if (bell->ticker >= 0) {
        cshm__close(bell->ticker);
    }
    if (bell->descriptor >= 0) {
        cshm__close(bell->descriptor);
    }
    cshm__close(bell->socket);
    free(bell->peers);
    free(bell);
}

int cshm_bell_descriptor(const cshm_bell *bell)
{
    return bell->descriptor;
}

/* ---- numbers in shared memory ---- */

/* Rings every bell of the list; drops those whose owners are gone. */
static void ring(int sender, _Atomic uint64_t *numbers, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        uint64_t number =
            atomic_load_explicit(&numbers[i], memory_order_seq_cst); /* [arm], [turnover] */
        if (number != 0 && cshm__bell_send(sender, number) == -ECONNREFUSED) {
            (void)atomic_compare_exchange_strong_explicit(
                &numbers[i], &number, 0, memory_order_relaxed, memory_order_relaxed);
        }
    }
}

/* Writes the number into the list, unless it is there. @returns false if there is no room. */
static bool enter(_Atomic uint64_t *numbers, uint32_t count, uint64_t number)
{
    for (uint32_t i = 0; i < count; i++) {
        if (atomic_load_explicit(&numbers[i], memory_order_relaxed) == number) {
            return true;
        }
    }
    for (uint32_t i = 0; i < count; i++) {
        uint64_t none = 0;
        if (atomic_compare_exchange_strong_explicit(&numbers[i], &none, number,
                                                    memory_order_seq_cst,
                                                    memory_order_relaxed)) { /* [arm], [turnover] */
            return true;
        }
    }
    return false;
}

static void erase(_Atomic uint64_t *numbers, uint32_t count, uint64_t number)
{
    for (uint32_t i = 0; i < count; i++) {
        uint64_t seen = number;
        (void)atomic_compare_exchange_strong_explicit(&numbers[i], &seen, 0, memory_order_relaxed,
                                                      memory_order_relaxed);
    }
}

/* ---- arming ---- */

/* @returns false if it could not ring. */
bool cshm__bell_ring(cshm_park *park)
{
    struct cshm_park_line *line = line_of(park);
    if (line == NULL) {
        return true;
    }
    int sender = cshm__bell_sender();
    if (sender < 0) {
        return false;
    }
    ring(sender, line->bells, CSHM_BELLS_MAX);
    cshm__close(sender);
    return true;
}

int cshm_bell_arm(cshm_bell *bell, const struct cshm_waitable *waitable)
{
    struct cshm_park_line *line = waitable->is_mutex ? NULL : line_of(waitable->park);
    if (line == NULL) {
        return -EINVAL;
    }
    if (!enter(line->bells, CSHM_BELLS_MAX, bell->number)) {
        (void)cshm__bell_ring(waitable->park); /* finds out who is gone */
        if (!enter(line->bells, CSHM_BELLS_MAX, bell->number)) {
            return -EUSERS;
        }
    }
    cshm__park_arm(waitable->park);
    return waitable->is_ready(waitable->object) != 0;
}

void cshm_bell_disarm(cshm_bell *bell, const struct cshm_waitable *waitable)
{
    struct cshm_park_line *line = waitable->is_mutex ? NULL : line_of(waitable->park);
    if (line != NULL) {
        erase(line->bells, CSHM_BELLS_MAX, bell->number);
    }
}

int cshm_bell_ring(const cshm_bell *bell)
{
    int sender = cshm__bell_sender();
    if (sender < 0) {
        return sender;
    }
    int status = cshm__bell_send(sender, bell->number);
    cshm__close(sender);
    return status;
}

/* ---- who is attached ---- */

static struct cshm_participant_entry *entry_of(const cshm_region *region, uint64_t stamp)
{
    return &region->participants[(stamp & 0xffff) - 1];
}

int cshm__bell_tell_of_turnover(cshm_region *region)
{
    struct cshm_live *live = region->live;
    atomic_fetch_add_explicit(&live->turnover, 1, memory_order_seq_cst);   /* [turnover] */
    if (atomic_load_explicit(&live->watched, memory_order_seq_cst) == 0) { /* [turnover] */
        return 0;
    }
    int sender = cshm__bell_sender();
    if (sender < 0) {
        return sender;
    }
    for (uint32_t i = 0; i < CSHM_PARTICIPANTS_MAX; i++) {
        ring(sender, region->participants[i].bells, CSHM_WATCHES_MAX);
    }
    cshm__close(sender);
    return 0;
}

/* From now on who waits in this region asks the kernel who lives. */
static void tell(cshm_region *region)
{
    atomic_store_explicit(&region->told_ns, cshm_now_ns(), memory_order_relaxed);
}

static void drop_peer(cshm_bell *bell, uint32_t i)
{
    struct peer *peer = &bell->peers[i];
    tell(peer->region);
    cshm__unwatch(bell->descriptor, peer->process);
    cshm__close(peer->process);
    *peer = bell->peers[--bell->peer_count];
}

static bool is_attached(const struct peer *peer)
{
    uint64_t state =
        atomic_load_explicit(&entry_of(peer->region, peer->stamp)->state, memory_order_acquire);
    return state >> 56 == CSHM_PARTICIPANT_LIVE && (uint32_t)state == (uint32_t)(peer->stamp >> 16);
}

static bool is_known(const cshm_bell *bell, const struct peer *wanted)
{
    for (uint32_t i = 0; i < bell->peer_count; i++) {
        const struct peer *peer = &bell->peers[i];
        if (peer->region == wanted->region && peer->stamp == wanted->stamp) {
            return true;
        }
    }
    return false;
}

/* Watches a process that is attached now. @returns 0 (it is watched, or gone), or why it cannot be. */
static int watch_peer(cshm_bell *bell, struct peer peer)
{
    if (bell->peer_count == bell->peer_room) {
        uint32_t room = bell->peer_room == 0 ? 16 : 2 * bell->peer_room;
        struct peer *peers = realloc(bell->peers, room * sizeof *peers);
        if (peers == NULL) {
            return -ENOMEM;
        }
        bell->peers = peers;
        bell->peer_room = room;
    }
    uint64_t pid =
        atomic_load_explicit(&entry_of(peer.region, peer.stamp)->pid, memory_order_relaxed);
    peer.process = cshm__process(pid);
    /* If it is attached now, it had that number when the descriptor was made, and not another. */
    bool is_gone = cshm_participant_is_gone(peer.region, peer.stamp) == 1;
    if (peer.process < 0) {
        return is_gone ? 0 : peer.process;
    }
    int status = is_gone ? 0 : cshm__watch(bell->descriptor, peer.process);
    if (is_gone || status != 0) {
        cshm__close(peer.process);
        return status;
    }
    bell->peers[bell->peer_count++] = peer;
    return 0;
}

static void watch_newcomers(cshm_bell *bell, const struct watch *watch)
{
    bool all = true;
    for (uint32_t i = 0; i < CSHM_PARTICIPANTS_MAX; i++) {
        uint64_t state =
            atomic_load_explicit(&watch->region->participants[i].state, memory_order_acquire);
        struct peer peer = {watch->region, CSHM_STAMP(i + 1, (uint32_t)state), -1};
        if (state >> 56 == CSHM_PARTICIPANT_LIVE && peer.stamp != watch->stamp &&
            !is_known(bell, &peer)) {
            all = watch_peer(bell, peer) == 0 && all;
        }
    }
    if (!all) {
        cshm__start_ticker(bell->ticker, TICK_NS);
    }
}

static void look_at_attached(cshm_bell *bell)
{
    for (struct watch *watch = bell->watches; watch != NULL; watch = watch->next) {
        uint64_t turnover = atomic_load_explicit(&watch->region->live->turnover,
                                                 memory_order_seq_cst); /* [turnover] */
        if (turnover == watch->turnover) {
            continue;
        }
        watch->turnover = turnover;
        tell(watch->region);
        for (uint32_t i = bell->peer_count; i-- > 0;) {
            if (!is_attached(&bell->peers[i])) {
                drop_peer(bell, i);
            }
        }
        watch_newcomers(bell, watch);
    }
}

static void look_at_dead(cshm_bell *bell)
{
    int ended[ENDS_AT_ONCE];
    uint32_t count = cshm__watched(bell->descriptor, ended, ENDS_AT_ONCE);
    for (uint32_t n = 0; n < count; n++) {
        for (uint32_t i = bell->peer_count; i-- > 0;) {
            if (bell->peers[i].process == ended[n]) {
                drop_peer(bell, i);
            }
        }
        if (ended[n] == bell->ticker) {
            cshm__read_ticker(bell->ticker);
            for (struct watch *watch = bell->watches; watch != NULL; watch = watch->next) {
                tell(watch->region);
            }
        }
    }
}

void cshm_bell_clear(cshm_bell *bell)
{
    cshm__bell_drain(bell->socket);
    if (bell->watches != NULL) {
        look_at_dead(bell);
        look_at_attached(bell);
    }
}

static int make_ticker(cshm_bell *bell)
{
    if (bell->ticker >= 0) {
        return 0;
    }
    int ticker = cshm__ticker();
    int status = ticker < 0 ? ticker : cshm__watch(bell->descriptor, ticker);
    if (status != 0 && ticker >= 0) {
        cshm__close(ticker);
    }
    bell->ticker = status == 0 ? ticker : -1;
    return status;
}

/* The first ring is the bell's own, and its clearing finds who is attached by then. */
int cshm_bell_watch(cshm_bell *bell, cshm_region *region)
{
    uint64_t self = cshm_participant_self(region);
    if (self == 0) {
        return -ECHILD;
    }
    for (struct watch *watch = bell->watches; watch != NULL; watch = watch->next) {
        if (watch->region == region) {
            return -EALREADY;
        }
    }
    int status = make_ticker(bell);
    if (status != 0) {
        return status;
    }
    struct watch *watch = malloc(sizeof *watch);
    if (watch == NULL) {
        return -ENOMEM;
    }
    if (!enter(entry_of(region, self)->bells, CSHM_WATCHES_MAX, bell->number)) {
        free(watch);
        return -EUSERS;
    }
    atomic_store_explicit(&region->live->watched, 1, memory_order_seq_cst); /* [turnover] */
    uint64_t turnover =
        atomic_load_explicit(&region->live->turnover, memory_order_seq_cst); /* [turnover] */
    *watch = (struct watch){region, self, turnover - 1, bell->watches};
    bell->watches = watch;
    status = cshm_bell_ring(bell);
    if (status != 0) {
        cshm_bell_unwatch(bell, region);
    }
    return status;
}

void cshm_bell_unwatch(cshm_bell *bell, cshm_region *region)
{
    for (uint32_t i = bell->peer_count; i-- > 0;) {
        if (bell->peers[i].region == region) {
            drop_peer(bell, i);
        }
    }
    for (struct watch **link = &bell->watches; *link != NULL; link = &(*link)->next) {
        struct watch *watch = *link;
        if (watch->region == region) {
            if (watch->stamp == cshm_participant_self(region)) {
                erase(entry_of(region, watch->stamp)->bells, CSHM_WATCHES_MAX, bell->number);
            }
            *link = watch->next;
            free(watch);
            return;
        }
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

static uint32_t announce(const struct cshm_waitable *waitable)
{
    return waitable->is_mutex ? cshm__mutex_announce(&waitable->park->word)
                              : cshm__park_announce(waitable->park);
}

void cshm_hand_on(const struct cshm_waitable *waitable)
{
    if (waitable->is_mutex) {
        cshm__mutex_hand_on(&waitable->park->word);
    } else {
        cshm_park_wake_one(waitable->park);
    }
}

/* Whether a mutex was released, of which the wake may have been spent on this sleeper. */
static bool is_released(const struct cshm_waitable *waitable, uint32_t seen)
{
    return waitable->is_mutex && cshm__mutex_was_released(&waitable->park->word, seen);
}

/* Wakes of several words may all have been spent on this one sleeper: hands on those that the caller
 * is not told of. A mutex that is free is of use to others also where it is not ready for the caller. */
static void hand_on(const struct cshm_waitable *waitables, const uint32_t *seen, uint32_t count,
                    int taken)
{
    for (int i = 0; i < (int)count; i++) {
        if (i != taken &&
            (is_released(&waitables[i], seen[i]) ||
             (taken >= 0 && i > taken && waitables[i].is_ready(waitables[i].object) != 0))) {
            cshm_hand_on(&waitables[i]);
        }
    }
}

/* Whether no waker can die without this process. */
static bool are_private(const struct cshm_waitable *waitables, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        if (!waitables[i].is_private) {
            return false;
        }
    }
    return true;
}

/* @returns the first that is ready, -EAGAIN when none has been for some looks. */
static int look_awake(const struct cshm_waitable *waitables, uint32_t count)
{
    int found = first_ready(waitables, count);
    if (found >= 0 || !cshm__yield_pays()) {
        return found;
    }
    int64_t now = cshm_now_ns();
    bool again = true;
    for (uint32_t look = 1; again && found < 0 && look < LOOKS; look++) {
        again = cshm__yield(&now);
        found = first_ready(waitables, count);
    }
    return found;
}

int cshm_wait_any(const struct cshm_waitable *waitables, uint32_t count, int64_t deadline_ns)
{
    uint32_t *words[CSHM_WAIT_MAX];
    uint32_t seen[CSHM_WAIT_MAX];
    if (count == 0 || count > CSHM_WAIT_MAX) {
        return -EINVAL;
    }
    int found = look_awake(waitables, count);
    if (found >= 0) {
        return found;
    }
    for (;;) {
        for (uint32_t i = 0; i < count; i++) {
            words[i] = &waitables[i].park->word;
            seen[i] = announce(&waitables[i]);
        }
        int64_t slice = cshm__park_interrupt();
        if (are_private(waitables, count) && !cshm__park_is_unseen()) {
            slice = INT64_MAX;
        }
        found = first_ready(waitables, count);
        int64_t now = cshm_now_ns();
        if (found < 0 && now >= deadline_ns) {
            return -ETIMEDOUT;
        }
        if (found < 0) {
            cshm__futex_wait_any(words, seen, count,
                                 deadline_ns - now > slice ? now + slice : deadline_ns);
            found = first_ready(waitables, count);
        }
        hand_on(waitables, seen, count, found);
        if (found >= 0) {
            return found;
        }
    }
}
