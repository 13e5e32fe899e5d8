/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * What the .c files share; nothing public, nothing of it in shared memory.
 */
#ifndef CSHM_INTERNAL_H
#define CSHM_INTERNAL_H

#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/types.h>

#include <cshm/bell.h>
#include <cshm/post.h>
#include <cshm/region.h>

#include "layout.h"

struct cshm_ring;

enum {
    CSHM_CLASSES = 25,
    CSHM_CACHE = 64,
};

/* This process's part of one size class: spans it owns and blocks it knows to be free. */
struct cshm_class {
    pthread_mutex_t lock;
    uint32_t *spans;
    uint32_t span_count;
    uint32_t span_room;
    uint32_t cursor; /* which span the next look for free cells begins with */
    uint32_t cached;
    uint64_t cache[CSHM_CACHE];
};

/* Anchors that this process is to end. */
struct cshm__doomed {
    pthread_mutex_t lock;
    uint64_t *places;
    _Atomic uint32_t count;
    uint32_t room;
};

struct cshm_region {
    uint8_t *base;
    struct cshm_header header; /* a private copy: the only one that is believed */
    struct cshm_live *live;
    struct cshm_participant_entry *participants;
    struct cshm_span *spans;
    int share;               /* passed to others, never locked */
    int life;                /* locked, never passed; -1 when this process has not joined */
    bool is_read_only;       /* mapped so, and never joined */
    _Atomic uint64_t stamp;  /* 0 when this process has not joined */
    _Atomic int64_t told_ns; /* when a bell last told this process of a death */
    pthread_mutex_t sweep_lock;
    struct cshm_class classes[CSHM_CLASSES];
    struct cshm__doomed doomed;
    _Atomic int64_t references; /* to anchored objects, of this process's */
    cshm_region *next;          /* every region of this process, for fork */
};

/* ---- kernel.c: everything that asks the kernel, save mapping ---- */
int cshm__futex_wait(uint32_t *word, uint32_t seen, int64_t deadline_ns);
int cshm__futex_wake(uint32_t *word, int count);
/* Whether a thread of this process holds a robust mutex that lies there. */
bool cshm__holds_mutex(const void *from, uint64_t size);
int cshm__commit(int fd, uint64_t offset, uint64_t length);
int cshm__lock_byte(int fd, uint32_t index);
void cshm__unlock_byte(int fd, uint32_t index);
bool cshm__byte_is_locked(int fd, uint32_t index);
uint64_t cshm__pid_namespace(void);
uint64_t cshm__default_capacity(void);
int cshm__random(void *bytes, size_t length);
static inline void cshm__pause(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#else
    __asm__ volatile("yield");
#endif
}
/* Asks for a line that is about to be changed, and that another CPU has. Read first, it would come
 * twice: to be shared, and then to be this CPU's alone. The place need not be anybody's memory. */
static inline void cshm__ask_to_write(const void *place)
{
#if defined(__x86_64__)
    __asm__ volatile("prefetchw %0" : : "m"(*(const char *)place));
#else
    __builtin_prefetch(place, 1);
#endif
}
/* {pid:32, thread:32} of the calling thread, without a system call but for its first. */
uint64_t cshm__learn_thread(void);
extern _Thread_local __attribute__((tls_model("initial-exec"))) uint64_t cshm__known_thread;
static inline uint64_t cshm__thread(void)
{
    uint64_t known = cshm__known_thread;
    return __builtin_expect(known != 0, 1) ? known : cshm__learn_thread();
}
/* A counter of the CPU's that ticks some 1 to 4 times a ns, where reading the clock costs 70. */
uint64_t cshm__ticks(void);
bool cshm__has_one_cpu(void);
/* Registers this process, so that the barrier of a sleeper reaches it; see [announce]. */
void cshm__let_be_interrupted(void);
/* A full barrier in every registered process that runs now. @returns false if the kernel refuses. */
bool cshm__interrupt_publishers(void);
extern _Atomic bool cshm__is_interruptible; /* whether this process is registered */

/* Until one of the words changes, is woken, or the deadline; at most CSHM_WAIT_MAX of them. */
void cshm__futex_wait_any(uint32_t *const *words, const uint32_t *seen, uint32_t count,
                          int64_t deadline_ns);
/* A descriptor that is readable when one of those it watches is. */
int cshm__watcher(void);
int cshm__watch(int watcher, int fd);
void cshm__unwatch(int watcher, int fd);
/* Those that are readable now. @returns how many, at most `max`. */
uint32_t cshm__watched(int watcher, int *fds, uint32_t max);
/* A descriptor that is readable when the process has ended. */
int cshm__process(uint64_t pid);
/* One that is readable after each period from its start on, until it is read. */
int cshm__ticker(void);
void cshm__start_ticker(int fd, int64_t period_ns);
void cshm__read_ticker(int fd);
int cshm__bell_sender(void);
int cshm__bell_listen(uint64_t number);
int cshm__bell_send(int sender, uint64_t number);
void cshm__bell_drain(int fd);

/* Descriptors under a ticket, on their way to a box; see post.c. */
enum {
    CSHM__POST_NAME = 80,
};
struct cshm__letter {
    uint64_t ticket;
    uint32_t count;
    bool is_cut; /* there was no room for some of them */
    int descriptors[CSHM_POST_MAX];
};
void cshm__post_name(const uint64_t uuid[2], uint64_t offset, char name[CSHM__POST_NAME]);
int cshm__post_listen(const char *name);
int cshm__post_send(const char *name, uint64_t ticket, const int *descriptors, uint32_t count);
/* 0, -EAGAIN (there is none), or the kernel's. */
int cshm__post_receive(int socket, struct cshm__letter *out);
void cshm__close(int fd);

/* ---- mutex.c: the word of a mutex, for who does not block on it ---- */
/* Has the holder wake somebody when it releases. @returns the word; if nobody holds it, nobody was
 * asked to. */
uint32_t cshm__mutex_announce(uint32_t *word);
void cshm__mutex_hand_on(uint32_t *word);
/* Whether somebody had it when the word was `seen`, and nobody has it now. */
bool cshm__mutex_was_released(const uint32_t *word, uint32_t seen);

/* ---- bell.c ---- */
static inline struct cshm_waitable
cshm__at_park(struct cshm_park *park, int (*is_ready)(const void *object), const void *object)
{
    return (struct cshm_waitable){.park = park, .is_ready = is_ready, .object = object};
}
bool cshm__bell_ring(struct cshm_park *park);
/* Rings those who watch who is attached. @returns 0, or why it could not. */
int cshm__bell_tell_of_turnover(cshm_region *region);

/* ---- park.c ---- */
/* The two halves of cshm_park_prepare(): the second is once for all that were announced.
 * @returns how long a sleep may last. */
uint32_t cshm__park_announce(struct cshm_park *park);
int64_t cshm__park_interrupt(void);
/* Whether this process was refused that, and so must look by itself. */
bool cshm__park_is_unseen(void);
/* Announces bells, which are in the word's line already. */
void cshm__park_arm(struct cshm_park *park);
/* Between the store that makes a condition true and cshm__park_wake_one_after_store(). */
static inline void cshm__publish_barrier(void)
{
    if (atomic_load_explicit(&cshm__is_interruptible, memory_order_relaxed)) {
        atomic_signal_fence(memory_order_seq_cst); /* [announce]: the sleeper pays */
    } else {
        atomic_thread_fence(memory_order_seq_cst); /* [announce] */
    }
}

void cshm__park_wake(struct cshm_park *park, int count);

/* Whether somebody is to be woken, after a seq_cst operation that made the condition true. */
static inline bool cshm__park_calls(struct cshm_park *park)
{
    const _Atomic uint32_t *word = (const _Atomic uint32_t *)(const void *)&park->word;
    /* seq_cst: [announce] */
    return (atomic_load_explicit(word, memory_order_seq_cst) & CSHM_PARK_CALLS) != 0;
}

/* As cshm_park_wake_one(), where the condition was made true by a mere release store. */
static inline void cshm__park_wake_one_after_store(struct cshm_park *park)
{
    const _Atomic uint32_t *word = (const _Atomic uint32_t *)(const void *)&park->word;
    if (__builtin_expect(atomic_load_explicit(word, memory_order_relaxed) & CSHM_PARK_CALLS, 0)) {
        cshm__park_wake(park, 1);
    }
}

/* The same with all. */
static inline void cshm__park_wake_all_after_store(struct cshm_park *park)
{
    const _Atomic uint32_t *word = (const _Atomic uint32_t *)(const void *)&park->word;
    if (__builtin_expect(atomic_load_explicit(word, memory_order_relaxed) & CSHM_PARK_CALLS, 0)) {
        cshm__park_wake(park, INT_MAX);
    }
}

/* Tries until the attempt answers something else than -EAGAIN: at first spinning, then asleep on
 * `park`. @returns what the attempt did, or -ETIMEDOUT. The attempt is the look at the condition
 * of cshm/park.h, an acquire load or stronger. */
int cshm__await(struct cshm_park *park, int (*attempt)(void *context), void *context,
                int64_t deadline_ns);
/* As cshm__await(), and before each sleep asks `is_over`, whether nobody lives who could end the
 * wait: -EPIPE, after one more attempt. */
int cshm__await_peer(struct cshm_park *park, int (*attempt)(void *context),
                     bool (*is_over)(void *context), void *context, int64_t deadline_ns);
/* As cshm__await(), without looking every now and then: for a waiter that somebody
 * watches, who wakes it if a wake may have died with a process. The first attempt is the caller's.
 * `lie_down` is called before the last look before a sleep, when wakers see that it is announced. */
int cshm__await_watched(struct cshm_park *park, int (*attempt)(void *context),
                        void (*lie_down)(void *context), void *context, int64_t deadline_ns);
/* The part of cshm__await() that is spent awake: -EAGAIN when it would sleep. */
int cshm__await_awake(struct cshm_park *park, int (*attempt)(void *context), void *context);
/* How long cshm__await() spins and yields at most, in this process; 0 parks at once. */
extern _Atomic int64_t cshm__patience_ns;
/* Whether a wait of this thread's that begins should yield before it sleeps: not where that lately took
 * long. Then it does so again now and then. */
bool cshm__yield_pays(void);
/* Gives the CPU to whoever wants it. `now` becomes the time after that.
 * @returns whether it pays to do so again. */
bool cshm__yield(int64_t *now);

/* ---- participant.c ---- */
enum {
    CSHM__DEATH_CHECK_NS = 10000000, /* how often, at most, who waits asks the kernel who lives */
};
/* Whether it should now: that time is over, which `next_ns` keeps, or this process was told of a
 * death since it last did. */
bool cshm__look_is_due(const cshm_region *region, int64_t *next_ns);
#define CSHM_STAMP(index, generation) (((uint64_t)(generation) << 16) | (index))
int cshm__participant_join(cshm_region *region);
/* Leaves; if not `swept`, as the dead do, for others to sweep. */
void cshm__participant_leave(cshm_region *region, bool swept);

/* cshm_participant_self(), inlined. */
static inline uint64_t cshm__self(const cshm_region *region)
{
    /* relaxed: written once by join, before the region is used */
    return atomic_load_explicit(&region->stamp, memory_order_relaxed);
}
/* The process id of a stamp's owner, or 0 if it is another's by now. */
int32_t cshm__participant_pid(const cshm_region *region, uint64_t stamp);

/* ---- mutex.c ---- */
/* Whether this thread holds it, by our own record. */
bool cshm__mutex_is_mine(const struct cshm_mutex *mutex);

/* ---- region.c ---- */
/* The region of this process whose mapping that address is in, or NULL. */
cshm_region *cshm__region_of(const void *address);

/* ---- lockwatch.c ---- */
extern _Atomic bool cshm__watches_locks;
static inline bool cshm__lockwatch_is_on(void)
{
    /* relaxed: it goes on once, and what came before is not watched */
    return __builtin_expect(atomic_load_explicit(&cshm__watches_locks, memory_order_relaxed), 0);
}
void cshm__lockwatch_ask_environment(void);
/* This thread is about to acquire it, and will wait if it must; it does not hold it. */
void cshm__lockwatch_wants(struct cshm_mutex *mutex);
/* It has it now, for the first time; is about to release it, for the last. */
void cshm__lockwatch_acquired(struct cshm_mutex *mutex);
void cshm__lockwatch_releases(struct cshm_mutex *mutex);

/* ---- heap.c ---- */
void cshm__heap_init(cshm_region *region);
/* Both @return false if the heap's lock was held too long, as by a stopped process: to be repeated. */
bool cshm__heap_leave(cshm_region *region);
bool cshm__heap_sweep(cshm_region *region, uint64_t stamp);
void cshm__heap_after_fork(cshm_region *region);
/* Allocates for a holder word; link() when the word names it, free_from() to end it. */
int cshm__heap_allocate_for(cshm_region *region, uint64_t size, _Atomic uint64_t *holder,
                            uint64_t *offset);
void cshm__heap_link(cshm_region *region, uint64_t offset);
/* Makes `holder` the word that is to name a block of this process's, before it is stored there; a
 * shared block needs none. -EINVAL if it is neither. */
int cshm__heap_hold(cshm_region *region, uint64_t offset, const _Atomic uint64_t *holder);
/* Frees a block only if its cell still names that holder; clears nothing. Idempotent. */
void cshm__heap_free_from(cshm_region *region, uint64_t offset, const _Atomic uint64_t *holder);
/* Frees a block, also if a word names it that goes with it. */
void cshm__heap_free_held(cshm_region *region, uint64_t offset);
/* The bytes of a block that its holder word names, if an allocation of `size` bytes would get just such a
 * one: to be used again instead of freed and allocated. Else NULL. */
void *cshm__heap_again(cshm_region *region, uint64_t offset, const _Atomic uint64_t *holder,
                       uint64_t size);
/* The place of the word that a block says names it. */
uint64_t cshm__heap_holder(const cshm_region *region, uint64_t offset);
/* Whether it is a block in use whose cell names that holder. */
bool cshm__heap_is_held(const cshm_region *region, uint64_t offset, const _Atomic uint64_t *holder);
/* The class of a block of that size; CSHM_CLASSES for large ones. */
uint32_t cshm__heap_class(uint64_t size);

/* ---- queue_cells.c, lane.c ---- */
enum {
    CSHM__SAMPLE_STEP = 64, /* puts from one sample of the high water to the next */
};

/* ---- ring.c ---- */
/* Takes a role whose owner's stamp is in the word. @returns 0, 1 (its owner is dead), -EBUSY. */
int cshm__take_role(cshm_region *region, _Atomic uint64_t *owner);

/* For its producer, who is about to claim the `index`-th message after the next: frees the blocks of
 * messages that were released, and of that one. @returns the bytes of the others, those of `claimed`
 * messages after the last among them. */
uint64_t cshm__ring_reclaim(struct cshm_ring *ring, uint32_t index, uint32_t claimed);
/* The same; @returns where the head is to be, so that those bytes are at most `most`. */
uint64_t cshm__ring_room_from(struct cshm_ring *ring, uint32_t index, uint32_t claimed,
                              uint64_t most);
/* For anybody: the bytes of all blocks, a sum of looks. */
uint64_t cshm__ring_bytes(const struct cshm_ring *ring);

/* ---- value.c ---- */
struct cshm_type;
bool cshm__type_is_good(const struct cshm_type *type);
bool cshm__type_is_same(const struct cshm_type *a, const struct cshm_type *b);

/* ---- stream.c ---- */
/* What a stream's word says of new messages: 0, -EPIPE (finished) or -ECANCELED. */
int cshm__stream_status(uint64_t stream);
/* Counts who has taken its place as a producer. @returns 0, or as cshm__stream_status(). */
int cshm__stream_join(_Atomic uint64_t *word);
/* Whether it is finished; which it is from now on, if somebody joined and nobody lives. */
bool cshm__stream_is_over(_Atomic uint64_t *word, bool (*somebody_lives)(void *context),
                          void *context);

/* ---- slot.c ---- */
int cshm__slot_prepare(cshm_region *region, struct cshm_slot *slot, uint32_t slot_size,
                       uint64_t length, void **data);
int cshm__slot_read(cshm_region *region, struct cshm_slot *slot, uint32_t slot_size, void **data,
                    uint64_t *length);
/* Has what its block names be counted until the slot is cleared; the block is filled, and its end as
 * cshm/anchor.h says. @returns 0, -ENOENT, -ECHILD, -EPROTO. */
int cshm__slot_hold(cshm_region *region, struct cshm_slot *slot);
/* @returns whether it held anything: cshm__anchor_end_all() is to follow. */
bool cshm__slot_clear(cshm_region *region, struct cshm_slot *slot);

#endif /* CSHM_INTERNAL_H */
