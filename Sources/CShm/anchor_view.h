/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * What maps, lists, queues and the region use of anchors. All of it is called without an anchor's guard.
 */
#ifndef CSHM_ANCHOR_VIEW_H
#define CSHM_ANCHOR_VIEW_H

#include <cshm/anchor.h>

#include "internal.h"

/* Whether a value's end is as cshm/anchor.h says. */
bool cshm__anchor_is_value(const void *value, uint64_t length);
/* Has the anchors count a value that is in shared memory already. What was counted when it fails, or
 * dies, is let go. @returns 0, -ENOENT, -ECHILD, -EPROTO. */
int cshm__anchor_hold(cshm_region *region, _Atomic uint64_t *value, uint64_t length);
/* Has them count it no more. May be done again. */
void cshm__anchor_let_go(cshm_region *region, _Atomic uint64_t *value, uint64_t length);
/* The same, of an item's value. */
int cshm__anchor_hold_item(cshm_region *region, uint64_t place);
/* And if that is an item still, which the word at `holder` names or named. */
void cshm__anchor_let_go_item(cshm_region *region, uint64_t place, const _Atomic uint64_t *holder);
/* Ends what has lost its last reference, by this process. */
void cshm__anchor_end_all(cshm_region *region);
/* Looks for what only the dead had, and ends it; but not in pages that somebody is busy with. */
void cshm__anchor_sweep(cshm_region *region);
void cshm__anchor_after_fork(cshm_region *region);
/* @returns whether the process gave up all its references before. */
bool cshm__anchor_leave(cshm_region *region);
/* Has a directory's word name an object that is anchored, which counts it, both at once; `holder` is where
 * the object's block says that it is named. @returns 1; 0 (it is not anchored), -ENOENT (it has ended),
 * -ECHILD, -EPROTO. */
int cshm__anchor_name(cshm_region *region, uint64_t object, uint64_t holder,
                      _Atomic uint64_t *word);

/* ---- map.c, list.c, queue.c ---- */
/* Empties an object that nobody has; may be done again. */
void cshm__map_end(cshm_region *region, uint64_t offset);
void cshm__list_end(cshm_region *region, uint64_t offset);
void cshm__queue_end(cshm_region *region, uint64_t offset);

#endif /* CSHM_ANCHOR_VIEW_H */
