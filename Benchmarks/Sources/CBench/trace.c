/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Counts a program's system calls between its two marks (COUNT_MARK in count.h), on its main thread.
 */
#include <bench.h>

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MARK = 0x53687362 };

static int start_traced(const char *program, const char *operation, uint32_t times, pid_t *child)
{
    char number[16];
    snprintf(number, sizeof number, "%u", times);
    int status = 0;
    fflush(NULL);
    *child = fork();
    if (*child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (freopen("/dev/null", "w", stdout) != NULL &&
            ptrace(PTRACE_TRACEME, 0, NULL, NULL) == 0) {
            raise(SIGSTOP);
            execl(program, program, operation, number, (char *)NULL);
        }
        _exit(127);
    }
    if (*child < 0 || waitpid(*child, &status, 0) != *child) {
        return -ECHILD;
    }
    if (!WIFSTOPPED(status)) {
        return -EPERM;
    }
    long options = PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL;
    return ptrace(PTRACE_SETOPTIONS, *child, NULL, options) == 0 ? 0 : -errno;
}

/* What one system call that is just beginning adds. */
static uint64_t note(pid_t child, bool *counting)
{
    struct __ptrace_syscall_info info;
    if (ptrace(PTRACE_GET_SYSCALL_INFO, child, sizeof info, &info) <= 0 ||
        info.op != PTRACE_SYSCALL_INFO_ENTRY) {
        return 0;
    }
    if (info.entry.nr == SYS_prctl && info.entry.args[0] == MARK) {
        *counting = info.entry.args[1] == 1;
        return 0;
    }
    return *counting ? 1 : 0;
}

int bench_count_system_calls(const char *program, const char *operation, uint32_t times,
                             uint64_t *count)
{
    pid_t child;
    bool counting = false;
    int signal = 0;
    *count = 0;
    int status = start_traced(program, operation, times, &child);
    if (status != 0) {
        return status;
    }
    for (;;) {
        if (ptrace(PTRACE_SYSCALL, child, NULL, (long)signal) != 0 ||
            waitpid(child, &status, 0) != child) {
            return -ECHILD;
        }
        if (!WIFSTOPPED(status)) {
            return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -EIO;
        }
        bool is_call = WSTOPSIG(status) == (SIGTRAP | 0x80);
        signal = is_call || WSTOPSIG(status) == SIGTRAP ? 0 : WSTOPSIG(status);
        *count += is_call ? note(child, &counting) : 0;
    }
}
