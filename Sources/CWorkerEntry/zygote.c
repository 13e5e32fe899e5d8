/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * The zygote's loop: fork, kill, reap, report, and the end of everything.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "worker.h"
#include "zygote_wire.h"

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define RUNTIME_THREADS 1 /* the sanitizer's own thread, which it stops round a fork */
#endif
#endif
#ifndef RUNTIME_THREADS
#define RUNTIME_THREADS 0
#endif

#define KILL_ROUNDS 5000 /* of a millisecond each */

struct child {
    uint64_t id;
    pid_t pid;
};

/* The zygote has one thread and one task, hence one state. */
static struct {
    pid_t self, parent;
    int control, parent_fd, share_fd;
    int ended_fd; /* an eventfd: some child may have ended */
    bool prepared;
    char *backtrace; /* the value to restore in workers, or NULL */
    sigset_t mask;   /* the signal mask to restore in workers */
    struct child *children;
    size_t count, capacity;
    struct cworker_bytes preloads[CWORKER_MAX_PRELOADS];
    int preload_count;
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

/* --- Ending everything --- */

/* Kills every direct child. Children of the dead become direct ones: we are the subreaper. */
static void kill_children(void)
{
    for (size_t i = 0; i < zygote.count; i++) {
        kill(-zygote.children[i].pid, SIGKILL);
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

/* Sends an event, its text as far as there is one, and a descriptor unless that is -1. */
static void tell_with(const struct cworker_event *event, int fd)
{
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr alignment;
    } control = {{0}};
    struct iovec part = {(void *)event, offsetof(struct cworker_event, text) + strlen(event->text)};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    if (fd >= 0) {
        message.msg_control = control.bytes;
        message.msg_controllen = sizeof control.bytes;
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof fd);
        memcpy(CMSG_DATA(header), &fd, sizeof fd);
    }
    for (;;) {
        if (sendmsg(zygote.control, &message, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0) {
            return;
        }
        if (errno == EINTR) {
            continue;
        }
        if (errno == ETOOMANYREFS) {
            message.msg_controllen = 0; /* it has too many in flight: without, then */
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

static void tell(const struct cworker_event *event)
{
    tell_with(event, -1);
}

static int64_t microseconds(struct timeval time)
{
    return (int64_t)time.tv_sec * 1000000 + (int64_t)time.tv_usec;
}

static const struct child *find(pid_t pid)
{
    for (size_t i = 0; i < zygote.count; i++) {
        if (zygote.children[i].pid == pid) {
            return &zygote.children[i];
        }
    }
    return NULL;
}

/* Of a process that has ended but is not reaped, so that its number is still its own. */
static void bury(pid_t pid)
{
    const struct child *child = find(pid);
    struct rusage usage;
    int status;
    if (child != NULL) {
        kill(-pid, SIGKILL); /* what it started and left behind is in its group */
    }
    if (wait4(pid, &status, 0, &usage) != pid || child == NULL) {
        return;
    }
    struct cworker_event event = {
        .kind = CWORKER_EXITED,
        .pid = pid,
        .id = child->id,
        .status = status,
        .maxrss_kib = usage.ru_maxrss,
        .user_us = microseconds(usage.ru_utime),
        .system_us = microseconds(usage.ru_stime),
    };
    forget(pid);
    tell(&event);
}

static void reap(void)
{
    for (;;) {
        siginfo_t ended = {0};
        if (waitid(P_ALL, 0, &ended, WEXITED | WNOHANG | WNOWAIT) != 0 || ended.si_pid == 0) {
            return;
        }
        bury(ended.si_pid);
    }
}

/* --- Requests --- */

static bool has_other_threads(void)
{
    struct stat status;
    /* The links of this directory: two, and one for each thread. */
    return stat("/proc/self/task", &status) == 0 && status.st_nlink > 3 + RUNTIME_THREADS;
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

static void prepare(void)
{
    if (!zygote.prepared) {
        zygote.prepared = true;
        if (sharedstate_zygote_prepare != NULL) {
            sharedstate_zygote_prepare(zygote.share_fd);
        }
    }
}

/* Returns the child's pid, or a negated errno. */
static pid_t start_worker(bool shows_backtrace)
{
    struct cworker_start start = {
        .zygote = zygote.self,
        .parent = zygote.parent,
        .parent_fd = zygote.parent_fd,
        .share_fd = zygote.share_fd,
        .backtrace = zygote.backtrace,
        .shows_backtrace = shows_backtrace,
        .mask = &zygote.mask,
        .payload = {packet.payload, work.length},
        .fds = work.fds,
        .nfds = work.nfds,
    };
    if (sharedstate_worker_run == NULL) {
        return -ENOEXEC;
    }
    if (!has_room()) {
        return -ENOMEM;
    }
    prepare();
    if (shows_backtrace || has_other_threads()) {
        return cworker_spawn(&start, zygote.preloads, zygote.preload_count);
    }
    fflush(NULL); /* or the child would write the buffered text again */
    pid_t pid = fork();
    if (pid < 0) {
        return -errno;
    }
    if (pid == 0) {
        close(zygote.control);
        close(zygote.ended_fd);
        signal(SIGCHLD, SIG_DFL);
        free(zygote.children);
        zygote.children = NULL;
        cworker_become(&start);
    }
    return pid;
}

static void handle_fork(uint64_t id, int wanted)
{
    pid_t pid = start_worker((wanted & CWORKER_WITH_BACKTRACE) != 0);
    struct cworker_event event = {.kind = CWORKER_FORK_FAILED, .id = id};
    if (pid < 0) {
        event.status = -pid;
        tell(&event);
        return;
    }
    setpgid(pid, pid); /* so does the child: whoever comes first */
    zygote.children[zygote.count++] = (struct child){id, pid};
    event.kind = CWORKER_FORKED;
    event.pid = pid;
    /* It is not reaped yet, whatever has become of it, so this cannot open another process. */
    int pidfd = wanted & CWORKER_WITH_PIDFD ? (int)syscall(SYS_pidfd_open, pid, 0) : -1;
    tell_with(&event, pidfd);
    if (pidfd >= 0) {
        close(pidfd);
    }
}

/* What a preload leaves in memory, every worker forked from now on has; one that is spawned runs
 * the preload itself. */
static void handle_preload(uint64_t id)
{
    struct cworker_event event = {.kind = CWORKER_PRELOADED, .id = id};
    void *copy = NULL;
    if (sharedstate_zygote_preload == NULL) {
        event.status = ENOEXEC;
    } else if (zygote.preload_count == CWORKER_MAX_PRELOADS ||
               (copy = malloc(work.length + 1)) == NULL) {
        event.status = ENOMEM;
    } else if (sharedstate_zygote_preload(packet.payload, work.length, event.text,
                                          sizeof event.text) != 0) {
        event.status = ECANCELED;
    }
    if (event.status == 0) {
        memcpy(copy, packet.payload, work.length);
        zygote.preloads[zygote.preload_count++] = (struct cworker_bytes){copy, work.length};
    } else {
        free(copy);
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
    } else if (packet.request.kind == CWORKER_REQUEST_PRELOAD) {
        handle_preload(packet.request.id);
    } else if ((message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0) {
        /* The table of descriptors is full: the worker would miss some. */
        struct cworker_event event = {
            .kind = CWORKER_FORK_FAILED, .id = packet.request.id, .status = EMFILE};
        tell(&event);
    } else {
        handle_fork(packet.request.id, packet.request.number);
    }
    for (int i = 0; i < work.nfds; i++) {
        close(work.fds[i]);
    }
}

/* --- Start --- */

static void parse(const char *handshake)
{
    int parent, count, used = 0;
    if (sscanf(handshake, "%d %d %n", &parent, &count, &used) != 2 || used == 0 || parent <= 0 ||
        count < 0 || count > CWORKER_MAX_INHERITED) {
        cworker_die("the variable " CWORKER_HANDSHAKE " is the library's own; unset it");
    }
    zygote.parent = parent;
    zygote.control = CWORKER_CONTROL_FD;
    zygote.share_fd = count > 0 ? CWORKER_CONTROL_FD + 1 : -1;
    if (handshake[used] == '=') {
        zygote.backtrace = strdup(handshake + used + 1);
        if (zygote.backtrace == NULL) {
            cworker_die("out of memory");
        }
    }
    for (int fd = CWORKER_CONTROL_FD; fd <= CWORKER_CONTROL_FD + count; fd++) {
        if (fcntl(fd, F_SETFD, FD_CLOEXEC) < 0) {
            cworker_die("a descriptor that it needs is closed");
        }
    }
}

/*
 * Signals to the whole process group (Ctrl-C) are for the parent and the workers to answer. The
 * zygote stays until its parent leaves.
 */
static void block_signals(void)
{
    sigset_t most;
    sigfillset(&most);
    static const int others[] = {SIGSEGV, SIGBUS,  SIGILL, SIGFPE,
                                 SIGTRAP, SIGABRT, SIGSYS, SIGCHLD};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        sigdelset(&most, others[i]);
    }
    sigprocmask(SIG_SETMASK, &most, &zygote.mask);
}

static void note_end(int number)
{
    (void)number;
    int error = errno;
    (void)!write(zygote.ended_fd, &(uint64_t){1}, sizeof(uint64_t));
    errno = error;
}

/* Not a signalfd: if a library has started a thread, the signal is given to that one, and lost. */
static void watch_children(void)
{
    struct sigaction action = {.sa_handler = note_end, .sa_flags = SA_RESTART | SA_NOCLDSTOP};
    sigemptyset(&action.sa_mask);
    zygote.ended_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (zygote.ended_fd < 0 || sigaction(SIGCHLD, &action, NULL) != 0) {
        cworker_die("it cannot watch its children");
    }
}

int cworker_is_zygote(void)
{
    return zygote.self != 0 && zygote.self == getpid();
}

_Noreturn void cworker_zygote_run(const char *handshake)
{
    zygote.self = getpid();
    parse(handshake);
    unsetenv(CWORKER_HANDSHAKE);
    cworker_occupy_standard_descriptors();
    prctl(PR_SET_NAME, program_invocation_short_name); /* the kernel named it "exe" */
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    setpgid(0, 0); /* a signal to its parent's group is not for it */
    block_signals();
    watch_children();
    /* Where a sandbox forbids pidfd_open, the hang-up of the socket has to do. */
    zygote.parent_fd = (int)syscall(SYS_pidfd_open, zygote.parent, 0);
    if (getppid() != zygote.parent) {
        end_everything();
    }

    struct pollfd fds[] = {
        {zygote.control, POLLIN, 0}, {zygote.ended_fd, POLLIN, 0}, {zygote.parent_fd, POLLIN, 0}};
    for (;;) {
        if (poll(fds, 3, -1) < 0) {
            continue;
        }
        if (fds[2].revents != 0) {
            end_everything();
        }
        if (fds[1].revents != 0) {
            uint64_t count;
            (void)!read(zygote.ended_fd, &count, sizeof count);
            reap();
        }
        if (fds[0].revents != 0) {
            handle_request();
        }
    }
}
