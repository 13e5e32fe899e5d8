/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * A reader-writer lock: readers that died are gone; a writer is inherited if it may have written,
 * and only then; whoever waited goes on.
 */
#include "kill.h"

#include "layout.h"

extern const struct scenario rwlock_scenarios[];

static const int64_t MILLISECOND = 1000000;

enum { READERS = 3 };

static cshm_rwlock *lock_of(const struct world *world)
{
    return world->handle;
}

static void make_free(struct world *world)
{
    cshm_rwlock *lock = NULL;
    CHECK_EQ(cshm_rwlock_create(world->region, READERS, &world->place[0]), 0);
    CHECK_EQ(cshm_heap_share(world->region, world->place[0]), 0);
    CHECK_EQ(cshm_rwlock_open(world->region, world->place[0], &lock), 0);
    world->handle = lock;
}

static void read_it(struct world *world)
{
    uint32_t cell = 0;
    CHECK_EQ(cshm_rwlock_try_acquire_read(lock_of(world), &cell), 0);
    atomic_store(&world->report->word[1], cell);
}

static void write_it(struct world *world)
{
    CHECK(cshm_rwlock_try_acquire_write(lock_of(world)) >= 0);
}

static void make_read(struct world *world)
{
    make_free(world);
    read_it(world);
    atomic_store(&world->report->word[2], atomic_load(&world->report->word[1]));
}

static void make_written(struct world *world)
{
    make_free(world);
    write_it(world);
}

static void make_dead_readers(struct world *world)
{
    make_free(world);
    kill_after(world, read_it);
    kill_after(world, read_it);
}

/* Every cell is a dead one's. */
static void make_crowded(struct world *world)
{
    make_dead_readers(world);
    kill_after(world, read_it);
}

/* Every cell is the survivor's. */
static void make_full(struct world *world)
{
    make_free(world);
    for (uint32_t i = 0; i < READERS; i++) {
        read_it(world);
    }
}

static void make_inherited(struct world *world)
{
    make_free(world);
    kill_after(world, write_it);
}

static void break_it(struct world *world)
{
    make_inherited(world);
    write_it(world);
    CHECK_EQ(cshm_rwlock_release_write(lock_of(world)), 0);
}

/* Dies wanting to write, while the survivor reads. */
static void want_to_write(struct world *world)
{
    struct cshm_rwlock_shared *shared =
        cshm_heap_pointer(world->region, world->place[0], sizeof *shared);
    CHECK_EQ(cshm_mutex_try_acquire(&shared->writer), 0);
    atomic_store(&shared->state, 1);
}

static void make_wanted_by_the_dead(struct world *world)
{
    make_read(world);
    kill_after(world, want_to_write);
}

/* Dies waiting to read, while the survivor writes. */
static void wait_to_read(struct world *world)
{
    struct cshm_rwlock_shared *shared = cshm_heap_pointer(
        world->region, world->place[0], sizeof *shared + READERS * sizeof(struct cshm_reader_cell));
    uint64_t self = cshm_participant_self(world->region);
    for (uint32_t i = 0; i < READERS; i++) {
        uint64_t none = 0;
        if (atomic_compare_exchange_strong(&shared->cell[i].owner, &none, self | 2ull << 48)) {
            return;
        }
    }
}

/* The victim writes, and a dead one waits to read. */
static void write_before_the_dead(struct world *world)
{
    write_it(world);
    struct cshm_waitable waitable;
    cshm_rwlock_readable(lock_of(world), &waitable);
    (void)cshm_park_prepare(waitable.park);
}

static void make_waited_for(struct world *world)
{
    make_free(world);
    kill_after(world, wait_to_read);
}

/* ---- the writers' line ---- */

static struct cshm_rwlock_shared *shared_of(const struct world *world)
{
    return cshm_heap_pointer(world->region, world->place[0], sizeof(struct cshm_rwlock_shared));
}

/* Lines up, as if long ago. */
static void take_place(struct world *world, uint32_t place)
{
    struct cshm_rwlock_shared *shared = shared_of(world);
    atomic_store(&shared->places_used, place + 1);
    atomic_store(&shared->line[place].number, place);
    atomic_store(&shared->line[place].owner, cshm_participant_self(world->region) | 2ull << 48);
}

static void take_first_place(struct world *world)
{
    take_place(world, 0);
}

static void make_line_of_the_dead(struct world *world)
{
    make_free(world);
    kill_after(world, take_first_place);
}

/* The survivor is in line, and does not run. */
static void make_line_of_the_idle(struct world *world)
{
    make_free(world);
    take_first_place(world);
}

static void take_all_places(struct world *world)
{
    for (uint32_t place = 0; place < CSHM_RWLOCK_PLACES; place++) {
        take_place(world, place);
    }
}

static void make_full_line(struct world *world)
{
    make_written(world);
    take_all_places(world);
}

static void make_full_line_of_the_dead(struct world *world)
{
    make_free(world);
    kill_after(world, take_all_places);
}

static int wait_in_vain(struct world *world)
{
    struct cshm_waitable writable[2];
    cshm_rwlock_writable(lock_of(world), writable);
    return cshm_wait_any(writable, 2, cshm_now_ns() + 30 * MILLISECOND);
}

/* ---- announced ---- */

/* Waits for readers, for a moment, without the mutex. */
static void announce(struct world *world)
{
    struct cshm_waitable writable[2];
    cshm_rwlock_writable(lock_of(world), writable);
    CHECK_EQ(cshm_wait_any(writable, 2, cshm_now_ns() + MILLISECOND), -ETIMEDOUT);
    CHECK_EQ(atomic_load(&shared_of(world)->announcer), cshm_participant_self(world->region));
}

static void make_announced_by_the_dead(struct world *world)
{
    make_read(world);
    kill_after(world, announce);
}

/* By the survivor, which lets it be. */
static void make_announced_by_the_idle(struct world *world)
{
    make_read(world);
    announce(world);
    CHECK_EQ(cshm_rwlock_release_read(lock_of(world), (uint32_t)world->report->word[2]), 0);
}

static int withdraw(struct world *world)
{
    cshm_rwlock_withdraw_write(lock_of(world));
    return 0;
}

/* Beside the survivor, which reads. */
static void read_beside(struct world *world)
{
    uint32_t cell = 0;
    CHECK_EQ(cshm_rwlock_acquire_read_until(lock_of(world), INT64_MAX, &cell), 0);
    CHECK_EQ(cshm_rwlock_release_read(lock_of(world), cell), 0);
}

static int create(struct world *world)
{
    uint64_t place = 0;
    return cshm_rwlock_create(world->region, READERS, &place);
}

static int open_and_close(struct world *world)
{
    cshm_rwlock *lock = NULL;
    int status = cshm_rwlock_open(world->region, world->place[0], &lock);
    if (status == 0) {
        cshm_rwlock_close(lock);
    }
    return status;
}

static int try_read(struct world *world)
{
    uint32_t cell = 0;
    return cshm_rwlock_try_acquire_read(lock_of(world), &cell);
}

static int acquire_read(struct world *world)
{
    uint32_t cell = 0;
    return cshm_rwlock_acquire_read_until(lock_of(world), INT64_MAX, &cell);
}

static int read_in_vain(struct world *world)
{
    uint32_t cell = 0;
    return cshm_rwlock_acquire_read_until(lock_of(world), cshm_now_ns() + 30 * MILLISECOND, &cell);
}

static int release_read(struct world *world)
{
    return cshm_rwlock_release_read(lock_of(world), (uint32_t)world->report->word[1]);
}

static int try_write(struct world *world)
{
    return cshm_rwlock_try_acquire_write(lock_of(world));
}

static int try_write_woken(struct world *world)
{
    return cshm_rwlock_try_acquire_write_woken(lock_of(world));
}

static int acquire_write(struct world *world)
{
    return cshm_rwlock_acquire_write_until(lock_of(world), INT64_MAX);
}

static int write_in_vain(struct world *world)
{
    return cshm_rwlock_acquire_write_until(lock_of(world), cshm_now_ns() + 30 * MILLISECOND);
}

static int release_write(struct world *world)
{
    return cshm_rwlock_release_write(lock_of(world));
}

static int repair(struct world *world)
{
    return cshm_rwlock_repair(lock_of(world));
}

static int downgrade(struct world *world)
{
    uint32_t cell = 0;
    return cshm_rwlock_downgrade(lock_of(world), &cell);
}

static int destroy(struct world *world)
{
    cshm_rwlock_destroy(lock_of(world));
    return 0;
}

/* The next writer, who knows how to repair. @returns whether it had to. */
static int write_and_repair(struct world *world)
{
    int status = cshm_rwlock_acquire_write_until(lock_of(world), INT64_MAX);
    CHECK(status >= 0);
    if (status == 1) {
        atomic_store(&world->report->word[0], 2); /* told, whoever it was */
        CHECK_EQ(cshm_rwlock_repair(lock_of(world)), 0);
    } else if (atomic_load(&world->report->word[0]) == 0) {
        atomic_store(&world->report->word[0], 1);
    }
    CHECK_EQ(cshm_rwlock_release_write(lock_of(world)), 0);
    return status;
}

static void succeed(struct world *world)
{
    (void)write_and_repair(world);
}

/* The next reader, who does not; it waits for nobody who is dead. */
static void read_and_succeed(struct world *world)
{
    uint32_t cell = 0;
    int status = cshm_rwlock_acquire_read_until(lock_of(world), INT64_MAX, &cell);
    CHECK(status == 0 || status == -EOWNERDEAD);
    if (status == 0) {
        CHECK_EQ(cshm_rwlock_release_read(lock_of(world), cell), 0);
    }
    CHECK_EQ(write_and_repair(world), status == 0 ? 0 : 1);
}

static void check_free(struct world *world)
{
    struct cshm_rwlock_info info;
    uint32_t cell = 0;
    CHECK_EQ(cshm_rwlock_try_acquire_write(lock_of(world)), 0);
    cshm_rwlock_describe(lock_of(world), &info);
    CHECK_EQ(info.writer_pid, getpid());
    CHECK_EQ(info.readers + info.waiting, 0);
    CHECK_EQ(cshm_rwlock_downgrade(lock_of(world), &cell), 0);
    CHECK_EQ(cshm_rwlock_try_acquire_write(lock_of(world)), -EDEADLK);
    CHECK_EQ(cshm_rwlock_release_read(lock_of(world), cell), 0);
    for (uint32_t i = 0; i < READERS; i++) {
        CHECK_EQ(cshm_rwlock_try_acquire_read(lock_of(world), &cell), 0);
    }
    CHECK_EQ(cshm_rwlock_try_acquire_read(lock_of(world), &cell), -EAGAIN);
    cshm_rwlock_destroy(lock_of(world));
}

/* Whether a recoverer was killed, who may have been writing, or may have inherited and repaired. */
static bool others_wrote(const struct world *world)
{
    return atomic_load(&world->report->cut_too) != 0;
}

static void check_never_written(struct world *world)
{
    CHECK(others_wrote(world) || world->report->word[0] == 1);
    check_free(world);
}

static void check_written(struct world *world)
{
    CHECK(!returned(world) || world->report->word[0] == 2);
    check_free(world);
}

/* While it was being released it was whole. */
static void check_released(struct world *world)
{
    CHECK(!returned(world) || others_wrote(world) || world->report->word[0] == 1);
    check_free(world);
}

static void check_still_read(struct world *world)
{
    CHECK(!returned(world) || world->report->status == -ETIMEDOUT ||
          world->report->status == -EAGAIN || world->report->status == 0);
    CHECK_EQ(cshm_rwlock_release_read(lock_of(world), (uint32_t)world->report->word[2]), 0);
    succeed(world);
    check_never_written(world);
}

static void check_still_full(struct world *world)
{
    CHECK(!returned(world) || world->report->status == -ETIMEDOUT);
    for (uint32_t i = 0; i < READERS; i++) {
        CHECK_EQ(cshm_rwlock_release_read(lock_of(world), i), 0);
    }
    check_free(world);
}

static void check_still_written(struct world *world)
{
    CHECK(!returned(world) || world->report->status == -ETIMEDOUT ||
          world->report->status == -EAGAIN || world->report->status == -EPERM);
    CHECK_EQ(cshm_rwlock_release_write(lock_of(world)), 0);
    check_free(world);
}

static void check_broken(struct world *world)
{
    uint32_t cell = 0;
    CHECK(!returned(world) || world->report->status == -ENOTRECOVERABLE);
    CHECK_EQ(cshm_rwlock_acquire_read_until(lock_of(world), INT64_MAX, &cell), -ENOTRECOVERABLE);
    CHECK_EQ(cshm_rwlock_acquire_write_until(lock_of(world), INT64_MAX), -ENOTRECOVERABLE);
    cshm_rwlock_destroy(lock_of(world));
}

/* Had by an inheritor: given on as such, unless it was released without a repair. */
static void check_not_repaired(struct world *world)
{
    int status = cshm_rwlock_try_acquire_write(lock_of(world));
    CHECK(status == -ENOTRECOVERABLE || (status == 1 && !returned(world)));
    cshm_rwlock_destroy(lock_of(world));
}

/* What is not returned is freed by the sweep; so is what nobody was told of. */
static void check_created(struct world *world)
{
    CHECK(!returned(world) || world->report->status == 0);
}

static void check_destroyed(struct world *world)
{
    if (!returned(world) && blocks_in_use(world->region) != 0) {
        CHECK_EQ(cshm_heap_free(world->region, world->place[0]), 0);
    }
}

/* A try never waits, whoever is stopped. */
static void try_meanwhile(struct world *world)
{
    uint32_t cell = 0;
    int status = cshm_rwlock_try_acquire_read(lock_of(world), &cell);
    CHECK(status == 0 || status == -EAGAIN || status == -EOWNERDEAD || status == -EDEADLK);
    if (status == 0) {
        CHECK_EQ(cshm_rwlock_release_read(lock_of(world), cell), 0);
    }
    status = cshm_rwlock_acquire_write_until(lock_of(world), cshm_now_ns() + MILLISECOND);
    CHECK(status >= 0 || status == -ETIMEDOUT || status == -EDEADLK);
    if (status == 1) {
        CHECK_EQ(cshm_rwlock_repair(lock_of(world)), 0);
    }
    if (status >= 0) {
        CHECK_EQ(cshm_rwlock_release_write(lock_of(world)), 0);
    }
}

const struct scenario rwlock_scenarios[] = {
    {.name = "create", .operate = create, .check = check_created},
    {.name = "open", .setup = make_free, .operate = open_and_close, .check = check_free},
    {.name = "try_read",
     .setup = make_free,
     .operate = try_read,
     .recover = succeed,
     .check = check_never_written,
     .meanwhile = try_meanwhile},
    {.name = "read_beside_cells_of_the_dead",
     .setup = make_crowded,
     .operate = acquire_read,
     .recover = read_and_succeed,
     .check = check_never_written,
     .meanwhile = try_meanwhile,
     .pairs = 1},
    {.name = "read_what_a_dead_one_wanted",
     .setup = make_wanted_by_the_dead,
     .operate = acquire_read,
     .check = check_still_read,
     .meanwhile = try_meanwhile},
    {.name = "read_what_a_dead_one_wrote",
     .setup = make_inherited,
     .operate = acquire_read,
     .recover = read_and_succeed,
     .check = check_free,
     .meanwhile = try_meanwhile,
     .pairs = 1},
    {.name = "read_in_vain",
     .setup = make_written,
     .operate = read_in_vain,
     .check = check_still_written},
    {.name = "read_without_a_cell",
     .setup = make_full,
     .operate = read_in_vain,
     .check = check_still_full,
     .meanwhile = try_meanwhile,
     .step = 16},
    {.name = "read_the_unrecoverable",
     .setup = break_it,
     .operate = acquire_read,
     .check = check_broken},
    {.name = "release_read",
     .setup = make_free,
     .prepare = read_it,
     .operate = release_read,
     .recover = succeed,
     .check = check_never_written,
     .meanwhile = try_meanwhile},
    {.name = "try_write",
     .setup = make_free,
     .operate = try_write,
     .recover = read_and_succeed,
     .check = check_written,
     .meanwhile = try_meanwhile,
     .pairs = 1},
    {.name = "write_what_dead_ones_read",
     .setup = make_dead_readers,
     .operate = acquire_write,
     .recover = read_and_succeed,
     .check = check_written,
     .meanwhile = try_meanwhile,
     .pairs = 1},
    {.name = "write_what_a_dead_one_wrote",
     .setup = make_inherited,
     .operate = acquire_write,
     .recover = succeed,
     .check = check_free,
     .meanwhile = try_meanwhile,
     .pairs = 1},
    {.name = "try_write_in_vain",
     .setup = make_read,
     .operate = try_write,
     .check = check_still_read},
    {.name = "write_in_vain",
     .setup = make_read,
     .operate = write_in_vain,
     .check = check_still_read,
     .meanwhile = try_meanwhile},
    {.name = "write_behind_the_dead",
     .setup = make_line_of_the_dead,
     .operate = acquire_write,
     .recover = read_and_succeed,
     .check = check_written,
     .meanwhile = try_meanwhile,
     .pairs = 2},
    {.name = "write_behind_one_that_does_not_run",
     .setup = make_line_of_the_idle,
     .operate = acquire_write,
     .recover = succeed,
     .check = check_written,
     .meanwhile = try_meanwhile},
    {.name = "write_behind_many_of_the_dead",
     .setup = make_full_line_of_the_dead,
     .operate = acquire_write,
     .recover = succeed,
     .check = check_written,
     .step = 16},
    {.name = "line_up_in_vain",
     .setup = make_written,
     .operate = write_in_vain,
     .check = check_still_written,
     .meanwhile = try_meanwhile},
    {.name = "line_up_without_a_place",
     .setup = make_full_line,
     .operate = write_in_vain,
     .check = check_still_written,
     .step = 16},
    {.name = "wait_to_write_in_vain",
     .setup = make_written,
     .operate = wait_in_vain,
     .check = check_still_written},
    {.name = "announce",
     .setup = make_read,
     .operate = wait_in_vain,
     .recover = read_beside,
     .check = check_still_read,
     .meanwhile = try_meanwhile},
    {.name = "try_write_in_vain_once_woken",
     .setup = make_read,
     .operate = try_write_woken,
     .recover = read_beside,
     .check = check_still_read,
     .meanwhile = try_meanwhile},
    {.name = "withdraw",
     .setup = make_read,
     .prepare = announce,
     .operate = withdraw,
     .recover = read_beside,
     .check = check_still_read,
     .meanwhile = try_meanwhile},
    {.name = "read_what_a_dead_one_announced",
     .setup = make_announced_by_the_dead,
     .operate = acquire_read,
     .recover = read_beside,
     .check = check_still_read,
     .meanwhile = try_meanwhile},
    {.name = "read_what_one_announced_that_does_not_run",
     .setup = make_announced_by_the_idle,
     .operate = acquire_read,
     .recover = read_and_succeed,
     .check = check_never_written,
     .meanwhile = try_meanwhile},
    {.name = "try_write_in_vain_what_was_announced",
     .setup = make_read,
     .prepare = announce,
     .operate = try_write,
     .recover = read_beside,
     .check = check_still_read,
     .meanwhile = try_meanwhile},
    {.name = "write_the_unrecoverable",
     .setup = break_it,
     .operate = acquire_write,
     .check = check_broken},
    {.name = "release_write",
     .setup = make_waited_for,
     .prepare = write_before_the_dead,
     .operate = release_write,
     .recover = read_and_succeed,
     .check = check_released,
     .meanwhile = try_meanwhile,
     .pairs = 1},
    {.name = "release_of_what_another_writes",
     .setup = make_written,
     .operate = release_write,
     .check = check_still_written},
    {.name = "repair",
     .setup = make_inherited,
     .prepare = write_it,
     .operate = repair,
     .recover = succeed,
     .check = check_free,
     .pairs = 1},
    {.name = "release_unrepaired",
     .setup = make_inherited,
     .prepare = write_it,
     .operate = release_write,
     .check = check_not_repaired},
    {.name = "downgrade",
     .setup = make_free,
     .prepare = write_it,
     .operate = downgrade,
     .recover = succeed,
     .check = check_released,
     .meanwhile = try_meanwhile},
    {.name = "destroy", .setup = make_free, .operate = destroy, .check = check_destroyed},
    {.name = NULL},
};
