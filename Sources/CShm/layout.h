/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Every byte two processes must agree on. Places are offsets from the start of the region; 0 means
 * none. The one foreign type is glibc's mutex, whose size is part of the layout id.
 *
 * A change to this file is a change of format: raise CSHM_LAYOUT_VERSION.
 */
#ifndef CSHM_LAYOUT_H
#define CSHM_LAYOUT_H

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include <cshm/atomic.h>
#include <cshm/barrier.h>
#include <cshm/base.h>
#include <cshm/bell.h>
#include <cshm/event.h>
#include <cshm/latch.h>
#include <cshm/lockwatch.h>
#include <cshm/mutex.h>
#include <cshm/once.h>
#include <cshm/park.h>
#include <cshm/participant.h>
#include <cshm/semaphore.h>
#include <cshm/value.h>

#define CSHM_LAYOUT_VERSION    9u
/* 128, not 64: x86 prefetches lines in pairs. */
#define CSHM_LINE              128u
#define CSHM_PAGE              4096u
#define CSHM_SPAN              65536u
#define CSHM_KEPT_RUNS         8u
#define CSHM_LOCKWATCH_RECORDS 1024u

/* ---- header page: written by the creator before anybody can see it, never after ---- */
struct cshm_header {
    uint8_t magic[8];
    uint32_t layout_id;
    uint32_t endian;
    uint8_t uuid[CSHM_UUID_BYTES];
    uint64_t capacity;
    uint64_t spans_offset;
    uint64_t heap_offset;
    uint64_t span_count;
    uint64_t pid_namespace;
    uint64_t checksum; /* of all above */
};

/* ---- live page ---- */
struct cshm_live {
    /* Watermark: spans below it are committed. Written under heap_lock. */
    _Atomic uint64_t committed_spans;
    uint8_t pad0[CSHM_LINE - 8];
    struct cshm_mutex heap_lock;
    /* A hint where free spans may start, and whether a span may be without an owner. */
    _Atomic uint64_t free_hint;
    _Atomic uint64_t abandoned;
    _Atomic uint64_t turnover;  /* grows when a participant has joined or left */
    _Atomic uint64_t watched;   /* whether anybody ever watched for that */
    _Atomic uint64_t lockwatch; /* the records of who acquired which locks, or 0 */
    uint8_t pad1[CSHM_LINE - 40];
    struct cshm_mutex directory_lock;
    _Atomic uint64_t directory;   /* the first page, or 0 */
    _Atomic uint64_t outcomes;    /* the same, of the table of outcomes */
    _Atomic uint64_t anchors;     /* and of that of anchors */
    _Atomic uint64_t anchor_hint; /* a page where there was room, or 0 */
    uint8_t pad2[CSHM_LINE - 32];
    _Atomic uint64_t kept[CSHM_KEPT_RUNS]; /* hints: spans where kept runs begin, + 1 */
    uint8_t pad3[CSHM_LINE - 8 * CSHM_KEPT_RUNS];
};

/* {kind:8, 0:24, generation:32}; written by who holds the entry's lock byte, or finds the owner
 * dead. */
struct cshm_participant_entry {
    _Atomic uint64_t state;
    _Atomic uint64_t pid;
    _Atomic uint64_t bells[CSHM_WATCHES_MAX]; /* its own, to be rung at each turnover; or 0 */
};

enum {
    CSHM_PARTICIPANT_FREE = 0,
    CSHM_PARTICIPANT_JOINING = 1,
    CSHM_PARTICIPANT_LIVE = 2,
    CSHM_PARTICIPANT_SWEEPING = 3,
    CSHM_PARTICIPANT_DEAD = 4,
};

/* ---- directory ---- */
#define CSHM_NAME_WORDS      (CSHM_NAME_MAX / 8)
#define CSHM_DIRECTORY_SLOTS 62u

struct cshm_directory_slot {
    _Atomic uint64_t place; /* of the object, whose holder word this is; 0 if the slot is free */
    _Atomic uint64_t generation;
    _Atomic uint64_t type_tag;
    _Atomic uint32_t kind;
    _Atomic uint32_t length;
    _Atomic uint64_t name[CSHM_NAME_WORDS];
    uint8_t pad[24];
};

struct cshm_directory_page {
    uint32_t magic;
    _Atomic uint64_t next; /* the page after it, or 0 */
    uint8_t pad[CSHM_LINE - 16];
    struct cshm_directory_slot slot[CSHM_DIRECTORY_SLOTS];
};

/* ---- mutex ---- */
/* All that an acquire and a release touch is in the first 64 bytes. */
struct cshm_mutex_shared {
    pthread_mutex_t native;
    uint8_t pad0[48 - sizeof(pthread_mutex_t)];
    _Atomic uint32_t magic;  /* says whether it is recursive, too */
    _Atomic uint32_t depth;  /* holds beyond the first, of a recursive one; the holder's */
    _Atomic uint64_t holder; /* {pid:32, thread:32} or 0: for people */
    _Atomic uint64_t since;  /* when it was acquired, if its holder is watched, or 0: for people */
    _Atomic uint64_t mark;   /* {number:16, place:48} or 0; see lockwatch.c */
    uint8_t pad1[48];
};

/* ---- lockwatch ---- */
struct cshm_lock_record {
    _Atomic uint64_t word;   /* {kind:8, 0:8, stamp:48} of its maker, or 0 */
    _Atomic uint64_t thread; /* {pid:32, thread:32} */
    _Atomic uint64_t at_ns;
    _Atomic uint64_t wanted; /* a lock's mark */
    _Atomic uint64_t held[CSHM_LOCKWATCH_HELD];
};

struct cshm_lockwatch_shared {
    uint32_t magic;
    _Atomic uint32_t number; /* that the next mark gets */
    _Atomic uint64_t missed; /* what could not be recorded */
    struct cshm_lock_record record[CSHM_LOCKWATCH_RECORDS];
};

/* ---- heap ---- */
/* What a span is. For a small span `owner` is the stamp that may allocate; for a large run's head
 * it is the block's state, as in a cell. */
struct cshm_span {
    _Atomic uint64_t word; /* {kind:8, class or count:56} */
    _Atomic uint64_t owner;
    _Atomic uint64_t holder;
    _Atomic uint64_t extra; /* small: hint, blocks freed so far; large: bytes */
};

enum {
    CSHM_SPAN_FREE = 0,
    CSHM_SPAN_SMALL = 1,
    CSHM_SPAN_LARGE = 2,
    CSHM_SPAN_CONTINUED = 3,
};

struct cshm_cell {
    _Atomic uint64_t state; /* {kind:8, 0:8, stamp:48} */
    _Atomic uint64_t holder;
};

enum {
    CSHM_BLOCK_FREE = 0,
    CSHM_BLOCK_OWNED = 1,
    CSHM_BLOCK_LINKED = 2,
    CSHM_BLOCK_TAKEN = 3, /* a large one only: neither kept nor a block yet */
};

/* ---- parking word: bits; the rest counts wakes ---- */
enum {
    CSHM_PARK_ASLEEP = 1, /* somebody may be asleep */
    CSHM_PARK_ARMED = 2,  /* somebody's bell is to be rung; only in a line as below */
    CSHM_PARK_CALLS = CSHM_PARK_ASLEEP | CSHM_PARK_ARMED,
    CSHM_PARK_ONE = 4,
};

/* The line that a channel's parking word begins; all zeroes without bells. */
struct cshm_park_line {
    struct cshm_park park;
    uint32_t pad;
    _Atomic uint64_t bells[CSHM_BELLS_MAX]; /* numbers of those to ring, or 0 */
};

/* ---- event, latch, once ---- */
struct cshm_event_shared {
    _Atomic uint32_t magic;
    uint32_t automatic;
    _Atomic uint32_t state; /* whether it is set */
    uint8_t pad[CSHM_LINE - 12];
    struct cshm_park_line waiters;
};

struct cshm_latch_shared {
    _Atomic uint32_t magic;
    _Atomic uint32_t count; /* what is left */
    uint8_t pad[CSHM_LINE - 8];
    struct cshm_park_line waiters;
};

struct cshm_once_shared {
    _Atomic uint64_t word; /* {kind:8, 0:8, stamp:48} */
    _Atomic uint32_t magic;
    uint8_t pad[CSHM_LINE - 12];
    struct cshm_park_line waiters;
};

/* ---- atomic, value, array ---- */
struct cshm_atomic_shared {
    _Atomic uint64_t word; /* or its first half */
    _Atomic uint32_t magic;
    uint32_t type;
    uint8_t pad[CSHM_LINE - 16];
    struct cshm_park_line waiters;
};

/* Then two copies, each of whole lines. */
struct cshm_value_shared {
    uint32_t magic;
    struct cshm_type type;
    uint8_t pad0[CSHM_LINE - 32];
    _Atomic uint64_t number; /* of writes; the lowest bit says which copy counts */
    uint8_t pad1[CSHM_LINE - 8];
    struct cshm_mutex mutex;
};

/* Then the elements. */
struct cshm_array_shared {
    uint32_t magic;
    struct cshm_type type;
    uint64_t count;
    uint8_t pad[CSHM_LINE - 40];
    struct cshm_mutex mutex;
};

/* ---- barrier ---- */
struct cshm_barrier_shared {
    uint32_t magic;
    uint32_t parties;
    uint8_t pad0[CSHM_LINE - 8];
    _Atomic uint64_t state; /* {phase:32, failed:20, broken:1, arrived:11} */
    uint8_t pad1[CSHM_LINE - 8];
    struct cshm_park_line waiters;
    /* By the number of a participant: {handles of it that take part:16, stamp:48}. */
    _Atomic uint64_t members[CSHM_PARTICIPANTS_MAX];
};

/* ---- condition: then a place for each waiter ---- */
struct cshm_condition_shared {
    uint32_t magic;
    uint32_t waiters;
    _Atomic uint32_t used; /* places from here on were never used */
    uint8_t pad0[CSHM_LINE - 12];
    _Atomic uint64_t tickets; /* given so far; who notifies looks at the waiters' own only */
    uint8_t pad1[CSHM_LINE - 8];
    struct cshm_park_line elsewhere; /* those who wait by bells */
};

struct cshm_condition_place {
    _Atomic uint64_t word; /* {kind:8, 0:8, stamp:48} */
    _Atomic uint64_t ticket;
    struct cshm_park park; /* its waiter sleeps here */
    uint8_t pad[64 - 20];
};

/* ---- semaphore ---- */
struct cshm_semaphore_shared {
    _Atomic uint32_t count;
    _Atomic uint32_t bound;
    _Atomic uint32_t magic;
    uint8_t pad[CSHM_LINE - 12];
    struct cshm_park_line line; /* who waits sleeps here */
};

/* ---- baton ---- */
struct cshm_baton_shared {
    uint32_t magic;
    _Atomic uint64_t word; /* {0:14, broken:1, inherited:1, stamp:48} */
    uint8_t pad[CSHM_LINE - 16];
    struct cshm_park_line line; /* who waits sleeps here */
};

/* ---- permits ---- */
struct cshm_permits_shared {
    uint32_t magic;
    uint32_t count;
    _Atomic uint64_t asked;   /* when somebody last asked for the dead */
    _Atomic uint32_t several; /* whether anybody ever waited for more than one */
    uint8_t pad[CSHM_LINE - 20];
    struct cshm_park_line line; /* who waits sleeps here */
    _Atomic uint64_t cell[];    /* {number:16, stamp:48} */
};

/* ---- reader-writer lock ---- */
struct cshm_reader_cell {
    _Atomic uint64_t owner;  /* {kind:16, stamp:48}, or 0 */
    _Atomic uint32_t thread; /* the reader's */
    uint8_t pad[CSHM_LINE - 12];
};

/* Where a writer waits for its turn at the mutex. */
struct cshm_writer_place {
    _Atomic uint64_t owner;  /* {kind:16, stamp:48}, or 0 */
    _Atomic uint64_t number; /* when it came, and its place: the lower goes first */
    struct cshm_park park;   /* the writer sleeps here */
    uint32_t pad[3];
};

#define CSHM_RWLOCK_PLACES 64u /* CSHM_RWLOCK_LINE_MAX */

struct cshm_rwlock_shared {
    uint32_t magic;
    uint32_t cells;
    _Atomic uint32_t state;       /* rwlock_view.h; who has the mutex writes it */
    _Atomic uint32_t crowded;     /* whether a reader ever found no cell */
    _Atomic uint32_t places_used; /* no writer ever had a place from here on */
    _Atomic uint32_t turns;       /* how often the mutex was acquired; who has it writes it */
    _Atomic uint64_t announcer;   /* stamp of whose wait to write is announced, or 0 */
    _Atomic int64_t idle_since;   /* since when it lets the lock be; who has the mutex writes it */
    uint8_t pad0[CSHM_LINE - 40];
    struct cshm_mutex writer;
    struct cshm_park_line readers; /* readers sleep here */
    struct cshm_park_line drained; /* the writer that waits for readers sleeps here */
    struct cshm_park no_place;     /* writers that found no place sleep here */
    uint8_t pad1[CSHM_LINE - 4];
    struct cshm_writer_place line[CSHM_RWLOCK_PLACES];
    struct cshm_reader_cell cell[];
};

/* ---- a message's slot, in queues ---- */
struct cshm_slot {
    _Atomic uint64_t block; /* the heap block it owns, or 0 */
    uint64_t length;        /* {kind of message:2, bytes:62} */
    uint8_t bytes[];
};

#define CSHM_SLOT_PLAIN    0ull
#define CSHM_SLOT_HOLDS    (1ull << 62) /* what the block names is counted, or about to be: anchor.h */
#define CSHM_SLOT_PACK     (2ull << 62) /* it begins with a struct cshm_pack */
#define CSHM_SLOT_KIND     (3ull << 62)
#define CSHM_SLOT_BYTES(l) ((l) & ~CSHM_SLOT_KIND)

/* ---- ring: then the window's slots, the row's slots, the row's lengths, and a block or 0 for each
 * slot of either ---- */
struct cshm_ring_shared {
    uint32_t magic;
    uint32_t capacity;
    uint32_t slot_size;
    _Atomic uint32_t state;    /* open, finished, cancelled */
    _Atomic uint64_t producer; /* stamp of who puts, or 0 */
    _Atomic uint64_t consumer; /* stamp of who takes, or 0 */
    uint8_t pad0[CSHM_LINE - 32];
    /* The producer's. */
    _Atomic uint64_t tail;
    _Atomic uint64_t window_from; /* positions from here on */
    _Atomic uint64_t window_to;   /* to here are in the window */
    _Atomic uint64_t odd_from;    /* 1 + the first whose length is in the row's lengths, or 0 */
    uint8_t pad1[CSHM_LINE - 32];
    _Atomic uint64_t head; /* the consumer's */
    uint8_t pad2[CSHM_LINE - 8];
    struct cshm_park_line items; /* the consumer sleeps here */
    struct cshm_park_line room;  /* the producer sleeps here */
};

/* ---- queue ---- */
struct cshm_queue_shared {
    uint32_t magic;
    uint32_t capacity; /* elements */
    uint32_t ring;     /* cells: the power of two from capacity on, at least 2 */
    uint32_t slot_size;
    uint32_t ports;
    uint32_t pack;
    uint64_t type_tag;
    uint64_t byte_limit;
    uint32_t turn_shift; /* bits below a cell's turn */
    /* These six change seldom. */
    _Atomic uint32_t state;    /* {tokens that became somebody's: 30, state: 2} */
    _Atomic uint32_t leasing;  /* whether anything was ever leased */
    _Atomic uint32_t produced; /* whether a token was ever opened */
    _Atomic uint32_t side;     /* grows when a message becomes one to be delivered again */
    _Atomic uint32_t tickets;  /* tokens sent so far */
    _Atomic uint32_t holding;  /* whether any message ever held anything */
    uint8_t pad0[CSHM_LINE - 68];
    _Atomic uint64_t tail;
    uint8_t pad1[CSHM_LINE - 8];
    _Atomic uint64_t head;
    uint8_t pad2[CSHM_LINE - 8];
    _Atomic uint64_t bytes; /* of blocks; a guess where processes died */
    _Atomic uint64_t high_water;
    uint8_t pad3[CSHM_LINE - 16];
    struct cshm_park_line items; /* consumers sleep here */
    struct cshm_park_line room;  /* producers */
    struct cshm_park_line idle;  /* those who wait until all is done */
};

enum {
    CSHM_QUEUE_STATES = 3, /* the bits of enum cshm_queue_state */
    CSHM_QUEUE_ONE_TOKEN = 4,
};

/* Behind it: ports, tokens, cells, slots. */
struct cshm_port {
    _Atomic uint64_t own;   /* {hand:32, lease:1, intent + 1:31} */
    _Atomic uint64_t owner; /* stamp, or 0, or one of the two below */
    _Atomic uint32_t left;  /* elements of the leased message that are not delivered */
    uint8_t pad[CSHM_LINE - 20];
};

#define CSHM_PORT_RETURNED UINT64_MAX       /* holds a message to be delivered again */
#define CSHM_PORT_DIVIDED  (UINT64_MAX - 1) /* holds the rest of a leased pack */

/* Before the elements of a pack, in its slot or block. */
struct cshm_pack {
    uint32_t count;
    uint32_t length;
    uint64_t pad;
};

/* ---- a stream's word, in lanes and broadcasts ---- */
enum {
    CSHM_STREAM_FINISHED = 1,
    CSHM_STREAM_CANCELLED = 2,
    CSHM_STREAM_JOINED = 256, /* one join */
};

/* ---- board: then rows, then seats ---- */
struct cshm_board_shared {
    uint32_t magic;
    uint32_t seats;
    uint32_t rows;
    _Atomic uint32_t closed;
    uint64_t poster; /* its stamp */
    uint8_t pad0[CSHM_LINE - 24];
    struct cshm_park_line work;     /* workers sleep here */
    struct cshm_park_line progress; /* the poster sleeps here */
};

#define CSHM_ROW_POSTS 32u
#define CSHM_URGENCIES 3u

struct cshm_board_row {
    /* {version:32, posts with groups that may be FREE:32}, one for each urgency */
    _Atomic uint64_t open[CSHM_URGENCIES];
    _Atomic uint32_t oldest; /* a hint: the post to look at first */
    uint8_t pad[CSHM_LINE - 8 * CSHM_URGENCIES - 4];
    _Atomic uint64_t post[CSHM_ROW_POSTS]; /* a batch's place, or 0 */
};

struct cshm_seat {
    _Atomic uint64_t stamp;   /* the worker's; CSHM_SEAT_KEPT() before it sits, then _BURIED */
    _Atomic uint64_t reading; /* a batch that must not be freed, or 0 */
    _Atomic uint64_t running; /* 1 + the element it runs; 0 if none since it claimed */
    _Atomic int64_t since;    /* when it claimed, if that batch is timed */
    _Atomic uint32_t looking; /* 1 while it will look for one more post before it sleeps */
    uint8_t pad[CSHM_LINE - 36];
};

#define CSHM_SEAT_KEPT(worker) (UINT64_C(1) << 63 | (uint32_t)(worker))
#define CSHM_SEAT_IS_KEPT(stamp) \
    ((stamp) == 0 || ((stamp) >> 63 != 0 && (stamp) != CSHM_SEAT_BURIED))
#define CSHM_SEAT_BURIED UINT64_MAX

/* A batch: this, its groups, their own sheets, elements, results. */
struct cshm_batch_shared {
    uint32_t magic;
    uint32_t count;
    uint32_t group;
    uint32_t sheet;
    uint64_t job;
    uint64_t tag;
    uint64_t input_size;
    uint64_t output_size;
    uint32_t timed;
    uint32_t urgency;
    _Atomic uint32_t expected; /* 1 + the group whose end alone is told to the poster; 0: each is */
    uint8_t pad0[CSHM_LINE - 60];
    _Atomic uint32_t next; /* a hint: groups from there on were not tried yet */
    uint32_t filled;       /* elements that there are; count is what there is room for */
    _Atomic uint64_t elapsed;
    _Atomic uint64_t sheets; /* bytes of its sheets that are blocks */
    uint64_t pad1;
};

struct cshm_group {
    _Atomic uint64_t state; /* {worker:30, CSHM_GROUP_*:2, first element within it:32} */
    _Atomic uint64_t sheet; /* the first of its sheets that is a block, if it has none of its own */
};

struct cshm_sheet {
    _Atomic uint64_t next; /* the next one's block, or 0 */
    _Atomic uint64_t used; /* bytes of records that are committed */
    uint64_t room;
    uint64_t pad;
    uint8_t bytes[];
};

struct cshm_record_shared {
    uint32_t element;
    uint32_t kind;
    uint64_t length;
};

/* ---- lanes: then a line for each lane ---- */
#define CSHM_LANES_MAX 1024u

struct cshm_lanes_shared {
    uint32_t magic;
    uint32_t capacity;
    uint32_t slot_size;
    uint32_t lanes;
    uint32_t budget;
    uint32_t reserved;
    uint64_t type_tag;
    uint64_t byte_limit;
    uint8_t pad0[CSHM_LINE - 40];
    _Atomic uint64_t stream;   /* {producers that ever joined:56, CSHM_STREAM_*:8} */
    _Atomic uint64_t consumer; /* stamp of who takes, or 0 */
    uint8_t pad1[CSHM_LINE - 16];
    struct cshm_park_line items;                 /* the consumer sleeps here */
    _Atomic uint64_t ready[CSHM_LANES_MAX / 64]; /* lanes that may have messages */
};

struct cshm_lane_shared {
    _Atomic uint64_t owner;      /* {kind:8, 0:8, stamp:48} */
    _Atomic uint64_t ring;       /* its place, or 0: none yet */
    _Atomic uint64_t seal;       /* 1 + the position at which the finished lane ends, or 0 */
    _Atomic uint64_t high_water; /* the most messages in it that were sampled; the producer's */
    uint8_t pad[CSHM_LINE - 32];
};

enum {
    CSHM_LANE_FREE = 0,
    CSHM_LANE_LIVE = 1,
    CSHM_LANE_LEFT = 2, /* may have to be drained */
};

/* ---- broadcast ---- */
/* After it, in this order: publishers' lines, subscribers' lines, cells, spares, slots; with a byte
 * limit, each slot's sums. */
struct cshm_broadcast_shared {
    uint32_t magic;
    uint32_t capacity;
    uint32_t slot_size;
    uint32_t stride;
    uint32_t publishers;
    uint32_t subscribers;
    uint64_t type_tag;
    uint64_t byte_limit; /* of the long messages in cells; 0: none */
    uint8_t pad0[CSHM_LINE - 40];
    _Atomic uint64_t tail; /* a hint */
    uint8_t pad1[CSHM_LINE - 8];
    _Atomic uint64_t floor;  /* positions below it may be overwritten, or dropped */
    _Atomic uint64_t target; /* how far the floor may be raised: who joins begins there */
    _Atomic uint64_t kept;   /* a hint: long messages below it were dropped */
    uint8_t pad2[CSHM_LINE - 24];
    _Atomic uint64_t stream; /* {publishers that ever joined:56, CSHM_STREAM_*:8} */
    /* How many subscriber lines ever were overwriting, from the first on, and lossless, from the
     * last on: the others need not be looked at. They only grow. */
    _Atomic uint32_t overwriting;
    _Atomic uint32_t lossless;
    uint8_t pad3[CSHM_LINE - 16];
    struct cshm_park_line items; /* subscribers sleep here */
    struct cshm_park_line room;  /* publishers sleep here */
};

struct cshm_publisher_shared {
    _Atomic uint64_t own;   /* {hand:32, intent + 1:32} */
    _Atomic uint64_t owner; /* stamp, or 0 */
    _Atomic uint64_t empty; /* as own, of the slot that is to stand for a dropped message */
    uint8_t pad[CSHM_LINE - 24];
};

/* What long messages took, since the first one: before a slot's message, and with it. */
struct cshm_broadcast_sums {
    _Atomic uint64_t since;
    _Atomic uint64_t until;
};

#define CSHM_SLOT_DROPPED UINT64_MAX /* the length of a message that made room */

struct cshm_subscriber_shared {
    _Atomic uint64_t owner;  /* {kind:8, 0:8, stamp:48} */
    _Atomic uint64_t cursor; /* lossless: the next position it reads */
    _Atomic uint64_t pin;    /* overwriting: slot + 1 that it reads, or 0 */
    uint8_t pad[CSHM_LINE - 24];
};

enum {
    CSHM_SUBSCRIBER_FREE = 0,
    CSHM_SUBSCRIBER_LOSSLESS = 1,
    CSHM_SUBSCRIBER_OVERWRITING = 2,
    CSHM_SUBSCRIBER_JOINING = 3,
};

/* ---- guard: a lock of the library's own, with no thread's end to tell of ---- */
struct cshm_guard {
    _Atomic uint64_t owner;  /* stamp, or 0 */
    _Atomic uint64_t thread; /* the owner's, as it knows itself */
    struct cshm_park park;   /* those who want it sleep here */
    uint32_t pad;
};

/* ---- outcomes ---- */
#define CSHM_OUTCOME_CELLS 32u
#define CSHM_OUTCOME_SLOTS 24u

struct cshm_outcome_slot {
    _Atomic uint64_t generation; /* odd: in use */
    _Atomic uint64_t owner;      /* stamp of who is to fill it */
    _Atomic uint64_t block;      /* place of its bytes, whose holder word this is, or 0 */
    _Atomic uint64_t length;
    _Atomic uint64_t tickets; /* the last ticket's number */
    _Atomic uint32_t state;
    _Atomic uint32_t kept; /* it stays as long as the region */
    uint8_t pad[CSHM_LINE - 48];
    struct cshm_event event;
    _Atomic uint64_t cell[CSHM_OUTCOME_CELLS]; /* a stamp, {1, ticket:63}, or 0 */
};

struct cshm_outcome_page {
    uint32_t magic;
    _Atomic uint64_t next; /* the page after it, or 0 */
    struct cshm_guard guard;
    uint8_t pad[CSHM_LINE - 40];
    struct cshm_outcome_slot slot[CSHM_OUTCOME_SLOTS];
};

/* ---- anchors ---- */
#define CSHM_ANCHOR_CELLS 27u
#define CSHM_ANCHOR_SLOTS 63u

struct cshm_anchor_slot {
    _Atomic uint64_t generation; /* odd: in use */
    _Atomic uint64_t object;     /* place of what is counted, whose holder word this is, or 0 */
    _Atomic uint64_t stored;     /* values, messages and names that name it */
    _Atomic uint64_t ender;      /* stamp of who ends the object, which nobody has any more, or 0 */
    _Atomic uint32_t kind;
    _Atomic uint32_t kept;                    /* it stays as long as the region */
    _Atomic uint64_t cell[CSHM_ANCHOR_CELLS]; /* {references:16, stamp:48} */
};

struct cshm_anchor_page {
    uint32_t magic;
    _Atomic uint32_t is_asked; /* whoever is busy with it is to look for what only the dead had */
    _Atomic uint64_t next;     /* the page after it, or 0 */
    struct cshm_guard guard;
    /* Two words that change as one: what a slot's `stored` becomes, and what a word of a value does. */
    _Atomic uint64_t change_slot;
    _Atomic uint64_t change_stored;
    _Atomic uint64_t change_word;
    _Atomic uint64_t change_entry; /* the word's place, or 0: nothing changes */
    uint8_t pad[CSHM_LINE - 72];
    struct cshm_anchor_slot slot[CSHM_ANCHOR_SLOTS];
};

/* ---- an item, in maps and lists ---- */
struct cshm_item {
    _Atomic uint64_t generation; /* {number:57, key's length if the value is a word:5, or 31;
                                  * held:1, value is a word:1} */
    _Atomic uint64_t word;       /* {key's length:32, value's:32}, or the value */
    _Atomic uint64_t bytes[];    /* key, padded to 8; value, padded to 8; or key alone, after its
                                  * length if that is more than 16 */
};

/* ---- map ---- */
#define CSHM_MAP_SHARDS_MAX 1024u
#define CSHM_MAP_ENTRIES    7u
#define CSHM_MAP_STRIPES    8u

struct cshm_map_shard {
    _Atomic uint64_t
        table; /* {generation:25, nests:1, log2 of the buckets:5, place / 128: 33}, or 0 */
    uint8_t pad0[CSHM_LINE - 8];
    struct cshm_guard guard;
    _Atomic uint64_t count;
    _Atomic uint64_t generation;    /* as high as any that an item has had, but for held ones */
    _Atomic uint64_t changes;       /* grows after each change under the lock */
    _Atomic uint64_t spare;         /* {size class + 1:16, place:48} of an item no entry names */
    _Atomic uint64_t pending_new;   /* an item, or table, about to be named; the holder of all */
    _Atomic uint64_t pending_old;   /* the item about to be, or just, unnamed or changed */
    _Atomic uint64_t pending_table; /* the word of the table about to be, or just, replaced */
    _Atomic uint64_t log;           /* of the transaction that begins with this shard, or 0 */
    _Atomic uint64_t joined; /* number + 1 of the shard that has the log of the transaction that
                              this one is part of, or 0 */
    _Atomic uint64_t
        pending_hold; /* pending_new, if that is an item that is filled, and may hold */
    uint8_t pad1[CSHM_LINE - 104];
};

/* Of changes that take no lock: a process stores in the one that its stamp chooses. */
struct cshm_map_stripe {
    _Atomic uint64_t changes; /* another after each */
    uint8_t pad[CSHM_LINE - 8];
};

struct cshm_map_shared {
    uint32_t magic;
    uint32_t shards; /* a power of two */
    uint64_t type_tag;
    uint64_t seed[2];
    uint64_t holds; /* whether values name what they hold: cshm/anchor.h */
    uint8_t pad0[CSHM_LINE - 40];
    struct cshm_park_line changes; /* those who watch sleep here */
    struct cshm_map_stripe stripe[CSHM_MAP_STRIPES];
    struct cshm_map_shard shard[];
};

struct cshm_map_bucket {
    _Atomic uint64_t next; /* index of an overflow bucket, or 0 */
    _Atomic uint64_t entry[CSHM_MAP_ENTRIES];
};

/* A small item in its table: a cshm_item with a word as value, and a key of up to 16 bytes. */
struct cshm_map_nest {
    _Atomic uint64_t word[4];
};

/* A bucket of a table that has nests. */
struct cshm_map_group {
    struct cshm_map_bucket bucket;
    struct cshm_map_nest nest[CSHM_MAP_ENTRIES]; /* of the entry with the same number */
};

/* Before its buckets, primary ones, then overflow; or before a word of hints for each primary group, and
 * then the groups. */
struct cshm_map_table {
    _Atomic uint64_t overflow_used;
    uint8_t pad[64 - 8];
};

/* What a transaction changes; only what is atomic changes once the log is named. */
#define CSHM_MAP_STEPS_MAX 1024u

struct cshm_map_change {
    _Atomic uint64_t item;  /* the new item, as soon as there is one */
    _Atomic uint64_t entry; /* the place of the entry */
    _Atomic uint64_t word;  /* what it gets */
    _Atomic uint64_t old;   /* the item that it named, or 0 */
    uint64_t shard;
};

struct cshm_map_log {
    uint32_t magic;
    uint32_t count;
    _Atomic uint64_t committed;
    struct cshm_map_change change[];
};

/* ---- list ---- */
struct cshm_list_shared {
    uint32_t magic;
    uint32_t holds; /* whether elements name what they hold: cshm/anchor.h */
    uint64_t type_tag;
    uint8_t pad0[CSHM_LINE - 16];
    _Atomic uint64_t body; /* {generation:26, log2 of the slots:5, place / 128: 33}, or 0 */
    struct cshm_guard guard;
    _Atomic uint64_t generation;   /* the last one given to an item, or a body */
    _Atomic uint64_t changes;      /* grows after each change */
    _Atomic uint64_t pending_item; /* about to be named; the holder of all items */
    _Atomic uint64_t pending_old;  /* the item about to be, or just, unnamed or changed */
    _Atomic uint64_t pending_body; /* about to be named; the holder of all bodies */
    _Atomic uint64_t old_body;     /* the word of the one about to be, or just, replaced */
    _Atomic uint64_t gone_from;    /* which of its elements go with it */
    _Atomic uint64_t gone_count;
    _Atomic uint64_t pending_hold; /* pending_item, if that is filled, and may hold */
    uint8_t pad1[CSHM_LINE - 104];
    /* Items in slots that are not elements yet: they are when this body has that many. */
    _Atomic uint64_t fresh_body; /* its word, or 0 */
    _Atomic uint64_t fresh_slot;
    _Atomic uint64_t fresh_count;
    _Atomic uint64_t fresh_end;
    uint8_t pad2[CSHM_LINE - 32];
    struct cshm_park_line watch; /* those who watch sleep here */
};

struct cshm_list_body {
    _Atomic uint64_t state; /* {slot of the first element:32, elements:32} */
    uint8_t pad[64 - 8];
    _Atomic uint64_t slot[]; /* {generation:28, place / 16: 36} */
};

_Static_assert(sizeof(struct cshm_header) <= CSHM_PAGE, "header: size");
_Static_assert(sizeof(struct cshm_live) == 6 * CSHM_LINE, "live: size");
_Static_assert(CSHM_NAME_WORDS * 8 == CSHM_NAME_MAX, "a name is whole words");
_Static_assert(sizeof(struct cshm_directory_slot) == 256, "directory slot: size");
_Static_assert(sizeof(struct cshm_directory_page) == CSHM_LINE + 256 * CSHM_DIRECTORY_SLOTS,
               "directory page: size");
_Static_assert(sizeof(struct cshm_participant_entry) == 64, "participant: size");
_Static_assert(sizeof(struct cshm_mutex_shared) == sizeof(struct cshm_mutex), "mutex: size");
_Static_assert(sizeof(struct cshm_span) == 32, "span: size");
_Static_assert(sizeof(struct cshm_cell) == 16, "cell: size");
_Static_assert(sizeof(struct cshm_slot) == 16, "slot: size");
_Static_assert(sizeof(struct cshm_park_line) == CSHM_LINE, "parking line: size");
_Static_assert(sizeof(struct cshm_event_shared) == sizeof(struct cshm_event), "event: size");
_Static_assert(sizeof(struct cshm_latch_shared) == sizeof(struct cshm_latch), "latch: size");
_Static_assert(sizeof(struct cshm_once_shared) == sizeof(struct cshm_once), "once: size");
_Static_assert(sizeof(struct cshm_atomic_shared) == sizeof(struct cshm_atomic), "atomic: size");
_Static_assert(sizeof(struct cshm_type) == 24, "type: size");
_Static_assert(sizeof(struct cshm_value_shared) == 3 * CSHM_LINE, "value: size");
_Static_assert(sizeof(struct cshm_array_shared) == 2 * CSHM_LINE, "array: size");
_Static_assert(sizeof(struct cshm_barrier_shared) == 3 * CSHM_LINE + 8 * CSHM_PARTICIPANTS_MAX,
               "barrier: size");
_Static_assert(sizeof(struct cshm_condition_shared) == 3 * CSHM_LINE, "condition: size");
_Static_assert(sizeof(struct cshm_condition_place) == 64, "condition's place: size");
_Static_assert(sizeof(struct cshm_semaphore_shared) == sizeof(struct cshm_semaphore),
               "semaphore: size");
_Static_assert(sizeof(struct cshm_baton_shared) == 2 * CSHM_LINE, "baton: size");
_Static_assert(sizeof(struct cshm_permits_shared) == 2 * CSHM_LINE, "permits: size");
_Static_assert(sizeof(struct cshm_reader_cell) == CSHM_LINE, "reader's cell: size");
_Static_assert(sizeof(struct cshm_writer_place) == 32, "writer's place: size");
_Static_assert(sizeof(struct cshm_rwlock_shared) == 21 * CSHM_LINE, "reader-writer lock: size");
_Static_assert(sizeof(struct cshm_ring_shared) == 5 * CSHM_LINE, "ring: size");
_Static_assert(sizeof(struct cshm_queue_shared) == 7 * CSHM_LINE, "queue: size");
_Static_assert(sizeof(struct cshm_port) == CSHM_LINE, "port: size");
_Static_assert(sizeof(struct cshm_board_shared) == 3 * CSHM_LINE, "board: size");
_Static_assert(sizeof(struct cshm_board_row) == 3 * CSHM_LINE, "row: size");
_Static_assert(sizeof(struct cshm_seat) == CSHM_LINE, "seat: size");
_Static_assert(sizeof(struct cshm_batch_shared) == CSHM_LINE + 32, "batch: size");
_Static_assert(sizeof(struct cshm_group) == 16, "group: size");
_Static_assert(sizeof(struct cshm_sheet) == 32, "sheet: size");
_Static_assert(sizeof(struct cshm_record_shared) == 16, "record: size");
_Static_assert(sizeof(struct cshm_lanes_shared) == 4 * CSHM_LINE, "lanes: size");
_Static_assert(sizeof(struct cshm_lane_shared) == CSHM_LINE, "lane: size");
_Static_assert(sizeof(struct cshm_broadcast_shared) == 6 * CSHM_LINE, "broadcast: size");
_Static_assert(sizeof(struct cshm_publisher_shared) == CSHM_LINE, "publisher: size");
_Static_assert(sizeof(struct cshm_broadcast_sums) == 16, "sums: size");
_Static_assert(sizeof(struct cshm_subscriber_shared) == CSHM_LINE, "subscriber: size");
_Static_assert(sizeof(struct cshm_pack) == 16, "pack: size");
_Static_assert(sizeof(struct cshm_guard) == 24, "guard: size");
_Static_assert(sizeof(struct cshm_outcome_slot) == 5 * CSHM_LINE, "outcome: size");
_Static_assert(sizeof(struct cshm_outcome_page) == (1 + 5 * CSHM_OUTCOME_SLOTS) * CSHM_LINE,
               "page of outcomes: size");
_Static_assert(sizeof(struct cshm_anchor_slot) == 2 * CSHM_LINE, "anchor: size");
_Static_assert(sizeof(struct cshm_anchor_page) == (1 + 2 * CSHM_ANCHOR_SLOTS) * CSHM_LINE,
               "page of anchors: size");
_Static_assert(sizeof(struct cshm_item) == 16, "item: size");
_Static_assert(sizeof(struct cshm_map_shard) == 2 * CSHM_LINE, "shard: size");
_Static_assert(sizeof(struct cshm_map_stripe) == CSHM_LINE, "stripe: size");
_Static_assert(sizeof(struct cshm_map_shared) == 10 * CSHM_LINE, "map: size");
_Static_assert(sizeof(struct cshm_list_shared) == 4 * CSHM_LINE, "list: size");
_Static_assert(sizeof(struct cshm_list_body) == 64, "body: size");
_Static_assert(sizeof(struct cshm_map_bucket) == 64, "bucket: size");
_Static_assert(sizeof(struct cshm_map_nest) == 32, "nest: size");
_Static_assert(sizeof(struct cshm_map_group) == 288, "group: size");
_Static_assert(sizeof(struct cshm_map_table) == 64, "table: size");
_Static_assert(sizeof(struct cshm_map_change) == 40, "change: size");
_Static_assert(sizeof(struct cshm_map_log) == 16, "log: size");
_Static_assert(ATOMIC_LLONG_LOCK_FREE == 2, "a lock-based atomic cannot cross processes");

/* Every struct of this file, and the two of the public headers: their sizes make the layout id, with
 * the version and what else two builds must agree on. What moves within a struct is for
 * Tests/CShmTests/layout_test.c to notice. */
#define CSHM_STRUCTS(X)       \
    X(cshm_header)            \
    X(cshm_live)              \
    X(cshm_participant_entry) \
    X(cshm_directory_slot)    \
    X(cshm_directory_page)    \
    X(cshm_mutex_shared)      \
    X(cshm_lock_record)       \
    X(cshm_lockwatch_shared)  \
    X(cshm_span)              \
    X(cshm_cell)              \
    X(cshm_slot)              \
    X(cshm_park_line)         \
    X(cshm_event_shared)      \
    X(cshm_latch_shared)      \
    X(cshm_once_shared)       \
    X(cshm_atomic_shared)     \
    X(cshm_type)              \
    X(cshm_value_shared)      \
    X(cshm_array_shared)      \
    X(cshm_barrier_shared)    \
    X(cshm_condition_shared)  \
    X(cshm_condition_place)   \
    X(cshm_semaphore_shared)  \
    X(cshm_baton_shared)      \
    X(cshm_permits_shared)    \
    X(cshm_reader_cell)       \
    X(cshm_writer_place)      \
    X(cshm_rwlock_shared)     \
    X(cshm_ring_shared)       \
    X(cshm_queue_shared)      \
    X(cshm_port)              \
    X(cshm_pack)              \
    X(cshm_board_shared)      \
    X(cshm_board_row)         \
    X(cshm_seat)              \
    X(cshm_batch_shared)      \
    X(cshm_group)             \
    X(cshm_sheet)             \
    X(cshm_record_shared)     \
    X(cshm_lanes_shared)      \
    X(cshm_lane_shared)       \
    X(cshm_broadcast_shared)  \
    X(cshm_publisher_shared)  \
    X(cshm_broadcast_sums)    \
    X(cshm_subscriber_shared) \
    X(cshm_guard)             \
    X(cshm_outcome_slot)      \
    X(cshm_outcome_page)      \
    X(cshm_anchor_slot)       \
    X(cshm_anchor_page)       \
    X(cshm_item)              \
    X(cshm_map_shard)         \
    X(cshm_map_stripe)        \
    X(cshm_map_shared)        \
    X(cshm_map_bucket)        \
    X(cshm_map_group)         \
    X(cshm_map_table)         \
    X(cshm_map_change)        \
    X(cshm_map_log)           \
    X(cshm_list_shared)       \
    X(cshm_list_body)         \
    X(cshm_mutex)             \
    X(cshm_semaphore)         \
    X(cshm_park)

#define CSHM_LIVE_OFFSET         ((uint64_t)CSHM_PAGE)
#define CSHM_PARTICIPANTS_OFFSET (2 * (uint64_t)CSHM_PAGE)
#define CSHM_SPANS_OFFSET \
    (CSHM_PARTICIPANTS_OFFSET + CSHM_PARTICIPANTS_MAX * sizeof(struct cshm_participant_entry))

#endif /* CSHM_LAYOUT_H */
