/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Puts readings into a queue that a Swift program takes them from. Either may be started first:
 * who comes first makes the region and the queue.
 *
 *   producer [count]    1000 readings by default
 */
#include <cshm.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "reading.h"

static void check(int status, const char *what)
{
    if (status < 0) {
        fprintf(stderr, "producer: %s: %s\n", what, strerror(-status));
        exit(1);
    }
}

static cshm_region *open_region(void)
{
    cshm_region *region = NULL;
    int status = cshm_region_create_named(READING_REGION, NULL, &region);
    if (status == -EEXIST) {
        status = cshm_region_open(READING_REGION, &region);
    }
    check(status, READING_REGION);
    return region;
}

/* Makes the queue, and gives it its name; whose queue comes second has its queue thrown away. */
static cshm_queue *make_queue(cshm_region *region)
{
    struct cshm_queue_options options = {
        .capacity = 256,
        .slot_size = sizeof(struct reading),
        .type_tag = cshm_type_tag(READING_TYPE),
    };
    cshm_queue *queue = NULL;
    uint64_t offset = 0;
    check(cshm_queue_create(region, &options, &offset), "making the queue");
    check(cshm_queue_open(region, offset, options.type_tag, &queue), "opening the queue");
    int status =
        cshm_directory_add(region, READING_QUEUE, CSHM_KIND_QUEUE, options.type_tag, offset);
    if (status == -EEXIST) {
        cshm_queue_destroy(queue);
        return NULL;
    }
    check(status, "naming the queue");
    return queue;
}

static cshm_queue *open_queue(cshm_region *region)
{
    struct cshm_directory_entry entry;
    cshm_queue *queue = NULL;
    if (cshm_directory_find(region, READING_QUEUE, &entry) == -ENOENT) {
        queue = make_queue(region);
    }
    if (queue == NULL) {
        check(cshm_directory_find(region, READING_QUEUE, &entry), READING_QUEUE);
        check(cshm_queue_open(region, entry.offset, cshm_type_tag(READING_TYPE), &queue),
              READING_QUEUE);
    }
    return queue;
}

int main(int argc, char **argv)
{
    int64_t count = argc > 1 ? strtoll(argv[1], NULL, 10) : 1000;
    cshm_region *region = open_region();
    cshm_queue *queue = open_queue(region);
    uint32_t token = 0;

    /* When the last producer closes its token, or dies, the stream ends: the consumer sees it. */
    check(cshm_queue_producer_open(queue, &token), "becoming a producer");
    printf("producer: sending\n");
    fflush(stdout);
    for (int64_t number = 0; number < count; number++) {
        struct reading reading = reading_take(number);
        check(cshm_queue_put_until(queue, &reading, sizeof reading, INT64_MAX), "putting");
    }
    cshm_queue_producer_close(queue, token);

    printf("producer: sent %lld readings\n", (long long)count);
    cshm_queue_close(queue);
    cshm_region_close(region);
    return 0;
}
