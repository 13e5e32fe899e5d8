/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Takes over at `main`: a process with the hand-shake in its environment becomes a zygote, or a
 * worker.
 *
 * Not in a constructor: there, C++ globals of other targets may not be initialised yet, and the
 * Swift types of the executable may not be registered. At `main` everything is.
 */
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/auxv.h>
#include <unistd.h>

#include "worker.h"

typedef int (*main_function)(int, char **, char **);
typedef int (*start_function)(main_function, int, char **, void (*)(void), void (*)(void),
                              void (*)(void), void *);

static main_function user_main;
static char **arguments;

int __libc_start_main(main_function main, int argc, char **argv, void (*init)(void),
                      void (*fini)(void), void (*rtld_fini)(void), void *stack_end)
    __attribute__((weak, visibility("default")));

/* The program's main may be declared with other parameters; calling it so is what libc does. */
__attribute__((no_sanitize("function"))) static int hooked_main(int argc, char **argv, char **envp)
{
    arguments = argv;
    /* Not getenv: a set-user-id program takes no orders from its environment. */
    const char *handshake = secure_getenv(CWORKER_HANDSHAKE);
    if (handshake != NULL && handshake[0] == '2') {
        cworker_spawned_run(handshake + 1);
    }
    if (handshake != NULL) {
        cworker_zygote_run(handshake[0] == '1' ? handshake + 1 : "");
    }
    return user_main(argc, argv, envp);
}

int __libc_start_main(main_function main, int argc, char **argv, void (*init)(void),
                      void (*fini)(void), void (*rtld_fini)(void), void *stack_end)
{
    start_function real = (start_function)dlsym(RTLD_NEXT, "__libc_start_main");
    if (real == NULL) {
        static const char text[] = "SharedState: no __libc_start_main in the C library\n";
        if (write(STDERR_FILENO, text, sizeof text - 1) < 0) {
            _exit(126);
        }
        _exit(127);
    }
    user_main = main;
    return real(hooked_main, argc, argv, init, fini, rtld_fini, stack_end);
}

/*
 * Without AT_BASE the kernel started no dynamic linker for the executable: it is the dynamic linker
 * itself (`ld.so ./program`), and starting /proc/self/exe again would not start the program.
 */
int cworker_hooked(void)
{
    return arguments != NULL && getauxval(AT_BASE) != 0;
}

int cworker_handshake_pending(void)
{
    return getenv(CWORKER_HANDSHAKE) != NULL;
}

char **cworker_arguments(void)
{
    return arguments;
}
