/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * The client's end: starts a zygote, sends it requests, reads its events.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "zygote_wire.h"

#define END_TIMEOUT_MS 10000

struct cworker_zygote {
    int fd;      /* our end of the control socket */
    int pidfd;   /* the zygote, or -1 where a sandbox forbids pidfd_open */
    pid_t pid;   /* the zygote */
    pid_t owner; /* the process that started it */
    bool reaped;
};

/* --- Starting --- */

static bool is_variable(const char *entry, const char *name)
{
    size_t length = strlen(name);
    return strncmp(entry, name, length) == 0 && entry[length] == '=';
}

/*
 * The environment for the zygote: ours, with the hand-shake, and without Swift's crash backtraces,
 * which keep a trapped worker alive for up to 30 s. NULL if out of memory; free with free.
 */
static char **make_environment(int count)
{
    extern char **environ;
    size_t entries = 0;
    while (environ != NULL && environ[entries] != NULL) {
        entries++;
    }

    const char *backtrace = getenv(CWORKER_BACKTRACE);
    char head[64];
    int n = snprintf(head, sizeof head, "%s=1 %d %d ", CWORKER_HANDSHAKE, (int)getpid(), count);
    size_t head_length = (size_t)n;
    size_t tail_length = backtrace == NULL ? 1 : strlen(backtrace) + 1;
    size_t vector = (entries + 3) * sizeof(char *);
    char **result = malloc(vector + head_length + tail_length + 1);
    if (result == NULL) {
        return NULL;
    }

    char *text = (char *)result + vector;
    memcpy(text, head, head_length);
    text[head_length] = backtrace == NULL ? '-' : '=';
    if (backtrace != NULL) {
        memcpy(text + head_length + 1, backtrace, tail_length - 1);
    }
    text[head_length + tail_length] = '\0';

    static char no_backtrace[] = CWORKER_BACKTRACE "=enable=no";
    size_t used = 0;
    for (size_t i = 0; i < entries; i++) {
        if (is_variable(environ[i], CWORKER_BACKTRACE)) {
            continue;
        }
        result[used++] = environ[i];
    }
    result[used++] = no_backtrace;
    result[used++] = text;
    result[used] = NULL;
    return result;
}

/* Of the signals that we ignore, the zygote needs the one that tells of its children. */
static int set_attributes(posix_spawnattr_t *attributes)
{
    sigset_t none, defaults;
    sigemptyset(&none);
    sigemptyset(&defaults);
    sigaddset(&defaults, SIGCHLD);
    posix_spawnattr_setsigmask(attributes, &none);
    posix_spawnattr_setsigdefault(attributes, &defaults);
    return posix_spawnattr_setflags(attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
}

/* Spawns this executable with `fds` as its descriptors from CWORKER_CONTROL_FD on. */
static int spawn_self(const int *fds, int count, char **environment, pid_t *pid)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    int error = posix_spawn_file_actions_init(&actions);
    if (error != 0) {
        return -error;
    }
    error = posix_spawnattr_init(&attributes);
    if (error != 0) {
        posix_spawn_file_actions_destroy(&actions);
        return -error;
    }
    error = set_attributes(&attributes);
    for (int i = 0; i < count && error == 0; i++) {
        error = posix_spawn_file_actions_adddup2(&actions, fds[i], CWORKER_CONTROL_FD + i);
    }
    if (error == 0) {
        error = posix_spawn_file_actions_addclosefrom_np(&actions, CWORKER_CONTROL_FD + count);
    }
    if (error == 0) {
        error = posix_spawn(pid, "/proc/self/exe", &actions, &attributes, cworker_arguments(),
                            environment);
    }
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    return -error;
}

/* Makes copies of the descriptors above those that the zygote's will be given. */
static int copy_above(const int *fds, int count, int *copies)
{
    for (int i = 0; i < count; i++) {
        copies[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, CWORKER_CONTROL_FD + count);
        if (copies[i] >= 0) {
            continue;
        }
        int error = errno;
        while (i > 0) {
            close(copies[--i]);
        }
        return -error;
    }
    return 0;
}

static int spawn_with(int control, const int *inherit_fds, int count, pid_t *pid)
{
    int fds[1 + CWORKER_MAX_INHERITED], copies[1 + CWORKER_MAX_INHERITED];
    fds[0] = control;
    for (int i = 0; i < count; i++) {
        fds[1 + i] = inherit_fds[i];
    }
    int status = copy_above(fds, 1 + count, copies);
    if (status < 0) {
        return status;
    }
    char **environment = make_environment(count);
    status = environment == NULL ? -ENOMEM : spawn_self(copies, 1 + count, environment, pid);
    free(environment);
    for (int i = 0; i <= count; i++) {
        close(copies[i]);
    }
    return status;
}

int cworker_zygote_start(const int *inherit_fds, int count, cworker_zygote **out)
{
    *out = NULL;
    if (count < 0 || count > CWORKER_MAX_INHERITED) {
        return -EINVAL;
    }
    if (!cworker_hooked() || cworker_handshake_pending() || getauxval(AT_SECURE) != 0) {
        return -ENOEXEC;
    }
    cworker_zygote *zygote = malloc(sizeof *zygote);
    if (zygote == NULL) {
        return -ENOMEM;
    }
    int pair[2];
    int status = socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0 ? -errno : 0;
    if (status < 0) {
        free(zygote);
        return status;
    }
    pid_t pid = -1;
    status = spawn_with(pair[1], inherit_fds, count, &pid);
    close(pair[1]);
    if (status < 0) {
        close(pair[0]);
        free(zygote);
        return status;
    }
    *zygote = (cworker_zygote){.fd = pair[0], .pid = pid, .owner = getpid()};
    zygote->pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    *out = zygote;
    return 0;
}

/* --- Requests --- */

static int send_request(cworker_zygote *zygote, struct cworker_request request, const void *payload,
                        size_t length, const int *fds, int nfds)
{
    if (zygote->owner != getpid()) {
        return -ECHILD;
    }
    union {
        char bytes[CMSG_SPACE(CWORKER_MAX_FDS * sizeof(int))];
        struct cmsghdr alignment;
    } control;
    struct iovec parts[] = {{&request, sizeof request}, {(void *)payload, length}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = length > 0 ? 2 : 1};
    if (nfds > 0) {
        size_t bytes = (size_t)nfds * sizeof(int);
        memset(&control, 0, sizeof control);
        message.msg_control = control.bytes;
        message.msg_controllen = CMSG_SPACE(bytes);
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(bytes);
        memcpy(CMSG_DATA(header), fds, bytes);
    }
    ssize_t size;
    do {
        size = sendmsg(zygote->fd, &message, MSG_NOSIGNAL);
    } while (size < 0 && errno == EINTR);
    if (size >= 0) {
        return 0;
    }
    return errno == ECONNRESET ? -EPIPE : -errno;
}

int cworker_fork(cworker_zygote *zygote, uint64_t id, const void *payload, size_t length,
                 const int *fds, int nfds, int wanted)
{
    if (length > CWORKER_MAX_PAYLOAD) {
        return -EMSGSIZE;
    }
    if (nfds < 0 || nfds > CWORKER_MAX_FDS) {
        return -EINVAL;
    }
    struct cworker_request request = {.kind = CWORKER_REQUEST_FORK, .number = wanted, .id = id};
    return send_request(zygote, request, payload, length, fds, nfds);
}

int cworker_kill(cworker_zygote *zygote, uint64_t id, int number)
{
    struct cworker_request request = {.kind = CWORKER_REQUEST_KILL, .number = number, .id = id};
    return send_request(zygote, request, NULL, 0, NULL, 0);
}

int cworker_preload(cworker_zygote *zygote, uint64_t id, const void *payload, size_t length)
{
    if (length > CWORKER_MAX_PAYLOAD) {
        return -EMSGSIZE;
    }
    struct cworker_request request = {.kind = CWORKER_REQUEST_PRELOAD, .id = id};
    return send_request(zygote, request, payload, length, NULL, 0);
}

/* --- Events and the end --- */

/* Waits for the zygote's end, for a time, then forces it. */
static void reap_zygote(cworker_zygote *zygote)
{
    if (zygote->reaped) {
        return;
    }
    zygote->reaped = true;
    if (zygote->pidfd >= 0) {
        struct pollfd fd = {zygote->pidfd, POLLIN, 0};
        int ready;
        do {
            ready = poll(&fd, 1, END_TIMEOUT_MS);
        } while (ready < 0 && errno == EINTR);
        if (ready == 0) {
            syscall(SYS_pidfd_send_signal, zygote->pidfd, SIGKILL, NULL, 0);
        }
    }
    /* ECHILD: the program ignores SIGCHLD or waits for any child, and so has reaped it for us. */
    while (waitpid(zygote->pid, NULL, 0) < 0 && errno == EINTR) {
        continue;
    }
}

/* The descriptor that came with a message, or -1. */
static int take_descriptor(struct msghdr *message)
{
    struct cmsghdr *header = CMSG_FIRSTHDR(message);
    int fd = -1;
    if (header != NULL && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS &&
        header->cmsg_len == CMSG_LEN(sizeof fd)) {
        memcpy(&fd, CMSG_DATA(header), sizeof fd);
    }
    return fd;
}

int cworker_next_event(cworker_zygote *zygote, struct cworker_event *out)
{
    if (zygote->owner != getpid()) {
        return -ECHILD;
    }
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr alignment;
    } control;
    struct cworker_event event = {0};
    struct iovec part = {&event, sizeof event};
    struct msghdr message;
    ssize_t size;
    /* A reset is reported once, before the events that were sent ahead of it. */
    do {
        message = (struct msghdr){.msg_iov = &part,
                                  .msg_iovlen = 1,
                                  .msg_control = control.bytes,
                                  .msg_controllen = sizeof control.bytes};
        size = recvmsg(zygote->fd, &message, MSG_CMSG_CLOEXEC);
    } while (size < 0 && (errno == EINTR || errno == ECONNRESET));
    if (size >= (ssize_t)offsetof(struct cworker_event, text)) {
        event.text[sizeof event.text - 1] = '\0';
        event.pidfd = take_descriptor(&message);
        *out = event;
        return 0;
    }
    reap_zygote(zygote);
    *out = (struct cworker_event){.kind = CWORKER_CLOSED, .pid = zygote->pid, .pidfd = -1};
    return 0;
}

int cworker_zygote_pid(const cworker_zygote *zygote)
{
    return zygote->pid;
}

int cworker_fd(const cworker_zygote *zygote)
{
    return zygote->fd;
}

void cworker_zygote_shutdown(cworker_zygote *zygote)
{
    if (zygote == NULL) {
        return;
    }
    if (zygote->owner == getpid()) {
        shutdown(zygote->fd, SHUT_RDWR); /* also where a fork of this process holds a copy */
        reap_zygote(zygote);
    }
    close(zygote->fd);
    if (zygote->pidfd >= 0) {
        close(zygote->pidfd);
    }
    free(zygote);
}
