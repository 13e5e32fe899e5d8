// SPDX-License-Identifier: Apache-2.0

internal import CShm
internal import Glibc

/// One worker's shared places: the ring its tasks come by, the ring its results go by, the word
/// that says which task it runs, and the pool's doorbell.
///
/// Death: a task stays in its ring until its result is in the other one. A worker that dies leaves
/// its results to be read, and then: the first task without a result, if `running` names it, is the
/// one that died with it; all others were never begun.
internal struct WorkerPlaces {
    let tasks: UInt64
    let results: UInt64
    let running: UInt64
    let doorbell: UInt64

    func encode(into writer: inout ByteWriter) {
        for place in [tasks, results, running, doorbell] { writer.append(fixed: place) }
    }

    init(tasks: UInt64, results: UInt64, running: UInt64, doorbell: UInt64) {
        self.tasks = tasks
        self.results = results
        self.running = running
        self.doorbell = doorbell
    }

    init(from reader: inout ByteReader) throws(SharedStateError) {
        tasks = try reader.fixed(UInt64.self)
        results = try reader.fixed(UInt64.self)
        running = try reader.fixed(UInt64.self)
        doorbell = try reader.fixed(UInt64.self)
    }
}

/// How a result message begins.
internal enum ResultKind: UInt8 {
    case value = 0
    case thrown = 1
}

/// What a task message begins with.
internal enum JobKind: UInt8 {
    case call = 0
    case map = 1
    case mapWith = 2
}

/// The loop of a pool's worker.
internal enum PoolWorker {
    static func run(_ reader: inout ByteReader) throws {
        let region = try FamilyRegion.shared()
        let places = try WorkerPlaces(from: &reader)
        let initializer = try reader.prefixed()
        let tasks = unsafe try openRing(region, places.tasks)
        let results = unsafe try openRing(region, places.results)
        try unsafe check(cshm_ring_become_consumer(tasks), "cshm_ring_become_consumer")
        try unsafe check(cshm_ring_become_producer(results), "cshm_ring_become_producer")
        guard
            let running = unsafe cshm_heap_pointer(region.pointer, places.running, 8),
            let bell = unsafe cshm_heap_pointer(region.pointer, places.doorbell, 4)
        else { throw SharedStateError(.incompatible, "the pool's shared places are damaged") }
        if !initializer.isEmpty { try runInitializer(initializer) }
        var jobs = JobCache(region: region)
        while true {
            var data: UnsafeRawPointer?
            var length: UInt64 = 0
            let peeked = unsafe cshm_ring_peek_until(tasks, &data, &length, .max)
            if peeked == -EPIPE { return }  // the pool's process is dead
            try check(peeked, "cshm_ring_peek_until")
            let message = unsafe UnsafeRawBufferPointer(start: data, count: Int(length))
            if unsafe message.isEmpty { return }
            let result = unsafe perform(message, &jobs, running)
            let put = unsafe cshm_ring_put_until(results, result, UInt64(result.count), .max)
            if put == -EPIPE { return }
            try check(put, "cshm_ring_put_until")
            unsafe cshm_word_store(running, 0)
            unsafe cshm_ring_release(tasks)
            unsafe cshm_park_wake_all(bell.assumingMemoryBound(to: cshm_park.self))
        }
    }

    private static func openRing(
        _ region: Region, _ place: UInt64
    ) throws(SharedStateError) -> OpaquePointer {
        var ring: OpaquePointer?
        try unsafe check(cshm_ring_open(region.pointer, place, &ring), "cshm_ring_open")
        return unsafe ring.unsafelyUnwrapped
    }

    private static func runInitializer(_ bytes: [UInt8]) throws {
        var none = unsafe ByteReader(UnsafeRawBufferPointer(start: nil, count: 0))
        var ignored = ByteWriter()
        try FunctionReference.resolve(bytes).call(arguments: &none, into: &ignored)
    }

    /// Runs one task: `{task, job, kind, job's bytes, count, elements}`.
    private static func perform(
        _ message: UnsafeRawBufferPointer, _ jobs: inout JobCache,
        _ running: UnsafeMutableRawPointer
    ) -> [UInt8] {
        var reader = unsafe ByteReader(message)
        var writer = ByteWriter()
        var task: UInt64 = 0
        do {
            task = try reader.fixed(UInt64.self)
            unsafe cshm_word_store(running, task)
            writer.append(fixed: task)
            writer.append(byte: ResultKind.value.rawValue)
            switch try jobs.job(&reader) {
            case .call(let function):
                try function.call(arguments: &reader, into: &writer)
            case .map(let function):
                for _ in 0..<(try reader.fixed(UInt32.self)) {
                    try function.call(element: &reader, into: &writer)
                }
            }
            return writer.bytes
        } catch {
            writer = ByteWriter()
            writer.append(fixed: task)
            writer.append(byte: ResultKind.thrown.rawValue)
            writer.append(string: "\(error)")
            return writer.bytes
        }
    }
}

/// The job of the last task, resolved once however many tasks it has.
private struct JobCache {
    enum Job {
        case call(any RemoteCallable)
        case map(any RemoteMap)
    }

    let region: Region
    private var last: (number: UInt64, job: Job)?

    init(region: Region) {
        self.region = region
    }

    mutating func job(_ reader: inout ByteReader) throws -> Job {
        let number = try reader.fixed(UInt64.self)
        let kind = JobKind(rawValue: try reader.byte())
        let shared = try SharedBytes(from: &reader)
        if let last, last.number == number { return last.job }
        let bytes = try shared.read(in: region)
        let job: Job = try unsafe bytes.withUnsafeBytes { bytes in
            var reader = unsafe ByteReader(bytes)
            let function = try reader.prefixed()
            return switch kind {
            case .call: .call(try FunctionReference.resolve(function))
            default: .map(try FunctionReference.resolveMap(function, broadcast: &reader))
            }
        }
        last = (number, job)
        return job
    }
}
