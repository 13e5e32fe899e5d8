# SPDX-License-Identifier: Apache-2.0
"""Peer: acquisitions a second of a multiprocessing.Lock, round a counter.

mp_lock.py SECONDS FIRST_CPU SECOND_CPU PROCESSES
"""
import multiprocessing
import os
import sys
import time


def count(lock, counter, seconds, cpu, rates):
    if cpu >= 0:
        os.sched_setaffinity(0, [cpu])
    done = 0
    start = time.monotonic()
    end = start + seconds
    while time.monotonic() < end:
        for _ in range(256):
            with lock:
                counter.value += 1
        done += 256
    rates.put((done, done / (time.monotonic() - start)))


def main():
    seconds = float(sys.argv[1])
    first, second, processes = (int(word) for word in sys.argv[2:5])
    lock = multiprocessing.Lock()
    counter = multiprocessing.RawValue("Q", 0)
    rates = multiprocessing.SimpleQueue()
    workers = [
        multiprocessing.Process(target=count, args=(lock, counter, seconds, cpu, rates))
        for cpu in [first, second] * (processes // 2) + [first] * (processes % 2)
    ]
    for worker in workers:
        worker.start()
    results = [rates.get() for _ in workers]
    for worker in workers:
        worker.join()
    if counter.value != sum(done for done, _ in results):
        sys.exit("lost a count")
    print(sum(rate for _, rate in results))


if __name__ == "__main__":
    main()
