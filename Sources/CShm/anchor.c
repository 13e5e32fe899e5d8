/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * See cshm/anchor.h for the model. Pairs:
 *
 *   [page]    a page is laid out, then the word that names it is exchanged (release) -> found by that
 *             word (acquire)
 *   [anchor]  a slot's words, then its generation (release) -> loaded (acquire) before they are
 *   [guard]   of guard.c: references and the log
 *   [ask]     a page is asked for, then its guard looked at -> the guard is released, then it is looked
 *             at whether the page is asked for: one of the two sees the other
 *
 * What is found if the stores end there:
 *
 *   making: the object's block holds the slot  a block of the dead's that nothing names: freed
 *           generation odd                     an anchor of nothing, with a reference of the dead's: ended
 *           object                             the same, of an object: ended, and the object with it
 *   a cell                                     a reference of the dead's
 *   counting: slot, count, word                nothing
 *             the entry's place                the guard's next owner stores all three
 *             count, entry, place = 0          the same, or nothing
 *   ender                                      an anchor that nobody can acquire: the next one's who looks
 *   object emptied, freed                      the same; a block that is freed does not name the slot
 *   object = 0                                 the same, without an object
 *   generation even                            a free slot
 *   asked for                                  the next one's who releases the guard, or sweeps
 *
 * A value's bytes are freed only after it was let go, which takes the guard first: so the place in a
 * log is still the value's.
 */
#include "anchor_view.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <cshm/heap.h>
#include <cshm/participant.h>

#include "guard.h"
#include "item.h"

enum {
    MAGIC = 0x616e6368, /* "anch" */
    PAGES_MAX = 1 << 22,
};

#define COUNTS   UINT64_C(1)               /* in the place that a value has: it is counted */
#define ONE      (UINT64_C(1) << 48)       /* in a cell: a reference */
#define STAMP_OF ((UINT64_C(1) << 48) - 1) /* in a cell: whose they are */
#define FULL     (UINT64_C(0xffff) << 48)

typedef struct cshm_anchor_slot slot_t;
typedef struct cshm_anchor_page page_t;

static uint64_t load(const _Atomic uint64_t *word)
{
    return atomic_load_explicit(word, memory_order_relaxed);
}

static void store(_Atomic uint64_t *word, uint64_t value)
{
    atomic_store_explicit(word, value, memory_order_release);
}

/* ---- pages ---- */

/* The page that lies there. */
static page_t *page_at(const cshm_region *region, uint64_t place)
{
    page_t *page = cshm_heap_pointer(region, place, sizeof *page);
    return page == NULL || place % CSHM_LINE != 0 || page->magic != MAGIC ? NULL : page;
}

/* The page that a word names: 1, 0 if it names none, -EPROTO if it names something else. */
static int load_page(const cshm_region *region, const _Atomic uint64_t *word, page_t **out)
{
    uint64_t place = atomic_load_explicit(word, memory_order_acquire); /* [page] */
    *out = place == 0 ? NULL : page_at(region, place);
    return place == 0 ? 0 : *out == NULL ? -EPROTO : 1;
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

/* The slot at a place, and its page. */
static slot_t *find(const cshm_region *region, uint64_t place, page_t **page)
{
    struct block block;
    if (!cshm__heap_find(region, place, &block)) {
        return NULL;
    }
    *page = page_at(region, block.start);
    uint64_t within = place - block.start - offsetof(page_t, slot);
    if (*page == NULL || within >= sizeof(*page)->slot || within % sizeof(slot_t) != 0) {
        return NULL;
    }
    return &(*page)->slot[within / sizeof(slot_t)];
}

/* ---- what is to be ended ---- */

/* Remembers a slot of which this process is the ender. Without memory it is not: then it is ended after
 * this process. */
static void remember(cshm_region *region, const slot_t *slot)
{
    struct cshm__doomed *doomed = &region->doomed;
    pthread_mutex_lock(&doomed->lock);
    if (doomed->count == doomed->room) {
        uint32_t room = doomed->room == 0 ? 16 : doomed->room * 2;
        uint64_t *places = malloc(room * sizeof *places);
        if (places == NULL) {
            pthread_mutex_unlock(&doomed->lock);
            return;
        }
        uint64_t *before = doomed->places;
        if (before != NULL) {
            memcpy(places, before, doomed->count * sizeof *places);
        }
        /* In this order: a fork in between has its child find memory that is there. */
        doomed->places = places;
        doomed->room = room;
        free(before);
    }
    doomed->places[doomed->count] = cshm_heap_offset(region, slot);
    atomic_store_explicit(&doomed->count, doomed->count + 1, memory_order_relaxed);
    pthread_mutex_unlock(&doomed->lock);
}

static slot_t *next_doomed(cshm_region *region)
{
    struct cshm__doomed *doomed = &region->doomed;
    page_t *page = NULL;
    slot_t *slot = NULL;
    pthread_mutex_lock(&doomed->lock);
    if (doomed->count > 0) {
        slot = find(region, doomed->places[doomed->count - 1], &page);
        atomic_store_explicit(&doomed->count, doomed->count - 1, memory_order_relaxed);
    }
    pthread_mutex_unlock(&doomed->lock);
    return slot;
}

static void end_object(cshm_region *region, slot_t *slot, uint64_t place)
{
    switch (atomic_load_explicit(&slot->kind, memory_order_relaxed)) {
    case CSHM_KIND_MAP:
        cshm__map_end(region, place);
        break;
    case CSHM_KIND_LIST:
        cshm__list_end(region, place);
        break;
    case CSHM_KIND_QUEUE:
        cshm__queue_end(region, place);
        break;
    default:
        break;
    }
    cshm__heap_free_from(region, place, &slot->object);
}

static void end(cshm_region *region, slot_t *slot)
{
    uint64_t place = load(&slot->object);
    if (place != 0 && cshm__heap_is_held(region, place, &slot->object)) {
        end_object(region, slot, place);
    }
    store(&slot->object, 0);
    store(&slot->generation, load(&slot->generation) + 1); /* [anchor] */
}

void cshm__anchor_end_all(cshm_region *region)
{
    while (atomic_load_explicit(&region->doomed.count, memory_order_relaxed) != 0) {
        slot_t *slot = next_doomed(region);
        if (slot != NULL) {
            end(region, slot);
        }
    }
}

void cshm__anchor_after_fork(cshm_region *region)
{
    pthread_mutex_init(&region->doomed.lock, NULL);
    atomic_store_explicit(&region->doomed.count, 0, memory_order_relaxed);
    atomic_store_explicit(&region->references, 0, memory_order_relaxed);
}

bool cshm__anchor_leave(cshm_region *region)
{
    pthread_mutex_destroy(&region->doomed.lock);
    free(region->doomed.places);
    return atomic_load_explicit(&region->references, memory_order_relaxed) == 0;
}

/* ---- under the guard ---- */

static bool is_in_use(const slot_t *slot)
{
    return atomic_load_explicit(&slot->generation, memory_order_acquire) % 2 == 1; /* [anchor] */
}

/* Whether it is that anchor, and has not ended. */
static bool is_there(const slot_t *slot, uint64_t generation)
{
    return generation % 2 == 1 &&
           atomic_load_explicit(&slot->generation, memory_order_acquire) == generation &&
           load(&slot->ender) == 0; /* [anchor] */
}

static void keep(slot_t *slot)
{
    atomic_store_explicit(&slot->kept, 1, memory_order_relaxed);
}

static bool is_gone(const cshm_region *region, uint64_t stamp)
{
    return cshm_participant_is_gone(region, stamp) == 1;
}

static bool has_reference(const cshm_region *region, const slot_t *slot)
{
    bool has =
        atomic_load_explicit(&slot->kept, memory_order_relaxed) != 0 || load(&slot->stored) != 0;
    for (uint32_t i = 0; i < CSHM_ANCHOR_CELLS && !has; i++) {
        uint64_t cell = load(&slot->cell[i]);
        has = cell >= ONE && !is_gone(region, cell & STAMP_OF);
    }
    return has;
}

static void end_unless_had(cshm_region *region, slot_t *slot)
{
    uint64_t ender = load(&slot->ender);
    if (!is_in_use(slot) || (ender == 0 ? has_reference(region, slot) : !is_gone(region, ender))) {
        return;
    }
    store(&slot->ender, cshm_participant_self(region));
    remember(region, slot);
}

/* The references that this process has, or else cells for some, or CSHM_ANCHOR_CELLS. */
static uint32_t cell_for(const cshm_region *region, const slot_t *slot)
{
    uint64_t self = cshm_participant_self(region);
    uint32_t found = CSHM_ANCHOR_CELLS;
    for (uint32_t i = 0; i < CSHM_ANCHOR_CELLS; i++) {
        uint64_t cell = load(&slot->cell[i]);
        if ((cell & STAMP_OF) == self) {
            return i;
        }
        found = cell < ONE && found == CSHM_ANCHOR_CELLS ? i : found;
    }
    for (uint32_t i = 0; i < CSHM_ANCHOR_CELLS && found == CSHM_ANCHOR_CELLS; i++) {
        found = is_gone(region, load(&slot->cell[i]) & STAMP_OF) ? i : found;
    }
    return found;
}

static void count_reference(cshm_region *region, int64_t more)
{
    atomic_fetch_add_explicit(&region->references, more, memory_order_relaxed);
}

static void add_reference(cshm_region *region, slot_t *slot)
{
    uint64_t self = cshm_participant_self(region);
    uint32_t i = cell_for(region, slot);
    uint64_t cell = i < CSHM_ANCHOR_CELLS ? load(&slot->cell[i]) : FULL;
    if (cell >= FULL && (i == CSHM_ANCHOR_CELLS || (cell & STAMP_OF) == self)) {
        keep(slot);
        return;
    }
    store(&slot->cell[i], (cell & STAMP_OF) == self ? cell + ONE : ONE | self);
    count_reference(region, 1);
}

static void drop_reference(cshm_region *region, slot_t *slot)
{
    uint32_t i = cell_for(region, slot);
    uint64_t cell = i < CSHM_ANCHOR_CELLS ? load(&slot->cell[i]) : 0;
    if (cell >= ONE && (cell & STAMP_OF) == cshm_participant_self(region)) {
        store(&slot->cell[i], cell - ONE);
        count_reference(region, -1);
    }
}

/* ---- counting values: two words that change as one ---- */

/* Carries the log out. */
static void finish_change(cshm_region *region, page_t *page)
{
    uint64_t place = load(&page->change_entry);
    if (place == 0) {
        return;
    }
    _Atomic uint64_t *entry = cshm__committed_pointer(region, place, sizeof *entry);
    uint64_t slot = load(&page->change_slot);
    if (entry != NULL && place % 8 == 0 && slot < CSHM_ANCHOR_SLOTS) {
        store(&page->slot[slot].stored, load(&page->change_stored));
        store(entry, load(&page->change_word));
    }
    store(&page->change_entry, 0);
}

static void change(cshm_region *region, page_t *page, slot_t *slot, uint64_t stored,
                   _Atomic uint64_t *entry, uint64_t word)
{
    store(&page->change_slot, (uint64_t)(slot - page->slot));
    store(&page->change_stored, stored);
    store(&page->change_word, word);
    store(&page->change_entry, cshm_heap_offset(region, (const void *)entry)); /* the commit */
    finish_change(region, page);
}

/* ---- the guard ---- */

static void sweep_page(cshm_region *region, page_t *page)
{
    for (uint32_t i = 0; i < CSHM_ANCHOR_SLOTS; i++) {
        end_unless_had(region, &page->slot[i]);
    }
}

static int lock(cshm_region *region, page_t *page)
{
    int status = cshm__guard_acquire(region, &page->guard);
    if (status == 1) {
        finish_change(region, page);
        sweep_page(region, page);
        status = 0;
    }
    return status;
}

/* Waits for nobody. @returns whether it has the guard. */
static bool try_lock(cshm_region *region, page_t *page)
{
    uint64_t owner = load(&page->guard.owner);
    return owner != 0 && is_gone(region, owner) ? lock(region, page) == 0
                                                : cshm__guard_try(region, &page->guard);
}

static bool is_asked(const page_t *page)
{
    atomic_thread_fence(memory_order_seq_cst); /* [ask] */
    return atomic_load_explicit(&page->is_asked, memory_order_relaxed) != 0;
}

/* Does what was asked for, unless somebody has the guard, who does it then. */
static void answer(cshm_region *region, page_t *page)
{
    while (is_asked(page) && try_lock(region, page)) {
        atomic_store_explicit(&page->is_asked, 0, memory_order_relaxed);
        sweep_page(region, page);
        cshm__guard_release(&page->guard);
    }
}

static void unlock(cshm_region *region, page_t *page)
{
    cshm__guard_release(&page->guard);
    answer(region, page);
}

/* ---- making ---- */

static int make(cshm_region *region, enum cshm_kind kind, uint64_t offset, slot_t *slot,
                cshm_anchor *out)
{
    store(&slot->object, 0);
    int status = cshm__heap_hold(region, offset, &slot->object);
    if (status != 0 || !cshm__heap_is_held(region, offset, &slot->object)) {
        return -EINVAL;
    }
    store(&slot->stored, 0);
    store(&slot->ender, 0);
    atomic_store_explicit(&slot->kind, kind, memory_order_relaxed);
    atomic_store_explicit(&slot->kept, 0, memory_order_relaxed);
    for (uint32_t i = 0; i < CSHM_ANCHOR_CELLS; i++) {
        store(&slot->cell[i], i == 0 ? ONE | cshm_participant_self(region) : 0);
    }
    uint64_t generation = load(&slot->generation) + 1;
    store(&slot->generation, generation); /* [anchor] */
    store(&slot->object, offset);
    cshm__heap_link(region, offset);
    count_reference(region, 1);
    *out = (cshm_anchor){cshm_heap_offset(region, slot), generation};
    return 0;
}

/* 0, or -EAGAIN: all of the page's are in use. */
static int make_in(cshm_region *region, page_t *page, enum cshm_kind kind, uint64_t offset,
                   cshm_anchor *out)
{
    int status = lock(region, page);
    if (status != 0) {
        return status;
    }
    status = -EAGAIN;
    for (uint32_t i = 0; i < CSHM_ANCHOR_SLOTS && status == -EAGAIN; i++) {
        if (!is_in_use(&page->slot[i])) {
            status = make(region, kind, offset, &page->slot[i], out);
        }
    }
    unlock(region, page);
    return status;
}

static bool may_have_room(const page_t *page)
{
    for (uint32_t i = 0; i < CSHM_ANCHOR_SLOTS; i++) {
        if (!is_in_use(&page->slot[i])) {
            return true;
        }
    }
    return false;
}

/* In the page where there was room last, or any other. Leaves the word that would name the next one. */
static int make_in_any(cshm_region *region, enum cshm_kind kind, uint64_t offset,
                       _Atomic uint64_t **word, cshm_anchor *out)
{
    page_t *page = NULL;
    _Atomic uint64_t *hint = &region->live->anchor_hint;
    int status =
        load_page(region, hint, &page) == 1 ? make_in(region, page, kind, offset, out) : -EAGAIN;
    *word = &region->live->anchors;
    for (uint32_t pages = 0; pages < PAGES_MAX && status == -EAGAIN; pages++) {
        status = load_page(region, *word, &page);
        if (status <= 0) {
            return status < 0 ? status : -EAGAIN;
        }
        status = may_have_room(page) ? make_in(region, page, kind, offset, out) : -EAGAIN;
        if (status == 0) {
            store(hint, cshm_heap_offset(region, page));
        }
        *word = &page->next;
    }
    return status == -EAGAIN ? -ENOSPC : status;
}

int cshm_anchor_create(cshm_region *region, enum cshm_kind kind, uint64_t offset, cshm_anchor *out)
{
    _Atomic uint64_t *word = NULL;
    int status = -EAGAIN;
    if (cshm_participant_self(region) == 0) {
        return -ECHILD;
    }
    if (kind != CSHM_KIND_MAP && kind != CSHM_KIND_LIST && kind != CSHM_KIND_QUEUE &&
        kind != CSHM_KIND_BLOCK) {
        return -EINVAL;
    }
    while (status == -EAGAIN) {
        status = make_in_any(region, kind, offset, &word, out);
        if (status == -EAGAIN) {
            int added = add_page(region, word);
            status = added == 0 ? -EAGAIN : added;
        }
    }
    cshm__anchor_end_all(region);
    return status;
}

/* ---- references of processes ---- */

/* What is done with an anchor that is there, under the guard of its page. */
typedef void act(cshm_region *region, slot_t *slot);

static int with_slot(cshm_region *region, const cshm_anchor *anchor, act *act)
{
    page_t *page = NULL;
    slot_t *slot = find(region, anchor->place, &page);
    int status = slot == NULL ? -EPROTO : lock(region, page);
    if (status != 0) {
        return status;
    }
    status = is_there(slot, anchor->generation) ? 0 : -ENOENT;
    if (status == 0) {
        act(region, slot);
    }
    unlock(region, page);
    cshm__anchor_end_all(region);
    return status;
}

static void release(cshm_region *region, slot_t *slot)
{
    drop_reference(region, slot);
    end_unless_had(region, slot);
}

static void keep_act(cshm_region *region, slot_t *slot)
{
    (void)region;
    keep(slot);
}

int cshm_anchor_acquire(cshm_region *region, const cshm_anchor *anchor)
{
    return with_slot(region, anchor, add_reference);
}

int cshm_anchor_release(cshm_region *region, const cshm_anchor *anchor)
{
    return with_slot(region, anchor, release);
}

int cshm_anchor_keep(cshm_region *region, const cshm_anchor *anchor)
{
    return with_slot(region, anchor, keep_act);
}

int64_t cshm_anchor_count(const cshm_region *region)
{
    int64_t count = 0;
    const _Atomic uint64_t *word = &region->live->anchors;
    for (uint32_t pages = 0; pages < PAGES_MAX; pages++) {
        page_t *page = NULL;
        int status = load_page(region, word, &page);
        if (status <= 0) {
            return status < 0 ? status : count;
        }
        for (uint32_t i = 0; i < CSHM_ANCHOR_SLOTS; i++) {
            count += is_in_use(&page->slot[i]);
        }
        word = &page->next;
    }
    return -EPROTO;
}

void cshm__anchor_sweep(cshm_region *region)
{
    page_t *page = NULL;
    const _Atomic uint64_t *word = &region->live->anchors;
    for (uint32_t pages = 0; pages < PAGES_MAX && load_page(region, word, &page) == 1; pages++) {
        atomic_store_explicit(&page->is_asked, 1, memory_order_relaxed);
        answer(region, page);
        word = &page->next;
    }
    cshm__anchor_end_all(region);
}

/* ---- values ---- */

/* How many anchors a value of so many bytes names, by its last word; none if that cannot be. */
static uint64_t anchors_of(uint64_t last, uint64_t length, uint64_t *first)
{
    uint64_t count = last >> 48;
    uint64_t words = cshm__words_for(last & STAMP_OF);
    *first = words;
    return words <= CSHM__ITEM_MAX && (words + 2 * count + 1) * 8 == length ? count : 0;
}

bool cshm__anchor_is_value(const void *value, uint64_t length)
{
    uint64_t last = 0;
    uint64_t first = 0;
    if (length < 8 || length % 8 != 0) {
        return false;
    }
    memcpy(&last, (const uint8_t *)value + length - 8, 8);
    uint64_t count = anchors_of(last, length, &first);
    for (uint64_t i = 0; i < count; i++) {
        cshm_anchor anchor;
        memcpy(&anchor, (const uint8_t *)value + 8 * first + i * sizeof anchor, sizeof anchor);
        if ((anchor.place & COUNTS) != 0) {
            return false;
        }
    }
    return count == last >> 48 && (first + 2 * count + 1) * 8 == length;
}

/* The anchors of a value in shared memory, and how many. */
static uint64_t list_of(_Atomic uint64_t *value, uint64_t length, _Atomic uint64_t **out)
{
    uint64_t first = 0;
    uint64_t count = 0;
    if (length >= 8 && length % 8 == 0) {
        count = anchors_of(load(&value[length / 8 - 1]), length, &first);
    }
    *out = value + first;
    return count;
}

static int hold_one(cshm_region *region, _Atomic uint64_t *entry)
{
    page_t *page = NULL;
    uint64_t place = load(&entry[0]);
    slot_t *slot = find(region, place, &page);
    int status = slot == NULL ? -EPROTO : lock(region, page);
    if (status != 0) {
        return status;
    }
    status = is_there(slot, load(&entry[1])) ? 0 : -ENOENT;
    if (status == 0) {
        change(region, page, slot, load(&slot->stored) + 1, entry, place | COUNTS);
    }
    unlock(region, page);
    return status;
}

int cshm__anchor_hold(cshm_region *region, _Atomic uint64_t *value, uint64_t length)
{
    _Atomic uint64_t *entry;
    int status = 0;
    uint64_t count = list_of(value, length, &entry);
    for (uint64_t i = 0; i < count && status == 0; i++) {
        status = hold_one(region, entry + 2 * i);
    }
    if (status != 0) {
        cshm__anchor_let_go(region, value, length);
    }
    return status;
}

/* The guard first, also if the value is not counted: a dead one may have been about to say it is. */
static void let_go_of_one(cshm_region *region, _Atomic uint64_t *entry)
{
    page_t *page = NULL;
    slot_t *slot = find(region, load(&entry[0]) & ~COUNTS, &page);
    if (slot == NULL || lock(region, page) != 0) {
        return;
    }
    uint64_t place = load(&entry[0]);
    uint64_t stored = load(&slot->stored);
    bool is_its = load(&slot->generation) == load(&entry[1]); /* or the bytes are damaged */
    if ((place & COUNTS) != 0 && is_its && stored != 0) {
        change(region, page, slot, stored - 1, entry, place & ~COUNTS);
        end_unless_had(region, slot);
    }
    unlock(region, page);
}

void cshm__anchor_let_go(cshm_region *region, _Atomic uint64_t *value, uint64_t length)
{
    _Atomic uint64_t *entry;
    uint64_t count = list_of(value, length, &entry);
    for (uint64_t i = 0; i < count; i++) {
        let_go_of_one(region, entry + 2 * i);
    }
}

int cshm__anchor_hold_item(cshm_region *region, uint64_t place)
{
    struct item item;
    return cshm__item_load(region, place, &item)
               ? cshm__anchor_hold(region, item.value, item.length)
               : -EPROTO;
}

/* What is freed already may be somebody else's. */
void cshm__anchor_let_go_item(cshm_region *region, uint64_t place, const _Atomic uint64_t *holder)
{
    struct item item;
    if (cshm__heap_is_held(region, place, holder) && cshm__item_load(region, place, &item)) {
        cshm__anchor_let_go(region, item.value, item.length);
    }
}

/* ---- names ---- */

int cshm__anchor_name(cshm_region *region, uint64_t object, uint64_t holder, _Atomic uint64_t *word)
{
    page_t *page = NULL;
    slot_t *slot = find(region, holder - offsetof(slot_t, object), &page);
    if (slot == NULL) {
        return 0;
    }
    int status = lock(region, page);
    if (status != 0) {
        return status;
    }
    status = -ENOENT;
    if (is_there(slot, load(&slot->generation)) && load(&slot->object) == object) {
        change(region, page, slot, load(&slot->stored) + 1, word, object);
        status = 1;
    }
    unlock(region, page);
    return status;
}
