/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Lanes (Sources/CShm/lane.c, drain.c): the ready bits and the seal. A producer stores its message
 * and looks at its bit and at the stream, without a fence; the consumer clears bits, or sees the
 * end, and interrupts the producers before it looks. What was acknowledged is delivered, what was
 * refused is not, and no message stays in a lane that seems idle.
 *
 *   C  the consumer, from the start; it ends when the stream has
 *   S  its successor, should it die
 *   p  put one into this thread's lane         f  finish the stream
 *   c  the store buffers (x86-TSO): a message is in its producer's until it is let out, the producer
 *      does a locked instruction, or membarrier reaches that CPU
 *
 * Parking is left out: a consumer waits until a bit is set, which is when it would be woken, or
 * until a producer is dead, for whom it looks now and then.
 */
#include "model.h"

enum mutation {
    NONE,
    LOOK_BEFORE_CLEAR,
    CLEAR_WITHOUT_MEMBARRIER,
    BIT_BEFORE_MESSAGE,
    END_WITHOUT_MEMBARRIER,
    END_WITHOUT_SEAL,
    SUCCESSOR_SETS_NO_BITS,
    NOBODY_LOOKS_FOR_THE_DEAD,
};

struct config {
    const char *scripts[MODEL_THREADS];
    uint32_t deaths;
    enum mutation mutation;
};

static const struct config *config;
static uint32_t threads;

/* One producer's, by its thread. */
struct lane {
    uint8_t tail; /* messages in memory */
    uint8_t head; /* taken */
    uint8_t ready;
    uint8_t seal;         /* 1 + where it ends, or 0 */
    uint8_t acknowledged; /* ghost */
    uint8_t refused;      /* ghost */
    uint8_t is_swept;     /* its producer was found dead */
};

struct thread {
    uint8_t operation;
    uint8_t put; /* messages, those in its store buffer included */
    uint8_t reached;
    uint8_t lane; /* the consumer's: which it looks at */
    uint8_t found;
    uint8_t cleared; /* bits */
};

struct state {
    struct model_common common;
    uint8_t finished;
    uint8_t ended; /* for the consumer */
    struct lane lane[MODEL_THREADS];
    struct thread thread[MODEL_THREADS];
};

static char letter_of(const struct state *s, uint32_t thread)
{
    return config->scripts[thread][s->thread[thread].operation];
}

static bool is_producer(uint32_t thread)
{
    return config->scripts[thread][0] == 'p';
}

static void drain(struct state *s, uint32_t thread)
{
    s->lane[thread].tail = s->thread[thread].put;
}

static bool has_message(const struct lane *lane)
{
    return lane->tail > lane->head && (lane->seal == 0 || lane->head < lane->seal - 1);
}

/* ---- a producer ---- */

static bool put(struct state *s, uint32_t self)
{
    struct thread *me = &s->thread[self];
    struct lane *lane = &s->lane[self];
    BEGIN;
    STEP("look at the stream");
    if (s->finished) {
        RETURN;
    }
    if (config->mutation == BIT_BEFORE_MESSAGE) {
        STEP("[ready] set the bit");
        lane->ready = 1;
    }
    STEP("[publish] put, into the store buffer");
    me->put++;
    STEP("[finish] look at the stream again");
    if (s->finished) {
        STEP("[seal] seal the lane behind the message, if it is not sealed");
        drain(s, self); /* a locked instruction */
        if (lane->seal == 0) {
            lane->seal = (uint8_t)(me->put + 1);
        }
        if (config->mutation == END_WITHOUT_SEAL || lane->seal - 1 >= me->put) {
            lane->acknowledged = me->put;
        } else {
            lane->refused++;
        }
        RETURN;
    }
    if (config->mutation != BIT_BEFORE_MESSAGE) {
        STEP("[ready] is the bit set?");
        if (!lane->ready) {
            STEP("[ready] set the bit");
            drain(s, self);
            lane->ready = 1;
        }
    }
    STEP("return");
    lane->acknowledged = me->put;
    END;
}

/* ---- the consumer ---- */

static bool membarrier(struct state *s, uint32_t self)
{
    struct thread *me = &s->thread[self];
    BEGIN;
    for (me->reached = 0; me->reached < threads; me->reached++) {
        if (s->lane[me->reached].tail == s->thread[me->reached].put) {
            continue;
        }
        STEP("membarrier reaches thread %u", me->reached);
        drain(s, me->reached);
    }
    me->reached = 0;
    END;
}

/* Takes what is in the lanes whose bits are set. */
static bool take_ready(struct state *s, uint32_t self)
{
    struct thread *me = &s->thread[self];
    BEGIN;
    me->found = 0;
    for (me->lane = 0; me->lane < threads; me->lane++) {
        while (s->lane[me->lane].ready) {
            STEP("[publish] look into lane %u", me->lane);
            if (!has_message(&s->lane[me->lane])) {
                break;
            }
            me->found = 1;
            STEP("[recycle] release");
            s->lane[me->lane].head++;
        }
    }
    me->lane = 0;
    END;
}

static bool clear_idle(struct state *s, uint32_t self)
{
    struct thread *me = &s->thread[self];
    BEGIN;
    STEP("[ready] clear the bits of lanes that were empty");
    me->cleared = 0;
    for (uint32_t i = 0; i < threads; i++) {
        me->cleared = (uint8_t)(me->cleared | s->lane[i].ready << i);
        s->lane[i].ready = 0;
    }
    if (config->mutation == LOOK_BEFORE_CLEAR) {
        RETURN;
    }
    if (config->mutation != CLEAR_WITHOUT_MEMBARRIER) {
        CALL(membarrier(s, self));
    }
    for (me->lane = 0; me->lane < threads; me->lane++) {
        if ((me->cleared >> me->lane & 1) == 0) {
            continue;
        }
        STEP("[ready] look into lane %u once more", me->lane);
        if (has_message(&s->lane[me->lane])) {
            s->lane[me->lane].ready = 1; /* only the consumer clears it: no step between */
        }
    }
    me->lane = 0;
    me->cleared = 0;
    END;
}

/* Everything that is left, and then each lane is sealed where it is. */
static bool take_rest(struct state *s, uint32_t self)
{
    struct thread *me = &s->thread[self];
    struct lane *lane = &s->lane[me->lane];
    BEGIN;
    if (config->mutation != END_WITHOUT_MEMBARRIER) {
        CALL(membarrier(s, self));
    }
    for (me->lane = 0; me->lane < threads; me->lane++) {
        lane = &s->lane[me->lane];
        if (!is_producer(me->lane)) {
            continue;
        }
        for (;;) {
            STEP("[publish] look into lane %u", me->lane);
            if (has_message(lane)) {
                STEP("[recycle] release");
                lane->head++;
                continue;
            }
            if (config->mutation == END_WITHOUT_SEAL) {
                break;
            }
            STEP("[seal] seal lane %u, if it is not sealed", me->lane);
            if (lane->seal == 0) {
                lane->seal = (uint8_t)(lane->head + 1);
            }
            if (lane->seal == lane->head + 1) {
                break;
            }
            CLAIM(has_message(lane), "sealed behind a message that is not there");
        }
    }
    s->ended = 1;
    me->lane = 0;
    END;
}

static bool somebody_is_to_be_found_dead(const struct state *s)
{
    for (uint32_t i = 0; i < threads; i++) {
        if (is_producer(i) && model_is_dead(&s->common, i) && !s->lane[i].is_swept) {
            return config->mutation != NOBODY_LOOKS_FOR_THE_DEAD;
        }
    }
    return false;
}

/* What the dead stored is seen when they are certified. */
static void find_dead(struct state *s)
{
    for (uint32_t i = 0; i < threads; i++) {
        if (is_producer(i) && model_is_dead(&s->common, i) && !s->lane[i].is_swept) {
            drain(s, i);
            s->lane[i].is_swept = 1;
            s->lane[i].ready = 1;
        }
    }
}

static bool any_ready(const struct state *s)
{
    bool ready = false;
    for (uint32_t i = 0; i < threads; i++) {
        ready = ready || s->lane[i].ready;
    }
    return ready;
}

static bool consume(struct state *s, uint32_t self)
{
    struct thread *me = &s->thread[self];
    BEGIN;
    for (;;) {
        CALL(take_ready(s, self));
        if (me->found) {
            continue;
        }
        if (any_ready(s)) {
            CALL(clear_idle(s, self));
        }
        STEP("[finish] look at the stream");
        if (s->finished) {
            CALL(take_rest(s, self));
            RETURN;
        }
        WAIT_UNTIL(any_ready(s) || s->finished || somebody_is_to_be_found_dead(s),
                   "is woken; looks for the dead");
        if (somebody_is_to_be_found_dead(s)) {
            find_dead(s);
        }
    }
    END;
}

static bool succeed(struct state *s, uint32_t self)
{
    BEGIN;
    WAIT_UNTIL(model_is_dead(&s->common, 0) || s->ended, "[role] is the consumer dead?");
    if (s->ended) {
        RETURN;
    }
    if (config->mutation != SUCCESSOR_SETS_NO_BITS) {
        STEP("set all bits");
        for (uint32_t i = 0; i < threads; i++) {
            s->lane[i].ready = is_producer(i);
        }
    }
    CALL(consume(s, self));
    END;
}

/* ---- all ---- */

static bool store_buffers(struct state *s, uint32_t self)
{
    uint32_t full[MODEL_THREADS];
    uint32_t count = 0;
    uint32_t working = 0;
    for (uint32_t i = 0; i < threads; i++) {
        if (s->lane[i].tail != s->thread[i].put) {
            full[count++] = i;
        }
        working += is_producer(i) && letter_of(s, i) != '\0' && !model_is_dead(&s->common, i);
    }
    BEGIN;
    for (;;) {
        WAIT_UNTIL(count != 0 || working == 0, "a store leaves its buffer");
        if (count == 0) {
            RETURN;
        }
        s->lane[full[model_choose(count)]].tail++;
    }
    END;
}

static bool run(void *state, uint32_t self)
{
    struct state *s = state;
    struct thread *me = &s->thread[self];
    BEGIN;
    for (; letter_of(s, self) != '\0'; me->operation++) {
        if (letter_of(s, self) == 'p') {
            CALL(put(s, self));
        } else if (letter_of(s, self) == 'C') {
            CALL(consume(s, self));
        } else if (letter_of(s, self) == 'S') {
            CALL(succeed(s, self));
        } else if (letter_of(s, self) == 'c') {
            CALL(store_buffers(s, self));
        } else {
            STEP("finish");
            s->finished = 1;
        }
    }
    END;
}

static bool can_die(const void *state, uint32_t thread)
{
    const struct state *s = state;
    char letter = letter_of(s, thread);
    bool has_successor = config->scripts[1][0] == 'S';
    return letter == 'p' || (letter == 'C' && has_successor);
}

static void check(const void *state)
{
    const struct state *s = state;
    for (uint32_t i = 0; i < threads; i++) {
        CLAIM(s->lane[i].head <= s->lane[i].tail, "lane %u: taken before it was put", i);
        CLAIM(s->lane[i].seal == 0 || s->lane[i].head <= s->lane[i].seal - 1,
              "lane %u: taken behind its seal", i);
    }
}

/* Only a consumer may be stuck: it waits, and then there is nothing. */
static void end(const void *state, uint32_t stuck)
{
    const struct state *s = state;
    for (uint32_t i = 0; i < threads; i++) {
        const struct lane *lane = &s->lane[i];
        char letter = letter_of(s, i);
        CLAIM((stuck >> i & 1) == 0 || letter == 'C' || letter == 'S', "stuck: thread %u", i);
        CLAIM(lane->head >= lane->acknowledged, "lane %u: an acknowledged message is lost", i);
        CLAIM(s->ended || lane->head == lane->tail, "lane %u: a message is lost", i);
        CLAIM(lane->head + lane->refused <= s->thread[i].put, "lane %u: refused, and delivered", i);
    }
}

static void show(const void *state, FILE *out)
{
    const struct state *s = state;
    fprintf(out, "%s%s", s->finished ? "finished " : "", s->ended ? "ended " : "");
    for (uint32_t i = 0; i < threads; i++) {
        const struct lane *lane = &s->lane[i];
        if (is_producer(i)) {
            fprintf(out, "lane %u: %u..%u(%u)%s seal=%u ok=%u  ", i, lane->head, lane->tail,
                    s->thread[i].put, lane->ready ? " ready" : "", lane->seal, lane->acknowledged);
        }
    }
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
    (void)state;
}

#define CASE(name, error, is_long, ...) \
    {name, &(const struct config){.scripts = __VA_ARGS__}, error, is_long}

static const struct model_case cases[] = {
    CASE("two producers", NULL, false, {"C", "pp", "pp", "c"}, .deaths = 1),
    CASE("two producers, two deaths", NULL, false, {"C", "ppp", "p", "c"}, .deaths = 2),
    CASE("finish", NULL, false, {"C", "ppp", "f", "c"}, .deaths = 1),
    CASE("finish by a producer", NULL, false, {"C", "ppf", "pp", "c"}, .deaths = 1),
    CASE("a successor", NULL, false, {"C", "S", "ppp", "c"}, .deaths = 2),
    CASE("a successor finds the end", NULL, false, {"C", "S", "ppf", "c"}, .deaths = 1),
    CASE("longer", NULL, true, {"C", "pppp", "ppp", "c"}, .deaths = 2),
    CASE("longer, with an end", NULL, true, {"C", "ppppf", "ppp", "c"}, .deaths = 2),

    CASE("looks before it clears", "lost", false, {"C", "pp", "c"}, .mutation = LOOK_BEFORE_CLEAR),
    CASE("clears without membarrier", "lost", false, {"C", "pp", "c"},
         .mutation = CLEAR_WITHOUT_MEMBARRIER),
    CASE("the bit before the message", "lost", false, {"C", "p", "c"},
         .mutation = BIT_BEFORE_MESSAGE),
    CASE("ends without membarrier", "lost", false, {"C", "pp", "f", "c"},
         .mutation = END_WITHOUT_MEMBARRIER),
    CASE("ends without a seal", "lost", false, {"C", "p", "f", "c"}, .mutation = END_WITHOUT_SEAL),
    CASE("a successor that trusts the bits", "lost", false, {"C", "S", "pp", "c"}, .deaths = 1,
         .mutation = SUCCESSOR_SETS_NO_BITS),
    CASE("nobody looks for the dead", "lost", false, {"C", "pp", "c"}, .deaths = 1,
         .mutation = NOBODY_LOOKS_FOR_THE_DEAD),
    {0},
};

const struct model lanes_model = {
    .name = "lanes",
    .size = sizeof(struct state),
    .cases = cases,
    .configure = configure,
    .init = init,
    .run = run,
    .can_die = can_die,
    .check = check,
    .show = show,
    .end = end,
    .acyclic = true,
};
