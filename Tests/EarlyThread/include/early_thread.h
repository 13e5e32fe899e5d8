/* SPDX-License-Identifier: Apache-2.0 */
#ifndef EARLY_THREAD_H
#define EARLY_THREAD_H

/* Whether a thread was started before main, as some libraries do: if EARLY_THREAD is set. */
int early_thread_runs(void);

/* fork(), which Swift may not call by its name: it is the tests' business what comes of it. */
int fork_here(void);

/* Closes every descriptor of the process. */
void close_all(void);

/* Whether threads without attributes of their own can be started from now on; 0, or an error. */
int allow_threads(int allowed);

/* Becomes `sleep SECONDS`; returns only if there is no such program. */
void become_sleep(const char *seconds);

#endif /* EARLY_THREAD_H */
