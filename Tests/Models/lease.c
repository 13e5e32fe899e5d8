/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Leased packs that are divided (Sources/CShm/queue_ports.c). A pack of three waits in the last port,
 * marked DIVIDED, and the ring is closed and empty: what is left is the dividing, the death of those
 * who do it, and the look that decides the end.
 *
 *   l  lease one element, use it, release it   e  is it the end?
 *
 * Checked: an element that is not released is always in a port from which it will be delivered; it
 * is delivered twice only after a death; and the end is the end.
 */
#include "model.h"

enum { PORTS = MODEL_THREADS, PACK = 3, RETURNED = 0x40, IS_DIVIDED = 0x41 };

enum mutation {
    NONE,
    LEFT_BEFORE_LEASE,
    LET_GO_BEFORE_SIDE,
    SIDE_NOT_COMPARED,
};

struct config {
    const char *scripts[MODEL_THREADS];
    uint32_t deaths;
    enum mutation mutation;
};

static const struct config *config;
static uint32_t threads;

struct port {
    uint8_t owner; /* thread + 1, 0, or a mark */
    uint8_t lease;
    uint8_t left;
    uint8_t last; /* element in its slot */
};

struct thread {
    uint8_t operation;
    uint8_t at;
    uint8_t kind;
    uint8_t copied;
    uint8_t side;
    uint8_t count;
    uint8_t held; /* the port with the message, + 1 */
};

struct state {
    struct model_common common;
    struct port port[PORTS];
    uint8_t side;
    uint8_t released; /* ghost: a bit an element */
    struct thread thread[MODEL_THREADS];
};

static bool is_side(uint8_t owner)
{
    return owner >= RETURNED;
}

static bool rescue(struct state *s, uint32_t self)
{
    struct thread *me = &s->thread[self];
    struct port *port = &s->port[me->at < PORTS ? me->at : 0];
    BEGIN;
    for (me->at = 0; me->at < PORTS; me->at++) {
        STEP("rescue: port %u's owner, and has it a lease?", me->at);
        port = &s->port[me->at];
        me->kind = port->owner;
        if (me->kind == 0 || is_side(me->kind) || !port->lease ||
            !model_is_dead(&s->common, me->kind - 1u)) {
            continue;
        }
        STEP("rescue: CAS port %u: dead -> RETURNED", me->at);
        if (port->owner == me->kind) {
            port->owner = RETURNED;
        }
        STEP("[side] grows");
        s->side++;
    }
    END;
}

/* One element of the pack in port me->at to our own port. */
static bool divide(struct state *s, uint32_t self)
{
    struct thread *me = &s->thread[self];
    struct port *from = &s->port[me->at];
    struct port *to = &s->port[self];
    BEGIN;
    STEP("copy an element from port %u", me->at);
    me->copied = (uint8_t)(from->last - from->left + 1);
    if (config->mutation == LEFT_BEFORE_LEASE) {
        STEP("port %u has one less", me->at);
        from->left--;
    }
    STEP("[settle] port %u leases it", self);
    *to = (struct port){to->owner, 1, 1, me->copied};
    if (config->mutation != LEFT_BEFORE_LEASE) {
        STEP("port %u has one less", me->at);
        from->left--;
    }
    if (config->mutation != LET_GO_BEFORE_SIDE) {
        STEP("[side] grows");
        s->side++;
    }
    STEP("[port] port %u is let go", me->at);
    from->owner = me->kind;
    STEP("[side] grows");
    s->side++;
    me->held = (uint8_t)(self + 1);
    END;
}

static bool adopt(struct state *s, uint32_t self)
{
    struct thread *me = &s->thread[self];
    struct port *port = &s->port[me->at < PORTS ? me->at : 0];
    BEGIN;
    for (me->at = 0; me->at < PORTS; me->at++) {
        STEP("is port %u marked?", me->at);
        port = &s->port[me->at];
        me->kind = port->owner;
        if (!is_side(me->kind)) {
            continue;
        }
        STEP("[port] CAS port %u: mark -> mine", me->at);
        if (port->owner != me->kind) {
            continue;
        }
        port->owner = (uint8_t)(self + 1);
        if (port->left > 1) {
            CALL(divide(s, self));
        } else {
            me->held = (uint8_t)(me->at + 1);
        }
        RETURN;
    }
    END;
}

static bool lease(struct state *s, uint32_t self)
{
    struct thread *me = &s->thread[self];
    BEGIN;
    CALL(rescue(s, self));
    CALL(adopt(s, self));
    if (me->held == 0) {
        RETURN;
    }
    STEP("release port %u's lease", me->held - 1);
    CLAIM((s->released >> s->port[me->held - 1].last & 1) == 0 || s->common.deaths != 0,
          "delivered twice");
    s->released |= (uint8_t)(1u << s->port[me->held - 1].last);
    s->port[me->held - 1].lease = 0;
    if (me->held != self + 1) {
        STEP("[port] port %u is free", me->held - 1);
        s->port[me->held - 1].owner = 0;
    }
    END;
}

static bool is_it_the_end(struct state *s, uint32_t self)
{
    struct thread *me = &s->thread[self];
    BEGIN;
    for (;;) {
        STEP("[side] load side");
        me->side = s->side;
        me->count = 0;
        for (me->at = 0; me->at < PORTS; me->at++) {
            STEP("has port %u a lease?", me->at);
            me->count = (uint8_t)(me->count + s->port[me->at].lease);
        }
        if (me->count != 0) {
            RETURN;
        }
        if (config->mutation == SIDE_NOT_COMPARED) {
            break;
        }
        STEP("[side] is side as it was?");
        if (s->side == me->side) {
            break;
        }
    }
    CLAIM(s->released == ((1u << PACK) - 1) << 1, "the end, but a leased element may come back");
    END;
}

static bool run(void *state, uint32_t self)
{
    struct state *s = state;
    struct thread *me = &s->thread[self];
    const char *script = config->scripts[self];
    BEGIN;
    for (; script[me->operation] != '\0'; me->operation++) {
        if (script[me->operation] == 'l') {
            CALL(lease(s, self));
        } else {
            CALL(is_it_the_end(s, self));
        }
        *me = (struct thread){.operation = me->operation};
    }
    END;
}

static void check(const void *state)
{
    const struct state *s = state;
    uint32_t safe = s->released;
    for (uint32_t i = 0; i < PORTS; i++) {
        const struct port *port = &s->port[i];
        for (uint32_t k = 0; port->lease && port->owner != 0 && k < port->left; k++) {
            safe |= 1u << (port->last - k);
        }
    }
    CLAIM(safe == ((1u << PACK) - 1) << 1 ||
              (s->common.deaths == 0 && config->mutation == LEFT_BEFORE_LEASE),
          "a leased element is lost");
}

static void show(const void *state, FILE *out)
{
    const struct state *s = state;
    for (uint32_t i = 0; i < PORTS; i++) {
        const struct port *port = &s->port[i];
        fprintf(out, "[%s%u", is_side(port->owner) ? "mark " : "",
                is_side(port->owner) ? port->owner - RETURNED : port->owner);
        if (port->lease) {
            fprintf(out, " %u..%u", port->last - port->left + 1, port->last);
        }
        fprintf(out, "]");
    }
    fprintf(out, " side=%u released=%x", s->side, s->released);
}

static void configure(const void *from, uint32_t *thread_count, uint32_t *deaths)
{
    config = from;
    threads = 0;
    while (threads < MODEL_THREADS && config->scripts[threads] != NULL) {
        threads++;
    }
    *thread_count = threads;
    *deaths = config->deaths;
}

static void init(void *state)
{
    struct state *s = state;
    for (uint8_t i = 0; i < PORTS - 1; i++) {
        s->port[i].owner = (uint8_t)(i + 1);
    }
    s->port[PORTS - 1] = (struct port){IS_DIVIDED, 1, PACK, PACK};
}

#define CASE(name, error, is_long, ...) \
    {name, &(const struct config){.scripts = __VA_ARGS__}, error, is_long}

static const struct model_case cases[] = {
    CASE("two divide a pack", NULL, false, {"lll", "ll", "e"}, .deaths = 0),
    CASE("they die", NULL, false, {"ll", "ll", "le"}, .deaths = 1),
    CASE("two die", NULL, true, {"lll", "lll", "llle"}, .deaths = 2),

    CASE("less is left before the lease is made", "lost", false, {"l", "l"}, .deaths = 1,
         .mutation = LEFT_BEFORE_LEASE),
    CASE("let go before side grows", "may come back", false, {"ll", "ll", "e"},
         .mutation = LET_GO_BEFORE_SIDE),
    CASE("side is not compared", "may come back", false, {"ll", "ll", "e"},
         .mutation = SIDE_NOT_COMPARED),
    {0},
};

const struct model lease_model = {
    .name = "lease",
    .size = sizeof(struct state),
    .cases = cases,
    .configure = configure,
    .init = init,
    .run = run,
    .show = show,
    .check = check,
    .acyclic = true,
};
