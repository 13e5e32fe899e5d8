/*
 * SPDX-License-Identifier: Apache-2.0
 */
#include <count.h>

#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <sys/prctl.h>

static _Thread_local uint64_t allocations;

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *block, size_t size);
void *__libc_memalign(size_t alignment, size_t size);

void *malloc(size_t size)
{
    allocations++;
    return __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    allocations++;
    return __libc_calloc(count, size);
}

void *realloc(void *block, size_t size)
{
    allocations++;
    return __libc_realloc(block, size);
}

void *memalign(size_t alignment, size_t size)
{
    allocations++;
    return __libc_memalign(alignment, size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
    allocations++;
    return __libc_memalign(alignment, size);
}

int posix_memalign(void **block, size_t alignment, size_t size)
{
    allocations++;
    *block = __libc_memalign(alignment, size);
    return *block == NULL ? ENOMEM : 0;
}

/* A name of its own in callgrind's table. */
__attribute__((noinline)) uint64_t count_run(void (*body)(void *context), void *context,
                                             uint64_t times)
{
    (void)prctl(COUNT_MARK, 1, 0, 0, 0);
    uint64_t before = allocations;
    for (uint64_t i = 0; i < times; i++) {
        body(context);
    }
    uint64_t after = allocations;
    (void)prctl(COUNT_MARK, 0, 0, 0, 0);
    return after - before;
}
