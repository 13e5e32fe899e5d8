/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * The swap ring (Sources/CShm/queue.c), with packs, leases and finish.
 *
 * Each thread runs a script, one letter an operation:
 *
 *   p  put one      g  take one                f  finish
 *   P  put a pack   G  take what a cell has    l  lease, use, release
 *   -  has no port at first, and claims one of the dead
 *
 * Checked: slots are conserved, and a port's word tells who owns which; elements come out in the
 * order of the ring, each once (a leased one again only after its consumer's death), with their own
 * bytes; FULL and EMPTY were true at some instant of the call; the end is the end; who dies is
 * recovered rightly by whoever meets it, and in the end always.
 */
#include "model.h"

#include <string.h>

enum {
    CELLS = 2, /* and elements */
    PORTS = 4,
    SLOTS = CELLS + PORTS,
    OPERATIONS = 4,
    PACK = 2,
    NOBODY = 0xff,
};

enum mutation {
    NONE,
    HELP_ONLY_NEXT_TURN,
    INTENT_AFTER_SWAP,
    BELIEVE_UNSETTLED_HANDS,
    COPY_AFTER_SWAP,
    HEAD_BEFORE_TAIL,
    LEASE_AFTER_SWAP,
    LEASE_WITHOUT_LEFT,
    CLEAR_BEFORE_RELEASE,
    LEASE_BEFORE_DEATH,
    END_WITHOUT_CLOSING,
    LEASES_BEFORE_RING,
};

struct config {
    const char *scripts[MODEL_THREADS];
    uint32_t deaths;
    enum mutation mutation;
};

static const struct config *config;
static uint32_t threads;
static uint32_t ports;

enum status { DONE, AGAIN, PIPE };

struct cell {
    uint8_t turn;
    uint8_t cum; /* elements put, up to and with this cell */
    uint8_t left;
    uint8_t slot;
    uint8_t closed;
};

struct port {
    uint8_t owner; /* thread + 1, or 0 */
    uint8_t hand;
    uint8_t intent; /* + 1 */
    uint8_t lease;  /* elements that it holds, 0 for none */
};

struct slot {
    uint8_t first; /* elements are numbers, those of a pack follow each other */
    uint8_t count;
};

struct thread {
    uint8_t operation;
    uint8_t port; /* + 1 */
    uint8_t guess[2];
    uint8_t status;
    /* swap */
    uint8_t side;
    uint8_t position;
    struct cell seen;
    uint8_t before; /* cum */
    uint8_t head;
    struct slot message; /* to be put, or copied out */
    /* a port of the dead */
    uint8_t claimed; /* + 1 */
    uint8_t heir_of; /* its owner before */
    uint8_t scan;
    uint8_t wanted;
    uint8_t found;
    uint8_t outstanding;
    /* ghosts */
    uint8_t was_so; /* FULL, or EMPTY, at some instant of this call */
    struct slot expected;
};

struct state {
    struct model_common common;
    struct cell cell[CELLS];
    struct port port[PORTS];
    struct slot slot[SLOTS];
    uint8_t hint[2];
    uint8_t finished;
    /* ghosts: what is true */
    uint8_t ended;
    uint8_t truly[PORTS]; /* which slot a port owns */
    uint8_t holds[PORTS]; /* the first element of a leased message in it, until its release */
    uint8_t queue[CELLS + PACK];
    uint8_t queued;
    uint64_t taken; /* a bit an element */
    struct thread thread[MODEL_THREADS];
};

/* ---- ghosts ---- */

static char letter_of(const struct state *s, uint32_t thread)
{
    const char *script = config->scripts[thread];
    script += script[0] == '-';
    return script[s->thread[thread].operation];
}

static uint32_t count_of(const struct state *s, uint32_t thread)
{
    char letter = letter_of(s, thread);
    return letter == 'P' ? PACK : letter == 'p' ? 1 : 0;
}

/* Whoever is in a call has now seen what is so. */
static void look_around(struct state *s)
{
    for (uint32_t i = 0; i < threads; i++) {
        uint32_t count = count_of(s, i);
        if (count != 0 ? s->queued + count > CELLS : s->queued == 0) {
            s->thread[i].was_so = 1;
        }
    }
}

static void was_put(struct state *s, struct slot message)
{
    CLAIM(!s->ended, "put after the end, and acknowledged");
    for (uint32_t i = 0; i < message.count; i++) {
        s->queue[s->queued++] = (uint8_t)(message.first + i);
    }
    CLAIM(s->queued <= CELLS, "more elements than fit");
    look_around(s);
}

static void was_taken(struct state *s, struct thread *me, uint32_t count)
{
    CLAIM(s->queued >= count, "taken from an empty queue");
    me->expected = (struct slot){s->queue[0], (uint8_t)count};
    for (uint32_t i = 0; i < count; i++) {
        CLAIM(s->queue[i] == s->queue[0] + i, "not a pack");
        CLAIM((s->taken >> s->queue[i] & 1) == 0, "taken twice");
        s->taken |= 1u << s->queue[i];
    }
    memmove(s->queue, s->queue + count, sizeof s->queue - count);
    memset(s->queue + sizeof s->queue - count, 0, count);
    s->queued = (uint8_t)(s->queued - count);
    look_around(s);
}

/* ---- settling a port of the dead ---- */

/* Whether a slot is in a cell, or surely in another port's hand. */
static bool slot_is_elsewhere(struct state *s, uint32_t self)
{
    struct thread *me = &s->thread[self];
    BEGIN;
    me->found = 0;
    for (me->scan = 0; me->scan < CELLS; me->scan++) {
        STEP("is slot %u in cell %u?", me->wanted, me->scan);
        if (s->cell[me->scan].slot == me->wanted) {
            me->found = 1;
            RETURN;
        }
    }
    for (me->scan = 0; me->scan < ports; me->scan++) {
        if (me->scan == me->claimed - 1) {
            continue;
        }
        STEP("is slot %u in port %u's hand?", me->wanted, me->scan);
        if ((s->port[me->scan].intent == 0 || config->mutation == BELIEVE_UNSETTLED_HANDS) &&
            s->port[me->scan].hand == me->wanted) {
            me->found = 1;
            RETURN;
        }
    }
    END;
}

/* The port is ours now: finds which slot its dead owner owned; `found` says if that is known. */
static bool settle_port(struct state *s, uint32_t self)
{
    struct thread *me = &s->thread[self];
    struct port *port = &s->port[me->claimed - 1];
    BEGIN;
    if (port->intent == 0) { /* only its owner stores a port's word, and that is us */
        me->found = 1;
        RETURN;
    }
    me->wanted = port->hand;
    CALL(slot_is_elsewhere(s, self));
    if (me->found) {
        STEP("[settle] port %u: the swap was done", me->claimed - 1);
        port->hand = (uint8_t)(port->intent - 1);
        port->intent = 0;
        RETURN;
    }
    me->wanted = (uint8_t)(port->intent - 1);
    CALL(slot_is_elsewhere(s, self));
    if (me->found) {
        STEP("[settle] port %u: the swap was not done", me->claimed - 1);
        port->intent = 0;
        port->lease = 0;
    }
    END;
}

static bool is_of_dead(const struct state *s, uint8_t owner)
{
    return owner != 0 && model_is_dead(&s->common, owner - 1u);
}

/* Takes a port of the dead, to swap with its hand; or, for `leases`, one with an undelivered
 * message. `outstanding` says if there are leases, of anybody. */
static bool claim_port(struct state *s, uint32_t self, bool leases)
{
    struct thread *me = &s->thread[self];
    BEGIN;
    me->outstanding = 0;
    for (me->claimed = 1; me->claimed <= ports; me->claimed++) {
        STEP("look at port %u", me->claimed - 1);
        me->heir_of = s->port[me->claimed - 1].owner;
        if (leases && !s->port[me->claimed - 1].lease) {
            continue;
        }
        me->outstanding = 1;
        if (config->mutation == LEASE_BEFORE_DEATH && s->port[me->claimed - 1].lease && !leases) {
            continue;
        }
        STEP("is port %u's owner dead?", me->claimed - 1);
        if (!is_of_dead(s, me->heir_of)) {
            continue;
        }
        STEP("CAS port %u's owner, who is dead", me->claimed - 1);
        if (s->port[me->claimed - 1].owner != me->heir_of) {
            continue;
        }
        s->port[me->claimed - 1].owner = (uint8_t)(self + 1);
        CALL(settle_port(s, self));
        if (me->found &&
            (leases || config->mutation == LEASE_BEFORE_DEATH || !s->port[me->claimed - 1].lease)) {
            break;
        }
        STEP("port %u's owner goes back", me->claimed - 1);
        s->port[me->claimed - 1].owner = me->heir_of;
    }
    if (me->claimed > ports) {
        me->claimed = 0;
    }
    me->heir_of = 0;
    me->scan = 0;
    me->wanted = 0;
    me->found = 0;
    END;
}

/* ---- the swap ---- */

/* Where head is: me->head, from a load of its cell. */
static bool find_head(struct state *s, uint32_t self)
{
    struct thread *me = &s->thread[self];
    BEGIN;
    me->head = me->guess[1];
    for (;;) {
        STEP("load head's cell %u", me->head % CELLS);
        if (s->cell[me->head % CELLS].turn <= 2 * (me->head / CELLS) + 1) {
            break;
        }
        me->head++;
    }
    me->guess[1] = me->head;
    /* Elements taken before; with the ring empty, all that were put. */
    me->wanted = NOBODY;
    if (s->cell[me->head % CELLS].turn == 2 * (me->head / CELLS) + 1) {
        me->wanted = (uint8_t)(s->cell[me->head % CELLS].cum - s->cell[me->head % CELLS].left);
    }
    END;
}

/* Whether the message fits, given that tail is at me->position. */
static bool look_for_room(struct state *s, uint32_t self)
{
    struct thread *me = &s->thread[self];
    BEGIN;
    if (config->mutation == HEAD_BEFORE_TAIL) {
        CALL(find_head(s, self));
    }
    STEP("load cum of cell %u, the one before", (me->position + CELLS - 1) % CELLS);
    me->before = s->cell[(me->position + CELLS - 1) % CELLS].cum;
    if (config->mutation != HEAD_BEFORE_TAIL) {
        CALL(find_head(s, self));
    }
    me->status = DONE;
    if (me->wanted != NOBODY && me->before + me->message.count - me->wanted > CELLS) {
        me->status = AGAIN;
    }
    me->head = 0;
    me->wanted = 0;
    END;
}

/* Takes one element of a pack, in place. */
static bool take_part(struct state *s, uint32_t self)
{
    struct thread *me = &s->thread[self];
    struct cell *cell = &s->cell[me->position % CELLS];
    struct slot *slot = &s->slot[me->seen.slot];
    BEGIN;
    if (config->mutation != COPY_AFTER_SWAP) {
        STEP("copy an element out of slot %u", me->seen.slot);
        me->message.first = (uint8_t)(slot->first + slot->count - me->seen.left);
    }
    STEP("[swap] CAS cell %u: one less", me->position % CELLS);
    if (memcmp(cell, &me->seen, sizeof *cell) != 0) {
        me->status = AGAIN;
        RETURN;
    }
    cell->left--;
    was_taken(s, me, 1);
    if (config->mutation == COPY_AFTER_SWAP) {
        STEP("copy an element out of slot %u", me->seen.slot);
        me->message.first = (uint8_t)(slot->first + slot->count - me->seen.left);
    }
    CLAIM(me->message.first == me->expected.first, "an element's bytes are not its own");
    me->status = DONE;
    END;
}

/* The swap itself: the commit, and what is true from now on. */
static void exchange(struct state *s, uint32_t self, bool lease)
{
    struct thread *me = &s->thread[self];
    struct cell *cell = &s->cell[me->position % CELLS];
    struct port *port = &s->port[me->port - 1];
    s->truly[me->port - 1] = cell->slot;
    cell->turn++;
    cell->slot = port->hand;
    if (me->side == 0) {
        cell->cum = (uint8_t)(me->before + me->message.count);
        cell->left = me->message.count;
        was_put(s, me->message);
    } else {
        was_taken(s, me, cell->left);
        s->holds[me->port - 1] = lease ? me->expected.first : 0;
        cell->left = 0;
    }
}

static bool swap(struct state *s, uint32_t self)
{
    struct thread *me = &s->thread[self];
    struct cell *cell = &s->cell[me->position % CELLS];
    struct port *port = &s->port[me->port - 1];
    uint32_t want = 2u * (me->position / CELLS) + me->side;
    uint8_t lease = letter_of(s, self) == 'l' ? me->seen.left : 0;
    BEGIN;
    me->position = me->guess[me->side];
    for (;;) {
        STEP("[swap] load cell %u", me->position % CELLS);
        me->seen = *cell;
        if (me->seen.turn > want) {
            STEP("load the hint");
            if (config->mutation != HELP_ONLY_NEXT_TURN || me->seen.turn == want + 1) {
                me->position++;
            }
            me->position = me->position > s->hint[me->side] ? me->position : s->hint[me->side];
            continue;
        }
        if (me->seen.turn < want || me->seen.closed) {
            CLAIM(me->seen.turn + 1u >= want, "a position beyond the end");
            me->guess[me->side] = me->position;
            me->status = me->seen.closed ? PIPE : AGAIN;
            RETURN;
        }
        if (me->side == 0) {
            CALL(look_for_room(s, self));
            if (me->status != DONE) {
                RETURN;
            }
        } else if (me->seen.left > 1 && letter_of(s, self) == 'g') {
            CALL(take_part(s, self));
            if (me->status == DONE) {
                RETURN;
            }
            continue;
        }
        if (config->mutation != INTENT_AFTER_SWAP) {
            STEP("[settle] port %u = {%u, intent %u}", me->port - 1, port->hand, me->seen.slot);
            port->intent = (uint8_t)(me->seen.slot + 1);
            port->lease = config->mutation == LEASE_AFTER_SWAP     ? 0
                          : config->mutation == LEASE_WITHOUT_LEFT ? (uint8_t)(2 * (lease != 0))
                                                                   : lease;
        }
        STEP("[swap] CAS cell %u", me->position % CELLS);
        if (memcmp(cell, &me->seen, sizeof *cell) != 0) {
            STEP("[settle] no swap: port %u = {%u}", me->port - 1, port->hand);
            port->intent = 0;
            port->lease = 0;
            continue;
        }
        exchange(s, self, lease != 0);
        STEP("[settle] port %u = {%u}", me->port - 1, me->seen.slot);
        port->hand = me->seen.slot;
        port->intent = 0;
        port->lease = lease;
        me->guess[me->side] = (uint8_t)(me->position + 1);
        if (me->guess[me->side] % CELLS == 0) {
            STEP("store the hint");
            s->hint[me->side] = me->guess[me->side];
        }
        me->status = DONE;
        RETURN;
    }
    END;
}

/* ---- operations ---- */

static bool put(struct state *s, uint32_t self)
{
    struct thread *me = &s->thread[self];
    BEGIN;
    STEP("put: finished?");
    if (s->finished) {
        RETURN;
    }
    STEP("fill slot %u", s->port[me->port - 1].hand);
    me->message.first = (uint8_t)(1 + (self * OPERATIONS + me->operation) * PACK);
    me->message.count = (uint8_t)count_of(s, self);
    s->slot[s->port[me->port - 1].hand] = me->message;
    me->side = 0;
    CALL(swap(s, self));
    CLAIM(me->status != AGAIN || me->was_so, "FULL, but it never was");
    END;
}

/* Uses the message in a port's hand, and gives its slot back: the lease ends first, as a slot that
 * was cleared is no message any more. */
static bool release(struct state *s, uint32_t self, uint32_t at)
{
    struct thread *me = &s->thread[self];
    struct port *port = &s->port[at];
    struct slot *slot = &s->slot[port->hand];
    uint8_t first = (uint8_t)(slot->first + slot->count);
    BEGIN;
    STEP("use slot %u", port->hand);
    CLAIM(s->truly[at] == port->hand, "a slot that is not ours");
    if (port->lease) {
        CLAIM(first - port->lease == s->holds[at], "a leased message's bytes are not its own");
    } else {
        CLAIM(first - me->seen.left == me->expected.first, "a message's bytes are not its own");
    }
    if (port->lease && config->mutation != CLEAR_BEFORE_RELEASE) {
        STEP("release the lease");
        port->lease = 0;
        s->holds[at] = 0;
    }
    STEP("clear slot %u", port->hand);
    *slot = (struct slot){0};
    if (port->lease) {
        STEP("release the lease");
        port->lease = 0;
        s->holds[at] = 0;
    }
    END;
}

/* Takes from the ring; at its end, closes it. */
static bool take_or_close(struct state *s, uint32_t self)
{
    struct thread *me = &s->thread[self];
    BEGIN;
    me->side = 1;
    for (;;) {
        CALL(swap(s, self));
        if (me->status != AGAIN) {
            RETURN;
        }
        CLAIM(me->was_so, "EMPTY, but it never was");
        STEP("EMPTY: finished?");
        if (!s->finished) {
            RETURN;
        }
        if (config->mutation != END_WITHOUT_CLOSING) {
            STEP("[close] CAS cell %u: closed", me->position % CELLS);
            if (memcmp(&s->cell[me->position % CELLS], &me->seen, sizeof me->seen) != 0) {
                continue;
            }
            s->cell[me->position % CELLS].closed = 1;
        }
        me->status = PIPE;
        RETURN;
    }
    END;
}

static bool take(struct state *s, uint32_t self)
{
    struct thread *me = &s->thread[self];
    BEGIN;
    if (config->mutation == LEASES_BEFORE_RING) {
        CALL(claim_port(s, self, true));
    }
    if (me->claimed == 0) {
        CALL(take_or_close(s, self));
        if (me->status == DONE && me->message.first == 0) {
            CALL(release(s, self, me->port - 1u));
        }
        if (me->status == DONE) {
            RETURN;
        }
        if (config->mutation != LEASES_BEFORE_RING) {
            CALL(claim_port(s, self, true));
        }
    }
    if (me->claimed != 0) {
        if (s->port[me->claimed - 1].lease) {
            CALL(release(s, self, me->claimed - 1u)); /* redelivered */
        }
        STEP("port %u is free", me->claimed - 1);
        s->port[me->claimed - 1].owner = 0;
        me->claimed = 0;
    } else if (me->status == PIPE && !me->outstanding) {
        CLAIM(s->queued == 0, "the end, but not empty");
        for (uint32_t i = 0; i < ports; i++) {
            CLAIM(s->holds[i] == 0, "the end, but a leased message may come back");
        }
        s->ended = 1;
    }
    END;
}

static bool finish(struct state *s, uint32_t self)
{
    BEGIN;
    STEP("[finish] finished = 1");
    s->finished = 1;
    END;
}

static bool run(void *state, uint32_t self)
{
    struct state *s = state;
    struct thread *me = &s->thread[self];
    BEGIN;
    for (; letter_of(s, self) != '\0'; me->operation++) {
        look_around(s);
        if (me->port == 0 && letter_of(s, self) != 'f') {
            CALL(claim_port(s, self, false));
            me->port = me->claimed;
            me->claimed = 0;
        }
        if (letter_of(s, self) == 'f') {
            CALL(finish(s, self));
        } else if (me->port != 0 && count_of(s, self) != 0) {
            CALL(put(s, self));
        } else if (me->port != 0) {
            CALL(take(s, self));
        }
        *me = (struct thread){
            .operation = me->operation, .port = me->port, .guess = {me->guess[0], me->guess[1]}};
    }
    *me = (struct thread){.operation = me->operation, .port = me->port};
    END;
}

/* ---- what must hold ---- */

static void check(const void *state)
{
    const struct state *s = state;
    uint32_t seen = 0;
    for (uint32_t i = 0; i < CELLS; i++) {
        CLAIM((seen >> s->cell[i].slot & 1) == 0, "slot %u is owned twice", s->cell[i].slot);
        seen |= 1u << s->cell[i].slot;
    }
    for (uint32_t i = 0; i < ports; i++) {
        const struct port *port = &s->port[i];
        CLAIM((seen >> s->truly[i] & 1) == 0, "slot %u is owned twice", s->truly[i]);
        seen |= 1u << s->truly[i];
        CLAIM(s->truly[i] == port->hand || (port->intent != 0 && s->truly[i] == port->intent - 1),
              "port %u's word does not tell what it owns", i);
        CLAIM(s->holds[i] == 0 || port->lease || !is_of_dead(s, port->owner),
              "a leased message is lost");
    }
}

/* Settles all ports of the dead, as long as that tells anything new. */
static void end(const void *state, uint32_t stuck)
{
    struct state s = *(const struct state *)state;
    bool changed = true;
    CLAIM(stuck == 0, "stuck");
    while (changed) {
        changed = false;
        for (uint32_t i = 0; i < ports; i++) {
            struct port *port = &s.port[i];
            uint32_t sure = 0; /* slots in cells, or surely in other ports' hands */
            for (uint32_t k = 0; k < CELLS; k++) {
                sure |= 1u << s.cell[k].slot;
            }
            for (uint32_t k = 0; k < ports; k++) {
                sure |= k != i && s.port[k].intent == 0 ? 1u << s.port[k].hand : 0;
            }
            if (port->intent != 0 && (sure >> port->hand & 1) != 0) {
                *port = (struct port){port->owner, (uint8_t)(port->intent - 1), 0, port->lease};
                changed = true;
            } else if (port->intent != 0 && (sure >> (port->intent - 1) & 1) != 0) {
                *port = (struct port){port->owner, port->hand, 0, 0};
                changed = true;
            }
        }
    }
    for (uint32_t i = 0; i < ports; i++) {
        CLAIM(s.port[i].intent == 0, "port %u is never settled", i);
        CLAIM(s.port[i].hand == s.truly[i], "port %u is settled wrongly", i);
        CLAIM((s.port[i].lease != 0) == (s.holds[i] != 0), "port %u's lease is settled wrongly", i);
    }
}

static void show(const void *state, FILE *out)
{
    const struct state *s = state;
    for (uint32_t i = 0; i < CELLS; i++) {
        const struct cell *cell = &s->cell[i];
        fprintf(out, "[%u:%u/%u s%u%s]", cell->turn, cell->cum, cell->left, cell->slot,
                cell->closed ? " closed" : "");
    }
    for (uint32_t i = 0; i < ports; i++) {
        const struct port *port = &s->port[i];
        fprintf(out, " p%u=%u", i, port->hand);
        if (port->intent != 0) {
            fprintf(out, ",%u", port->intent - 1);
        }
        fprintf(out, "%s", port->lease ? "L" : "");
    }
    fprintf(out, "%s", s->finished ? " finished" : "");
}

/* ---- cases ---- */

static void configure(const void *from, uint32_t *thread_count, uint32_t *deaths)
{
    config = from;
    threads = 0;
    ports = 0;
    while (threads < MODEL_THREADS && config->scripts[threads] != NULL) {
        ports += config->scripts[threads][0] != '-';
        threads++;
    }
    *thread_count = threads;
    *deaths = config->deaths;
}

static void init(void *state)
{
    struct state *s = state;
    uint8_t port = 0;
    for (uint8_t i = 0; i < CELLS; i++) {
        s->cell[i].slot = i;
    }
    for (uint8_t i = 0; i < threads; i++) {
        if (config->scripts[i][0] != '-') {
            s->port[port] = (struct port){(uint8_t)(i + 1), (uint8_t)(CELLS + port), 0, 0};
            s->truly[port] = (uint8_t)(CELLS + port);
            s->thread[i].port = ++port;
        }
    }
}

#define CASE(name, error, is_long, ...) \
    {name, &(const struct config){.scripts = __VA_ARGS__}, error, is_long}

static const struct model_case cases[] = {
    CASE("puts and takes", NULL, false, {"pp", "gg", "pg"}, .deaths = 1),
    CASE("an heir takes over", NULL, false, {"pp", "gg", "-pg"}, .deaths = 1),
    CASE("two die, an heir takes over", NULL, false, {"pp", "gg", "-gp"}, .deaths = 2),
    CASE("two die, two heirs take over", NULL, false, {"p", "g", "-p", "-g"}, .deaths = 2),
    CASE("packs", NULL, false, {"Pp", "gg", "Pg"}, .deaths = 1),
    CASE("packs, taken whole", NULL, false, {"Pp", "gG", "GP"}, .deaths = 1),
    CASE("leases", NULL, false, {"pp", "ll", "lg"}, .deaths = 2),
    CASE("leases and an heir", NULL, false, {"pp", "ll", "-lp"}, .deaths = 2),
    CASE("leases and packs", NULL, false, {"Pp", "gl", "lg"}, .deaths = 2),
    CASE("finish", NULL, false, {"pp", "f", "ggg", "p"}, .deaths = 1),
    CASE("finish with leases", NULL, false, {"pp", "fg", "lgg"}, .deaths = 2),
    CASE("finish with packs", NULL, false, {"PP", "gf", "gGg"}, .deaths = 1),
    CASE("four threads", NULL, true, {"pp", "p", "gg", "g"}, .deaths = 1),
    CASE("four threads with leases", NULL, true, {"pp", "l", "lg", "-pg"}, .deaths = 2),
    CASE("four threads with finish", NULL, true, {"pP", "f", "lgg", "-gg"}, .deaths = 1),

    CASE("help only at the next turn", "never ends", false, {"ppp", "ggg", "p"},
         .mutation = HELP_ONLY_NEXT_TURN),
    CASE("the intent after the swap", "does not tell", false, {"p", "g"},
         .mutation = INTENT_AFTER_SWAP),
    CASE("a hand is believed before it is settled", "does not tell", false, {"p", "g", "pp", "-p"},
         .deaths = 1, .mutation = BELIEVE_UNSETTLED_HANDS),
    CASE("an element is copied after it was taken", "bytes", false, {"Pp", "g", "gg"},
         .mutation = COPY_AFTER_SWAP),
    CASE("head is loaded before the cum of tail", "it never was", false, {"ppp", "gg", "p"},
         .mutation = HEAD_BEFORE_TAIL),
    CASE("the lease after the swap", "lost", false, {"p", "l"}, .deaths = 1,
         .mutation = LEASE_AFTER_SWAP),
    CASE("a lease does not tell what is left of its pack", "bytes", false, {"P", "gl", "g"},
         .deaths = 1, .mutation = LEASE_WITHOUT_LEFT),
    CASE("a slot is cleared before its lease ends", "bytes", false, {"p", "l", "g"}, .deaths = 1,
         .mutation = CLEAR_BEFORE_RELEASE),
    CASE("a lease is looked for before the death is known", "settled wrongly", false,
         {"p", "l", "-p"}, .deaths = 1, .mutation = LEASE_BEFORE_DEATH),
    CASE("an end without closing", "the end, but not empty", false, {"p", "f", "g"},
         .mutation = END_WITHOUT_CLOSING),
    CASE("leases are looked for before the ring's end", "may come back", false, {"pf", "l", "gg"},
         .mutation = LEASES_BEFORE_RING),
    {0},
};

const struct model queue_model = {
    .name = "queue",
    .size = sizeof(struct state),
    .cases = cases,
    .configure = configure,
    .init = init,
    .run = run,
    .show = show,
    .check = check,
    .end = end,
    .acyclic = true,
};
