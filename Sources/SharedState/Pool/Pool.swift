// SPDX-License-Identifier: Apache-2.0

internal import Glibc

/// A fixed number of worker processes that run closures.
///
/// Workers run the same executable, forked from a process that never runs `main`. A closure must
/// not capture: what it needs comes as its element, its arguments, or `with:`.
///
/// - Threads: safe. Tasks: every call blocks the thread.
/// - Death: a worker that dies fails the task it ran, with the signal's name, and is replaced; the
///   tasks it had not begun go to others. When this process dies, its workers are killed.
public final class Pool: Sendable {
    private let core: PoolCore

    /// Starts the workers.
    ///
    /// - Parameter workers: How many, 1 to 256; `nil` takes one for each CPU that is online.
    /// - Throws: `invalidArgument`, `cannotHostWorkers`, `full`, `system`.
    public convenience init(workers: Int? = nil) throws(SharedStateError) {
        try self.init(workers, [])
    }

    /// Starts the workers, each of which runs `initializer` before its first task.
    ///
    /// - Parameters:
    ///   - workers: As in `init(workers:)`.
    ///   - initializer: A closure without captures. A worker whose initializer throws ends, and a
    ///     pool of such workers is closed.
    /// - Throws: As `init(workers:)`, and `capturesValues`.
    public convenience init<Result: Sendable>(
        workers: Int? = nil, initializer: @escaping @Sendable () throws -> Result
    ) throws(SharedStateError) {
        try self.init(workers, try FunctionReference(initializer).bytes)
    }

    private init(_ workers: Int?, _ initializer: [UInt8]) throws(SharedStateError) {
        let count = workers ?? Pool.onlineCPUs
        guard (1...256).contains(count) else {
            throw SharedStateError(.invalidArgument, "a pool has 1 to 256 workers, not \(count)")
        }
        core = try PoolCore(workers: count, initializer: initializer)
    }

    deinit {
        core.shutDown()
    }

    /// How many workers it has.
    public var workerCount: Int { core.workerCount }

    /// The workers' process ids, at this instant.
    public var workerPIDs: [Int32] { core.pids }

    /// Runs `body` on each element, in the workers, and gives the results in order.
    ///
    /// - Parameters:
    ///   - elements: What to run it on.
    ///   - chunkSize: Elements a worker is given at a time; `nil` cuts the elements in four for each
    ///     worker.
    ///   - progress: Called on this thread with how many elements are done, of how many.
    ///   - body: A closure without captures.
    /// - Returns: The results, in the elements' order.
    /// - Throws: `capturesValues`, `cannotCross`, `closed`; or, at once when the first failure
    ///   arrives, `taskFailed` with the text of the error it threw or `workerDied`. Elements that
    ///   were not begun are then dropped.
    public func map<Elements: Sequence, Result>(
        _ elements: Elements, chunkSize: Int? = nil, progress: ((Int, Int) -> Void)? = nil,
        _ body: @escaping @Sendable (Elements.Element) throws -> Result
    ) throws -> [Result] where Elements.Element: Sendable, Result: Sendable {
        let job = try core.job(.map, jobBytes(try FunctionReference(body)))
        return try run(job, elements, chunkSize, progress)
    }

    /// As `map`, with a value that is sent once for the call and not once for each element.
    ///
    /// - Parameters:
    ///   - elements: What to run it on.
    ///   - state: Given to each call of `body`: plain bits, `Codable`, or a handle.
    ///   - chunkSize: As in `map`.
    ///   - progress: As in `map`.
    ///   - body: A closure without captures.
    /// - Returns: The results, in the elements' order.
    /// - Throws: As `map`.
    public func map<Elements: Sequence, State: Sendable, Result>(
        _ elements: Elements, with state: State, chunkSize: Int? = nil,
        progress: ((Int, Int) -> Void)? = nil,
        _ body: @escaping @Sendable (Elements.Element, State) throws -> Result
    ) throws -> [Result] where Elements.Element: Sendable, Result: Sendable {
        var writer = ByteWriter()
        writer.append(prefixed: try FunctionReference(body).bytes)
        try TransferPlan<State>.plan(for: State.self).encode(state, into: &writer)
        let job = try core.job(.mapWith, writer.bytes)
        return try run(job, elements, chunkSize, progress)
    }

    /// Runs `body` once, in a worker, and waits for it.
    ///
    /// - Returns: What `body` returns.
    /// - Throws: As ``submit(_:body:)`` and `Future.value(timeout:)`.
    public func apply<each Argument: Sendable, Result: Sendable>(
        _ arguments: repeat each Argument,
        body: @escaping @Sendable (repeat each Argument) throws -> Result
    ) throws -> Result {
        try submit(repeat each arguments, body: body).value()
    }

    /// Runs `body` once, in a worker, without waiting.
    ///
    /// The pool makes progress while some thread waits for one of its results.
    ///
    /// - Parameters:
    ///   - arguments: Plain bits, strings, `Codable` values and handles.
    ///   - body: A closure without captures.
    /// - Returns: Its result to come.
    /// - Throws: `capturesValues`, `cannotCross`, `closed`, `full`.
    public func submit<each Argument: Sendable, Result: Sendable>(
        _ arguments: repeat each Argument,
        body: @escaping @Sendable (repeat each Argument) throws -> Result
    ) throws -> Future<Result> {
        let plan = try TransferPlan<Result>.plan(for: Result.self)
        let job = try core.job(.call, jobBytes(try FunctionReference(pack: body)))
        var writer = ByteWriter()
        try encodePack(repeat each arguments, into: &writer)
        let future = Future<Result>(driver: core)
        try core.submit([
            PoolTask(job: job, elements: writer.bytes) { result in
                future.finish(
                    Swift.Result {
                        try unsafe result.get().withUnsafeBytes { bytes in
                            var reader = unsafe ByteReader(bytes)
                            return try plan.decode(from: &reader)
                        }
                    })
            }
        ])
        return future
    }

    /// Takes no more tasks; those on their way go on.
    public func close() {
        core.close()
    }

    /// Waits until every task on its way is done.
    ///
    /// - Parameter timeout: The longest wait; `nil` waits without limit.
    /// - Throws: `timedOut`.
    public func join(timeout: Duration? = nil) throws(SharedStateError) {
        try core.drive(until: deadline(after: timeout)) { core.isIdle }
    }

    /// Ends the workers now; tasks that are not done fail with `closed`.
    public func terminate() {
        core.shutDown()
    }

    /// CPUs that are online.
    private static var onlineCPUs: Int {
        max(1, Int(sysconf(Int32(_SC_NPROCESSORS_ONLN))))
    }

    private func jobBytes(_ function: FunctionReference) -> [UInt8] {
        var writer = ByteWriter()
        writer.append(prefixed: function.bytes)
        return writer.bytes
    }

    private func run<Elements: Sequence, Result>(
        _ job: Job, _ elements: Elements, _ chunkSize: Int?, _ progress: ((Int, Int) -> Void)?
    ) throws -> [Result] where Elements.Element: Sendable, Result: Sendable {
        let all = Array(elements)
        guard (chunkSize ?? 1) > 0 else {
            throw SharedStateError(.invalidArgument, "chunkSize is at least 1")
        }
        let chunk = chunkSize ?? max(1, (all.count + 4 * workerCount - 1) / (4 * workerCount))
        let sending = try TransferPlan<Elements.Element>.plan(for: Elements.Element.self)
        let receiving = try TransferPlan<Result>.plan(for: Result.self)
        let gathered = Gathered(chunks: (all.count + chunk - 1) / chunk)
        var tasks: [PoolTask] = []
        for (index, start) in stride(from: 0, to: all.count, by: chunk).enumerated() {
            let part = all[start..<min(start + chunk, all.count)]
            var writer = ByteWriter()
            writer.append(fixed: UInt32(part.count))
            for element in part { try sending.encode(element, into: &writer) }
            let size = part.count
            tasks.append(
                PoolTask(job: job, elements: writer.bytes) { gathered.add($0, at: index, size) })
        }
        try core.submit(tasks)
        var told = -1
        try core.drive(until: .max) {
            let done = gathered.elementsDone
            if done != told {
                told = done
                progress?(done, all.count)
            }
            return gathered.isDone || gathered.failure != nil
        }
        if let failure = gathered.failure {
            core.cancel(job)
            throw failure
        }
        var results: [Result] = []
        results.reserveCapacity(all.count)
        for (index, part) in gathered.results.enumerated() {
            try unsafe part.get().withUnsafeBytes { bytes in
                var reader = unsafe ByteReader(bytes)
                let size = min(chunk, all.count - index * chunk)
                for _ in 0..<size { results.append(try receiving.decode(from: &reader)) }
            }
        }
        return results
    }
}

/// Where the chunks of one call come together.
private final class Gathered: Sendable {
    private struct State {
        var results: [Swift.Result<[UInt8], any Error>?]
        var chunksLeft: Int
        var elementsDone = 0
        var failure: (any Error)?
    }
    private let state: Mutex<State>

    init(chunks: Int) {
        state = Mutex(
            State(results: Array(repeating: nil, count: chunks), chunksLeft: chunks))
    }

    func add(_ result: Swift.Result<[UInt8], any Error>, at index: Int, _ elements: Int) {
        state.withLock { state in
            state.results[index] = result
            if case .failure(let error) = result, state.failure == nil { state.failure = error }
            state.chunksLeft -= 1
            state.elementsDone += elements
        }
    }

    var isDone: Bool { state.withLock { $0.chunksLeft == 0 } }
    /// The first failure that arrived.
    var failure: (any Error)? { state.withLock { $0.failure } }
    var elementsDone: Int { state.withLock { $0.elementsDone } }
    var results: [Swift.Result<[UInt8], any Error>] {
        state.withLock { $0.results.compactMap { $0 } }
    }
}
