/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * See cshm/directory.h for the model. Pairs:
 *
 *   [name]   a slot is filled, then its place stored (release) -> a reader loads the place (acquire)
 *            before it looks at the rest
 *   [check]  a slot that is used again gets its new generation first, then its words (release) -> a
 *            reader loads the words (acquire), then looks at generation and place once more
 *   [page]   a page is laid out, then the word that names it stored (release) -> found by that word
 *            (acquire)
 *
 * The stores of an addition, in order, and what is found if they end there:
 *
 *   page's words, page linked to     a page without names, or a block that the sweep frees
 *   generation, name, kind, tag      the slot is free
 *   the block's holder               the slot does not name the block: the sweep frees it
 *   place                            the name counts; the sweep links the block
 *   block LINKED                     nothing is left to do
 *
 * Of what is anchored the place is stored by anchor.c, with the count, which stays when the name goes.
 *
 * A removal links the block, in case its adder died before it could, and then is one store, place =
 * 0. So the lock's next holder has nothing to repair but an anchor's count.
 */
#include <cshm/directory.h>

#include <errno.h>
#include <string.h>

#include <cshm/heap.h>
#include <cshm/participant.h>

#include "anchor_view.h"
#include "internal.h"

enum {
    MAGIC = 0x64697265, /* "dire" */
    PAGES_MAX = 1024,
};

uint64_t cshm_type_tag(const char *text)
{
    uint64_t hash = 0xcbf29ce484222325ull;
    for (const char *at = text; *at != '\0'; at++) {
        hash = (hash ^ (uint8_t)*at) * 0x100000001b3ull;
    }
    return hash;
}

/* A name as the words of a slot hold it: padded with zeroes. */
struct name {
    uint64_t length;
    uint64_t words[CSHM_NAME_WORDS];
};

static int make_name(const char *text, struct name *out)
{
    size_t length = text == NULL ? 0 : strnlen(text, CSHM_NAME_MAX + 1);
    if (length == 0 || length > CSHM_NAME_MAX) {
        return -EINVAL;
    }
    memset(out, 0, sizeof *out);
    memcpy(out->words, text, length);
    out->length = length;
    return 0;
}

/* ---- pages ---- */

/* The page that a word names: 1, 0 if it names none, -EPROTO if it names something else. */
static int load_page(const cshm_region *region, const _Atomic uint64_t *word,
                     struct cshm_directory_page **out)
{
    uint64_t place = atomic_load_explicit(word, memory_order_acquire); /* [page] */
    if (place == 0) {
        return 0;
    }
    struct cshm_directory_page *page = cshm_heap_pointer(region, place, sizeof *page);
    if (page == NULL || place % sizeof(uint64_t) != 0 || page->magic != MAGIC) {
        return -EPROTO;
    }
    *out = page;
    return 1;
}

static int add_page(cshm_region *region, _Atomic uint64_t *word, struct cshm_directory_page **out)
{
    uint64_t place = 0;
    int status = cshm__heap_allocate_for(region, sizeof(struct cshm_directory_page), word, &place);
    if (status != 0) {
        return status;
    }
    struct cshm_directory_page *page = cshm_heap_pointer(region, place, sizeof *page);
    if (page == NULL) {
        return -EPROTO;
    }
    memset((void *)page, 0, sizeof *page);
    page->magic = MAGIC;
    atomic_store_explicit(word, place, memory_order_release); /* [page] */
    cshm__heap_link(region, place);
    *out = page;
    return 0;
}

/* ---- slots ---- */

/* Where a walk over the slots is; all zeroes but the region starts one. */
struct walk {
    const cshm_region *region;
    struct cshm_directory_page *page;
    uint32_t pages;
    uint32_t next;
};

/* The word that names the page after the one the walk is in. */
static _Atomic uint64_t *next_page_word(const struct walk *walk)
{
    return walk->page == NULL ? &walk->region->live->directory : &walk->page->next;
}

/* The next slot: 1, 0 at the end, or -EPROTO. Bounded, whatever the pages hold. */
static int next_slot(struct walk *walk, struct cshm_directory_slot **out)
{
    if (walk->page == NULL || walk->next == CSHM_DIRECTORY_SLOTS) {
        int status = load_page(walk->region, next_page_word(walk), &walk->page);
        if (status <= 0) {
            return status;
        }
        if (++walk->pages > PAGES_MAX) {
            return -EPROTO;
        }
        walk->next = 0;
    }
    *out = &walk->page->slot[walk->next++];
    return 1;
}

/* A slot as copied out. */
struct copy {
    struct name name;
    uint64_t place;
    uint64_t type_tag;
    uint32_t kind;
};

/* Copies a slot: 1, 0 if it is free, -EPROTO if it is damaged. */
static int read_slot(const cshm_region *region, struct cshm_directory_slot *slot, struct copy *out)
{
    for (;;) {
        uint64_t generation = atomic_load_explicit(&slot->generation, memory_order_acquire);
        out->place = atomic_load_explicit(&slot->place, memory_order_acquire); /* [name] */
        if (out->place == 0) {
            return 0;
        }
        out->kind = atomic_load_explicit(&slot->kind, memory_order_acquire); /* [check] */
        out->type_tag = atomic_load_explicit(&slot->type_tag, memory_order_acquire);
        out->name.length = atomic_load_explicit(&slot->length, memory_order_acquire);
        for (uint32_t i = 0; i < CSHM_NAME_WORDS; i++) {
            out->name.words[i] = atomic_load_explicit(&slot->name[i], memory_order_acquire);
        }
        if (atomic_load_explicit(&slot->generation, memory_order_relaxed) == generation &&
            atomic_load_explicit(&slot->place, memory_order_relaxed) == out->place) { /* [check] */
            break;
        }
    }
    bool whole = out->name.length != 0 && out->name.length <= CSHM_NAME_MAX &&
                 strnlen((const char *)out->name.words, out->name.length) == out->name.length &&
                 cshm_heap_pointer(region, out->place, 1) != NULL;
    return whole ? 1 : -EPROTO;
}

static void describe(const struct copy *copy, struct cshm_directory_entry *out)
{
    memset(out, 0, sizeof *out);
    memcpy(out->name, copy->name.words, copy->name.length);
    out->kind = copy->kind;
    out->type_tag = copy->type_tag;
    out->offset = copy->place;
}

/* What a look for a name found. */
struct found {
    struct cshm_directory_slot *slot; /* of that name, or NULL */
    struct copy copy;
    struct cshm_directory_slot *free; /* the first free one, or NULL */
    struct walk end;
};

static int look_for(const cshm_region *region, const struct name *name, struct found *out)
{
    struct cshm_directory_slot *slot = NULL;
    *out = (struct found){.end = {.region = region}};
    for (;;) {
        int status = next_slot(&out->end, &slot);
        if (status <= 0) {
            return status;
        }
        status = read_slot(region, slot, &out->copy);
        if (status < 0) {
            return status;
        }
        if (status == 0) {
            out->free = out->free == NULL ? slot : out->free;
        } else if (memcmp(&out->copy.name, name, sizeof *name) == 0) {
            out->slot = slot;
            return 0;
        }
    }
}

/* ---- writing: under the lock ---- */

static int lock_directory(cshm_region *region)
{
    if (cshm_participant_self(region) == 0) {
        return -ECHILD;
    }
    int status = cshm_mutex_acquire_until(&region->live->directory_lock, INT64_MAX);
    if (status ==
        1) { /* a slot is free or it is not; but the name of what is anchored may be under way */
        cshm__anchor_sweep(region);
        (void)cshm_mutex_repair(&region->live->directory_lock);
        status = 0;
    }
    return status;
}

static void unlock_directory(cshm_region *region)
{
    (void)cshm_mutex_release(&region->live->directory_lock);
}

static void fill_slot(struct cshm_directory_slot *slot, const struct name *name, uint32_t kind,
                      uint64_t type_tag)
{
    uint64_t generation = atomic_load_explicit(&slot->generation, memory_order_relaxed);
    atomic_store_explicit(&slot->generation, generation + 1, memory_order_release);
    atomic_store_explicit(&slot->kind, kind, memory_order_release); /* [check] */
    atomic_store_explicit(&slot->type_tag, type_tag, memory_order_release);
    atomic_store_explicit(&slot->length, (uint32_t)name->length, memory_order_release);
    for (uint32_t i = 0; i < CSHM_NAME_WORDS; i++) {
        atomic_store_explicit(&slot->name[i], name->words[i], memory_order_release);
    }
}

static int add_locked(cshm_region *region, const struct name *name, uint32_t kind,
                      uint64_t type_tag, uint64_t offset)
{
    struct found found;
    int status = look_for(region, name, &found);
    if (status != 0) {
        return status;
    }
    if (found.slot != NULL) {
        return -EEXIST;
    }
    struct cshm_directory_slot *slot = found.free;
    if (slot == NULL) {
        struct cshm_directory_page *page = NULL;
        if (found.end.pages == PAGES_MAX) {
            return -ENOSPC;
        }
        status = add_page(region, next_page_word(&found.end), &page);
        if (status != 0) {
            return status;
        }
        slot = &page->slot[0];
    }
    fill_slot(slot, name, kind, type_tag);
    /* What is anchored is counted, for ever: who found it by its name may have it still when that is gone. */
    status = cshm__anchor_name(region, offset, cshm__heap_holder(region, offset), &slot->place);
    if (status != 0) {
        return status < 0 ? status : 0;
    }
    status = cshm__heap_hold(region, offset, &slot->place);
    if (status == 0) {
        atomic_store_explicit(&slot->place, offset, memory_order_release); /* [name]: the commit */
        cshm__heap_link(region, offset);
    }
    return status;
}

int cshm_directory_add(cshm_region *region, const char *name, uint32_t kind, uint64_t type_tag,
                       uint64_t offset)
{
    struct name key;
    int status = make_name(name, &key);
    if (status == 0) {
        status = lock_directory(region);
    }
    if (status == 0) {
        status = add_locked(region, &key, kind, type_tag, offset);
        unlock_directory(region);
    }
    return status;
}

int cshm_directory_remove(cshm_region *region, const char *name, struct cshm_directory_entry *out)
{
    struct name key;
    struct found found;
    int status = make_name(name, &key);
    if (status == 0) {
        status = lock_directory(region);
    }
    if (status != 0) {
        return status;
    }
    status = look_for(region, &key, &found);
    if (status == 0 && found.slot == NULL) {
        status = -ENOENT;
    }
    if (status == 0) {
        /* Its adder may have died before it did so, and the sweep must not take it for unnamed. */
        int shared = cshm_heap_share(region, found.copy.place);
        (void)shared;
        atomic_store_explicit(&found.slot->place, 0, memory_order_release); /* [name] */
        if (out != NULL) {
            describe(&found.copy, out);
        }
    }
    unlock_directory(region);
    return status;
}

/* ---- reading ---- */

int cshm_directory_find(const cshm_region *region, const char *name,
                        struct cshm_directory_entry *out)
{
    struct name key;
    struct found found;
    int status = make_name(name, &key);
    if (status == 0) {
        status = look_for(region, &key, &found);
    }
    if (status == 0 && found.slot == NULL) {
        status = -ENOENT;
    }
    if (status == 0) {
        describe(&found.copy, out);
    }
    return status;
}

int cshm_directory_list(const cshm_region *region,
                        void (*visit)(const struct cshm_directory_entry *entry, void *context),
                        void *context)
{
    struct walk walk = {.region = region};
    struct cshm_directory_slot *slot = NULL;
    struct copy copy;
    int count = 0;
    for (;;) {
        int status = next_slot(&walk, &slot);
        if (status <= 0) {
            return status < 0 ? status : count;
        }
        status = read_slot(region, slot, &copy);
        if (status < 0) {
            return status;
        }
        if (status == 1) {
            struct cshm_directory_entry entry;
            describe(&copy, &entry);
            visit(&entry, context);
            count++;
        }
    }
}
