/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * All of CShm. Each noun has a header of its own, which is its paper.
 */
#ifndef CSHM_H
#define CSHM_H

#include "cshm/anchor.h"
#include "cshm/array.h"
#include "cshm/atomic.h"
#include "cshm/barrier.h"
#include "cshm/base.h"
#include "cshm/baton.h"
#include "cshm/bell.h"
#include "cshm/board.h"
#include "cshm/broadcast.h"
#include "cshm/condition.h"
#include "cshm/directory.h"
#include "cshm/event.h"
#include "cshm/heap.h"
#include "cshm/lanes.h"
#include "cshm/latch.h"
#include "cshm/list.h"
#include "cshm/lockwatch.h"
#include "cshm/map.h"
#include "cshm/mutex.h"
#include "cshm/once.h"
#include "cshm/outcome.h"
#include "cshm/park.h"
#include "cshm/participant.h"
#include "cshm/permits.h"
#include "cshm/post.h"
#include "cshm/queue.h"
#include "cshm/region.h"
#include "cshm/ring.h"
#include "cshm/rwlock.h"
#include "cshm/semaphore.h"
#include "cshm/value.h"

#endif /* CSHM_H */
