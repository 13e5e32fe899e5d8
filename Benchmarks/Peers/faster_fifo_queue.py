# SPDX-License-Identifier: Apache-2.0
"""Peer: messages a second through a faster-fifo Queue, one process to one.

faster_fifo_queue.py SECONDS PRODUCER_CPU CONSUMER_CPU BYTES BATCH
"""
import multiprocessing
import os
import sys
import time
from queue import Empty, Full

import faster_fifo


def pin(cpu):
    if cpu >= 0:
        os.sched_setaffinity(0, [cpu])


def put_all(queue, messages):
    while True:
        try:
            if len(messages) == 1:
                queue.put(messages[0], timeout=10.0)
            else:
                queue.put_many(messages, timeout=10.0)
            return
        except Full:
            pass


def produce(queue, stop, cpu, size, batch):
    pin(cpu)
    messages = [bytes(size)] * batch
    while not stop.is_set():
        for _ in range(max(1, 64 // batch)):
            put_all(queue, messages)
    put_all(queue, [None])


def get_some(queue, batch):
    try:
        if batch == 1:
            return [queue.get(timeout=10.0)]
        return queue.get_many(max_messages_to_get=batch, timeout=10.0)
    except Empty:
        return []


def main():
    seconds = float(sys.argv[1])
    producer, consumer, size, batch = (int(word) for word in sys.argv[2:6])
    queue = faster_fifo.Queue(max_size_bytes=max(1 << 20, 8 * (size + 1000)))
    stop = multiprocessing.Event()
    process = multiprocessing.Process(target=produce, args=(queue, stop, producer, size, batch))
    process.start()
    pin(consumer)
    warm = time.monotonic() + seconds / 10
    while time.monotonic() < warm:
        get_some(queue, batch)
    start = time.monotonic()
    received = 0
    while time.monotonic() < start + seconds:
        received += len(get_some(queue, batch))
    elapsed = time.monotonic() - start
    stop.set()
    while None not in get_some(queue, batch):
        pass
    process.join()
    print(received / elapsed)


if __name__ == "__main__":
    main()
