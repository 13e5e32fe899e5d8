/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Peers that every kernel has: a pipe, a Unix socket (a stream), a POSIX message queue. Each copies a
 * message in and out of the kernel, and blocks.
 */
#include <errno.h>
#include <mqueue.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <bench_channel.h>

struct ends {
    int read, write;
};

static int ends_create(int (*make)(int ends[2]), void **state)
{
    int both[2];
    struct ends *made = malloc(sizeof *made);
    if (made == NULL || make(both) != 0) {
        free(made);
        return -EMFILE;
    }
    *made = (struct ends){both[0], both[1]};
    *state = made;
    return 0;
}

static int ends_open(void *state, bool producer, void **handle)
{
    (void)producer;
    *handle = state;
    return 0;
}

static void ends_destroy(void *state)
{
    struct ends *ends = state;
    close(ends->read);
    close(ends->write);
    free(ends);
}

static uint32_t ends_put(void *handle, uint8_t *bytes, uint32_t size, uint32_t count)
{
    (void)count;
    for (uint32_t done = 0; done < size;) {
        ssize_t wrote = write(((struct ends *)handle)->write, bytes + done, size - done);
        if (wrote <= 0) {
            return 0;
        }
        done += (uint32_t)wrote;
    }
    return 1;
}

static uint32_t ends_take(void *handle, uint8_t *bytes, uint32_t size, uint32_t count)
{
    (void)count;
    for (uint32_t done = 0; done < size;) {
        ssize_t got = read(((struct ends *)handle)->read, bytes + done, size - done);
        if (got <= 0) {
            return 0;
        }
        done += (uint32_t)got;
    }
    return 1;
}

static int pipe_create(const struct bench_shape *shape, void **state)
{
    (void)shape;
    return ends_create(pipe, state);
}

BENCH_CHANNEL(bench_pipe, "pipe", pipe_create, ends_destroy, ends_open, ends_put, ends_take);

static int make_sockets(int both[2])
{
    return socketpair(AF_UNIX, SOCK_STREAM, 0, both);
}

static int socket_create(const struct bench_shape *shape, void **state)
{
    (void)shape;
    return ends_create(make_sockets, state);
}

BENCH_CHANNEL(bench_unix_socket, "unix-socket", socket_create, ends_destroy, ends_open, ends_put,
              ends_take);

/* ---- POSIX message queue ---- */

enum { QUEUED = 10 }; /* what /proc/sys/fs/mqueue/msg_max is, unless somebody raised it */

static int mq_create(const struct bench_shape *shape, void **state)
{
    static unsigned number;
    char name[64];
    struct mq_attr attributes = {.mq_maxmsg = QUEUED, .mq_msgsize = shape->size};
    struct rlimit limit = {RLIM_INFINITY, RLIM_INFINITY};
    (void)setrlimit(RLIMIT_MSGQUEUE, &limit); /* where allowed */
    mqd_t *made = malloc(sizeof *made);
    if (made == NULL) {
        return -ENOMEM;
    }
    snprintf(name, sizeof name, "/sharedstate.bench.%d.%u", (int)getpid(), number++);
    *made = mq_open(name, O_CREAT | O_EXCL | O_RDWR, 0600, &attributes);
    if (*made == (mqd_t)-1) {
        int status = -errno;
        free(made);
        return status;
    }
    mq_unlink(name); /* the children inherit the descriptor */
    *state = made;
    return 0;
}

static void mq_destroy(void *state)
{
    mq_close(*(mqd_t *)state);
    free(state);
}

static uint32_t mq_put(void *handle, uint8_t *bytes, uint32_t size, uint32_t count)
{
    (void)count;
    return mq_send(*(mqd_t *)handle, (const char *)bytes, size, 0) == 0;
}

static uint32_t mq_take(void *handle, uint8_t *bytes, uint32_t size, uint32_t count)
{
    (void)count;
    return mq_receive(*(mqd_t *)handle, (char *)bytes, size, NULL) == (ssize_t)size;
}

BENCH_CHANNEL(bench_posix_queue, "posix-message-queue", mq_create, mq_destroy, ends_open, mq_put,
              mq_take);
