// SPDX-License-Identifier: Apache-2.0
//
// Peer: boost::interprocess::message_queue (libboost-dev), which blocks.
#include <boost/interprocess/ipc/message_queue.hpp>
#include <cerrno>
#include <string>
#include <unistd.h>

#include <bench_channel.h>

using boost::interprocess::message_queue;

extern "C" const struct bench_channel bench_peer;

namespace
{

int create(const struct bench_shape *shape, void **state)
{
    static unsigned number;
    std::string name =
        "sharedstate.bench." + std::to_string(getpid()) + "." + std::to_string(number++);
    try {
        *state = new message_queue(boost::interprocess::create_only, name.c_str(), shape->capacity,
                                   shape->size);
        message_queue::remove(name.c_str()); // the children inherit the mapping
        return 0;
    } catch (...) {
        return -ENOMEM;
    }
}

int open_side(void *state, bool, void **handle)
{
    *handle = state;
    return 0;
}

void destroy(void *state)
{
    delete static_cast<message_queue *>(state);
}

uint32_t put(void *handle, uint8_t *bytes, uint32_t size, uint32_t)
{
    static_cast<message_queue *>(handle)->send(bytes, size, 0);
    return 1;
}

uint32_t take(void *handle, uint8_t *bytes, uint32_t size, uint32_t)
{
    message_queue::size_type received = 0;
    unsigned priority = 0;
    static_cast<message_queue *>(handle)->receive(bytes, size, received, priority);
    return 1;
}

} // namespace

BENCH_CHANNEL(bench_peer, "boost-message-queue", create, destroy, open_side, put, take);
