/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Tests of the producer tokens of cshm/queue.h.
 */
#include "support.h"

#include <pthread.h>

#include "queue_view.h"

extern const struct test token_tests[];

enum { TAG = 12, ROUNDS = 100000 };

static _Atomic bool is_over;

static cshm_queue *make_queue(cshm_region *region, uint64_t *offset)
{
    struct cshm_queue_options options = {
        .capacity = 4, .slot_size = 8, .ports = 3, .type_tag = TAG};
    cshm_queue *queue = NULL;
    CHECK_EQ(cshm_queue_create(region, &options, offset), 0);
    CHECK_EQ(cshm_heap_share(region, *offset), 0);
    CHECK_EQ(cshm_queue_open(region, *offset, TAG, &queue), 0);
    return queue;
}

static void open_one(cshm_region *region, void *context)
{
    cshm_queue *queue = NULL;
    uint32_t token = 0;
    CHECK_EQ(cshm_queue_open(region, *(uint64_t *)context, TAG, &queue), 0);
    CHECK_EQ(cshm_queue_producer_open(queue, &token), 0);
    kill(getpid(), SIGKILL);
}

/* Opens the next one before it closes the one it has. @returns the last. */
static uint32_t exchange(cshm_queue *queue, uint32_t token)
{
    uint32_t next = 0;
    for (int i = 0; i < ROUNDS; i++) {
        CHECK_EQ(cshm_queue_producer_open(queue, &next), 0);
        cshm_queue_producer_close(queue, token);
        token = next;
    }
    return token;
}

/* Sends one to itself, closes the one it has, and receives. @returns the last. */
static uint32_t pass_on(cshm_queue *queue, uint32_t token)
{
    uint64_t ticket = 0;
    for (int i = 0; i < ROUNDS; i++) {
        CHECK_EQ(cshm_queue_producer_send(queue, &ticket), 0);
        cshm_queue_producer_close(queue, token);
        CHECK_EQ(cshm_queue_producer_receive(queue, ticket, &token), 0);
    }
    return token;
}

/* One without a token, who looks whether anybody has one. */
static void *look(void *context)
{
    while (!atomic_load(&is_over)) {
        cshm__queue_finish_if_abandoned(context);
    }
    return NULL;
}

/* A dead one between the two places where the living one goes to and fro makes each look long. */
static void go_on(uint32_t (*body)(cshm_queue *queue, uint32_t token))
{
    cshm_region *region = make_region(4u << 20);
    uint64_t offset = 0;
    cshm_queue *queue = make_queue(region, &offset);
    struct cshm_message message;
    pthread_t looker;
    uint32_t token = 0;
    int status = 0;
    CHECK_EQ(cshm_queue_producer_open(queue, &token), 0);
    CHECK(waitpid(spawn(region, open_one, &offset), &status, 0) > 0);
    CHECK_EQ(pthread_create(&looker, NULL, look, queue), 0);
    token = body(queue, token);
    atomic_store(&is_over, true);
    CHECK_EQ(pthread_join(looker, NULL), 0);
    CHECK_EQ(cshm_queue_try_put(queue, "x", 1), 0);
    cshm_queue_producer_close(queue, token);
    CHECK_EQ(cshm_queue_try_put(queue, "y", 1), -EPIPE);
    CHECK_EQ(cshm_queue_try_take(queue, &message), 0);
    cshm_queue_release(queue, &message);
    CHECK_EQ(cshm_queue_try_take(queue, &message), -EPIPE);
    cshm_queue_close(queue);
    cshm_region_close(region);
}

static void exchanged(void)
{
    go_on(exchange);
}

static void passed_on(void)
{
    go_on(pass_on);
}

const struct test token_tests[] = {
    {"exchanged_beside_a_killed_one_keep_a_stream_open", exchanged},
    {"passed_on_beside_a_killed_one_keep_a_stream_open", passed_on},
    {NULL, NULL},
};
