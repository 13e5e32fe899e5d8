/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * A test is a function that returns. Each runs in its own process and process group under a
 * watchdog, so a deadlock is a failure with a name and a crash takes nothing else down. Exit
 * status: 0 passed, 77 skipped, anything else failed.
 *
 * A file `<noun>_test.c` defines `const struct test <noun>_tests[]`, ending in {NULL, NULL};
 * main.c lists the nouns. A test that needs a second process says so in its name, with "process"
 * or "kill", because ThreadSanitizer cannot judge it and leaves it out.
 */
#ifndef CSHM_TEST_H
#define CSHM_TEST_H

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct test {
    const char *name;
    void (*run)(void);
};

/* Always on, unlike assert(). */
#define CHECK(expr)                                                                  \
    do {                                                                             \
        if (!(expr)) {                                                               \
            fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, __func__, #expr); \
            exit(1);                                                                 \
        }                                                                            \
    } while (0)

/* CHECK for a child, whose output goes the way of the test's: exit() would be the parent's. */
#define REQUIRE(expr)                                                              \
    do {                                                                           \
        if (!(expr)) {                                                             \
            fprintf(stderr, "%s:%d: in a child: %s\n", __FILE__, __LINE__, #expr); \
            _exit(1);                                                              \
        }                                                                          \
    } while (0)

/* Compares as long long, which holds every count and errno here, and prints both sides. */
#define CHECK_EQ(a, b)                                                                     \
    do {                                                                                   \
        long long check_left_ = (long long)(a);                                            \
        long long check_right_ = (long long)(b);                                           \
        if (check_left_ != check_right_) {                                                 \
            fprintf(stderr, "%s:%d: %s: %s == %s: %lld is not %lld\n", __FILE__, __LINE__, \
                    __func__, #a, #b, check_left_, check_right_);                          \
            exit(1);                                                                       \
        }                                                                                  \
    } while (0)

#define SKIP(why)                                \
    do {                                         \
        fprintf(stderr, "skipped: %s\n", (why)); \
        exit(77);                                \
    } while (0)

#endif /* CSHM_TEST_H */
