# SPDX-License-Identifier: Apache-2.0
"""Peer: multiprocessing.Pool and Process, started by fork.

mp_pool.py SECONDS CPU CPU map CHUNK ELEMENTS    elements a second of Pool(2).map; chunk 0 is automatic
mp_pool.py SECONDS CPU CPU apply                 nanoseconds of Pool(1).apply
mp_pool.py SECONDS CPU CPU apply-asleep          the same, of a worker that has fallen asleep
mp_pool.py SECONDS CPU CPU argument BYTES        bytes a second of a long argument
mp_pool.py SECONDS CPU CPU result BYTES          bytes a second of a long result
mp_pool.py SECONDS CPU CPU start                 nanoseconds of Pool(2) until its first result
mp_pool.py SECONDS CPU CPU start-fresh           the same, the first one of this interpreter
mp_pool.py SECONDS CPU CPU process               nanoseconds of Process.start and join
"""
import multiprocessing
import statistics
import sys
import time


def add_one(number):
    return number + 1


def square(number):
    return number * number


def nothing():
    pass


def rate_of_map(pool, seconds, chunk, elements):
    numbers = range(elements)
    wanted = [number * number for number in numbers]
    if pool.map(square, numbers, chunk or None) != wanted:
        sys.exit("wrong results")
    done = 0
    start = time.monotonic()
    while time.monotonic() < start + seconds:
        pool.map(square, numbers, chunk or None)
        done += elements
    return done / (time.monotonic() - start)


def time_of(once, seconds, pause=0):
    once()
    times = []
    end = time.monotonic() + seconds
    while time.monotonic() < end or not times:
        time.sleep(pause)
        start = time.monotonic_ns()
        once()
        times.append(time.monotonic_ns() - start)
    return statistics.median(times)


def start_pool(context):
    pool = context.Pool(2)
    pool.apply(add_one, (1,))
    return pool


def time_of_start(context, seconds):
    times = []
    end = time.monotonic() + seconds
    while time.monotonic() < end or not times:
        start = time.monotonic_ns()
        pool = start_pool(context)
        times.append(time.monotonic_ns() - start)
        pool.terminate()
        pool.join()
    return statistics.median(times)


def time_of_first_start(context):
    start = time.monotonic_ns()
    pool = start_pool(context)
    end = time.monotonic_ns()
    pool.terminate()
    pool.join()
    return end - start


def start_and_join(context):
    process = context.Process(target=nothing)
    process.start()
    process.join()


def main():
    seconds = float(sys.argv[1])
    mode = sys.argv[4]
    context = multiprocessing.get_context("fork")
    if mode == "map":
        with context.Pool(2) as pool:
            print(rate_of_map(pool, seconds, int(sys.argv[5]), int(sys.argv[6])))
    elif mode == "apply":
        with context.Pool(1) as pool:
            print(time_of(lambda: pool.apply(add_one, (1,)), seconds))
    elif mode == "apply-asleep":
        with context.Pool(1) as pool:
            print(time_of(lambda: pool.apply(add_one, (1,)), seconds, pause=0.002))
    elif mode == "argument":
        length = int(sys.argv[5])
        argument = bytes(length)
        with context.Pool(1) as pool:
            print(length * 1e9 / time_of(lambda: pool.apply(len, (argument,)), seconds))
    elif mode == "result":
        length = int(sys.argv[5])
        with context.Pool(1) as pool:
            print(length * 1e9 / time_of(lambda: pool.apply(bytes, (length,)), seconds))
    elif mode == "start":
        print(time_of_start(context, seconds))
    elif mode == "start-fresh":
        print(time_of_first_start(context))
    elif mode == "process":
        print(time_of(lambda: start_and_join(context), seconds))
    else:
        sys.exit("no mode " + mode)


if __name__ == "__main__":
    main()
