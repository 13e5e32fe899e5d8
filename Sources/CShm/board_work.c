/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * The board as its workers have it. The pairs are listed in board.c.
 *
 * Death after each store of a claim: the batch is named (the burial takes the name back); `running`
 * is 0 (nothing is claimed); the group is CLAIMED (nothing of it was begun); `since`. The hint
 * `next` is raised before: what it passes is FREE, and found by who finds nothing else. Of a record:
 * its sheet is allocated for the word that is to name it (the sweep frees it); named (the sweep links
 * it; it goes with the group's sheets); linked; counted in the batch's `sheets` (not, and the batch
 * may be freed later than others); the record is written; `used` is raised (it counts).
 */
#include "board_view.h"

#include <errno.h>
#include <stdlib.h>

enum {
    RUN_MAX = 64,
    RUN_TICKS = 60000, /* 20 us, more or less: so late may come what is before another's run */
    SHEET_FIRST = 4096 - sizeof(struct cshm_sheet),
    SHEET_MAX = 65280,
};

int cshm_board_open(cshm_region *region, uint64_t place, cshm_board **out)
{
    return cshm__board_view(region, place, out);
}

void cshm_board_leave(cshm_board *board)
{
    if (board->seat != NULL) {
        atomic_store_explicit(&board->seat->reading, 0, memory_order_release);
    }
    free(board);
}

int cshm_board_enter(cshm_board *board, uint32_t seat, uint32_t worker)
{
    if (seat >= board->seat_count) {
        return -EINVAL;
    }
    uint64_t self = cshm_participant_self(board->region);
    if (self == 0) {
        return -ECHILD;
    }
    struct cshm_seat *kept = &board->seats[seat];
    uint64_t stamp = CSHM_SEAT_KEPT(worker);
    /* acq_rel: [seat] */
    if (!atomic_compare_exchange_strong_explicit(&kept->stamp, &stamp, self, memory_order_acq_rel,
                                                 memory_order_relaxed)) {
        return -EBUSY;
    }
    board->seat = kept;
    board->worker = worker;
    board->first_row = seat % board->row_count;
    return 0;
}

/* ---- claiming ---- */

/* [start, end) holds a FREE group that is the caller's now, or `end`. */
static uint32_t claim_between(const cshm_board *board, uint32_t start, uint32_t end)
{
    const struct batch_view *view = &board->view;
    for (uint32_t i = start; i < end; i++) {
        uint64_t word = atomic_load_explicit(&view->groups[i].state, memory_order_acquire);
        while (GROUP_PHASE(word) == CSHM_GROUP_FREE) {
            /* acq_rel: [claim] */
            if (atomic_compare_exchange_weak_explicit(
                    &view->groups[i].state, &word,
                    GROUP_WORD(board->worker, CSHM_GROUP_CLAIMED, GROUP_FROM(word)),
                    memory_order_acq_rel, memory_order_acquire)) {
                return i;
            }
        }
    }
    return end;
}

static void fill_lease(cshm_board *board, uint32_t group, struct cshm_lease *out)
{
    const struct batch_view *view = &board->view;
    uint32_t first = group * view->group;
    uint32_t end = view->filled - first < view->group ? view->filled : first + view->group;
    /* relaxed: it is the caller's */
    uint32_t from =
        GROUP_FROM(atomic_load_explicit(&view->groups[group].state, memory_order_relaxed));
    *out = (struct cshm_lease){
        .job = view->shared->job,
        .tag = view->shared->tag,
        .first = from < end - first ? first + from : first,
        .end = end,
        .input = view->input,
        .output = view->output,
        .input_size = view->input_size,
        .output_size = view->output_size,
        .is_new = board->is_new,
        .group = group,
    };
    board->is_new = 0;
    if (view->shared->timed) {
        out->since = cshm_now_ns();
        atomic_store_explicit(&board->seat->since, out->since, memory_order_release);
    }
}

/* Claims a group of the run. */
static bool claim_in_run(cshm_board *board, uint32_t *group)
{
    *group = claim_between(board, board->run_next, board->run_end);
    bool found = *group < board->run_end;
    board->run_next = found ? *group + 1 : board->run_end;
    return found;
}

/* Takes the next groups of the batch for this worker to try first, so that workers do not meet in one
 * line of groups or of results; nobody owns them by that. The more, the faster they are done.
 * @returns false if all were taken. */
static bool take_run(cshm_board *board)
{
    _Atomic uint32_t *next = &board->view.shared->next;
    uint32_t groups = board->run_groups;
    if (atomic_load_explicit(next, memory_order_relaxed) >= groups) {
        return false;
    }
    uint64_t now = cshm__ticks();
    bool is_quick = board->run > 0 && now - board->run_since < RUN_TICKS;
    board->run_since = now;
    board->run = !is_quick ? 1 : board->run < RUN_MAX ? board->run * 2 : RUN_MAX;
    uint32_t first = atomic_fetch_add_explicit(next, board->run, memory_order_relaxed);
    if (first >= groups) {
        return false;
    }
    board->run_next = first;
    board->run_end = groups - first < board->run ? groups : first + board->run;
    return true;
}

/* From the batch that is read already. */
static int claim_here(cshm_board *board, struct cshm_lease *out)
{
    /* Before the claim, so that what was run last is not taken for part of it. */
    atomic_store_explicit(&board->seat->running, 0, memory_order_release);
    uint32_t group;
    bool found = claim_in_run(board, &group);
    while (!found && take_run(board)) {
        found = claim_in_run(board, &group);
    }
    if (!found) {
        /* What others took and have not come to, and what was given out again. */
        board->run_next = 0;
        board->run_end = board->run_groups;
        found = claim_in_run(board, &group);
    }
    if (!found) {
        return -EAGAIN;
    }
    fill_lease(board, group, out);
    return 0;
}

/* Reads the batch of a post from now on. @returns 0, -EAGAIN (there is none), -EPROTO. */
static int turn_to(cshm_board *board, uint32_t row, uint32_t column)
{
    uint32_t post = column * board->row_count + row;
    _Atomic uint64_t *word = &board->rows[row].post[column];
    uint64_t place = atomic_load_explicit(word, memory_order_seq_cst); /* [post], [open] */
    if (board->view.shared != NULL && board->post == post && board->view.place == place) {
        return 0;
    }
    board->view.shared = NULL;
    if (place == 0) {
        return -EAGAIN;
    }
    if (place < board->region->header.capacity) { /* both lines on their way at once */
        __builtin_prefetch(board->region->base + place);
        __builtin_prefetch(board->region->base + place + CSHM_LINE, 1);
    }
    /* seq_cst, both: [read] */
    atomic_store_explicit(&board->seat->reading, place, memory_order_seq_cst);
    if (atomic_load_explicit(word, memory_order_seq_cst) != place) {
        return -EAGAIN;
    }
    struct batch_view view;
    if (!cshm__batch_view(board->region, place, &view)) {
        return -EPROTO;
    }
    board->view = view;
    board->post = post;
    board->is_new = 1;
    board->run_groups = (view.filled - 1) / view.group + 1;
    board->run_next = 0;
    board->run_end = board->run_groups == 1;
    board->run = 0;
    return 0;
}

/* From one of the posts of a row. */
static int claim_in_row(cshm_board *board, uint32_t row, uint32_t urgency, struct cshm_lease *out)
{
    struct cshm_board_row *shared = &board->rows[row];
    for (;;) {
        /* seq_cst: [open] */
        uint64_t word = atomic_load_explicit(&shared->open[urgency], memory_order_seq_cst);
        uint32_t open = (uint32_t)word;
        if (open == 0) {
            return -EAGAIN;
        }
        uint32_t start =
            atomic_load_explicit(&shared->oldest, memory_order_relaxed) % CSHM_ROW_POSTS;
        uint32_t turned = start == 0 ? open : open >> start | open << (CSHM_ROW_POSTS - start);
        uint32_t column = (start + (uint32_t)__builtin_ctz(turned)) % CSHM_ROW_POSTS;
        int status = turn_to(board, row, column);
        if (status == 0) {
            status = claim_here(board, out);
        }
        if (status != -EAGAIN) {
            return status;
        }
        /* seq_cst: [open]; it fails if anything was posted meanwhile */
        (void)atomic_compare_exchange_strong_explicit(&shared->open[urgency], &word,
                                                      word & ~(UINT64_C(1) << column),
                                                      memory_order_seq_cst, memory_order_relaxed);
    }
}

int cshm_board_try_claim(cshm_board *board, struct cshm_lease *out)
{
    if (board->seat == NULL) {
        return -EINVAL;
    }
    if (atomic_load_explicit(&board->shared->closed, memory_order_acquire) != 0) {
        return -ECANCELED;
    }
    for (uint32_t urgency = 0; urgency < CSHM_URGENCIES; urgency++) {
        for (uint32_t i = 0; i < board->row_count; i++) {
            uint32_t row = board->first_row + i;
            row -= row < board->row_count ? 0 : board->row_count;
            int status = claim_in_row(board, row, urgency, out);
            if (status != -EAGAIN) {
                return status;
            }
        }
    }
    return -EAGAIN;
}

struct claim {
    cshm_board *board;
    struct cshm_lease *out;
    bool lies; /* down to sleep: nobody may count on it until it is woken */
};

static int attempt_claim(void *context)
{
    struct claim *claim = context;
    return cshm_board_try_claim(claim->board, claim->out);
}

static bool poster_is_dead(void *context)
{
    struct claim *claim = context;
    cshm_board *board = claim->board;
    /* It is about to sleep, and keeps no batch from being freed meanwhile. */
    board->view.shared = NULL;
    atomic_store_explicit(&board->seat->reading, 0, memory_order_release);
    return cshm_participant_is_gone(board->region, board->shared->poster) != 0;
}

int cshm_board_claim_until(cshm_board *board, struct cshm_lease *out, int64_t deadline_ns)
{
    struct claim claim = {board, out, false};
    int status = cshm_board_try_claim(board, out);
    if (status != -EAGAIN) {
        return status;
    }
    return cshm__await_peer(&board->shared->work.park, attempt_claim, poster_is_dead, &claim,
                            deadline_ns);
}

/* ---- waiting, watched ---- */

static bool something_is_open(const cshm_board *board)
{
    if (atomic_load_explicit(&board->shared->closed, memory_order_acquire) != 0) {
        return true;
    }
    return cshm__board_has_open(board);
}

/* Whoever was promised that this one looks is served by the look that follows. */
static int attempt_look(void *context)
{
    struct claim *claim = context;
    cshm_board *board = claim->board;
    if (!something_is_open(board)) {
        return -EAGAIN;
    }
    /* seq_cst: [look] */
    (void)atomic_exchange_explicit(&board->seat->looking, 0, memory_order_seq_cst);
    int status = cshm_board_try_claim(board, claim->out);
    if (status == -EAGAIN && !claim->lies) {
        atomic_store_explicit(&board->seat->looking, 1, memory_order_seq_cst); /* [look] */
    }
    return status;
}

static void lie_down(void *context)
{
    struct claim *claim = context;
    claim->lies = true;
    /* Keeps no batch from being freed meanwhile. */
    claim->board->view.shared = NULL;
    atomic_store_explicit(&claim->board->seat->reading, 0, memory_order_release);
    /* seq_cst: [look] */
    (void)atomic_exchange_explicit(&claim->board->seat->looking, 0, memory_order_seq_cst);
}

int cshm_board_claim_watched(cshm_board *board, struct cshm_lease *out, int64_t deadline_ns)
{
    struct claim claim = {board, out, false};
    int status = cshm_board_try_claim(board, out);
    if (status != -EAGAIN) {
        return status;
    }
    atomic_store_explicit(&board->seat->looking, 1, memory_order_seq_cst); /* [look] */
    return cshm__await_watched(&board->shared->work.park, attempt_look, lie_down, &claim,
                               deadline_ns);
}

/* ---- running ---- */

void cshm_board_run(cshm_board *board, uint32_t element)
{
    atomic_store_explicit(&board->seat->running, (uint64_t)element + 1, memory_order_release);
}

void *cshm_board_running(cshm_board *board)
{
    return board->seat == NULL ? NULL : &board->seat->running;
}

static uint64_t padded(uint64_t length)
{
    return (length + 15) / 16 * 16;
}

/* A further sheet, with room for `size` bytes, named by the last one or by the group. */
static int add_sheet(cshm_board *board, struct cshm_lease *lease, uint64_t size)
{
    uint64_t room = lease->room * 2 > SHEET_FIRST ? lease->room * 2 : SHEET_FIRST;
    room = room > SHEET_MAX ? SHEET_MAX : room;
    room = room < size || lease->end - lease->first == 1 ? size : room;
    _Atomic uint64_t *holder = &board->view.groups[lease->group].sheet;
    if (lease->sheet != 0) {
        uint64_t last;
        struct cshm_sheet *sheet = cshm__sheet_at(board->region, lease->sheet, &last);
        if (sheet == NULL) {
            return -EPROTO;
        }
        holder = &sheet->next;
    }
    uint64_t place = 0;
    int status =
        cshm__heap_allocate_for(board->region, sizeof(struct cshm_sheet) + room, holder, &place);
    if (status != 0) {
        return status == -EINVAL ? -ENOSPC : status;
    }
    struct cshm_sheet *sheet = cshm_heap_pointer(board->region, place, sizeof *sheet + room);
    if (sheet == NULL) {
        return -EPROTO;
    }
    atomic_store_explicit(&sheet->next, 0, memory_order_relaxed);
    atomic_store_explicit(&sheet->used, 0, memory_order_relaxed);
    sheet->room = room;
    atomic_store_explicit(holder, place, memory_order_release); /* [record] */
    cshm__heap_link(board->region, place);
    /* relaxed: by it the poster frees soon what is large */
    (void)atomic_fetch_add_explicit(&board->view.shared->sheets, room, memory_order_relaxed);
    lease->sheet = place;
    lease->room = room;
    return 0;
}

static bool fits(const cshm_board *board, const struct cshm_lease *lease, uint64_t size)
{
    uint64_t room;
    struct cshm_sheet *sheet = cshm__sheet_at(board->region, lease->sheet, &room);
    return sheet != NULL && size <= room - atomic_load_explicit(&sheet->used, memory_order_relaxed);
}

int cshm_board_record(cshm_board *board, struct cshm_lease *lease, uint32_t element, uint32_t kind,
                      uint64_t length, void **data)
{
    if (length >= board->region->header.capacity) {
        return -ENOSPC;
    }
    uint64_t size = sizeof(struct cshm_record_shared) + padded(length);
    if (lease->sheet == 0 && board->view.sheet != 0) {
        lease->sheet = cshm__sheet_own(board->region, &board->view, lease->group);
        lease->room = board->view.sheet;
    }
    if (lease->sheet == 0 || !fits(board, lease, size)) {
        int status = add_sheet(board, lease, size);
        if (status != 0) {
            return status;
        }
    }
    uint64_t room;
    struct cshm_sheet *sheet = cshm__sheet_at(board->region, lease->sheet, &room);
    if (sheet == NULL || room < size) {
        return -EPROTO;
    }
    uint64_t used = atomic_load_explicit(&sheet->used, memory_order_relaxed);
    if (used > room - size) {
        return -EPROTO;
    }
    struct cshm_record_shared *record = (void *)(sheet->bytes + used);
    *record = (struct cshm_record_shared){element, kind, length};
    board->record_size = size;
    *data = record + 1;
    return 0;
}

void cshm_board_commit(cshm_board *board, struct cshm_lease *lease)
{
    uint64_t room;
    struct cshm_sheet *sheet = cshm__sheet_at(board->region, lease->sheet, &room);
    if (sheet != NULL) {
        /* release: [record] */
        atomic_store_explicit(&sheet->used,
                              atomic_load_explicit(&sheet->used, memory_order_relaxed) +
                                  board->record_size,
                              memory_order_release);
    }
}

void cshm_board_done(cshm_board *board, struct cshm_lease *lease)
{
    struct batch_view *view = &board->view;
    if (lease->since != 0) {
        (void)atomic_fetch_add_explicit(
            &view->shared->elapsed, (uint64_t)(cshm_now_ns() - lease->since), memory_order_relaxed);
        atomic_store_explicit(&board->seat->since, 0, memory_order_relaxed);
    }
    /* release: [done] */
    atomic_store_explicit(&view->groups[lease->group].state,
                          GROUP_WORD(board->worker, CSHM_GROUP_DONE, 0), memory_order_release);
    cshm__publish_barrier();
    /* relaxed: [expect] */
    uint32_t expected = atomic_load_explicit(&view->shared->expected, memory_order_relaxed);
    if (expected == 0 || expected == lease->group + 1) {
        cshm__park_wake_all_after_store(&board->shared->progress.park);
    }
}
