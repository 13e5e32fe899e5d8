/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Every kind of channel by one set of calls, for what must hold of each of them.
 */
#ifndef CSHM_CHANNELS_H
#define CSHM_CHANNELS_H

#include "support.h"

#include <cshm.h>

enum {
    CHANNEL_CAPACITY = 8,
    CHANNEL_SLOT = 16, /* longer messages take a block */
    CHANNEL_TAG = 7,
};

/* One process's view of a channel, of which it may use either end, or both. */
struct channel {
    const struct channel_kind *kind;
    cshm_region *region;
    uint64_t place;
    void *view;
    void *putter;
    void *taker;
};

struct channel_kind {
    const char *name;
    int (*create)(cshm_region *region, uint64_t *place);
    int (*open)(struct channel *channel, uint64_t tag);
    int (*be_putter)(struct channel *channel);
    int (*be_taker)(struct channel *channel);
    int (*put)(struct channel *channel, const void *data, uint64_t length);
    int (*put_until)(struct channel *channel, const void *data, uint64_t length, int64_t deadline);
    int (*take)(struct channel *channel, void *data, uint64_t room, uint64_t *length);
    int (*take_until)(struct channel *channel, void *data, uint64_t room, uint64_t *length,
                      int64_t deadline);
    void (*finish)(struct channel *channel);
    void (*cancel)(struct channel *channel);
    void (*items)(struct channel *channel, struct cshm_waitable *out);
    void (*room)(struct channel *channel, struct cshm_waitable *out);
    /* Both drop the ends that are in use, too. */
    void (*close)(struct channel *channel);
    void (*destroy)(struct channel *channel);
    int forked; /* what a child of fork, which does not have the parent's ends, is told */
    bool loses; /* when it is full; else a put would wait */
    bool is_sorted_by_lane; /* each putter's messages in their order; else all of them */
    bool has_tag;           /* open refuses another */
    bool ends_itself;       /* when the last one that puts is gone */
};

extern const struct channel_kind channel_kinds[];
enum { CHANNEL_KINDS = 5 };

/* A new one, shared, and opened with both ends by the caller. */
struct channel channel_make(const struct channel_kind *kind, cshm_region *region);

/* Another process's view of the one at that place, with no end. */
struct channel channel_open(const struct channel_kind *kind, cshm_region *region, uint64_t place);

/* Puts until it would wait. @returns how many. */
uint32_t channel_fill(struct channel *channel);

#endif /* CSHM_CHANNELS_H */
