/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Peer: ZeroMQ (libzmq3-dev), PUSH to PULL over ipc://, as many messages on the way on each side as the
 * channel is to hold. Contexts do not go through a fork: each process makes its own.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <zmq.h>

#include <bench_channel.h>

struct place {
    char path[64], address[80];
    int most;
};

struct end {
    void *context, *socket;
};

static int create(const struct bench_shape *shape, void **state)
{
    static unsigned number;
    struct place *place = calloc(1, sizeof *place);
    if (place == NULL) {
        return -ENOMEM;
    }
    place->most = (int)shape->capacity;
    snprintf(place->path, sizeof place->path, "/tmp/sharedstate.bench.%d.zmq%u", (int)getpid(),
             number++);
    snprintf(place->address, sizeof place->address, "ipc://%s", place->path);
    *state = place;
    return 0;
}

static void destroy(void *state)
{
    unlink(((struct place *)state)->path);
    free(state);
}

static int open_side(void *state, bool producer, void **handle)
{
    struct place *place = state;
    for (int tries = 0; producer && access(place->path, F_OK) != 0; tries++) {
        if (tries == 5000) {
            return -ETIMEDOUT;
        }
        usleep(1000); /* a connection that was refused is tried again 100 ms later */
    }
    struct end *end = calloc(1, sizeof *end);
    if (end == NULL) {
        return -ENOMEM;
    }
    end->context = zmq_ctx_new();
    end->socket = zmq_socket(end->context, producer ? ZMQ_PUSH : ZMQ_PULL);
    if (end->socket == NULL) {
        return -ENOMEM;
    }
    zmq_setsockopt(end->socket, producer ? ZMQ_SNDHWM : ZMQ_RCVHWM, &place->most,
                   sizeof place->most);
    *handle = end;
    int status =
        producer ? zmq_connect(end->socket, place->address) : zmq_bind(end->socket, place->address);
    return status == 0 ? 0 : -EIO;
}

/* Waits until all is sent. */
static void close_side(void *handle, bool producer)
{
    struct end *end = handle;
    (void)producer;
    zmq_close(end->socket);
    zmq_ctx_term(end->context);
    free(end);
}

static uint32_t put(void *handle, uint8_t *bytes, uint32_t size, uint32_t count)
{
    (void)count;
    return zmq_send(((struct end *)handle)->socket, bytes, size, 0) == (int)size;
}

static uint32_t take(void *handle, uint8_t *bytes, uint32_t size, uint32_t count)
{
    (void)count;
    return zmq_recv(((struct end *)handle)->socket, bytes, size, 0) == (int)size;
}

BENCH_CHANNEL_OF(bench_peer, "zeromq", create, destroy, open_side, close_side, put, take,
                 BENCH_TO_ONE);
