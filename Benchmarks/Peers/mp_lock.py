# SPDX-License-Identifier: Apache-2.0
"""Peer: acquisitions a second of a multiprocessing.Lock, round a counter.

mp_lock.py SECONDS FIRST_CPU SECOND_CPU PROCESSES

One process is bound to the first CPU; more run where the kernel puts them, as the others' do.
"""
import multiprocessing
import os
import sys
import time


def run(lock, counter, seconds):
    """Counts for so long; returns how often, and a second."""
    done = 0
    start = time.monotonic()
    end = start + seconds
    while time.monotonic() < end:
        for _ in range(256):
            with lock:
                counter.value += 1
        done += 256
    return done, done / (time.monotonic() - start)


def count(lock, counter, seconds, begin, rates):
    begin.wait()
    warm, _ = run(lock, counter, seconds / 10)
    done, rate = run(lock, counter, seconds)
    rates.put((warm + done, rate))


def main():
    seconds = float(sys.argv[1])
    cpu, processes = int(sys.argv[2]), int(sys.argv[4])
    if processes == 1 and cpu >= 0:
        os.sched_setaffinity(0, [cpu])
    lock = multiprocessing.Lock()
    counter = multiprocessing.RawValue("Q", 0)
    begin = multiprocessing.Barrier(processes)
    rates = multiprocessing.SimpleQueue()
    workers = [
        multiprocessing.Process(target=count, args=(lock, counter, seconds, begin, rates))
        for _ in range(processes)
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
