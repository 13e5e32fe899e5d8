/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * The zygote's loop, and the first steps of a worker.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "zygote_wire.h"

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define HAS_RUNTIME_THREADS 1 /* the sanitizer's own thread, which it stops round a fork */
#endif
#endif
#ifndef HAS_RUNTIME_THREADS
#define HAS_RUNTIME_THREADS 0
#endif

#define WORKER_STACK ((size_t)16 << 20)
#define KILL_ROUNDS  5000 /* of a millisecond each */

/* Written in Swift. Weak, so that this target links alone. */
extern void sharedstate_worker_run(const void *payload, size_t length, int share_fd, const int *fds,
                                   int nfds) __attribute__((weak));
extern void sharedstate_zygote_prepare(int share_fd) __attribute__((weak));
extern void dispatch_main(void) __attribute__((weak));

struct child {
    uint64_t id;
    pid_t pid;
};

/* The zygote has one thread and one task, hence one state. */
static struct {
    pid_t self, parent;
    int control, parent_fd, signal_fd, share_fd;
    bool prepared;
    char *backtrace; /* the value to restore in workers, or NULL */
    sigset_t mask;   /* the signal mask to restore in workers */
    struct child *children;
    size_t count, capacity;
} zygote;

static struct {
    struct cworker_request request;
    unsigned char payload[CWORKER_MAX_PAYLOAD];
} packet;

static struct {
    size_t length;
    int fds[CWORKER_MAX_FDS];
    int nfds;
} work;

static _Noreturn void die(const char *text)
{
    dprintf(STDERR_FILENO, "SharedState worker host: %s\n", text);
    _exit(126);
}

/* --- Ending everything --- */

/* Kills every direct child. Children of the dead become direct ones: we are the subreaper. */
static void kill_children(void)
{
    for (size_t i = 0; i < zygote.count; i++) {
        kill(zygote.children[i].pid, SIGKILL);
    }
    char path[64];
    snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)zygote.self);
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        return; /* a kernel without CONFIG_PROC_CHILDREN: only those we know of */
    }
    int pid;
    while (fscanf(file, "%d", &pid) == 1) {
        kill(pid, SIGKILL);
    }
    fclose(file);
}

static void forget(pid_t pid)
{
    for (size_t i = 0; i < zygote.count; i++) {
        if (zygote.children[i].pid != pid) {
            continue;
        }
        zygote.children[i] = zygote.children[--zygote.count];
        return;
    }
}

/* Bounded: a descendant with another user's rights cannot be killed. */
static _Noreturn void end_everything(void)
{
    for (int round = 0; round < KILL_ROUNDS; round++) {
        kill_children();
        pid_t pid;
        while ((pid = waitpid(-1, NULL, WNOHANG)) > 0) {
            forget(pid);
        }
        if (pid < 0 && errno == ECHILD) {
            break;
        }
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    _exit(0);
}

/* --- Talking to the client --- */

static void tell(const struct cworker_event *event)
{
    for (;;) {
        if (send(zygote.control, event, sizeof *event, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0) {
            return;
        }
        if (errno == EINTR) {
            continue;
        }
        if (errno != EAGAIN && errno != ENOBUFS) {
            end_everything();
        }
        /* Never wait in send itself: another process may hold the client's end of the socket. */
        struct pollfd fds[] = {{zygote.control, POLLOUT, 0}, {zygote.parent_fd, POLLIN, 0}};
        if (poll(fds, 2, -1) > 0 && fds[1].revents != 0) {
            end_everything();
        }
    }
}

static int64_t microseconds(struct timeval time)
{
    return (int64_t)time.tv_sec * 1000000 + (int64_t)time.tv_usec;
}

static void reap(void)
{
    struct rusage usage;
    int status;
    pid_t pid;
    while ((pid = wait4(-1, &status, WNOHANG, &usage)) > 0) {
        for (size_t i = 0; i < zygote.count; i++) {
            if (zygote.children[i].pid != pid) {
                continue;
            }
            struct cworker_event event = {
                .kind = CWORKER_EXITED,
                .pid = pid,
                .id = zygote.children[i].id,
                .status = status,
                .maxrss_kib = usage.ru_maxrss,
                .user_us = microseconds(usage.ru_utime),
                .system_us = microseconds(usage.ru_stime),
            };
            forget(pid);
            tell(&event);
            break;
        }
    }
}

/* --- The worker --- */

static void *worker_thread(void *unused)
{
    (void)unused;
    sharedstate_worker_run(packet.payload, work.length, zygote.share_fd, work.fds, work.nfds);
    fflush(NULL);
    _exit(0);
}

static void restore_backtrace(void)
{
    if (zygote.backtrace != NULL) {
        setenv(CWORKER_BACKTRACE, zygote.backtrace, 1);
    } else {
        unsetenv(CWORKER_BACKTRACE);
    }
}

/*
 * The work runs on a second thread: the first one must host the main queue, or
 * `await MainActor.run` hangs.
 */
static _Noreturn void run_worker(void)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != zygote.self) {
        _exit(0); /* the zygote died before the line above */
    }
    close(zygote.control);
    close(zygote.signal_fd);
    if (zygote.parent_fd >= 0) {
        close(zygote.parent_fd);
    }
    restore_backtrace();
    free(zygote.children);
    zygote.children = NULL;

    pthread_attr_t attributes;
    pthread_t thread;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, WORKER_STACK);
    /* Pending signals are not inherited, and the zygote sets no handlers: the mask is all. */
    pthread_sigmask(SIG_SETMASK, &zygote.mask, NULL);
    if (pthread_create(&thread, &attributes, worker_thread, NULL) != 0) {
        die("no memory for a worker's thread");
    }
    pthread_attr_destroy(&attributes);

    void (*host_main_queue)(void) = dispatch_main;
    if (host_main_queue == NULL) {
        host_main_queue = (void (*)(void))dlsym(RTLD_DEFAULT, "dispatch_main");
    }
    if (host_main_queue != NULL) {
        host_main_queue();
    }
    for (;;) {
        pause();
    }
}

/* --- Requests --- */

static bool has_other_threads(void)
{
    if (HAS_RUNTIME_THREADS) {
        return false;
    }
    struct stat status;
    /* The links of this directory: two, and one for each thread. */
    return stat("/proc/self/task", &status) == 0 && status.st_nlink > 3;
}

static bool has_room(void)
{
    if (zygote.count < zygote.capacity) {
        return true;
    }
    size_t capacity = zygote.capacity == 0 ? 16 : zygote.capacity * 2;
    struct child *children = realloc(zygote.children, capacity * sizeof *children);
    if (children == NULL) {
        return false;
    }
    zygote.children = children;
    zygote.capacity = capacity;
    return true;
}

/* Returns the child's pid, or a negated errno. */
static pid_t fork_worker(void)
{
    if (sharedstate_worker_run == NULL) {
        return -ENOEXEC;
    }
    if (!zygote.prepared) {
        zygote.prepared = true;
        if (sharedstate_zygote_prepare != NULL) {
            sharedstate_zygote_prepare(zygote.share_fd);
        }
    }
    if (has_other_threads()) {
        return -EBUSY;
    }
    if (!has_room()) {
        return -ENOMEM;
    }
    fflush(NULL); /* or the child would write the buffered text again */
    pid_t pid = fork();
    if (pid < 0) {
        return -errno;
    }
    if (pid == 0) {
        run_worker();
    }
    return pid;
}

static void handle_fork(uint64_t id)
{
    pid_t pid = fork_worker();
    struct cworker_event event = {.kind = CWORKER_FORK_FAILED, .id = id};
    if (pid < 0) {
        event.status = -pid;
    } else {
        zygote.children[zygote.count++] = (struct child){id, pid};
        event.kind = CWORKER_FORKED;
        event.pid = pid;
    }
    tell(&event);
}

static void handle_kill(uint64_t id, int number)
{
    for (size_t i = 0; i < zygote.count; i++) {
        if (zygote.children[i].id == id) {
            kill(zygote.children[i].pid, number);
        }
    }
}

static void take_descriptors(struct msghdr *message)
{
    work.nfds = 0;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c != NULL; c = CMSG_NXTHDR(message, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) {
            continue;
        }
        size_t bytes = c->cmsg_len - CMSG_LEN(0);
        memcpy(work.fds, CMSG_DATA(c), bytes);
        work.nfds = (int)(bytes / sizeof(int));
    }
}

static void handle_request(void)
{
    union {
        char bytes[CMSG_SPACE(CWORKER_MAX_FDS * sizeof(int))];
        struct cmsghdr alignment;
    } control;
    struct iovec part = {&packet, sizeof packet};
    struct msghdr message = {
        .msg_iov = &part,
        .msg_iovlen = 1,
        .msg_control = control.bytes,
        .msg_controllen = sizeof control.bytes,
    };
    ssize_t size = recvmsg(zygote.control, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    if (size < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    if (size < (ssize_t)sizeof packet.request) {
        end_everything(); /* the client closed its end */
    }

    take_descriptors(&message);
    work.length = (size_t)size - sizeof packet.request;
    if (packet.request.kind == CWORKER_REQUEST_KILL) {
        handle_kill(packet.request.id, packet.request.number);
    } else if ((message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0) {
        /* The table of descriptors is full: the worker would miss some. */
        struct cworker_event event = {
            .kind = CWORKER_FORK_FAILED, .id = packet.request.id, .status = EMFILE};
        tell(&event);
    } else {
        handle_fork(packet.request.id);
    }
    for (int i = 0; i < work.nfds; i++) {
        close(work.fds[i]);
    }
}

/* --- Start --- */

/* Were 0, 1 or 2 closed, the next descriptor opened would become what workers print to. */
static void occupy_standard_descriptors(void)
{
    for (int fd = 0; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) < 0) {
            (void)!open("/dev/null", O_RDWR);
        }
    }
}

static void parse(const char *handshake)
{
    int parent, count, used = 0;
    if (sscanf(handshake, "1 %d %d %n", &parent, &count, &used) != 2 || used == 0 || parent <= 0 ||
        count < 0 || count > CWORKER_MAX_INHERITED) {
        die("the variable " CWORKER_HANDSHAKE " is the library's own; unset it");
    }
    zygote.parent = parent;
    zygote.control = CWORKER_CONTROL_FD;
    zygote.share_fd = count > 0 ? CWORKER_CONTROL_FD + 1 : -1;
    if (handshake[used] == '=') {
        zygote.backtrace = strdup(handshake + used + 1);
        if (zygote.backtrace == NULL) {
            die("out of memory");
        }
    }
    for (int fd = CWORKER_CONTROL_FD; fd <= CWORKER_CONTROL_FD + count; fd++) {
        if (fcntl(fd, F_SETFD, FD_CLOEXEC) < 0) {
            die("a descriptor that it needs is closed");
        }
    }
}

/*
 * Signals to the whole process group (Ctrl-C) are for the parent and the workers to answer. The
 * zygote stays until its parent leaves.
 */
static void block_signals(void)
{
    sigset_t all, child;
    sigfillset(&all);
    static const int faults[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGABRT, SIGSYS};
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
        sigdelset(&all, faults[i]);
    }
    sigprocmask(SIG_SETMASK, &all, &zygote.mask);
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    zygote.signal_fd = signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK);
    if (zygote.signal_fd < 0) {
        die("signalfd failed");
    }
}

_Noreturn void cworker_zygote_run(const char *handshake)
{
    zygote.self = getpid();
    parse(handshake);
    unsetenv(CWORKER_HANDSHAKE);
    occupy_standard_descriptors();
    prctl(PR_SET_NAME, program_invocation_short_name); /* the kernel named it "exe" */
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    block_signals();
    /* Where a sandbox forbids pidfd_open, the hang-up of the socket has to do. */
    zygote.parent_fd = (int)syscall(SYS_pidfd_open, zygote.parent, 0);
    if (getppid() != zygote.parent) {
        end_everything();
    }

    struct pollfd fds[] = {
        {zygote.control, POLLIN, 0}, {zygote.signal_fd, POLLIN, 0}, {zygote.parent_fd, POLLIN, 0}};
    for (;;) {
        if (poll(fds, 3, -1) < 0) {
            continue;
        }
        if (fds[2].revents != 0) {
            end_everything();
        }
        if (fds[1].revents != 0) {
            struct signalfd_siginfo info;
            while (read(zygote.signal_fd, &info, sizeof info) > 0) {
                continue;
            }
            reap();
        }
        if (fds[0].revents != 0) {
            handle_request();
        }
    }
}
