/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * What the files of the board share: board.c is the poster's side, board_work.c the workers'.
 */
#ifndef CSHM_BOARD_VIEW_H
#define CSHM_BOARD_VIEW_H

#include <cshm/board.h>
#include <cshm/heap.h>
#include <cshm/participant.h>

#include "internal.h"

enum {
    BOARD_MAGIC = 0x626f7264, /* "bord" */
    BATCH_MAGIC = 0x62746368, /* "btch" */
    ROWS_MAX = 16,
    SEATS_A_ROW = 8, /* for each of which there are four posts */
};

/* Where the parts of a batch lie, from numbers that were loaded once and checked. */
struct batch_view {
    struct cshm_batch_shared *shared;
    struct cshm_group *groups;
    uint8_t *sheets;
    uint8_t *input;
    uint8_t *output;
    uint64_t place, size;
    uint64_t input_size, output_size;
    uint32_t count, filled, group, group_count;
    uint32_t sheet, sheet_stride;
    uint32_t urgency;
};

struct cshm_board {
    cshm_region *region;
    struct cshm_board_shared *shared;
    struct cshm_board_row *rows;
    struct cshm_seat *seats;
    uint64_t place;
    uint32_t row_count, seat_count;
    /* the poster's */
    uint32_t posted[ROWS_MAX]; /* posts that are taken */
    uint32_t post_count;       /* of them all */
    uint32_t cursor;           /* the post to try first */
    cshm_batch *retired;
    uint32_t retired_count;
    uint64_t retired_size;
    /* a worker's */
    struct cshm_seat *seat;
    uint32_t worker;
    uint32_t first_row;
    uint32_t post; /* of the batch that it reads, if view.shared is not NULL */
    struct batch_view view;
    uint32_t run_groups;        /* that have elements */
    uint32_t is_new;            /* nothing of it was leased yet */
    uint32_t run_next, run_end; /* groups of that batch that it tries first */
    uint32_t run;               /* how many it took last */
    uint64_t run_since;         /* when, in ticks */
    uint64_t record_size;       /* of the record that there is room for */
};

#define GROUP_WORD(worker, phase, from) \
    ((uint64_t)(worker) << 34 | (uint64_t)(phase) << 32 | (uint32_t)(from))
#define GROUP_WORKER(word) ((uint32_t)((word) >> 34))
#define GROUP_PHASE(word)  ((int)((word) >> 32 & 3))
#define GROUP_FROM(word)   ((uint32_t)(word))

/* Fills in all but the pointers; false if no batch can be like that. */
bool cshm__batch_measure(struct batch_view *view);
void cshm__batch_point(struct batch_view *view, void *block);
/* The batch at a place, from shared bytes. */
bool cshm__batch_view(const cshm_region *region, uint64_t place, struct batch_view *out);
/* The place of a group's own sheet, in a batch whose groups have one. */
uint64_t cshm__sheet_own(const cshm_region *region, const struct batch_view *view, uint32_t group);
/* A sheet by its place, or NULL. */
struct cshm_sheet *cshm__sheet_at(const cshm_region *region, uint64_t place, uint64_t *room);
/* Whether any post is said to have groups that are FREE. */
bool cshm__board_has_open(const cshm_board *board);
int cshm__board_view(cshm_region *region, uint64_t place, cshm_board **out);

#endif /* CSHM_BOARD_VIEW_H */
