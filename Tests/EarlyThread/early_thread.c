/* SPDX-License-Identifier: Apache-2.0 */
#include "early_thread.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

static bool runs;

static void *wait_for_ever(void *unused)
{
    for (;;) {
        pause();
    }
    return unused;
}

__attribute__((constructor)) static void start_thread(void)
{
    pthread_t thread;
    runs = getenv("EARLY_THREAD") != NULL &&
           pthread_create(&thread, NULL, wait_for_ever, NULL) == 0 && pthread_detach(thread) == 0;
}

int early_thread_runs(void)
{
    return runs;
}

int fork_here(void)
{
    return fork();
}

void close_all(void)
{
    long limit = sysconf(_SC_OPEN_MAX);
    for (int fd = 0; fd < (limit > 4096 ? 4096 : (int)limit); fd++) {
        close(fd);
    }
}

void become_sleep(const char *seconds)
{
    execlp("sleep", "sleep", seconds, (char *)NULL);
}

int allow_threads(int allowed)
{
    /* No address space has room for the larger one. */
    size_t stack = allowed ? (size_t)8 << 20 : (size_t)1 << 46;
    pthread_attr_t attributes;
    if (pthread_attr_init(&attributes) != 0) {
        return -1;
    }
    int status = pthread_attr_setstacksize(&attributes, stack);
    if (status == 0) {
        status = pthread_setattr_default_np(&attributes);
    }
    pthread_attr_destroy(&attributes);
    return status;
}
