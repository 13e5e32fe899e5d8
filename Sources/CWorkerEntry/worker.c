/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * A worker's first steps, up to its thread in Swift.
 */
#include "worker.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#define WORKER_STACK ((size_t)16 << 20)

extern void dispatch_main(void) __attribute__((weak));

/* The worker's own; what `cworker_start` points to is gone, or the zygote's, when its thread runs. */
static struct {
    struct cworker_bytes payload;
    int fds[CWORKER_MAX_FDS];
    int nfds;
    pid_t parent;
    int parent_fd;
} worker = {.parent_fd = -1};

int cworker_parent_pid(void)
{
    return worker.parent;
}

int cworker_parent_fd(void)
{
    return worker.parent_fd;
}

_Noreturn void cworker_die(const char *text)
{
    dprintf(STDERR_FILENO, "SharedState worker host: %s\n", text);
    _exit(126);
}

void cworker_occupy_standard_descriptors(void)
{
    for (int fd = 0; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) < 0) {
            (void)!open("/dev/null", O_RDWR);
        }
    }
}

/* --- Becoming a worker --- */

static void *worker_thread(void *unused)
{
    (void)unused;
    /* A thread's own: if this one executes another program, it is the one that counts. */
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    sharedstate_worker_run(worker.payload.data, worker.payload.length, worker.fds, worker.nfds);
    return NULL;
}

static void restore_backtrace(const char *value)
{
    if (value != NULL) {
        setenv(CWORKER_BACKTRACE, value, 1);
    } else {
        unsetenv(CWORKER_BACKTRACE);
    }
}

/* `await MainActor.run` hangs unless the main queue is hosted. */
static _Noreturn void host_main_queue(void)
{
    void (*host)(void) = dispatch_main;
    if (host == NULL) {
        host = (void (*)(void))dlsym(RTLD_DEFAULT, "dispatch_main");
    }
    if (host != NULL) {
        host();
    }
    for (;;) {
        pause();
    }
}

/*
 * The work runs on a second thread, as the first one hosts the main queue. What is a thread's own in
 * Linux though it ought to be the process's (niceness, CPUs) is set before there are two.
 */
_Noreturn void cworker_become(const struct cworker_start *start)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != start->zygote) {
        _exit(0); /* the zygote died before the line above */
    }
    /* What the terminal sends is for the parent to answer; what this one starts ends with it. */
    setpgid(0, 0);
    restore_backtrace(start->backtrace);
    worker.payload = start->payload;
    worker.nfds = start->nfds;
    memcpy(worker.fds, start->fds, (size_t)start->nfds * sizeof *worker.fds);
    worker.parent = start->parent;
    worker.parent_fd = start->parent_fd;
    if (sharedstate_worker_prepare != NULL) {
        sharedstate_worker_prepare(worker.payload.data, worker.payload.length, worker.fds,
                                   worker.nfds);
    }

    pthread_attr_t attributes;
    pthread_t thread;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, WORKER_STACK);
    /* Pending signals are not inherited, and there are no handlers: the mask is all. */
    pthread_sigmask(SIG_SETMASK, start->mask, NULL);
    if (pthread_create(&thread, &attributes, worker_thread, NULL) != 0) {
        cworker_die("no memory for a worker's thread");
    }
    pthread_attr_destroy(&attributes);
    host_main_queue();
}

/* --- Spawning --- */

/* A file without a name that holds, one after the other, the preloads and the payload. */
static int make_file(const struct cworker_start *start, const struct cworker_bytes *preloads,
                     int count)
{
    int file = memfd_create("sharedstate-worker", MFD_CLOEXEC);
    for (int i = 0; i <= count && file >= 0; i++) {
        const struct cworker_bytes *part = i < count ? &preloads[i] : &start->payload;
        uint64_t length = part->length;
        if (write(file, &length, sizeof length) != (ssize_t)sizeof length ||
            write(file, part->data, part->length) != (ssize_t)part->length) {
            close(file);
            errno = ENOSPC;
            return -1;
        }
    }
    return file;
}

/* Without questions, to where the worker's own errors go. */
#define SHOWN_BACKTRACE                                                                  \
    CWORKER_BACKTRACE "=enable=yes,interactive=no,color=no,threads=crashed,images=none," \
                      "registers=none,limit=64,output-to=stderr"

static bool is_backtrace(const char *entry)
{
    return strncmp(entry, CWORKER_BACKTRACE "=", sizeof CWORKER_BACKTRACE) == 0;
}

/* The environment and the hand-shake, and maybe another setting of backtraces; NULL if out of
 * memory. */
static char **environment_with(char *entry, bool shows_backtrace)
{
    extern char **environ;
    size_t count = 0, used = 0;
    while (environ[count] != NULL) {
        count++;
    }
    char **result = malloc((count + 3) * sizeof *result);
    if (result == NULL) {
        return NULL;
    }
    for (size_t i = 0; i < count; i++) {
        if (!shows_backtrace || !is_backtrace(environ[i])) {
            result[used++] = environ[i];
        }
    }
    if (shows_backtrace) {
        result[used++] = (char *)SHOWN_BACKTRACE;
    }
    result[used++] = entry;
    result[used] = NULL;
    return result;
}

static int set_attributes(posix_spawnattr_t *attributes, const sigset_t *mask)
{
    posix_spawnattr_setsigmask(attributes, mask);
    posix_spawnattr_setpgroup(attributes, 0);
    return posix_spawnattr_setflags(attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP);
}

/* Gives the new process `count` descriptors, from CWORKER_CONTROL_FD on. */
static pid_t spawn_with(const int *fds, int count, char **environment, const sigset_t *mask)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    pid_t pid = -1;
    int error = posix_spawn_file_actions_init(&actions);
    if (error != 0) {
        return -error;
    }
    posix_spawnattr_init(&attributes);
    error = set_attributes(&attributes, mask);
    for (int i = 0; i < count && error == 0; i++) {
        error = posix_spawn_file_actions_adddup2(&actions, fds[i], CWORKER_CONTROL_FD + i);
    }
    if (error == 0) {
        error = posix_spawn_file_actions_addclosefrom_np(&actions, CWORKER_CONTROL_FD + count);
    }
    if (error == 0) {
        error = posix_spawn(&pid, "/proc/self/exe", &actions, &attributes, cworker_arguments(),
                            environment);
    }
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    return error == 0 ? pid : -error;
}

/* Copies of the descriptors above all numbers that are given out; closed by the caller. */
static int copy_above(int *fds, int count)
{
    for (int i = 0; i < count; i++) {
        fds[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, CWORKER_CONTROL_FD + count);
        if (fds[i] < 0) {
            int error = errno;
            while (i > 0) {
                close(fds[--i]);
            }
            return -error;
        }
    }
    return 0;
}

pid_t cworker_spawn(const struct cworker_start *start, const struct cworker_bytes *preloads,
                    int count)
{
    int file = make_file(start, preloads, count);
    if (file < 0) {
        return -errno;
    }
    int fds[3 + CWORKER_MAX_FDS], used = 0;
    fds[used++] = file;
    if (start->share_fd >= 0) {
        fds[used++] = start->share_fd;
    }
    if (start->parent_fd >= 0) {
        fds[used++] = start->parent_fd;
    }
    memcpy(fds + used, start->fds, (size_t)start->nfds * sizeof *fds);
    used += start->nfds;

    char *entry = NULL;
    const char *old = start->backtrace;
    int length =
        asprintf(&entry, "%s=2 %d %d %d %d %d %d %c%s", CWORKER_HANDSHAKE, (int)start->zygote,
                 (int)start->parent, start->share_fd >= 0, start->parent_fd >= 0, start->nfds,
                 count, old == NULL ? '-' : '=', old == NULL ? "" : old);
    char **environment = length < 0 ? NULL : environment_with(entry, start->shows_backtrace);
    pid_t pid = environment == NULL ? -ENOMEM : copy_above(fds, used);
    close(file);
    if (pid == 0) {
        pid = spawn_with(fds, used, environment, start->mask);
        for (int i = 0; i < used; i++) {
            close(fds[i]);
        }
    }
    free(environment);
    if (length >= 0) {
        free(entry);
    }
    return pid;
}

/* --- Spawned --- */

static struct cworker_bytes read_part(int file)
{
    uint64_t length;
    if (read(file, &length, sizeof length) != (ssize_t)sizeof length ||
        length > CWORKER_MAX_PAYLOAD) {
        cworker_die("its orders are damaged");
    }
    void *data = malloc(length + 1);
    if (data == NULL || read(file, data, length) != (ssize_t)length) {
        cworker_die("no memory for its orders");
    }
    return (struct cworker_bytes){data, length};
}

static void run_preload(struct cworker_bytes preload)
{
    char text[sizeof((struct cworker_event *)0)->text] = "";
    if (sharedstate_zygote_preload != NULL &&
        sharedstate_zygote_preload(preload.data, preload.length, text, sizeof text) != 0) {
        cworker_die("a preload that had run in the zygote failed in a worker");
    }
    free((void *)preload.data);
}

_Noreturn void cworker_spawned_run(const char *handshake)
{
    static int fds[CWORKER_MAX_FDS];
    int zygote, parent, has_share, has_parent_fd, nfds, preloads, used = 0;
    if (sscanf(handshake, "%d %d %d %d %d %d %n", &zygote, &parent, &has_share, &has_parent_fd,
               &nfds, &preloads, &used) != 6 ||
        used == 0 || nfds < 0 || nfds > CWORKER_MAX_FDS || sharedstate_worker_run == NULL) {
        cworker_die("the variable " CWORKER_HANDSHAKE " is the library's own; unset it");
    }
    char *backtrace = handshake[used] == '=' ? strdup(handshake + used + 1) : NULL;
    unsetenv(CWORKER_HANDSHAKE);
    cworker_occupy_standard_descriptors();
    prctl(PR_SET_NAME, program_invocation_short_name); /* the kernel named it "exe" */
    int next = CWORKER_CONTROL_FD;
    int file = next++;
    int share_fd = has_share ? next++ : -1;
    int parent_fd = has_parent_fd ? next++ : -1;
    for (int i = 0; i < nfds; i++) {
        fds[i] = next++;
    }
    for (int fd = CWORKER_CONTROL_FD; fd < next; fd++) {
        if (fcntl(fd, F_SETFD, FD_CLOEXEC) < 0) {
            cworker_die("a descriptor that it needs is closed");
        }
    }
    if (lseek(file, 0, SEEK_SET) != 0) {
        cworker_die("its orders cannot be read");
    }
    if (sharedstate_zygote_prepare != NULL) {
        sharedstate_zygote_prepare(share_fd);
    }
    for (int i = 0; i < preloads; i++) {
        run_preload(read_part(file));
    }
    struct cworker_bytes payload = read_part(file);
    close(file);
    sigset_t mask;
    sigprocmask(SIG_SETMASK, NULL, &mask);
    cworker_become(&(struct cworker_start){
        .zygote = zygote,
        .parent = parent,
        .parent_fd = parent_fd,
        .share_fd = share_fd,
        .backtrace = backtrace,
        .mask = &mask,
        .payload = payload,
        .fds = fds,
        .nfds = nfds,
    });
}
