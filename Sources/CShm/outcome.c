/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * See cshm/outcome.h for the model. A cell is 0, a stamp, or {1, ticket:63}. Pairs:
 *
 *   [page]    a page is laid out, then the word that names it is exchanged (release) -> found by that
 *             word (acquire)
 *   [filled]  the bytes, length and place, then the state (release), then the event -> a look loads the
 *             state (acquire)
 *   [guard]   of guard.c: cells and generation
 *
 * What is found if the stores end there; each is under the page's guard, but those of filling:
 *
 *   making: all but the generation    a free slot, which the next one makes anew
 *   generation odd                    an outcome of the dead's: ended when a slot is wanted
 *   ticket's number                   a number that nobody gets
 *   a cell set, or changed            a reference, or another's
 *   a cell cleared, nothing ended     an outcome without references: the guard's next owner ends it
 *   ending: bytes freed               the same; the block does not name the slot any more
 *   ending: place cleared             the same
 *   generation even                   a free slot
 *   filling: block allocated          a block that the sweep frees
 *   length, place stored              no outcome; the block is freed with the slot
 *   state stored, event not           filled: who waits looks every 25 ms
 */
#include <cshm/outcome.h>

#include <errno.h>
#include <string.h>

#include <cshm/event.h>
#include <cshm/heap.h>
#include <cshm/participant.h>

#include "guard.h"

enum {
    MAGIC = 0x6f757463, /* "outc" */
    PAGES_MAX = 65536,
};

enum { OPEN = 0, FILLED = 1, NO_MEMORY = 2 };

#define TICKET (UINT64_C(1) << 63) /* and a number, from 1 on: 0 is no ticket */

typedef struct cshm_outcome_slot slot_t;
typedef struct cshm_outcome_page page_t;

/* ---- pages ---- */

/* The page that a word names: 1, 0 if it names none, -EPROTO if it names something else. */
static int load_page(const cshm_region *region, const _Atomic uint64_t *word, page_t **out)
{
    uint64_t place = atomic_load_explicit(word, memory_order_acquire); /* [page] */
    if (place == 0) {
        return 0;
    }
    page_t *page = cshm_heap_pointer(region, place, sizeof *page);
    if (page == NULL || place % CSHM_LINE != 0 || page->magic != MAGIC) {
        return -EPROTO;
    }
    *out = page;
    return 1;
}

/* Another may be faster: the word then names that one's. */
static int add_page(cshm_region *region, _Atomic uint64_t *word)
{
    uint64_t place = 0;
    int status = cshm__heap_allocate_for(region, sizeof(page_t), word, &place);
    if (status != 0) {
        return status;
    }
    page_t *page = cshm_heap_pointer(region, place, sizeof *page);
    if (page == NULL) {
        return -EPROTO;
    }
    memset((void *)page, 0, sizeof *page);
    page->magic = MAGIC;
    uint64_t none = 0;
    if (atomic_compare_exchange_strong_explicit(word, &none, place, memory_order_acq_rel,
                                                memory_order_acquire)) { /* [page] */
        cshm__heap_link(region, place);
    } else {
        cshm__heap_free_from(region, place, word);
    }
    return 0;
}

/* The slot that a handle names, and its page; whether it is that outcome's is not asked. */
static int find(const cshm_region *region, const cshm_outcome *outcome, page_t **page, slot_t **out)
{
    const _Atomic uint64_t *word = &region->live->outcomes;
    for (uint32_t pages = 0; pages < PAGES_MAX; pages++) {
        int status = load_page(region, word, page);
        if (status <= 0) {
            return status < 0 ? status : -EPROTO;
        }
        uint64_t first = cshm_heap_offset(region, &(*page)->slot[0]);
        uint64_t within = outcome->place - first;
        if (outcome->place >= first && within < sizeof(*page)->slot) {
            if (within % sizeof(slot_t) != 0) {
                return -EPROTO;
            }
            *out = &(*page)->slot[within / sizeof(slot_t)];
            return 0;
        }
        word = &(*page)->next;
    }
    return -EPROTO;
}

/* ---- under the guard ---- */

static bool is_in_use(const slot_t *slot)
{
    return atomic_load_explicit(&slot->generation, memory_order_acquire) % 2 == 1;
}

static bool is_of(const slot_t *slot, const cshm_outcome *outcome)
{
    return outcome->generation % 2 == 1 &&
           atomic_load_explicit(&slot->generation, memory_order_acquire) == outcome->generation;
}

static uint64_t load_cell(const slot_t *slot, uint32_t cell)
{
    return atomic_load_explicit(&slot->cell[cell], memory_order_relaxed);
}

static void store_cell(slot_t *slot, uint32_t cell, uint64_t word)
{
    atomic_store_explicit(&slot->cell[cell], word, memory_order_relaxed);
}

/* The first cell with that word, or CSHM_OUTCOME_CELLS. */
static uint32_t cell_with(const slot_t *slot, uint64_t word)
{
    uint32_t cell = 0;
    while (cell < CSHM_OUTCOME_CELLS && load_cell(slot, cell) != word) {
        cell++;
    }
    return cell;
}

static void keep(slot_t *slot)
{
    atomic_store_explicit(&slot->kept, 1, memory_order_relaxed);
}

/* Whether a cell's word is a reference, and not what one of the dead left. */
static bool counts(const cshm_region *region, uint64_t word)
{
    return (word & TICKET) != 0 || (word != 0 && cshm_participant_is_gone(region, word) != 1);
}

static bool has_reference(const cshm_region *region, const slot_t *slot)
{
    if (atomic_load_explicit(&slot->kept, memory_order_relaxed) != 0) {
        return true;
    }
    for (uint32_t i = 0; i < CSHM_OUTCOME_CELLS; i++) {
        if (counts(region, load_cell(slot, i))) {
            return true;
        }
    }
    return false;
}

/* A cell for another reference, or CSHM_OUTCOME_CELLS. */
static uint32_t free_cell(const cshm_region *region, const slot_t *slot)
{
    uint32_t cell = cell_with(slot, 0);
    if (cell == CSHM_OUTCOME_CELLS) {
        cell = 0;
        while (cell < CSHM_OUTCOME_CELLS && counts(region, load_cell(slot, cell))) {
            cell++;
        }
    }
    return cell;
}

/* Where there is no cell, nobody can say when the last reference goes. @returns whether there was one. */
static bool add(cshm_region *region, slot_t *slot, uint64_t word)
{
    uint32_t cell = free_cell(region, slot);
    if (cell == CSHM_OUTCOME_CELLS) {
        keep(slot);
        return false;
    }
    store_cell(slot, cell, word);
    return true;
}

/* The slot that a handle names. @returns 0, -ENOENT (it is another outcome's by now), -EPROTO. */
static int find_living(const cshm_region *region, const cshm_outcome *outcome, slot_t **out)
{
    page_t *page = NULL;
    int status = find(region, outcome, &page, out);
    if (status != 0) {
        return status;
    }
    return is_of(*out, outcome) ? 0 : -ENOENT;
}

static void end_unless_had(cshm_region *region, slot_t *slot)
{
    if (!is_in_use(slot) || has_reference(region, slot)) {
        return;
    }
    uint64_t place = atomic_load_explicit(&slot->block, memory_order_relaxed);
    if (place != 0) {
        cshm__heap_free_from(region, place, &slot->block);
        atomic_store_explicit(&slot->block, 0, memory_order_relaxed);
    }
    uint64_t generation = atomic_load_explicit(&slot->generation, memory_order_relaxed);
    atomic_store_explicit(&slot->generation, generation + 1, memory_order_release);
}

/* Gives up the reference that has this word, if there is one. */
static void give_up(cshm_region *region, slot_t *slot, uint64_t word)
{
    uint32_t cell = cell_with(slot, word);
    if (cell < CSHM_OUTCOME_CELLS) {
        store_cell(slot, cell, 0);
        end_unless_had(region, slot);
    }
}

static void sweep(cshm_region *region, page_t *page)
{
    for (uint32_t i = 0; i < CSHM_OUTCOME_SLOTS; i++) {
        end_unless_had(region, &page->slot[i]);
    }
}

static int lock(cshm_region *region, page_t *page)
{
    int status = cshm__guard_acquire(region, &page->guard);
    if (status == 1) {
        sweep(region, page);
        status = 0;
    }
    return status;
}

static void unlock(page_t *page)
{
    cshm__guard_release(&page->guard);
}

/* What is done with an outcome that is there, under the guard of its page. */
typedef void act(cshm_region *region, slot_t *slot, uint64_t *ticket);

static int with_slot(cshm_region *region, const cshm_outcome *outcome, act *act, uint64_t *ticket)
{
    page_t *page = NULL;
    slot_t *slot = NULL;
    int status = find(region, outcome, &page, &slot);
    if (status == 0) {
        status = lock(region, page);
    }
    if (status != 0) {
        return status;
    }
    bool is_there = is_of(slot, outcome);
    if (is_there) {
        act(region, slot, ticket);
    }
    unlock(page);
    return is_there ? 0 : -ENOENT;
}

/* ---- making ---- */

static void make(cshm_region *region, slot_t *slot, cshm_outcome *out)
{
    uint64_t self = cshm_participant_self(region);
    cshm_event_init(&slot->event, CSHM_EVENT_MANUAL);
    atomic_store_explicit(&slot->owner, self, memory_order_relaxed);
    atomic_store_explicit(&slot->state, OPEN, memory_order_relaxed);
    atomic_store_explicit(&slot->block, 0, memory_order_relaxed);
    atomic_store_explicit(&slot->length, 0, memory_order_relaxed);
    atomic_store_explicit(&slot->kept, 0, memory_order_relaxed);
    store_cell(slot, 0, self);
    for (uint32_t i = 1; i < CSHM_OUTCOME_CELLS; i++) {
        store_cell(slot, i, 0);
    }
    uint64_t generation = atomic_load_explicit(&slot->generation, memory_order_relaxed) + 1;
    atomic_store_explicit(&slot->generation, generation, memory_order_release);
    *out = (cshm_outcome){cshm_heap_offset(region, slot), generation};
}

/* 0, or -EAGAIN: all of the page's are in use. */
static int make_in(cshm_region *region, page_t *page, bool sweeps, cshm_outcome *out)
{
    int status = lock(region, page);
    if (status != 0) {
        return status;
    }
    if (sweeps) {
        sweep(region, page);
    }
    status = -EAGAIN;
    for (uint32_t i = 0; i < CSHM_OUTCOME_SLOTS && status != 0; i++) {
        if (!is_in_use(&page->slot[i])) {
            make(region, &page->slot[i], out);
            status = 0;
        }
    }
    unlock(page);
    return status;
}

/* In any page there is. Leaves the word that would name the next page. */
static int make_in_any(cshm_region *region, bool sweeps, _Atomic uint64_t **word, cshm_outcome *out)
{
    *word = &region->live->outcomes;
    for (uint32_t pages = 0; pages < PAGES_MAX; pages++) {
        page_t *page = NULL;
        int status = load_page(region, *word, &page);
        if (status <= 0) {
            return status < 0 ? status : -EAGAIN;
        }
        status = make_in(region, page, sweeps, out);
        if (status != -EAGAIN) {
            return status;
        }
        *word = &page->next;
    }
    return -ENOSPC;
}

int cshm_outcome_create(cshm_region *region, cshm_outcome *out)
{
    _Atomic uint64_t *word = NULL;
    if (cshm_participant_self(region) == 0) {
        return -ECHILD;
    }
    int status = make_in_any(region, false, &word, out);
    if (status == -EAGAIN) {
        status = make_in_any(region, true, &word, out);
    }
    while (status == -EAGAIN) {
        status = add_page(region, word);
        if (status == 0) {
            status = make_in_any(region, false, &word, out);
        }
    }
    return status;
}

/* ---- the owner ---- */

static int store(cshm_region *region, slot_t *slot, const void *bytes, uint64_t size)
{
    uint64_t place = 0;
    int status = cshm__heap_allocate_for(region, size == 0 ? 1 : size, &slot->block, &place);
    if (status != 0) {
        return status;
    }
    void *room = cshm_heap_pointer(region, place, size == 0 ? 1 : size);
    if (room == NULL) {
        return -EPROTO;
    }
    if (size > 0) {
        memcpy(room, bytes, size);
    }
    atomic_store_explicit(&slot->length, size, memory_order_relaxed);
    atomic_store_explicit(&slot->block, place, memory_order_release);
    cshm__heap_link(region, place);
    return 0;
}

int cshm_outcome_fill(cshm_region *region, const cshm_outcome *outcome, const void *bytes,
                      uint64_t size)
{
    slot_t *slot = NULL;
    uint64_t self = cshm_participant_self(region);
    int status = self == 0 ? -ECHILD : find_living(region, outcome, &slot);
    if (status != 0) {
        return status;
    }
    if (atomic_load_explicit(&slot->owner, memory_order_relaxed) != self) {
        return -EPERM;
    }
    if (atomic_load_explicit(&slot->state, memory_order_relaxed) != OPEN) {
        return -EALREADY;
    }
    status = store(region, slot, bytes, size);
    atomic_store_explicit(&slot->state, status == 0 ? FILLED : NO_MEMORY,
                          memory_order_release); /* [filled] */
    int set = cshm_event_set(&slot->event);
    return status == 0 ? set : status;
}

/* ---- who waits ---- */

static int look(const cshm_region *region, const slot_t *slot, const void **bytes, uint64_t *size)
{
    switch (atomic_load_explicit(&slot->state, memory_order_acquire)) { /* [filled] */
    case OPEN:
        return -EAGAIN;
    case FILLED:
        break;
    case NO_MEMORY:
        return -ENOSPC;
    default:
        return -EPROTO;
    }
    uint64_t length = atomic_load_explicit(&slot->length, memory_order_relaxed);
    uint64_t place = atomic_load_explicit(&slot->block, memory_order_acquire);
    *bytes = cshm_heap_pointer(region, place, length == 0 ? 1 : length);
    *size = length;
    return *bytes == NULL ? -EPROTO : 0;
}

int cshm_outcome_look(const cshm_region *region, const cshm_outcome *outcome, const void **bytes,
                      uint64_t *size)
{
    slot_t *slot = NULL;
    int status = find_living(region, outcome, &slot);
    if (status != 0) {
        return status;
    }
    uint64_t owner = atomic_load_explicit(&slot->owner, memory_order_relaxed);
    status = look(region, slot, bytes, size);
    if (status == -EAGAIN && cshm_participant_is_gone(region, owner) == 1) {
        /* It may have filled it as its last. */
        status = look(region, slot, bytes, size);
        return status == -EAGAIN ? -EPIPE : status;
    }
    return status;
}

int cshm_outcome_waitable(const cshm_region *region, const cshm_outcome *outcome,
                          struct cshm_waitable *out)
{
    slot_t *slot = NULL;
    int status = find_living(region, outcome, &slot);
    if (status == 0) {
        cshm_event_waitable(&slot->event, out);
    }
    return status;
}

/* ---- references ---- */

static void send_act(cshm_region *region, slot_t *slot, uint64_t *ticket)
{
    /* Of the slot, and not of the outcome: a number is never used again. */
    uint64_t number = atomic_load_explicit(&slot->tickets, memory_order_relaxed) + 1;
    atomic_store_explicit(&slot->tickets, number, memory_order_relaxed);
    *ticket = add(region, slot, TICKET | number) ? number : 0;
}

int cshm_outcome_send(cshm_region *region, const cshm_outcome *outcome, uint64_t *ticket)
{
    return with_slot(region, outcome, send_act, ticket);
}

static void retract_act(cshm_region *region, slot_t *slot, uint64_t *ticket)
{
    give_up(region, slot, TICKET | *ticket);
}

int cshm_outcome_retract(cshm_region *region, const cshm_outcome *outcome, uint64_t ticket)
{
    return with_slot(region, outcome, retract_act, &ticket);
}

static void receive_act(cshm_region *region, slot_t *slot, uint64_t *ticket)
{
    uint64_t self = cshm_participant_self(region);
    uint32_t cell = cell_with(slot, TICKET | *ticket);
    if (cell < CSHM_OUTCOME_CELLS) {
        store_cell(slot, cell, self);
    } else {
        (void)add(region, slot, self);
    }
}

int cshm_outcome_receive(cshm_region *region, const cshm_outcome *outcome, uint64_t ticket)
{
    return with_slot(region, outcome, receive_act, &ticket);
}

static void keep_act(cshm_region *region, slot_t *slot, uint64_t *ticket)
{
    (void)region;
    (void)ticket;
    keep(slot);
}

int cshm_outcome_keep(cshm_region *region, const cshm_outcome *outcome)
{
    return with_slot(region, outcome, keep_act, NULL);
}

static void release_act(cshm_region *region, slot_t *slot, uint64_t *ticket)
{
    (void)ticket;
    give_up(region, slot, cshm_participant_self(region));
}

int cshm_outcome_release(cshm_region *region, const cshm_outcome *outcome)
{
    return with_slot(region, outcome, release_act, NULL);
}

int64_t cshm_outcome_count(const cshm_region *region)
{
    int64_t count = 0;
    const _Atomic uint64_t *word = &region->live->outcomes;
    for (uint32_t pages = 0; pages < PAGES_MAX; pages++) {
        page_t *page = NULL;
        int status = load_page(region, word, &page);
        if (status <= 0) {
            return status < 0 ? status : count;
        }
        for (uint32_t i = 0; i < CSHM_OUTCOME_SLOTS; i++) {
            count += is_in_use(&page->slot[i]);
        }
        word = &page->next;
    }
    return -EPROTO;
}
