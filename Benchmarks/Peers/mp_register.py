# SPDX-License-Identifier: Apache-2.0
"""Peer: calls a second of an object that was registered with a BaseManager.

mp_register.py SECONDS FIRST_CPU SECOND_CPU
"""
import multiprocessing.managers
import sys
import time


class Counter:
    def __init__(self):
        self.total = 0

    def add(self, amount):
        self.total += amount
        return self.total


class Manager(multiprocessing.managers.BaseManager):
    pass


Manager.register("Counter", Counter)


def main():
    seconds = float(sys.argv[1])
    with Manager() as manager:
        counter = manager.Counter()
        first = done = counter.add(1)
        start = time.monotonic()
        while time.monotonic() < start + seconds:
            for _ in range(64):
                done = counter.add(1)
        print((done - first) / (time.monotonic() - start))


if __name__ == "__main__":
    main()
