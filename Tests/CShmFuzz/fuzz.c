/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * An input is a noun, then operations on its object, changes of words and sweeps, in turn.
 */
#include "fuzz.h"

#include <stdlib.h>

#include "layout.h"

void fuzz_share(struct scene *scene, uint64_t size)
{
    MUST(cshm_heap_share(scene->region, scene->place) == 0);
    scene->size = size;
}

void *fuzz_block(struct scene *scene, uint64_t size)
{
    MUST(cshm_heap_allocate(scene->region, size, &scene->place) == 0);
    fuzz_share(scene, size);
    return memset(fuzz_object(scene), 0, size);
}

void *fuzz_object(const struct scene *scene)
{
    return cshm_heap_pointer(scene->region, scene->place, scene->size);
}

enum { HELD_MAX = 1000 /* an input has fewer operations */ };

void fuzz_let_go(struct scene *scene)
{
    for (int i = 0; i < HELD_MAX && pthread_mutex_unlock(scene->native) == 0; i++) {
    }
}

struct input {
    const uint8_t *data;
    size_t left;
};

static uint64_t take(struct input *input, size_t bytes)
{
    uint64_t value = 0;
    for (; bytes > 0 && input->left > 0; bytes--, input->left--) {
        value = value << 8 | *input->data++;
    }
    return value;
}

/* Parts of a region, those that are read most first. */
struct area {
    uint8_t *base;
    uint64_t words;
};

enum { AREAS = 8, ENTRIES = 4, SPANS = 16 };

static void list_areas(const struct scene *scene, struct area *areas)
{
    uint8_t *base = (uint8_t *)fuzz_object(scene) - scene->place;
    const struct cshm_header *header = (const void *)base;
    areas[0] = (struct area){base + scene->place, scene->size / 8};
    areas[1] = (struct area){base + scene->place, scene->size < 512 ? scene->size / 8 : 64};
    areas[2] = (struct area){base + CSHM_LIVE_OFFSET, sizeof(struct cshm_live) / 8};
    areas[3] = (struct area){base + CSHM_PARTICIPANTS_OFFSET,
                             ENTRIES * sizeof(struct cshm_participant_entry) / 8};
    areas[4] = (struct area){base + CSHM_SPANS_OFFSET, SPANS * sizeof(struct cshm_span) / 8};
    areas[5] = (struct area){base + header->heap_offset, 4 * CSHM_SPAN / 8};
    areas[6] = (struct area){base + CSHM_PARTICIPANTS_OFFSET,
                             CSHM_PARTICIPANTS_MAX * sizeof(struct cshm_participant_entry) / 8};
    areas[7] =
        (struct area){base + CSHM_SPANS_OFFSET, header->span_count * sizeof(struct cshm_span) / 8};
}

static int is_in_mutex(const uint8_t *word, const void *mutex)
{
    return mutex != NULL && (uint64_t)(word - (const uint8_t *)mutex) < sizeof(pthread_mutex_t);
}

/* glibc's bytes are not ours to check. */
static int is_native(const struct scene *scene, const uint8_t *word, const uint8_t *live)
{
    return is_in_mutex(word, live + offsetof(struct cshm_live, heap_lock)) ||
           is_in_mutex(word, live + offsetof(struct cshm_live, directory_lock)) ||
           is_in_mutex(word, scene->native);
}

static uint64_t changed(uint64_t word, uint64_t other, uint32_t how, uint64_t value)
{
    switch (how % 8) {
    case 0:
        return value;
    case 1:
        return word ^ (1ull << (value % 64));
    case 2:
        return word + (int8_t)value;
    case 3:
        return 0;
    case 4:
        return UINT64_MAX;
    case 5:
        return other;
    case 6:
        return (word & ~UINT64_C(0xffff)) | (value & 0xffff);
    default:
        return (word & UINT64_MAX >> 16) | value << 48;
    }
}

static void corrupt(struct input *input, const struct area *areas, const struct scene *scene)
{
    uint32_t how = (uint32_t)take(input, 1);
    const struct area *area = &areas[how / 8 % AREAS];
    uint64_t at = take(input, 2) % area->words;
    uint64_t value = take(input, how % 8 == 0 ? 8 : 2);
    uint64_t word = 0;
    uint64_t other = 0;
    uint8_t *place = area->base + at * 8;
    if (is_native(scene, place, areas[2].base)) {
        return;
    }
    memcpy(&word, place, 8);
    memcpy(&other, area->base + value % area->words * 8, 8);
    word = changed(word, other, how, value);
    memcpy(place, &word, 8);
}

/* What reads participants and spans, whichever the noun is. A heap whose spans are damaged may give a
 * block in use to another: a pthread mutex among the object's bytes is not to be in it. */
static void sweep(struct input *input, const struct scene *scene)
{
    uint64_t place = 0;
    uint64_t size = take(input, 2);
    (void)cshm_participant_is_gone(scene->region, take(input, 2));
    if (scene->native != NULL) {
        return;
    }
    (void)cshm_region_reap(scene->region);
    if (cshm_heap_allocate(scene->region, size, &place) == 0) {
        (void)cshm_heap_free(scene->region, place);
    }
}

/* That of the input, or the one in the environment. */
static const struct subject *choose(struct input *input)
{
    const char *name = getenv("CSHM_FUZZ_NOUN");
    const struct subject *chosen = subjects[take(input, 1) % subject_count];
    for (uint32_t i = 0; name != NULL && i < subject_count; i++) {
        chosen = strcmp(subjects[i]->name, name) == 0 ? subjects[i] : chosen;
    }
    return chosen;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = {data, size};
    struct cshm_region_options options = {.capacity = 1u << 20};
    const struct subject *subject = choose(&input);
    struct scene scene = {.soon = cshm_now_ns()}; /* who would wait gives up */
    struct area areas[AREAS];
    if (cshm_region_create(&options, &scene.region) != 0) {
        return -1;
    }
    subject->make(&scene);
    list_areas(&scene, areas);
    while (input.left > 0) {
        uint32_t what = (uint32_t)take(&input, 1);
        if (what % 32 == 0) {
            sweep(&input, &scene);
        } else if (what % 4 == 0) {
            corrupt(&input, areas, &scene);
        } else {
            subject->operate(&scene, what / 4 % 16, (uint32_t)take(&input, 1));
        }
    }
    if (subject->leave != NULL) {
        subject->leave(&scene);
    }
    (void)cshm_region_reap(scene.region);
    cshm_region_close(scene.region);
    return 0;
}
