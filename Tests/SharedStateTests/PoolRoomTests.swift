// SPDX-License-Identifier: Apache-2.0

import Glibc
import Testing

@testable import SharedState

private let capacity = 8 << 20

private struct Long: Error, CustomStringConvertible {
    var description: String { String(repeating: "x", count: capacity) }
}

/// An array that no worker needs memory for: none of it is touched.
private func untouched(_ count: Int) -> [UInt8] {
    unsafe [UInt8](unsafeUninitializedCapacity: count) { $1 = count }
}

private func check(_ error: SharedStateError?, bytes: Int? = nil) {
    #expect(error?.code == .taskFailed, "\(String(describing: error))")
    let text = error?.task?.text ?? ""
    #expect(text.contains(bytes == nil ? "no room" : "use less at a time"), "\(text)")
    if let bytes { #expect(text.contains("a result of \(bytes) bytes"), "\(text)") }
}

/// Each in a process of its own, whose region is small.
@Suite("Room for what a pool's workers return", .serialized)
struct PoolRoomTests {
    @Test func `a result that does not fit fails its task, and no other`() async {
        await #expect(processExitsWith: .success) {
            try FamilyRegion.make(capacity: capacity)
            let pool = try Pool(workers: 2)
            let pids = pool.workerPIDs
            // Larger than all of the region, and than what is left of it; more often than there is
            // room for what each of them would leave.
            for size in [capacity + 1, 4 * capacity, capacity - 4096] {
                for _ in 0..<10 {
                    let others = try (0..<10).map { try pool.submit($0) { [$0, $0] } }
                    let error = #expect(throws: SharedStateError.self) {
                        try pool.apply(size) { untouched($0) }
                    }
                    check(error, bytes: size + 4)
                    #expect(pids.contains(error?.task?.workerPID ?? 0))
                    for (n, other) in others.enumerated() {
                        #expect(try other.value(timeout: .seconds(20)) == [n, n])
                    }
                }
            }
            for chunk in [nil, 1, 3, 20] {
                let results = try pool.imap(0..<20, chunkSize: chunk) { n in
                    [UInt8](repeating: 1, count: n == 7 ? capacity : 10)
                }
                for (n, outcome) in results.elements.enumerated() {
                    guard n == 7 else {
                        #expect(try outcome.get().count == 10)
                        continue
                    }
                    let error = #expect(throws: SharedStateError.self) { try outcome.get() }
                    check(error, bytes: capacity + 4)
                    #expect(error?.task?.index == 7)
                }
            }
            // What is thrown is no different.
            for _ in 0..<10 {
                let error = #expect(throws: SharedStateError.self) {
                    try pool.apply(1) { (_: Int) -> String in throw Long() }
                }
                check(error)
            }
            // What is sent is refused.
            #expect(code { _ = try pool.apply(untouched(capacity)) { $0.count } } == .full)
            #expect(code { _ = try pool.map([untouched(capacity)]) { $0.count } } == .full)
            #expect(pool.workerPIDs == pids)
            // All room is there again.
            #expect(try pool.apply(capacity / 2) { untouched($0) }.count == capacity / 2)
        }
    }

    @Test func `results that nobody takes do not fill memory`() async {
        await #expect(processExitsWith: .success) {
            try FamilyRegion.make(capacity: 2 * capacity)
            let pool = try Pool(workers: 2)
            // Four times as much as there is room for.
            let count = 8 * capacity / (32 << 10)
            for chunk in [nil, 1, 5] {
                let results = try pool.imap(0..<count, chunkSize: chunk) { n in
                    [Int](repeating: n, count: 4 << 10)
                }
                // The first is there, and no worker has anything left to do.
                var next = try results.next(timeout: .seconds(20))
                try eventually { pool.insights.workers.allSatisfy { !$0.isWorking } }
                var seen = 0
                while let outcome = next {
                    #expect(try outcome.get() == [Int](repeating: seen, count: 4 << 10))
                    seen += 1
                    next = try results.next(timeout: .seconds(20))
                }
                #expect(seen == count)
            }
        }
    }
}
