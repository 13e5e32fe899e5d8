# SPDX-License-Identifier: Apache-2.0
"""Peer: messages a second through a multiprocessing.Queue, one process to one.

mp_queue.py SECONDS PRODUCER_CPU CONSUMER_CPU BYTES
"""
import multiprocessing
import os
import sys
import time


def pin(cpu):
    if cpu >= 0:
        os.sched_setaffinity(0, [cpu])


def produce(queue, stop, cpu, size):
    pin(cpu)
    message = bytes(size)
    while not stop.is_set():
        for _ in range(64):
            queue.put(message)
    queue.put(None)


def main():
    seconds = float(sys.argv[1])
    producer, consumer, size = (int(word) for word in sys.argv[2:5])
    queue = multiprocessing.Queue(1024)
    stop = multiprocessing.Event()
    process = multiprocessing.Process(target=produce, args=(queue, stop, producer, size))
    process.start()
    pin(consumer)
    warm = time.monotonic() + seconds / 10
    while time.monotonic() < warm:
        queue.get()
    start = time.monotonic()
    received = 0
    while time.monotonic() < start + seconds:
        queue.get()
        received += 1
    elapsed = time.monotonic() - start
    stop.set()
    while queue.get() is not None:
        pass
    process.join()
    print(received / elapsed)


if __name__ == "__main__":
    main()
