# SPDX-License-Identifier: Apache-2.0
"""Peer: operations a second on a multiprocessing.Manager().dict(), keys at random.

mp_manager.py SECONDS FIRST_CPU SECOND_CPU get|set|update|get-text|set-text

100,000 keys of 16 bytes and numbers; of text 10,000, str to str. An update is `numbers[key] += 1`:
there and back twice, and two of them at once may lose one.
"""
import multiprocessing
import random
import struct
import sys
import time


def get(shared, key, value):
    if shared[key] != value:
        sys.exit("a wrong value")


def put(shared, key, value):
    shared[key] = value


def update(shared, key, _):
    shared[key] += 1


OPERATIONS = {"get": get, "set": put, "update": update, "get-text": get, "set-text": put}


def entries(mode):
    if mode.endswith("-text"):
        return [(f"text number {number}",) * 2 for number in range(10_000)]
    return [(struct.pack("<QQ", number, number), number) for number in range(100_000)]


def run(once, shared, pairs, seconds):
    """Does it for so long; returns how often, and a second."""
    done = 0
    start = time.monotonic()
    while time.monotonic() < start + seconds:
        for key, value in random.choices(pairs, k=64):
            once(shared, key, value)
        done += 64
    return done, done / (time.monotonic() - start)


def main():
    seconds = float(sys.argv[1])
    mode = sys.argv[4]
    if mode not in OPERATIONS:
        sys.exit(f"{mode} is none of {', '.join(OPERATIONS)}")
    once = OPERATIONS[mode]
    pairs = entries(mode)
    with multiprocessing.Manager() as manager:
        shared = manager.dict(pairs)
        warm, _ = run(once, shared, pairs, seconds / 10)
        done, rate = run(once, shared, pairs, seconds)
        if mode == "update":
            before = sum(number for _, number in pairs)
            if sum(shared.values()) != before + warm + done:
                sys.exit("lost an update")
        print(rate)


if __name__ == "__main__":
    main()
