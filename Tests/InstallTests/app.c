/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * A program of somebody else's, with the installed library: a queue by name, used by two processes.
 * It is compiled as C11 and as C++17.
 */
#include <cshm.h>

#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

static int check(int status, const char *what)
{
    if (status < 0) {
        fprintf(stderr, "%s: %d\n", what, status);
        _exit(1);
    }
    return status;
}

static cshm_queue *open_jobs(cshm_region *region)
{
    struct cshm_directory_entry entry;
    cshm_queue *queue = NULL;
    check(cshm_directory_find(region, "jobs", &entry), "find");
    check(cshm_queue_open(region, entry.offset, entry.type_tag, &queue), "open");
    return queue;
}

static void produce(cshm_region *region)
{
    check(cshm_region_join(region), "join");
    cshm_queue *jobs = open_jobs(region);
    for (int64_t n = 1; n <= 1000; n++) {
        check(cshm_queue_put_until(jobs, &n, sizeof n, INT64_MAX), "put");
    }
    cshm_queue_close(jobs);
    cshm_region_close(region);
}

int main(void)
{
    struct cshm_queue_options options = {};
    cshm_region *region = NULL;
    uint64_t offset = 0;
    int64_t sum = 0;
    options.capacity = 64;
    options.slot_size = sizeof sum;
    options.type_tag = cshm_type_tag("s5Int64V");
    check(cshm_region_create(NULL, &region), "region");
    check(cshm_queue_create(region, &options, &offset), "queue");
    check(cshm_directory_add(region, "jobs", CSHM_KIND_QUEUE, options.type_tag, offset), "add");

    pid_t child = fork();
    if (child == 0) {
        produce(region);
        _exit(0);
    }
    cshm_queue *jobs = open_jobs(region);
    for (int i = 0; i < 1000; i++) {
        struct cshm_message message;
        check(cshm_queue_take_until(jobs, &message, INT64_MAX), "take");
        sum += *(const int64_t *)message.data;
        cshm_queue_release(jobs, &message);
    }
    int status = 0;
    waitpid(child, &status, 0);
    printf("%lld\n", (long long)sum);
    return status == 0 && sum == 500500 ? 0 : 1;
}
