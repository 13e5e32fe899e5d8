# SPDX-License-Identifier: Apache-2.0
"""Peer: multiprocessing.Condition, Event and Barrier between processes.

mp_signal.py SECONDS FIRST_CPU SECOND_CPU condition|event|barrier PROCESSES

Prints nanoseconds: there and back, or of one pass of a barrier.
"""
import multiprocessing
import os
import sys
import time


def pin(cpu):
    if cpu >= 0:
        os.sched_setaffinity(0, [cpu])


class Event:
    """A flag for one at a time."""

    def __init__(self):
        self.event = multiprocessing.Event()

    def put(self):
        self.event.set()

    def take(self):
        self.event.wait()
        self.event.clear()


class Condition:
    """A flag under a lock."""

    def __init__(self):
        self.condition = multiprocessing.Condition()
        self.full = multiprocessing.RawValue("i", 0)

    def put(self):
        with self.condition:
            self.full.value = 1
            self.condition.notify()

    def take(self):
        with self.condition:
            while not self.full.value:
                self.condition.wait()
            self.full.value = 0


def answer(there, back, cpu):
    pin(cpu)
    while True:
        there.take()
        back.put()


def round_trip(kind, seconds, cpus):
    there, back = kind(), kind()
    child = multiprocessing.Process(target=answer, args=(there, back, cpus[1]), daemon=True)
    child.start()
    pin(cpus[0])
    for _ in range(100):
        there.put()
        back.take()
    trips = 0
    start = time.monotonic()
    while time.monotonic() < start + seconds:
        for _ in range(32):
            there.put()
            back.take()
        trips += 32
    elapsed = time.monotonic() - start
    child.kill()
    return elapsed * 1e9 / trips


def run(barrier, passes, times):
    barrier.wait()
    start = time.monotonic()
    for _ in range(passes):
        barrier.wait()
    times.put(time.monotonic() - start)


def passes(processes, seconds):
    count = max(50, int(seconds * 2000 / processes))
    barrier = multiprocessing.Barrier(processes)
    times = multiprocessing.SimpleQueue()
    workers = [
        multiprocessing.Process(target=run, args=(barrier, count, times))
        for _ in range(processes)
    ]
    for worker in workers:
        worker.start()
    longest = max(times.get() for _ in workers)
    for worker in workers:
        worker.join()
    return longest * 1e9 / count


def main():
    seconds = float(sys.argv[1])
    cpus = [int(word) for word in sys.argv[2:4]]
    if sys.argv[4] == "barrier":
        print(passes(int(sys.argv[5]), seconds))
    else:
        kind = Event if sys.argv[4] == "event" else Condition
        print(round_trip(kind, seconds, cpus))


if __name__ == "__main__":
    main()
