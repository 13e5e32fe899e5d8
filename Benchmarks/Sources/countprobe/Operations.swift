// SPDX-License-Identifier: Apache-2.0

internal import Glibc
import SharedState

/// 64 bytes.
internal struct Line: Sendable {
    var words: (UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64) =
        (1, 2, 3, 4, 5, 6, 7, 8)
}

/// Something on the heap.
private final class Box {
    private let number: Int

    init(after other: Box? = nil) {
        self.number = (other?.number ?? 0) &+ 1
    }
}

/// What is counted: nobody else takes part, so nobody waits.
internal enum Operations {
    /// One of them: `make` sets the scene.
    internal struct Operation: Sendable {
        let name: String
        let make: @Sendable () throws -> (() throws -> Void)
    }

    static let all: [Operation] = controls + channels + locks + state

    /// What the counters must find.
    private static let controls = [
        Operation(name: "control/nothing") { {} },
        Operation(name: "control/allocation") {
            var box = Box()
            return { box = Box(after: box) }
        },
        Operation(name: "control/system-call") { { _ = getppid() } },
    ]

    private static let channels = [
        Operation(name: "queue/put-get") {
            let queue = try Queue<Line>(capacity: 64)
            return {
                try queue.put(Line())
                _ = try queue.get()
            }
        },
        Operation(name: "queue/try-put-try-get") {
            let queue = try Queue<Line>(capacity: 64)
            return {
                _ = try queue.tryPut(Line())
                _ = try queue.tryGet()
            }
        },
        Operation(name: "queue/put-get-batch32") {
            let queue = try Queue<Line>(capacity: 64)
            let lines = [Line](repeating: Line(), count: 32)
            return {
                try queue.put(contentsOf: lines)
                _ = try queue.get(upTo: 32)
            }
        },
        Operation(name: "queue/in-place") {
            let queue = try Queue<Line>(capacity: 64)
            return {
                try queue.withSlot(of: 1) { lines in lines[0].words.0 = 1 }
                _ = try queue.withNext { lines in lines[0].words.0 }
            }
        },
        Operation(name: "lanes/put-get") {
            let lanes = try Lanes<Line>(capacity: 64)
            let lane = try lanes.lane()
            return {
                try lane.put(Line())
                _ = try lanes.get()
            }
        },
        Operation(name: "broadcast/put-get") {
            let broadcast = try Broadcast<Line>(capacity: 64)
            let subscriber = try broadcast.subscriber()
            let publisher = try broadcast.publisher()
            return {
                try publisher.put(Line())
                _ = try subscriber.get()
            }
        },
    ]

    private static let locks = [
        Operation(name: "lock/with-lock") {
            let lock = try Lock()
            var count = 0
            return { try lock.withLock { _ in count += 1 } }
        },
        Operation(name: "recursive-lock/with-lock") {
            let lock = try RecursiveLock()
            var count = 0
            return { try lock.withLock { _ in count += 1 } }
        },
        Operation(name: "read-write-lock/read") {
            let lock = try ReadWriteLock()
            return { try lock.withReadLock {} }
        },
        Operation(name: "semaphore/acquire-release") {
            let semaphore = try SharedSemaphore(value: 1)
            return {
                try semaphore.acquire()
                try semaphore.release()
            }
        },
        Operation(name: "permits/with-permits") {
            let permits = try PermitPool(permits: 2)
            return { try permits.withPermits {} }
        },
        Operation(name: "event/set-wait") {
            let event = try Event()
            return {
                event.set()
                try event.wait()
            }
        },
        Operation(name: "event/is-set") {
            let event = try Event()
            return { _ = event.isSet }
        },
    ]

    private static let state = [
        Operation(name: "value/with-lock") {
            let value = try SharedValue(0)
            return { try value.withLock { $0 += 1 } }
        },
        Operation(name: "atomic/add") {
            let count = try SharedAtomic(0)
            return { _ = count.add(1, ordering: .relaxed) }
        },
        Operation(name: "dictionary/get") {
            let dictionary = try ManagedDictionary<Int, Int>()
            try dictionary.set(1, forKey: 7)
            return { _ = try dictionary[7] }
        },
        Operation(name: "dictionary/set") {
            let dictionary = try ManagedDictionary<Int, Int>()
            return { try dictionary.set(1, forKey: 7) }
        },
        Operation(name: "array/get") {
            let array = try ManagedArray<Int>()
            try array.append(7)
            return { _ = try array[0] }
        },
    ]
}
