/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * A channel whose consumer stalls for 20 ms at every thousandth message: all that it delays are late.
 */
#include <errno.h>
#include <unistd.h>

#include <bench_channel.h>

struct ends {
    int read, write;
    uint64_t count;
};

static int create(const struct bench_shape *shape, void **state)
{
    (void)shape;
    struct ends *ends = bench_shared(sizeof *ends);
    int made[2];
    if (ends == NULL || pipe(made) != 0) {
        return -EMFILE;
    }
    ends->read = made[0];
    ends->write = made[1];
    *state = ends;
    return 0;
}

static int open_side(void *state, bool producer, void **handle)
{
    (void)producer;
    *handle = state;
    return 0;
}

static void destroy(void *state)
{
    struct ends *ends = state;
    close(ends->read);
    close(ends->write);
    bench_unshare(ends, sizeof *ends);
}

static uint32_t put(void *handle, uint8_t *bytes, uint32_t size, uint32_t count)
{
    const struct ends *ends = handle;
    (void)count;
    return write(ends->write, bytes, size) == (ssize_t)size;
}

static uint32_t take(void *handle, uint8_t *bytes, uint32_t size, uint32_t count)
{
    struct ends *ends = handle;
    (void)count;
    if (++ends->count % 1000 == 500) {
        usleep(20000);
    }
    return read(ends->read, bytes, size) == (ssize_t)size;
}

BENCH_CHANNEL(bench_peer, "stalling", create, destroy, open_side, put, take);
