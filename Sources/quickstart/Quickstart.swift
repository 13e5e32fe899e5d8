// SPDX-License-Identifier: Apache-2.0

import Glibc
import SharedState

/// The five programs, and the pages, each on real worker processes.
@main
struct Quickstart {
    static func main() {
        var right = true
        do {
            right = try lock() && right
            right = try pool() && right
            right = try queue() && right
            right = try manager() && right
            right = try executor() && right
            right = try Pages.run(below: CommandLine.arguments.dropFirst().first ?? ".") && right
            try Costs.run()
        } catch {
            report("quickstart: \(error)")
            right = false
        }
        exit(right ? 0 : 1)
    }

    /// Four processes increment one counter.
    static func lock() throws -> Bool {
        let lock = try Lock()
        let counter = try SharedValue(0)
        let children = try (0..<4).map { _ in
            try ChildProcess.start(lock, counter) { lock, counter in
                for _ in 0..<10_000 {
                    try lock.withLock { _ in counter.value += 1 }
                }
            }
        }
        for child in children { try child.join() }
        try check(children)
        let count = counter.value
        print(
            "1 Lock       counter \(count)   "
                + "(4 processes x 10000 increments, \(40_000 - count) lost)")
        return count == 40_000
    }

    /// Squares, in five processes.
    static func pool() throws -> Bool {
        let pool = try Pool(workers: 5)
        let squares = try pool.map(0..<10) { $0 * $0 }
        print("2 Pool       \(squares)")
        return squares == [0, 1, 4, 9, 16, 25, 36, 49, 64, 81]
    }

    /// A result comes back through a queue.
    static func queue() throws -> Bool {
        let queue = try Queue<Int>()
        let child = try ChildProcess.start(queue, 7) { queue, n in try queue.put(n * n) }
        try child.join()
        try check([child])
        let square = try queue.get()
        print("3 Queue      \(square)")
        return square == 49
    }

    /// A child writes a dictionary that its parent reads.
    static func manager() throws -> Bool {
        let manager = try Manager()
        let dictionary = try manager.dictionary(String.self, String.self)
        let writer = try ChildProcess.start(dictionary) { dictionary in
            try dictionary.set("value1", forKey: "key1")
        }
        try writer.join()
        try check([writer])
        let content = try dictionary.snapshot()
        print("4 Manager    \(content)")
        return content == ["key1": "value1"]
    }

    /// The same call on threads and on processes.
    static func executor() throws -> Bool {
        let threads = try ThreadPoolExecutor(workers: 3)
        let cube = try threads.submit(2, 3) { base, exponent in
            (0..<exponent).reduce(1) { product, _ in product * base }
        }
        let executor = try ProcessPoolExecutor(workers: 3)
        let power = try executor.submit(2, 3) { base, exponent in
            (0..<exponent).reduce(1) { product, _ in product * base }
        }
        let result = try power.value()
        print("5 Executor   \(result)")
        return try result == 8 && cube.value() == 8
    }
}

/// Throws unless all of these children, which have been joined, did what they were to do: whoever
/// waits for a result of a child that was killed may wait for ever.
func check(_ children: [ChildProcess]) throws {
    for child in children {
        if let status = child.exitStatus, status != .exited(code: 0) {
            throw Problem(text: "child \(child.pid) died of \(status)")
        }
    }
}

/// What went wrong, for people.
struct Problem: Error, CustomStringConvertible {
    var text: String
    var description: String { text }
}

/// One line on the standard error stream.
func report(_ text: String) {
    let bytes = Array((text + "\n").utf8)
    _ = unsafe write(STDERR_FILENO, bytes, bytes.count)
}
