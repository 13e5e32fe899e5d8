# SPDX-License-Identifier: Apache-2.0
"""Peer: what a waiting multiprocessing.Queue or Pool uses, and what memory a worker has for itself.

mp_idle.py SECONDS CPU CPU cpu|wake-ups queue|pool    nanoseconds, or wake-ups, in a second
mp_idle.py SECONDS CPU CPU memory                     bytes of an idle worker of Pool(2)
"""
import glob
import multiprocessing
import os
import statistics
import sys
import time


def add_one(number):
    return number + 1


def get(queue):
    queue.get()


def words(path):
    with open(path) as file:
        return file.read().split()


def used(children, what):
    """Of the children's threads, and of this process's but its main one."""
    total = 0
    for pid in [*children, os.getpid()]:
        for thread in glob.glob(f"/proc/{pid}/task/*"):
            if thread.endswith(f"/{os.getpid()}"):
                continue
            if what == "cpu":
                total += int(words(thread + "/schedstat")[0])
            else:
                status = words(thread + "/status")
                total += int(status[status.index("voluntary_ctxt_switches:") + 1])
    return total


def load(children, what):
    time.sleep(0.15)
    before = used(children, what)
    start = time.monotonic()
    time.sleep(0.5)
    return (used(children, what) - before) / (time.monotonic() - start)


def private_bytes(pid):
    with open(f"/proc/{pid}/smaps_rollup") as file:
        return sum(1024 * int(line.split()[1]) for line in file if line.startswith("Private_"))


def children():
    return [child.pid for child in multiprocessing.active_children()]


def main():
    what = sys.argv[4]
    context = multiprocessing.get_context("fork")
    if what == "memory" or sys.argv[5] == "pool":
        with context.Pool(2) as pool:
            pool.map(add_one, range(100))
            if what == "memory":
                figure = statistics.median(private_bytes(pid) for pid in children())
            else:
                figure = load(children(), what)
    else:
        queue = context.Queue()
        child = context.Process(target=get, args=(queue,), daemon=True)
        child.start()
        figure = load([child.pid], what)
        child.kill()
    print(figure)


if __name__ == "__main__":
    main()
