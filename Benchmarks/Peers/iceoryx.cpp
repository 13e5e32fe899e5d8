// SPDX-License-Identifier: Apache-2.0
//
// Peer: Eclipse iceoryx (libiceoryx-posh-dev, and iox-roudi of iceoryx), a publisher and a subscriber that
// lose nothing: a full queue, of 256 messages at most, is waited for. "iceoryx" copies a message in and
// out; "iceoryx-lent" writes and reads its number in place. Nobody sleeps: both sides ask again.
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <iceoryx_hoofs/log/logmanager.hpp>
#include <iceoryx_posh/popo/untyped_publisher.hpp>
#include <iceoryx_posh/popo/untyped_subscriber.hpp>
#include <iceoryx_posh/runtime/posh_runtime.hpp>
#include <string>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <bench_channel.h>

extern "C" const struct bench_channel iceoryx_copied, iceoryx_lent;

namespace
{

using iox::popo::UntypedPublisher;
using iox::popo::UntypedSubscriber;

struct service {
    uint32_t capacity;
    unsigned number;
};

pid_t daemon_pid;
unsigned users;

// Returns once the daemon says that it is ready.
int start_daemon()
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) {
        return -EMFILE;
    }
    daemon_pid = fork();
    if (daemon_pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGTERM);
        dup2(ends[1], 1);
        dup2(ends[1], 2);
        execlp("iox-roudi", "iox-roudi", "-m", "off", static_cast<char *>(nullptr));
        _exit(1);
    }
    close(ends[1]);
    std::string said;
    char some[256];
    ssize_t got = 0;
    while (said.find("ready for clients") == std::string::npos &&
           (got = read(ends[0], some, sizeof some)) > 0) {
        said.append(some, static_cast<size_t>(got));
    }
    // Not closed: it goes on talking.
    return got > 0 ? 0 : -EIO;
}

int end_daemon()
{
    int status = 0;
    kill(daemon_pid, SIGTERM);
    waitpid(daemon_pid, &status, 0);
    return status;
}

// A daemon whose users were killed aborts when it wants to end them, and leaves its shared memory. The
// next one takes that over, and having no users, ends well.
void stop_daemon()
{
    if (WIFSIGNALED(end_daemon()) && start_daemon() == 0) {
        end_daemon();
    }
}

int create(const struct bench_shape *shape, void **state)
{
    static unsigned number;
    if (users == 0) {
        int status = start_daemon();
        if (status != 0) {
            stop_daemon();
            return status;
        }
    }
    users++;
    uint32_t most = shape->size > (1u << 19) ? 4 : 256; // of large ones the daemon keeps ten
    *state = new service{shape->capacity < most ? shape->capacity : most, number++};
    return 0;
}

void destroy(void *state)
{
    delete static_cast<service *>(state);
    if (--users == 0) {
        stop_daemon();
    }
}

iox::capro::ServiceDescription describe(const service *service)
{
    using iox::capro::IdString_t;
    std::string instance = std::to_string(service->number);
    return {IdString_t("sharedstate"), IdString_t("bench"),
            IdString_t(iox::cxx::TruncateToCapacity, instance)};
}

void join()
{
    static bool joined;
    if (!joined) {
        // It greets on the standard output, which belongs to the figures.
        (void)!freopen("/dev/null", "w", stdout);
        iox::log::LogManager::GetLogManager().SetDefaultLogLevel(
            iox::log::LogLevel::kOff, iox::log::LogLevelOutput::kHideLogLevel);
        std::string name = "bench" + std::to_string(getpid());
        iox::runtime::PoshRuntime::initRuntime(
            iox::RuntimeName_t(iox::cxx::TruncateToCapacity, name));
        joined = true;
    }
}

int open_side(void *state, bool producer, void **handle)
{
    const service *of = static_cast<service *>(state);
    join();
    if (producer) {
        iox::popo::PublisherOptions options;
        options.historyCapacity = 0;
        options.subscriberTooSlowPolicy = iox::popo::ConsumerTooSlowPolicy::WAIT_FOR_CONSUMER;
        auto *publisher = new UntypedPublisher(describe(of), options);
        while (!publisher->hasSubscribers()) {
            usleep(1000);
        }
        *handle = publisher;
    } else {
        iox::popo::SubscriberOptions options;
        options.queueCapacity = of->capacity;
        options.queueFullPolicy = iox::popo::QueueFullPolicy::BLOCK_PRODUCER;
        *handle = new UntypedSubscriber(describe(of), options);
    }
    return 0;
}

BENCH_INLINE uint32_t put_some(void *handle, const uint8_t *bytes, uint32_t size, uint32_t touched)
{
    auto *publisher = static_cast<UntypedPublisher *>(handle);
    auto loan = publisher->loan(size, 8);
    if (loan.has_error()) {
        return 0;
    }
    bench_copy(loan.value(), bytes, touched);
    publisher->publish(loan.value());
    return 1;
}

BENCH_INLINE uint32_t take_some(void *handle, uint8_t *bytes, uint32_t touched)
{
    auto *subscriber = static_cast<UntypedSubscriber *>(handle);
    auto taken = subscriber->take();
    if (taken.has_error()) {
        return 0;
    }
    bench_copy(bytes, taken.value(), touched);
    subscriber->release(taken.value());
    return 1;
}

uint32_t put(void *handle, uint8_t *bytes, uint32_t size, uint32_t)
{
    return put_some(handle, bytes, size, size);
}

uint32_t take(void *handle, uint8_t *bytes, uint32_t size, uint32_t)
{
    return take_some(handle, bytes, size);
}

uint32_t put_lent(void *handle, uint8_t *bytes, uint32_t size, uint32_t)
{
    return put_some(handle, bytes, size, 8);
}

uint32_t take_lent(void *handle, uint8_t *bytes, uint32_t, uint32_t)
{
    return take_some(handle, bytes, 8);
}

} // namespace

BENCH_CHANNEL(iceoryx_copied, "iceoryx", create, destroy, open_side, put, take);
BENCH_CHANNEL(iceoryx_lent, "iceoryx-lent", create, destroy, open_side, put_lent, take_lent);

extern "C" const struct bench_channel *const bench_peers[];
const struct bench_channel *const bench_peers[] = {&iceoryx_copied, &iceoryx_lent, nullptr};
