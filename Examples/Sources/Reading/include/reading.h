/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * What the producer, in C, sends to the consumer, in Swift: the names, and the type of an element.
 */
#ifndef READING_H
#define READING_H

#include <stdint.h>

/* The region, which is /dev/shm/sharedstate.readings, and the queue in it. */
#define READING_REGION "sharedstate.readings"
#define READING_QUEUE  "readings"
/* Both sides say this, so that neither opens another's elements; another layout is another text. */
#define READING_TYPE   "com.example.reading/1"

struct reading {
    int64_t number;
    double celsius;
};

/* The n-th reading of a thermometer. */
struct reading reading_take(int64_t number);

#endif /* READING_H */
