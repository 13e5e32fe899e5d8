/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * The board as its poster has it; see cshm/board.h for the model. Pairs, with board_work.c:
 *
 *   [post]    a batch is filled, then its place stored in a post (release)
 *             -> a worker loads the post (acquire), then the batch
 *   [open]    the place is stored, then the post's bit set, with a new version (seq_cst)
 *             -> a worker loads the bits, then the post (seq_cst); who finds all groups taken clears
 *             the bit, if no version came between
 *   [read]    a worker names the batch that it is about to read, then looks at the post again;
 *             the poster clears the post, then looks at the names (all seq_cst)
 *             -> one of the two sees the other
 *   [claim]   a group is made FREE (release) -> claimed by a compare-and-swap (acq_rel)
 *   [done]    results are stored, records committed, then the group DONE (release)
 *             -> the poster loads the group's word (acquire), then the results
 *   [record]  a record is written, then `used` raised past it (release)
 *             -> the poster loads `used` (acquire), then the record
 *   [look]    the bit of a post is set, then a looking worker's `looking` taken; the worker takes it
 *             back, then looks at the bits (all seq_cst) -> it sees the post that counts on it
 *   [expect]  the poster says which group it expects, then announces itself (cshm/park.h), then
 *             looks at that group; if it was announced already, it interrupts the workers between.
 *             A worker stores DONE, then looks at what is expected and at the announcement
 *             -> the poster's look sees DONE, or the worker sees what is expected
 *   [seat]    a seat is kept for a number (release) -> that worker's compare-and-swap (acq_rel), or
 *             the burial's, which keeps a worker out that was believed dead before it sat down
 */
#include "board_view.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
    RETIRED_COUNT = 16, /* so many, or so much, before the seats are looked at */
    RETIRED_SIZE = 1 << 21,
    SIZE_MAX_BITS = 46,
    ALIGNMENT = 16, /* of batches and of sheets */
};

/* ---- geometry ---- */

static uint64_t round_up(uint64_t size, uint64_t to)
{
    return (size + to - 1) / to * to;
}

/* What is short lies in the line of the one group that there is. */
static uint64_t alignment_of(const struct batch_view *view)
{
    bool is_short = view->input_size < CSHM_LINE && view->output_size < CSHM_LINE;
    return view->group_count == 1 && is_short ? ALIGNMENT : 64;
}

bool cshm__batch_measure(struct batch_view *view)
{
    if (view->count < 1 || view->count > CSHM_BATCH_MAX || view->group < 1 ||
        view->sheet > CSHM_SPAN || view->input_size >> SIZE_MAX_BITS != 0 ||
        view->output_size >> SIZE_MAX_BITS != 0 || view->urgency >= CSHM_URGENCIES) {
        return false;
    }
    view->group_count = (view->count - 1) / view->group + 1;
    view->sheet_stride =
        view->sheet == 0 ? 0 : (uint32_t)(sizeof(struct cshm_sheet) + round_up(view->sheet, 16));
    uint64_t head = sizeof(struct cshm_batch_shared) +
                    (uint64_t)view->group_count * (sizeof(struct cshm_group) + view->sheet_stride);
    uint64_t to = alignment_of(view);
    view->size = round_up(round_up(head, to) + view->input_size, to) + view->output_size;
    return true;
}

void cshm__batch_point(struct batch_view *view, void *block)
{
    uint8_t *base = block;
    uint64_t to = alignment_of(view);
    view->shared = block;
    view->groups = (struct cshm_group *)(void *)(base + sizeof(struct cshm_batch_shared));
    view->sheets = (uint8_t *)(view->groups + view->group_count);
    view->input = base + round_up((uint64_t)(view->sheets - base) +
                                      (uint64_t)view->group_count * view->sheet_stride,
                                  to);
    view->output = base + round_up((uint64_t)(view->input - base) + view->input_size, to);
}

bool cshm__batch_view(const cshm_region *region, uint64_t place, struct batch_view *out)
{
    struct cshm_batch_shared *shared = cshm_heap_pointer(region, place, sizeof *shared);
    if (shared == NULL || place % ALIGNMENT != 0 || shared->magic != BATCH_MAGIC) {
        return false;
    }
    struct batch_view view = {.count = shared->count,
                              .group = shared->group,
                              .sheet = shared->sheet,
                              .urgency = shared->urgency,
                              .filled = shared->filled,
                              .input_size = shared->input_size,
                              .output_size = shared->output_size,
                              .place = place};
    if (!cshm__batch_measure(&view) || view.filled - 1 >= view.count ||
        cshm_heap_pointer(region, place, view.size) == NULL) {
        return false;
    }
    cshm__batch_point(&view, shared);
    *out = view;
    return true;
}

struct cshm_sheet *cshm__sheet_at(const cshm_region *region, uint64_t place, uint64_t *room)
{
    struct cshm_sheet *sheet = cshm_heap_pointer(region, place, sizeof *sheet);
    if (sheet == NULL || place % ALIGNMENT != 0) {
        return NULL;
    }
    uint64_t bytes = sheet->room;
    if (bytes >> SIZE_MAX_BITS != 0 ||
        cshm_heap_pointer(region, place, sizeof *sheet + bytes) == NULL) {
        return NULL;
    }
    *room = bytes;
    return sheet;
}

static uint8_t *own_sheet(const struct batch_view *view, uint32_t group)
{
    return view->sheets + (uint64_t)group * view->sheet_stride;
}

uint64_t cshm__sheet_own(const cshm_region *region, const struct batch_view *view, uint32_t group)
{
    return cshm_heap_offset(region, own_sheet(view, group));
}

/* ---- create, destroy ---- */

static uint32_t rows_for(uint32_t seats)
{
    uint32_t rows = (seats - 1) / SEATS_A_ROW + 1;
    return rows > ROWS_MAX ? ROWS_MAX : rows;
}

static uint64_t size_for(uint32_t seats)
{
    return sizeof(struct cshm_board_shared) + rows_for(seats) * sizeof(struct cshm_board_row) +
           seats * sizeof(struct cshm_seat);
}

int cshm__board_view(cshm_region *region, uint64_t place, cshm_board **out)
{
    struct cshm_board_shared *shared = cshm_heap_pointer(region, place, sizeof *shared);
    if (shared == NULL || place % CSHM_LINE != 0 || shared->magic != BOARD_MAGIC) {
        return -EPROTO;
    }
    uint32_t seats = shared->seats;
    if (seats < 1 || seats > CSHM_SEATS_MAX ||
        cshm_heap_pointer(region, place, size_for(seats)) == NULL) {
        return -EPROTO;
    }
    cshm_board *board = calloc(1, sizeof *board);
    if (board == NULL) {
        return -ENOMEM;
    }
    board->region = region;
    board->shared = shared;
    board->place = place;
    board->row_count = rows_for(seats);
    board->seat_count = seats;
    board->rows = (struct cshm_board_row *)(shared + 1);
    board->seats = (struct cshm_seat *)(board->rows + board->row_count);
    *out = board;
    return 0;
}

int cshm_board_create(cshm_region *region, uint32_t seats, uint64_t *place, cshm_board **out)
{
    if (seats < 1 || seats > CSHM_SEATS_MAX) {
        return -EINVAL;
    }
    uint64_t offset = 0;
    int status = cshm_heap_allocate(region, size_for(seats), &offset);
    if (status != 0) {
        return status;
    }
    struct cshm_board_shared *shared = cshm_heap_pointer(region, offset, size_for(seats));
    if (shared == NULL) {
        return -EPROTO;
    }
    memset(shared, 0, size_for(seats));
    shared->seats = seats;
    shared->rows = rows_for(seats);
    shared->poster = cshm_participant_self(region);
    shared->magic = BOARD_MAGIC;
    status = cshm__board_view(region, offset, out);
    if (status == 0) {
        status = cshm_heap_share(region, offset);
    }
    if (status != 0) {
        (void)cshm_heap_free(region, offset);
        return status;
    }
    *place = offset;
    return 0;
}

static void free_sheets(const cshm_board *board, const struct batch_view *view, uint32_t group)
{
    _Atomic uint64_t *holder = &view->groups[group].sheet;
    if (view->sheet != 0) {
        struct cshm_sheet *own = (struct cshm_sheet *)(void *)own_sheet(view, group);
        atomic_store_explicit(&own->used, 0, memory_order_relaxed);
        holder = &own->next;
    }
    uint64_t place = atomic_load_explicit(holder, memory_order_acquire); /* [record] */
    atomic_store_explicit(holder, 0, memory_order_relaxed);
    while (cshm__heap_is_held(board->region, place, holder)) { /* each but once: it is freed then */
        uint64_t room;
        struct cshm_sheet *sheet = cshm__sheet_at(board->region, place, &room);
        uint64_t next = sheet == NULL ? 0 : atomic_load(&sheet->next);
        cshm__heap_free_from(board->region, place, holder);
        holder = sheet == NULL ? holder : &sheet->next;
        place = next;
    }
}

static void free_batch(const cshm_board *board, cshm_batch *batch)
{
    struct batch_view view;
    if (cshm__batch_view(board->region, batch->place, &view)) {
        for (uint32_t i = 0; i < view.group_count; i++) {
            if (view.sheet != 0 || atomic_load_explicit(&view.groups[i].sheet,
                                                        memory_order_acquire) != 0) { /* [record] */
                free_sheets(board, &view, i);
            }
        }
    }
    (void)cshm_heap_free(board->region, batch->place);
    free(batch);
}

void cshm_board_destroy(cshm_board *board)
{
    while (board->retired != NULL) {
        cshm_batch *batch = board->retired;
        board->retired = batch->next;
        free_batch(board, batch);
    }
    (void)cshm_heap_free(board->region, board->place);
    free(board);
}

/* ---- drafts and posts ---- */

static bool somebody_reads(const cshm_board *board, uint64_t place)
{
    for (uint32_t i = 0; i < board->seat_count; i++) {
        /* seq_cst: [read] */
        if (atomic_load_explicit(&board->seats[i].reading, memory_order_seq_cst) == place) {
            return true;
        }
    }
    return false;
}

static void free_retired(cshm_board *board)
{
    cshm_batch **link = &board->retired;
    while (*link != NULL) {
        cshm_batch *batch = *link;
        if (somebody_reads(board, batch->place)) {
            link = &batch->next;
            continue;
        }
        *link = batch->next;
        board->retired_count--;
        free_batch(board, batch);
    }
    board->retired_size = 0;
}

static struct cshm_board_row *row_of(const cshm_board *board, uint32_t post)
{
    return &board->rows[post % board->row_count];
}

static uint32_t column_of(const cshm_board *board, uint32_t post)
{
    return post / board->row_count;
}

static void open_post(const cshm_board *board, uint32_t post, uint32_t urgency)
{
    struct cshm_board_row *row = row_of(board, post);
    uint64_t bit = UINT64_C(1) << column_of(board, post);
    uint64_t word = atomic_load_explicit(&row->open[urgency], memory_order_relaxed);
    /* seq_cst: [open] */
    while (!atomic_compare_exchange_weak_explicit(&row->open[urgency], &word,
                                                  (word + (UINT64_C(1) << 32)) | bit,
                                                  memory_order_seq_cst, memory_order_relaxed)) {
    }
}

uint32_t cshm_board_room(const cshm_board *board)
{
    return board->row_count * CSHM_ROW_POSTS - board->post_count;
}

static uint32_t take_post(cshm_board *board)
{
    uint32_t posts = board->row_count * CSHM_ROW_POSTS;
    uint32_t post = board->cursor;
    while (board->posted[post % board->row_count] >> column_of(board, post) & 1) {
        post = (post + 1) % posts;
    }
    board->posted[post % board->row_count] |= 1u << column_of(board, post);
    board->post_count++;
    board->cursor = (post + 1) % posts;
    return post;
}

/* The first post in the ring's order that is taken, from the one that was posted last on. */
static void hint_oldest(const cshm_board *board, uint32_t post)
{
    uint32_t taken = board->posted[post % board->row_count];
    uint32_t start = (column_of(board, post) + 1) % CSHM_ROW_POSTS;
    uint32_t turned = start == 0 ? taken : taken >> start | taken << (CSHM_ROW_POSTS - start);
    uint32_t oldest = turned == 0 ? start : (start + (uint32_t)__builtin_ctz(turned));
    atomic_store_explicit(&row_of(board, post)->oldest, oldest % CSHM_ROW_POSTS,
                          memory_order_relaxed);
}

static int lay_out(const cshm_board *board, const struct cshm_batch_shape *shape,
                   struct batch_view *view)
{
    uint64_t place = 0;
    int status = cshm_heap_allocate(board->region, view->size, &place);
    void *block = status == 0 ? cshm_heap_pointer(board->region, place, view->size) : NULL;
    if (block == NULL) {
        return status == 0 ? -EPROTO : status;
    }
    view->place = place;
    cshm__batch_point(view, block);
    memset(block, 0, (size_t)(view->sheets - (uint8_t *)block));
    for (uint32_t i = 0; view->sheet != 0 && i < view->group_count; i++) {
        struct cshm_sheet *sheet = (struct cshm_sheet *)(void *)own_sheet(view, i);
        memset(sheet, 0, sizeof *sheet);
        sheet->room = round_up(view->sheet, 16);
    }
    struct cshm_batch_shared *shared = view->shared;
    shared->count = view->count;
    shared->filled = view->count;
    shared->group = view->group;
    shared->sheet = view->sheet;
    shared->job = shape->job;
    shared->tag = shape->tag;
    shared->input_size = view->input_size;
    shared->output_size = view->output_size;
    shared->timed = shape->timed != 0;
    shared->urgency = shape->urgency;
    shared->magic = BATCH_MAGIC;
    return cshm_heap_share(board->region, place);
}

int cshm_board_draft(cshm_board *board, const struct cshm_batch_shape *shape, cshm_batch **out)
{
    struct batch_view view = {.count = shape->count,
                              .group = shape->group,
                              .sheet = shape->sheet,
                              .urgency = shape->urgency,
                              .input_size = shape->input_size,
                              .output_size = shape->output_size};
    if (!cshm__batch_measure(&view)) {
        return -EINVAL;
    }
    if (cshm_board_room(board) == 0) {
        return -EAGAIN;
    }
    cshm_batch *batch = malloc(sizeof *batch);
    if (batch == NULL) {
        return -ENOMEM;
    }
    int status = lay_out(board, shape, &view);
    if (status == -ENOSPC && board->retired != NULL) {
        free_retired(board);
        status = lay_out(board, shape, &view);
    }
    if (status != 0) {
        free(batch);
        return status;
    }
    *batch = (cshm_batch){.input = view.input,
                          .output = view.output,
                          .count = view.count,
                          .group = view.group,
                          .groups = view.group_count,
                          .undone = view.group_count,
                          .post = take_post(board),
                          .urgency = view.urgency,
                          .place = view.place,
                          .shared = view.shared};
    *out = batch;
    return 0;
}

static struct cshm_batch_shared *shared_of(const cshm_batch *batch)
{
    return batch->shared;
}

static _Atomic uint64_t *word_of(const cshm_batch *batch, uint32_t group)
{
    struct cshm_group *groups = (struct cshm_group *)(shared_of(batch) + 1);
    return &groups[group].state;
}

void cshm_batch_shorten(cshm_batch *batch, uint32_t count)
{
    if (count < 1 || count >= batch->count) {
        return;
    }
    /* The layout stays: the groups that are empty now are never to be claimed. */
    uint32_t groups = (count - 1) / batch->group + 1;
    for (uint32_t i = groups; i < batch->groups; i++) {
        atomic_store_explicit(word_of(batch, i), GROUP_WORD(0, CSHM_GROUP_DROPPED, 0),
                              memory_order_relaxed);
    }
    shared_of(batch)->filled = count;
    batch->count = count;
    batch->groups = groups;
    batch->undone = groups;
}

bool cshm__board_has_open(const cshm_board *board)
{
    for (uint32_t urgency = 0; urgency < CSHM_URGENCIES; urgency++) {
        for (uint32_t row = 0; row < board->row_count; row++) {
            /* seq_cst: [open], [look] */
            if ((uint32_t)atomic_load_explicit(&board->rows[row].open[urgency],
                                               memory_order_seq_cst) != 0) {
                return true;
            }
        }
    }
    return false;
}

static const _Atomic uint32_t *progress_word(const cshm_board *board)
{
    return (const _Atomic uint32_t *)(const void *)&board->shared->progress.park.word;
}

static bool somebody_sleeps(const cshm_board *board)
{
    return atomic_load_explicit((_Atomic uint32_t *)(void *)&board->shared->work.park.word,
                                memory_order_relaxed) &
           CSHM_PARK_CALLS;
}

static void wake_workers(const cshm_board *board)
{
    cshm__publish_barrier();
    if (somebody_sleeps(board)) {
        cshm__park_wake(&board->shared->work.park, INT32_MAX);
    }
}

/* Counts on workers that are awake and find nothing else to do, each for one group. @returns how
 * many groups there are nobody for. */
static uint32_t count_on_lookers(const cshm_board *board, uint32_t groups)
{
    for (uint32_t i = 0; i < board->seat_count && groups > 0; i++) {
        uint32_t one = 1;
        _Atomic uint32_t *looking = &board->seats[i].looking;
        /* relaxed: a hint; seq_cst: [look] */
        if (atomic_load_explicit(looking, memory_order_relaxed) == 1 &&
            atomic_compare_exchange_strong_explicit(looking, &one, 0, memory_order_seq_cst,
                                                    memory_order_relaxed)) {
            groups--;
        }
    }
    return groups;
}

static void call_workers(const cshm_board *board, uint32_t groups)
{
    cshm__publish_barrier();
    if (!somebody_sleeps(board)) {
        return;
    }
    uint32_t left = count_on_lookers(board, groups);
    if (left > 0) {
        cshm__park_wake(&board->shared->work.park, left == 1 ? 1 : INT32_MAX);
    }
}

void cshm_board_post(cshm_board *board, cshm_batch *batch)
{
    struct cshm_board_row *row = row_of(board, batch->post);
    /* release: [post] */
    atomic_store_explicit(&row->post[column_of(board, batch->post)], batch->place,
                          memory_order_release);
    hint_oldest(board, batch->post);
    open_post(board, batch->post, batch->urgency);
    call_workers(board, batch->groups);
}

void cshm_board_retire(cshm_board *board, cshm_batch *batch)
{
    uint32_t column = column_of(board, batch->post);
    /* seq_cst: [read] */
    atomic_store_explicit(&row_of(board, batch->post)->post[column], 0, memory_order_seq_cst);
    board->posted[batch->post % board->row_count] &= ~(1u << column);
    board->post_count--;
    batch->next = board->retired;
    board->retired = batch;
    board->retired_count++;
    struct cshm_batch_shared *shared = shared_of(batch);
    board->retired_size += shared->input_size + shared->output_size +
                           atomic_load_explicit(&shared->sheets, memory_order_relaxed);
    if (board->retired_count >= RETIRED_COUNT || board->retired_size >= RETIRED_SIZE) {
        free_retired(board);
    }
}

/* ---- outcomes ---- */

int cshm_batch_state(const cshm_batch *batch, uint32_t group, uint32_t *worker)
{
    /* acquire: [done] */
    uint64_t word = atomic_load_explicit(word_of(batch, group), memory_order_acquire);
    if (worker != NULL) {
        *worker = GROUP_WORKER(word);
    }
    return GROUP_PHASE(word);
}

uint32_t cshm_batch_ready(const cshm_batch *batch, uint32_t group)
{
    uint32_t end = group;
    while (end < batch->groups && cshm_batch_state(batch, end, NULL) >= CSHM_GROUP_DONE) {
        end++;
    }
    return end - group;
}

int cshm_batch_has_records(const cshm_batch *batch)
{
    uint32_t own = shared_of(batch)->sheet; /* then each group has one, and it may be empty */
    for (uint32_t i = 0; i < batch->groups; i++) {
        struct cshm_group *group = (struct cshm_group *)(void *)word_of(batch, i);
        if (own != 0 ||
            atomic_load_explicit(&group->sheet, memory_order_acquire) != 0) { /* [record] */
            return 1;
        }
    }
    return 0;
}

uint64_t cshm_batch_elapsed(const cshm_batch *batch)
{
    return atomic_load_explicit(&shared_of(batch)->elapsed, memory_order_relaxed);
}

uint64_t cshm_batch_recorded(const cshm_batch *batch)
{
    return atomic_load_explicit(&shared_of(batch)->sheets, memory_order_relaxed);
}

int cshm_batch_drop(cshm_batch *batch, uint32_t group)
{
    uint64_t word = atomic_load_explicit(word_of(batch, group), memory_order_acquire);
    while (GROUP_PHASE(word) == CSHM_GROUP_FREE) {
        /* acq_rel: [claim] */
        if (atomic_compare_exchange_weak_explicit(word_of(batch, group), &word,
                                                  GROUP_WORD(0, CSHM_GROUP_DROPPED, 0),
                                                  memory_order_acq_rel, memory_order_acquire)) {
            return 0;
        }
    }
    return -EBUSY;
}

/* Where a word leads from one of a group's sheets, or from the group, to the next. A sheet is held by
 * one word, so that no two lead to it: a walk that goes from word to word ends, damaged or not.
 * @returns its place; 0 at the end; UINT64_MAX if it is damaged. */
static uint64_t next_sheet(const cshm_region *region, const _Atomic uint64_t *word)
{
    uint64_t place = atomic_load_explicit(word, memory_order_acquire); /* [record] */
    return place == 0 || cshm__heap_is_held(region, place, word) ? place : UINT64_MAX;
}

static uint64_t first_sheet(const cshm_region *region, const cshm_batch *batch, uint32_t group)
{
    struct batch_view view;
    if (!cshm__batch_view(region, batch->place, &view) || group >= view.group_count) {
        return UINT64_MAX;
    }
    return view.sheet != 0 ? cshm__sheet_own(region, &view, group)
                           : next_sheet(region, &view.groups[group].sheet);
}

int cshm_batch_record(const cshm_board *board, const cshm_batch *batch, uint32_t group,
                      uint64_t cursor[2], struct cshm_record *out)
{
    if (cursor[0] == 0) {
        cursor[0] = first_sheet(board->region, batch, group);
        cursor[1] = 0;
    }
    while (cursor[0] != 0) {
        uint64_t room;
        struct cshm_sheet *sheet = cshm__sheet_at(board->region, cursor[0], &room);
        if (sheet == NULL) {
            return -EPROTO;
        }
        uint64_t used = atomic_load_explicit(&sheet->used, memory_order_acquire); /* [record] */
        if (used > room || cursor[1] > used) {
            return -EPROTO;
        }
        if (cursor[1] < used) {
            struct cshm_record_shared *record = (void *)(sheet->bytes + cursor[1]);
            uint64_t length = used - cursor[1] < sizeof *record ? UINT64_MAX : record->length;
            if (length > used - cursor[1] - sizeof *record) {
                return -EPROTO;
            }
            *out = (struct cshm_record){record->element, record->kind, record + 1, length};
            cursor[1] += sizeof *record + round_up(length, 16);
            return 1;
        }
        cursor[0] = next_sheet(board->region, &sheet->next);
        cursor[1] = 0;
    }
    cursor[1] = UINT64_MAX;
    return 0;
}

/* ---- seats of the living and the dead ---- */

void cshm_board_seat(cshm_board *board, uint32_t seat, uint32_t worker)
{
    struct cshm_seat *kept = &board->seats[seat];
    atomic_store_explicit(&kept->reading, 0, memory_order_relaxed);
    atomic_store_explicit(&kept->running, 0, memory_order_relaxed);
    atomic_store_explicit(&kept->since, 0, memory_order_relaxed);
    atomic_store_explicit(&kept->looking, 0, memory_order_relaxed);
    atomic_store_explicit(&kept->stamp, CSHM_SEAT_KEPT(worker), memory_order_release); /* [seat] */
}

int cshm_board_bury(cshm_board *board, uint32_t seat, uint32_t *element)
{
    if (seat >= board->seat_count) {
        return -EINVAL;
    }
    struct cshm_seat *dead = &board->seats[seat];
    uint64_t stamp = atomic_load_explicit(&dead->stamp, memory_order_acquire);
    if (stamp != CSHM_SEAT_BURIED) {
        if (!CSHM_SEAT_IS_KEPT(stamp) && cshm_participant_is_gone(board->region, stamp) == 0) {
            return -EAGAIN;
        }
        /* acq_rel: [seat]; it fails if the worker has sat down just now */
        if (!atomic_compare_exchange_strong_explicit(&dead->stamp, &stamp, CSHM_SEAT_BURIED,
                                                     memory_order_acq_rel, memory_order_relaxed)) {
            return -EAGAIN;
        }
    }
    atomic_store_explicit(&dead->reading, 0, memory_order_relaxed);
    /* A post may have counted on it, or woken it: so others look. seq_cst: [look] */
    atomic_store_explicit(&dead->looking, 0, memory_order_seq_cst);
    wake_workers(board);
    uint64_t running = atomic_load_explicit(&dead->running, memory_order_acquire);
    *element = running > CSHM_BATCH_MAX ? 0 : (uint32_t)running;
    return 0;
}

int64_t cshm_batch_claimed_by(const cshm_batch *batch, uint32_t worker)
{
    for (uint32_t i = 0; i < batch->groups; i++) {
        uint32_t owner;
        if (cshm_batch_state(batch, i, &owner) == CSHM_GROUP_CLAIMED && owner == worker) {
            return i;
        }
    }
    return -1;
}

int64_t cshm_board_claimed_for(const cshm_board *board, uint32_t seat)
{
    if (seat >= board->seat_count) {
        return 0;
    }
    int64_t since = atomic_load_explicit(&board->seats[seat].since, memory_order_acquire);
    int64_t now = cshm_now_ns();
    return since == 0 || since > now ? 0 : now - since;
}

uint32_t cshm_batch_begin(const cshm_batch *batch, uint32_t group)
{
    uint32_t from = GROUP_FROM(atomic_load_explicit(word_of(batch, group), memory_order_acquire));
    return group * batch->group + (from < batch->group ? from : 0);
}

void cshm_board_reopen(cshm_board *board, cshm_batch *batch, uint32_t group, uint32_t from)
{
    struct batch_view view;
    if (cshm__batch_view(board->region, batch->place, &view)) {
        free_sheets(board, &view, group);
    }
    uint32_t first = group * batch->group;
    uint32_t end = batch->count - first < batch->group ? batch->count : first + batch->group;
    if (from < first || from >= end) {
        atomic_store_explicit(word_of(batch, group), GROUP_WORD(0, CSHM_GROUP_DONE, 0),
                              memory_order_release);
        cshm_board_ring(board);
        return;
    }
    atomic_store_explicit(word_of(batch, group), GROUP_WORD(0, CSHM_GROUP_FREE, from - first),
                          memory_order_release); /* [claim] */
    /* A worker may raise it past the group once more; it looks at all of them before it gives up. */
    atomic_store_explicit(&shared_of(batch)->next, 0, memory_order_seq_cst);
    open_post(board, batch->post, batch->urgency);
    wake_workers(board);
}

/* ---- waiting ---- */

void cshm_board_close(cshm_board *board)
{
    atomic_store_explicit(&board->shared->closed, 1, memory_order_seq_cst);
    wake_workers(board);
}

struct attendance {
    cshm_board *board;
    int (*attempt)(void *context);
    void *context;
    bool has_slept;
};

static int attempt_await(void *context)
{
    struct attendance *attendance = context;
    return attendance->attempt(attendance->context);
}

/* Whoever was woken for a post, or counted on, may have been stopped since, or killed. */
static bool call_again(void *context)
{
    struct attendance *attendance = context;
    if (attendance->has_slept && somebody_sleeps(attendance->board) &&
        cshm__board_has_open(attendance->board)) {
        cshm__park_wake(&attendance->board->shared->work.park, INT32_MAX);
    }
    attendance->has_slept = true;
    return false;
}

int cshm_board_await(cshm_board *board, int (*attempt)(void *context), void *context,
                     int64_t deadline_ns)
{
    int status = attempt(context);
    if (status != -EAGAIN) {
        return status;
    }
    struct attendance attendance = {board, attempt, context, false};
    return cshm__await_peer(&board->shared->progress.park, attempt_await, call_again, &attendance,
                            deadline_ns);
}

static bool is_done(const cshm_batch *batch, uint32_t group)
{
    return cshm_batch_state(batch, group, NULL) >= CSHM_GROUP_DONE;
}

int cshm_batch_expect(const cshm_board *board, const cshm_batch *batch, uint32_t group)
{
    if (is_done(batch, group)) {
        return 1;
    }
    _Atomic uint32_t *expected = &shared_of(batch)->expected;
    if (atomic_load_explicit(expected, memory_order_relaxed) == group + 1) {
        return 0;
    }
    atomic_store_explicit(expected, group + 1, memory_order_seq_cst); /* [expect] */
    /* Who is announced already made workers see that before it expected this group. */
    if (atomic_load_explicit(progress_word(board), memory_order_relaxed) & CSHM_PARK_CALLS) {
        (void)cshm__park_interrupt();
    }
    return is_done(batch, group);
}

int cshm_batch_expect_all(const cshm_board *board, cshm_batch *batch)
{
    while (batch->undone > 0) {
        if (!cshm_batch_expect(board, batch, batch->undone - 1)) {
            return 0;
        }
        batch->undone--;
    }
    return 1;
}

static int all_are_done(void *context)
{
    const cshm_batch *batch = context;
    return cshm_batch_ready(batch, 0) == batch->groups ? 0 : -EAGAIN;
}

int cshm_batch_spin(const cshm_board *board, const cshm_batch *batch)
{
    return cshm__await_awake(&board->shared->progress.park, all_are_done, (void *)batch) == 0;
}

void cshm_board_ring(cshm_board *board)
{
    atomic_thread_fence(memory_order_seq_cst); /* [announce] */
    cshm_park_wake_all(&board->shared->progress.park);
}
