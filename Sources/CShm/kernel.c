/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Everything that asks the kernel, save mapping: the file to replace for another system.
 */
#include "internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/membarrier.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

int64_t cshm_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* Shared, never private: the word is in several address spaces. The deadline is absolute. */
int cshm__futex_wait(uint32_t *word, uint32_t seen, int64_t deadline_ns)
{
    int saved = errno;
    struct timespec until = {.tv_sec = deadline_ns / 1000000000,
                             .tv_nsec = deadline_ns % 1000000000};
    long status =
        syscall(SYS_futex, word, FUTEX_WAIT_BITSET, seen, &until, NULL, FUTEX_BITSET_MATCH_ANY);
    int result = status == 0 ? 0 : -errno;
    errno = saved;
    return result;
}

/* Where futex_waitv is missing or refused, a short sleep on the first: the caller looks again. */
void cshm__futex_wait_any(uint32_t *const *words, const uint32_t *seen, uint32_t count,
                          int64_t deadline_ns)
{
    struct futex_waitv waiters[CSHM_WAIT_MAX];
    int saved = errno;
    struct timespec until = {.tv_sec = deadline_ns / 1000000000,
                             .tv_nsec = deadline_ns % 1000000000};
    for (uint32_t i = 0; i < count; i++) {
        waiters[i] =
            (struct futex_waitv){.val = seen[i], .uaddr = (uintptr_t)words[i], .flags = FUTEX_32};
    }
    if (syscall(SYS_futex_waitv, waiters, count, 0, &until, CLOCK_MONOTONIC) < 0 &&
        (errno == ENOSYS || errno == EPERM || errno == EINVAL)) {
        int64_t soon = cshm_now_ns() + 1000000;
        (void)cshm__futex_wait(words[0], seen[0], soon < deadline_ns ? soon : deadline_ns);
    }
    errno = saved;
}

int cshm__futex_wake(uint32_t *word, int count)
{
    int saved = errno;
    long woken = syscall(SYS_futex, word, FUTEX_WAKE, count, NULL, NULL, 0);
    errno = saved;
    return (int)woken;
}

/* ---- the kernel's lists of robust mutexes: of those that a thread holds, to be walked at its end ---- */

/* Memory of this process that may be gone by now. */
static bool peek(uintptr_t from, void *to, size_t size)
{
    struct iovec local = {to, size};
    struct iovec remote = {(void *)from, size}; /* NOLINT(performance-no-int-to-ptr) */
    return process_vm_readv(getpid(), &local, 1, &remote, 1, 0) == (ssize_t)size;
}

static bool list_leads_into(pid_t thread, uintptr_t from, uint64_t size)
{
    struct robust_list_head *place = NULL;
    struct robust_list_head head;
    size_t length = 0;
    if (syscall(SYS_get_robust_list, thread, &place, &length) != 0 || place == NULL ||
        length != sizeof head || !peek((uintptr_t)place, &head, sizeof head)) {
        return false;
    }
    /* glibc leaves it there when an acquire has timed out: the mutex's word says whether. */
    uintptr_t entry = (uintptr_t)head.list_op_pending & ~(uintptr_t)1;
    uint32_t word = 0;
    if (entry - from < size && peek(entry + (uintptr_t)head.futex_offset, &word, sizeof word) &&
        (word & FUTEX_TID_MASK) == (uint32_t)thread) {
        return true;
    }
    entry = (uintptr_t)head.list.next & ~(uintptr_t)1;
    for (uint32_t i = 0; i < ROBUST_LIST_LIMIT && entry != (uintptr_t)place; i++) {
        struct robust_list node;
        if (entry - from < size) {
            return true;
        }
        if (!peek(entry, &node, sizeof node)) {
            return false;
        }
        entry = (uintptr_t)node.next & ~(uintptr_t)1;
    }
    return false;
}

bool cshm__holds_mutex(const void *from, uint64_t size)
{
    int saved = errno;
    bool found = false;
    DIR *threads = opendir("/proc/self/task");
    if (threads == NULL) {
        found = list_leads_into(gettid(), (uintptr_t)from, size); /* this one's, at least */
    } else {
        struct dirent *entry;
        while (!found && (entry = readdir(threads)) != NULL) {
            pid_t thread = (pid_t)strtol(entry->d_name, NULL, 10);
            found = thread > 0 && list_leads_into(thread, (uintptr_t)from, size);
        }
        closedir(threads);
    }
    errno = saved;
    return found;
}

/* The limit a memory cgroup leaves us, best effort: fallocate beyond it ends in the OOM killer. */
static uint64_t cgroup_room(void)
{
    uint64_t limit = UINT64_MAX;
    uint64_t used = 0;
    FILE *file = fopen("/sys/fs/cgroup/memory.max", "re");
    if (file == NULL) {
        return UINT64_MAX;
    }
    char text[32] = "";
    if (fgets(text, sizeof text, file) != NULL && text[0] != 'm') {
        limit = strtoull(text, NULL, 10);
    }
    fclose(file);
    if (limit == UINT64_MAX) {
        return limit;
    }
    file = fopen("/sys/fs/cgroup/memory.current", "re");
    if (file != NULL) {
        if (fgets(text, sizeof text, file) != NULL) {
            used = strtoull(text, NULL, 10);
        }
        fclose(file);
    }
    return limit > used ? limit - used : 0;
}

int cshm__commit(int fd, uint64_t offset, uint64_t length)
{
    int saved = errno;
    int result;
    if (length > cgroup_room()) {
        return -ENOSPC;
    }
    do {
        result = fallocate(fd, 0, (off_t)offset, (off_t)length) == 0 ? 0 : -errno;
    } while (result == -EINTR);
    errno = saved;
    return result;
}

static int byte_lock(int fd, int command, short type, uint32_t index, short *found)
{
    int saved = errno;
    struct flock lock = {.l_type = type, .l_whence = SEEK_SET, .l_start = index, .l_len = 1};
    int result;
    do {
        result = fcntl(fd, command, &lock) == 0 ? 0 : -errno;
    } while (result == -EINTR);
    if (found != NULL) {
        *found = lock.l_type;
    }
    errno = saved;
    return result;
}

int cshm__lock_byte(int fd, uint32_t index)
{
    return byte_lock(fd, F_OFD_SETLK, F_WRLCK, index, NULL);
}

void cshm__unlock_byte(int fd, uint32_t index)
{
    (void)byte_lock(fd, F_OFD_SETLK, F_UNLCK, index, NULL);
}

bool cshm__byte_is_locked(int fd, uint32_t index)
{
    short found = F_WRLCK;
    return byte_lock(fd, F_OFD_GETLK, F_WRLCK, index, &found) != 0 || found != F_UNLCK;
}

uint64_t cshm__pid_namespace(void)
{
    struct stat status;
    return stat("/proc/self/ns/pid", &status) == 0 ? (uint64_t)status.st_ino : 0;
}

uint64_t cshm__default_capacity(void)
{
    uint64_t memory = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
    uint64_t room = cgroup_room();
    return (memory < room ? memory : room) / 2;
}

int cshm__random(void *bytes, size_t length)
{
    return getrandom(bytes, length, 0) == (ssize_t)length ? 0 : -EIO;
}

uint64_t cshm__ticks(void)
{
#if defined(__x86_64__)
    return __builtin_ia32_rdtsc();
#elif defined(__aarch64__)
    /* It ticks 25 MHz to 1 GHz. */
    uint64_t count;
    uint64_t frequency;
    __asm__ volatile("mrs %0, cntvct_el0\n\tmrs %1, cntfrq_el0" : "=r"(count), "=r"(frequency));
    return frequency == 0 ? count : count * (3000000000u / frequency);
#else
    return (uint64_t)cshm_now_ns() * 3;
#endif
}

/* The machine's CPUs, not this process's: one that is bound to a CPU may have peers on others. */
bool cshm__has_one_cpu(void)
{
    static _Atomic int cpus; /* 0 unknown, 1 one, 2 several */
    int known = atomic_load_explicit(&cpus, memory_order_relaxed);
    if (known == 0) {
        int saved = errno;
        known = sysconf(_SC_NPROCESSORS_ONLN) == 1 ? 1 : 2;
        errno = saved;
        atomic_store_explicit(&cpus, known, memory_order_relaxed);
    }
    return known == 1;
}

static int membarrier(int command)
{
    int saved = errno;
    int result = syscall(SYS_membarrier, command, 0, 0) == 0 ? 0 : -errno;
    errno = saved;
    return result;
}

_Atomic bool cshm__is_interruptible;

/* The kernel hands a registration on to forked children and drops it on exec. It takes microseconds
 * in a process of one thread and some 10 ms in others: who forks workers registers before. */
void cshm__let_be_interrupted(void)
{
    if (atomic_load_explicit(&cshm__is_interruptible, memory_order_relaxed)) {
        return;
    }
    bool registered = membarrier(MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED) == 0;
    atomic_store_explicit(&cshm__is_interruptible, registered, memory_order_relaxed);
}

bool cshm__interrupt_publishers(void)
{
    return membarrier(MEMBARRIER_CMD_GLOBAL_EXPEDITED) == 0;
}

/* ---- bells: datagram sockets with abstract names, which the kernel takes back from the dead ---- */

static socklen_t abstract_address(const char *name, struct sockaddr_un *address)
{
    size_t length = strlen(name);
    memset(address, 0, sizeof *address);
    address->sun_family = AF_UNIX;
    memcpy(address->sun_path + 1, name, length);
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + length);
}

static socklen_t bell_address(uint64_t number, struct sockaddr_un *address)
{
    char name[32];
    snprintf(name, sizeof name, "cshm.bell.%016llx", (unsigned long long)number);
    return abstract_address(name, address);
}

int cshm__bell_sender(void)
{
    int saved = errno;
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int result = fd >= 0 ? fd : -errno;
    errno = saved;
    return result;
}

int cshm__bell_listen(uint64_t number)
{
    int saved = errno;
    struct sockaddr_un address;
    socklen_t length = bell_address(number, &address);
    int result = cshm__bell_sender();
    if (result >= 0 && bind(result, (struct sockaddr *)&address, length) != 0) {
        int status = -errno;
        close(result);
        result = status;
    }
    errno = saved;
    return result;
}

/* A full socket was rung already. */
int cshm__bell_send(int sender, uint64_t number)
{
    int saved = errno;
    struct sockaddr_un address;
    socklen_t length = bell_address(number, &address);
    ssize_t sent =
        sendto(sender, "", 1, MSG_DONTWAIT | MSG_NOSIGNAL, (struct sockaddr *)&address, length);
    int result = sent == 1 || errno == EAGAIN ? 0 : -errno;
    errno = saved;
    return result;
}

void cshm__bell_drain(int fd)
{
    int saved = errno;
    char byte;
    while (recv(fd, &byte, 1, MSG_DONTWAIT) >= 0) {
    }
    errno = saved;
}

/* ---- watching several descriptors ---- */

int cshm__watcher(void)
{
    int saved = errno;
    int fd = epoll_create1(EPOLL_CLOEXEC);
    int result = fd >= 0 ? fd : -errno;
    errno = saved;
    return result;
}

int cshm__watch(int watcher, int fd)
{
    int saved = errno;
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    int result = epoll_ctl(watcher, EPOLL_CTL_ADD, fd, &event) == 0 ? 0 : -errno;
    errno = saved;
    return result;
}

/* To close the descriptor is not enough, as a forked child may have it, too. */
void cshm__unwatch(int watcher, int fd)
{
    int saved = errno;
    struct epoll_event event = {0};
    epoll_ctl(watcher, EPOLL_CTL_DEL, fd, &event);
    errno = saved;
}

uint32_t cshm__watched(int watcher, int *fds, uint32_t max)
{
    enum { AT_ONCE = 64 };
    int saved = errno;
    struct epoll_event events[AT_ONCE];
    int found = epoll_wait(watcher, events, max < AT_ONCE ? (int)max : AT_ONCE, 0);
    for (int i = 0; i < found; i++) {
        fds[i] = events[i].data.fd;
    }
    errno = saved;
    return found > 0 ? (uint32_t)found : 0;
}

int cshm__process(uint64_t pid)
{
    int saved = errno;
    long fd = syscall(SYS_pidfd_open, (pid_t)pid, 0);
    int result = fd >= 0 ? (int)fd : -errno;
    errno = saved;
    return result;
}

/* ---- boxes for descriptors: the same kind of socket, which passes them with the sender's user ---- */

void cshm__post_name(const uint64_t uuid[2], uint64_t offset, char name[CSHM__POST_NAME])
{
    snprintf(name, CSHM__POST_NAME, "cshm.post.%016llx%016llx.%llx", (unsigned long long)uuid[0],
             (unsigned long long)uuid[1], (unsigned long long)offset);
}

int cshm__post_listen(const char *name)
{
    int saved = errno;
    struct sockaddr_un address;
    socklen_t length = abstract_address(name, &address);
    int yes = 1;
    int result = cshm__bell_sender();
    if (result >= 0 && (setsockopt(result, SOL_SOCKET, SO_PASSCRED, &yes, sizeof yes) != 0 ||
                        bind(result, (struct sockaddr *)&address, length) != 0)) {
        int status = -errno;
        close(result);
        result = status;
    }
    errno = saved;
    return result;
}

union post_control {
    char bytes[CMSG_SPACE(CSHM_POST_MAX * sizeof(int)) + CMSG_SPACE(sizeof(struct ucred))];
    struct cmsghdr header; /* aligns it */
};

int cshm__post_send(const char *name, uint64_t ticket, const int *descriptors, uint32_t count)
{
    struct sockaddr_un address;
    union post_control control = {{0}};
    struct iovec data = {.iov_base = &ticket, .iov_len = sizeof ticket};
    struct msghdr message = {.msg_name = &address,
                             .msg_namelen = abstract_address(name, &address),
                             .msg_iov = &data,
                             .msg_iovlen = 1,
                             .msg_control = control.bytes,
                             .msg_controllen = CMSG_SPACE(count * sizeof(int))};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(count * sizeof(int));
    memcpy(CMSG_DATA(header), descriptors, count * sizeof(int));
    int sender = cshm__bell_sender();
    if (sender < 0) {
        return sender;
    }
    int saved = errno;
    int result = sendmsg(sender, &message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -errno : 0;
    errno = saved;
    cshm__close(sender);
    return result;
}

/* Only what is well formed, and from this process's own user. */
static bool read_letter(struct msghdr *message, ssize_t length, struct cshm__letter *out)
{
    bool is_ours = false;
    out->count = 0;
    out->is_cut = (message->msg_flags & MSG_CTRUNC) != 0;
    for (struct cmsghdr *header = CMSG_FIRSTHDR(message); header != NULL;
         header = CMSG_NXTHDR(message, header)) {
        if (header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS) {
            size_t bytes = header->cmsg_len - CMSG_LEN(0);
            memcpy(out->descriptors, CMSG_DATA(header), bytes);
            out->count = (uint32_t)(bytes / sizeof(int));
        } else if (header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_CREDENTIALS) {
            struct ucred from;
            memcpy(&from, CMSG_DATA(header), sizeof from);
            is_ours = from.uid == getuid();
        }
    }
    if (!is_ours || length != sizeof out->ticket || (out->count == 0 && !out->is_cut)) {
        for (uint32_t i = 0; i < out->count; i++) {
            close(out->descriptors[i]);
        }
        return false;
    }
    return true;
}

int cshm__post_receive(int socket, struct cshm__letter *out)
{
    int saved = errno;
    int result = 1;
    while (result == 1) {
        union post_control control;
        struct iovec data = {.iov_base = &out->ticket, .iov_len = sizeof out->ticket};
        struct msghdr message = {.msg_iov = &data,
                                 .msg_iovlen = 1,
                                 .msg_control = control.bytes,
                                 .msg_controllen = sizeof control.bytes};
        ssize_t length = recvmsg(socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
        if (length >= 0) {
            result = read_letter(&message, length, out) ? 0 : 1;
        } else if (errno != EINTR) {
            result = -errno;
        }
    }
    errno = saved;
    return result;
}

int cshm__ticker(void)
{
    int saved = errno;
    int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    int result = fd >= 0 ? fd : -errno;
    errno = saved;
    return result;
}

void cshm__start_ticker(int fd, int64_t period_ns)
{
    int saved = errno;
    struct timespec period = {.tv_sec = period_ns / 1000000000, .tv_nsec = period_ns % 1000000000};
    struct itimerspec ticks = {period, period};
    timerfd_settime(fd, 0, &ticks, NULL);
    errno = saved;
}

void cshm__read_ticker(int fd)
{
    int saved = errno;
    uint64_t ticks;
    (void)!read(fd, &ticks, sizeof ticks);
    errno = saved;
}

void cshm__close(int fd)
{
    int saved = errno;
    close(fd);
    errno = saved;
}

/* 0 when not known: the child of a fork forgets it. Two system calls. */
_Thread_local uint64_t cshm__known_thread;

static void forget_thread(void)
{
    cshm__known_thread = 0;
}

static void forget_thread_in_children(void)
{
    pthread_atfork(NULL, NULL, forget_thread);
}

uint64_t cshm__learn_thread(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, forget_thread_in_children);
    uint64_t known = (uint64_t)getpid() << 32 | (uint32_t)gettid();
    cshm__known_thread = known;
    return known;
}
