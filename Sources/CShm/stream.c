/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * The word that says whether a stream of several producers goes on: how many ever joined, and
 * whether it is finished or cancelled. Pair:
 *
 *   [join]  a producer takes its place, then counts itself in the word; who ends the stream loads
 *           the word, finds nobody alive in any place, and finishes by a compare-and-swap of the
 *           word, which fails if one joined meanwhile (all seq_cst)
 */
#include "internal.h"

#include <errno.h>

int cshm__stream_status(uint64_t stream)
{
    if ((stream & CSHM_STREAM_CANCELLED) != 0) {
        return -ECANCELED;
    }
    return (stream & CSHM_STREAM_FINISHED) != 0 ? -EPIPE : 0;
}

int cshm__stream_join(_Atomic uint64_t *word)
{
    uint64_t stream = atomic_load_explicit(word, memory_order_seq_cst);
    do {
        int status = cshm__stream_status(stream);
        if (status != 0) {
            return status;
        }
    } while (!atomic_compare_exchange_weak_explicit(word, &stream, stream + CSHM_STREAM_JOINED,
                                                    memory_order_seq_cst,
                                                    memory_order_seq_cst)); /* [join] */
    return 0;
}

bool cshm__stream_is_over(_Atomic uint64_t *word, bool (*somebody_lives)(void *context),
                          void *context)
{
    uint64_t stream = atomic_load_explicit(word, memory_order_seq_cst); /* [join] */
    if ((stream & CSHM_STREAM_FINISHED) != 0) {
        return true;
    }
    return stream >= CSHM_STREAM_JOINED && !somebody_lives(context) &&
           atomic_compare_exchange_strong_explicit(word, &stream, stream | CSHM_STREAM_FINISHED,
                                                   memory_order_seq_cst,
                                                   memory_order_relaxed); /* [join] */
}
