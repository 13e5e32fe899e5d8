/* SPDX-License-Identifier: Apache-2.0 */
#include "launch.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

int cworker_make_pipe(int ends[2])
{
    if (pipe2(ends, O_CLOEXEC) != 0 || fcntl(ends[0], F_SETFL, O_NONBLOCK) != 0) {
        return -errno;
    }
    return 0;
}

int cworker_make_file(const char *name)
{
    int file = memfd_create(name, MFD_CLOEXEC);
    return file < 0 ? -errno : file;
}

int cworker_open_directory(const char *path)
{
    int directory = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    return directory < 0 ? -errno : directory;
}

void cworker_set_name(const char *name)
{
    prctl(PR_SET_NAME, name);
}

/* A set's bits are in words; on a little-endian machine, in bytes as well. */
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "a CPU's bit is elsewhere");

int cworker_get_cpus(uint8_t *bits, size_t size)
{
    memset(bits, 0, size);
    return sched_getaffinity(0, size, (cpu_set_t *)(void *)bits) < 0 ? -errno : 0;
}

int cworker_set_cpus(const uint8_t *bits, size_t size)
{
    return sched_setaffinity(0, size, (const cpu_set_t *)(const void *)bits) < 0 ? -errno : 0;
}
