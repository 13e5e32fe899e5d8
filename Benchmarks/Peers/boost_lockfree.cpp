// SPDX-License-Identifier: Apache-2.0
//
// Peers: boost::lockfree::spsc_queue and queue (libboost-dev), of 1024 messages of 8 or 64 bytes, placed
// in shared memory. A process killed in a call of the latter leaks its node or wedges nobody; nothing tells
// the others of it.
#include <array>
#include <boost/lockfree/queue.hpp>
#include <boost/lockfree/spsc_queue.hpp>
#include <cerrno>
#include <new>

#include <bench_channel.h>

extern "C" const struct bench_channel boost_ring, boost_queue;

namespace
{

namespace lockfree = boost::lockfree;

enum { CAPACITY = 1024 };

template <unsigned Size> using message = std::array<uint8_t, Size>;
template <unsigned Size>
using ring_of = lockfree::spsc_queue<message<Size>, lockfree::capacity<CAPACITY>>;
template <unsigned Size>
using queue_of = lockfree::queue<message<Size>, lockfree::fixed_sized<true>,
                                 lockfree::capacity<CAPACITY>>;

template <template <unsigned> class Channel>
int create(const struct bench_shape *shape, void **state)
{
    if ((shape->size != 8 && shape->size != 64) || shape->capacity != CAPACITY) {
        return -EINVAL;
    }
    void *memory = bench_shared(sizeof(Channel<64>));
    if (memory == nullptr) {
        return -ENOMEM;
    }
    if (shape->size == 8) {
        new (memory) Channel<8>();
    } else {
        new (memory) Channel<64>();
    }
    *state = memory;
    return 0;
}

int open_side(void *state, bool, void **handle)
{
    *handle = state;
    return 0;
}

template <template <unsigned> class Channel> void destroy(void *state)
{
    bench_unshare(state, sizeof(Channel<64>));
}

template <template <unsigned> class Channel, unsigned Size>
BENCH_INLINE uint32_t put_one(void *handle, const uint8_t *bytes)
{
    message<Size> content;
    memcpy(content.data(), bytes, Size);
    return static_cast<Channel<Size> *>(handle)->push(content);
}

template <template <unsigned> class Channel, unsigned Size>
BENCH_INLINE uint32_t take_one(void *handle, uint8_t *bytes)
{
    message<Size> content;
    if (!static_cast<Channel<Size> *>(handle)->pop(content)) {
        return 0;
    }
    memcpy(bytes, content.data(), Size);
    return 1;
}

template <template <unsigned> class Channel>
BENCH_INLINE uint32_t put(void *handle, uint8_t *bytes, uint32_t size, uint32_t)
{
    return size == 8 ? put_one<Channel, 8>(handle, bytes) : put_one<Channel, 64>(handle, bytes);
}

template <template <unsigned> class Channel>
BENCH_INLINE uint32_t take(void *handle, uint8_t *bytes, uint32_t size, uint32_t)
{
    return size == 8 ? take_one<Channel, 8>(handle, bytes) : take_one<Channel, 64>(handle, bytes);
}

} // namespace

BENCH_CHANNEL(boost_ring, "boost-lockfree-ring", create<ring_of>, destroy<ring_of>, open_side,
              put<ring_of>, take<ring_of>);
BENCH_CHANNEL(boost_queue, "boost-lockfree-queue", create<queue_of>, destroy<queue_of>, open_side,
              put<queue_of>, take<queue_of>);

extern "C" const struct bench_channel *const bench_peers[];
const struct bench_channel *const bench_peers[] = {&boost_ring, &boost_queue, nullptr};
