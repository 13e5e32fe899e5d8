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
