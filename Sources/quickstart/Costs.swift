// SPDX-License-Identifier: Apache-2.0

import SharedState

/// One line for what each thing cost here, just now.
enum Costs {
    static func run() throws {
        let start = try nanoseconds(of: 20) {
            for _ in 0..<20 {
                let child = try ChildProcess.start { () in }
                try child.join()
                try check([child])
            }
        }
        line("worker start", start, "from start() to the end of join()")

        let there = try Queue<Int>()
        let back = try Queue<Int>()
        let rounds = 20_000
        let echo = try ChildProcess.start(there, back, rounds) { there, back, rounds in
            for _ in 0..<rounds { try back.put(try there.get()) }
        }
        let trip = try nanoseconds(of: rounds) {
            for round in 0..<rounds {
                try there.put(round)
                _ = try result(of: echo, from: back)
            }
        }
        try echo.join()
        try check([echo])
        line("queue round trip", trip, "to another process and back")

        let pool = try Pool(workers: 2)
        _ = try pool.map(0..<100) { $0 }
        let chunked = try nanoseconds(of: 1_000_000) { _ = try pool.map(0..<1_000_000) { $0 } }
        line("pool task", chunked, "\(Int(1e9 / chunked)) tasks/s in chunks")
        let single = try nanoseconds(of: 5000) { _ = try pool.map(0..<5000, chunkSize: 1) { $0 } }
        line("pool task alone", single, "\(Int(1e9 / single)) tasks/s one by one")

        let dictionary = try Manager().dictionary(Int.self, Int.self)
        for key in 0..<1000 { try dictionary.set(key, forKey: key) }
        let get = try nanoseconds(of: 200_000) {
            for key in 0..<200_000 { _ = try dictionary[key % 1000] }
        }
        line("dictionary get", get, "\(Int(1e9 / get)) gets/s")
    }

    /// The next element, unless the child that is to put it has died.
    private static func result(of child: ChildProcess, from queue: Queue<Int>) throws -> Int {
        while true {
            do {
                return try queue.get(timeout: .milliseconds(250))
            } catch let error as SharedStateError where error.code == .timedOut {
                try check([child])
            }
        }
    }

    private static func nanoseconds(of count: Int, _ body: () throws -> Void) rethrows -> Double {
        let elapsed = try ContinuousClock().measure(body).components
        return (Double(elapsed.seconds) * 1e9 + Double(elapsed.attoseconds) / 1e9) / Double(count)
    }

    private static func line(_ what: String, _ nanoseconds: Double, _ note: String) {
        let padded = what + String(repeating: " ", count: max(1, 20 - what.count))
        print("  \(padded) \(readable(nanoseconds))   \(note)")
    }

    /// At most three digits before the unit.
    private static func readable(_ nanoseconds: Double) -> String {
        switch nanoseconds {
        case ..<1e3: "\(Int(nanoseconds)) ns"
        case ..<1e6: "\(tenths(nanoseconds / 1e3)) us"
        default: "\(tenths(nanoseconds / 1e6)) ms"
        }
    }

    private static func tenths(_ value: Double) -> Double { (value * 10).rounded() / 10 }
}
