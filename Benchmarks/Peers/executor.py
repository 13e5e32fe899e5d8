# SPDX-License-Identifier: Apache-2.0
"""Peer: concurrent.futures.ProcessPoolExecutor, or loky's.

executor.py SECONDS CPU CPU concurrent.futures|loky map CHUNK ELEMENTS   elements a second, two workers
executor.py SECONDS CPU CPU concurrent.futures|loky apply                nanoseconds of submit and result
"""
import statistics
import sys
import time


def add_one(number):
    return number + 1


def square(number):
    return number * number


def executor(module, workers):
    if module == "loky":
        import loky

        return loky.ProcessPoolExecutor(workers)
    import concurrent.futures

    return concurrent.futures.ProcessPoolExecutor(workers)


def rate_of_map(pool, seconds, chunk, elements):
    wanted = [number * number for number in range(elements)]
    if list(pool.map(square, range(elements), chunksize=chunk)) != wanted:
        sys.exit("wrong results")
    done = 0
    start = time.monotonic()
    while time.monotonic() < start + seconds:
        done += len(list(pool.map(square, range(elements), chunksize=chunk)))
    return done / (time.monotonic() - start)


def time_of_apply(pool, seconds):
    pool.submit(add_one, 1).result()
    times = []
    end = time.monotonic() + seconds
    while time.monotonic() < end or not times:
        start = time.monotonic_ns()
        pool.submit(add_one, 1).result()
        times.append(time.monotonic_ns() - start)
    return statistics.median(times)


def main():
    seconds = float(sys.argv[1])
    module, mode = sys.argv[4:6]
    with executor(module, 2 if mode == "map" else 1) as pool:
        if mode == "map":
            print(rate_of_map(pool, seconds, int(sys.argv[6]), int(sys.argv[7])))
        else:
            print(time_of_apply(pool, seconds))


if __name__ == "__main__":
    main()
