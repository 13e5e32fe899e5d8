# SPDX-License-Identifier: Apache-2.0
"""Peer: calls a second of a multiprocessing.Manager().dict() of 10,000 keys.

mp_manager.py SECONDS FIRST_CPU SECOND_CPU get|set
"""
import multiprocessing
import sys
import time

KEYS = 10000


def main():
    seconds = float(sys.argv[1])
    operation = sys.argv[4]
    with multiprocessing.Manager() as manager:
        numbers = manager.dict({number: number for number in range(KEYS)})
        done = 0
        start = time.monotonic()
        while time.monotonic() < start + seconds:
            for _ in range(64):
                key = done * 7919 % KEYS
                if operation == "set":
                    numbers[key] = key
                elif numbers[key] != key:
                    sys.exit("a wrong value")
                done += 1
        print(done / (time.monotonic() - start))


if __name__ == "__main__":
    main()
