// SPDX-License-Identifier: Apache-2.0
//
// Peer: boost::unordered_map in a managed shared memory, under its interprocess mutex (libboost-dev).
#include <boost/interprocess/allocators/allocator.hpp>
#include <boost/interprocess/managed_shared_memory.hpp>
#include <boost/interprocess/sync/interprocess_mutex.hpp>
#include <boost/interprocess/sync/scoped_lock.hpp>
#include <boost/unordered_map.hpp>
#include <cerrno>
#include <string>
#include <unistd.h>

#include <bench_map.h>

namespace ipc = boost::interprocess;

namespace
{

struct hash {
    std::size_t operator()(const bench_key &key) const
    {
        return boost::hash_range(key.word, key.word + 2);
    }
};

struct equal {
    bool operator()(const bench_key &a, const bench_key &b) const
    {
        return std::memcmp(&a, &b, sizeof a) == 0;
    }
};

template <unsigned Size> struct sized {
    uint64_t word[Size / 8];
};

template <unsigned Size> struct dictionary {
    using pair = std::pair<const bench_key, sized<Size>>;
    using allocator = ipc::allocator<pair, ipc::managed_shared_memory::segment_manager>;
    using map = boost::unordered_map<bench_key, sized<Size>, hash, equal, allocator>;
    ipc::managed_shared_memory memory;
    ipc::interprocess_mutex *mutex;
    map *entries;

    explicit dictionary(const char *name) : memory(ipc::create_only, name, 256u << 20)
    {
        mutex = memory.construct<ipc::interprocess_mutex>(ipc::unique_instance)();
        entries = memory.construct<map>(ipc::unique_instance)(BENCH_KEYS, hash(), equal(),
                                                              memory.get_allocator<pair>());
    }

    bool get(const bench_key *key, bench_value *value)
    {
        ipc::scoped_lock<ipc::interprocess_mutex> lock(*mutex);
        auto found = entries->find(*key);
        if (found == entries->end()) {
            return false;
        }
        std::memcpy(value, &found->second, Size);
        return true;
    }

    bool set(const bench_key *key, const bench_value *value)
    {
        ipc::scoped_lock<ipc::interprocess_mutex> lock(*mutex);
        std::memcpy(&(*entries)[*key], value, Size);
        return true;
    }
};

struct either {
    uint32_t size;
    dictionary<8> *small;
    dictionary<64> *large;
};

bool get(void *handle, const bench_key *key, bench_value *value, uint32_t size)
{
    either *map = static_cast<either *>(handle);
    return size == 8 ? map->small->get(key, value) : map->large->get(key, value);
}

bool set(void *handle, const bench_key *key, const bench_value *value, uint32_t size)
{
    either *map = static_cast<either *>(handle);
    return size == 8 ? map->small->set(key, value) : map->large->set(key, value);
}

int create(const struct bench_shape *shape, void **state)
{
    static unsigned number;
    std::string name =
        "sharedstate.bench." + std::to_string(getpid()) + ".map" + std::to_string(number++);
    if (shape->size != 8 && shape->size != 64) {
        return -EINVAL;
    }
    try {
        bool is_small = shape->size == 8;
        either *made = new either{shape->size, is_small ? new dictionary<8>(name.c_str()) : nullptr,
                                  is_small ? nullptr : new dictionary<64>(name.c_str())};
        ipc::shared_memory_object::remove(name.c_str()); // the children inherit the mapping
        *state = made;
        return bench_set_all(set, made, shape->size) ? 0 : -EIO;
    } catch (...) {
        ipc::shared_memory_object::remove(name.c_str());
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
    either *map = static_cast<either *>(state);
    delete map->small;
    delete map->large;
    delete map;
}

void *handle_of(void *state)
{
    return state;
}

uint32_t size_of(void *state)
{
    return static_cast<either *>(state)->size;
}

} // namespace

extern "C" const struct bench_channel boost_map_get, boost_map_set, boost_map_mix95,
    boost_map_mix50;
BENCH_MAP(boost_map, "boost-map", create, destroy, open_side, get, set, handle_of, size_of);

extern "C" const struct bench_channel *const bench_peers[];
const struct bench_channel *const bench_peers[] = {&boost_map_get, &boost_map_set, &boost_map_mix95,
                                                  &boost_map_mix50, nullptr};
