// SPDX-License-Identifier: Apache-2.0

internal import CShm
internal import CWorkerEntry
internal import Glibc

/// The loop of a pool's worker.
///
/// Death: the board says which element it ran, and which of its group have results; see
/// `cshm/board.h`.
@safe
internal struct PoolWorker {
    /// How a worker is to be used up, and what is run first and last.
    struct Orders: Sendable {
        var initializer: [UInt8] = []
        var exitHook: [UInt8] = []
        /// Groups after which it leaves; 0 for none.
        var maxTasks: UInt64 = 0
        /// Bytes of its own with which it leaves; 0 for any.
        var maxMemory: UInt64 = 0
        /// Nanoseconds that it waits for work before it leaves; 0 for ever.
        var idleTime: Int64 = 0
        /// It is a thread of the pool's process.
        var isInline = false
        /// It measures how long groups take.
        var measures = false

        func encode(into writer: inout ByteWriter) {
            writer.append(prefixed: initializer)
            writer.append(prefixed: exitHook)
            writer.append(fixed: maxTasks)
            writer.append(fixed: maxMemory)
            writer.append(fixed: idleTime)
            writer.append(byte: isInline ? 1 : 0)
            writer.append(byte: measures ? 1 : 0)
        }

        init() {}

        init(from reader: inout ByteReader) throws(SharedStateError) {
            initializer = try reader.prefixed()
            exitHook = try reader.prefixed()
            maxTasks = try reader.fixed(UInt64.self)
            maxMemory = try reader.fixed(UInt64.self)
            idleTime = try reader.fixed(Int64.self)
            isInline = try reader.byte() == 1
            measures = try reader.byte() == 1
        }
    }

    /// Why the loop ends.
    enum End {
        /// There is no more work.
        case over
        /// It has done its share.
        case isUsedUp
        /// What it did last was cancelled.
        case wasCancelled
    }

    private let board: OpaquePointer
    private let orders: Orders
    private let task: WorkerTask
    private var jobs: JobCache
    /// How the batch of the lease is done.
    private var work: WorkerBatch?
    private var lease = unsafe cshm_lease()
    private var memory: OwnMemory
    private var turn: UInt64 = 0
    private var served: UInt64 = 0

    static func run(_ reader: inout ByteReader) throws {
        let region = try FamilyRegion.shared()
        let place = try reader.fixed(UInt64.self)
        let seat = try reader.fixed(UInt32.self)
        let number = try reader.fixed(UInt32.self)
        let crew = try Crew(SharedObject(region, try reader.fixed(UInt64.self), sent: true))
        let orders = try Orders(from: &reader)
        var board: OpaquePointer?
        try unsafe check(cshm_board_open(region.pointer, place, &board), "cshm_board_open")
        guard let board = unsafe board else { return }
        defer { unsafe cshm_board_leave(board) }
        // -EBUSY: it was taken for dead before it came here, and nobody waits for it.
        try unsafe check(cshm_board_enter(board, seat, number), "cshm_board_enter")
        let task = WorkerTask(crew, seat: Int(seat))
        task.introduce()
        try task.watch()
        defer { if orders.isInline { task.endWatch() } }
        var end = End.over
        repeat {
            var worker = unsafe PoolWorker(
                board: board, orders: orders, task: task, jobs: JobCache(region: region),
                memory: OwnMemory(limit: orders.maxMemory))
            end = try worker.live()
        } while end == .isUsedUp && orders.isInline
    }

    /// From the initializer to the exit hook.
    private mutating func live() throws -> End {
        let context = WorkerContext(task)
        do {
            try task.run(context) { try Self.callHook(orders.initializer) }
        } catch {
            task.crew.fail(error, in: task.seat)
            throw error
        }
        var end = End.over
        repeat {
            end = try task.run(context) { try serve() }
        } while end == .wasCancelled
        try task.run(context) { try Self.callHook(orders.exitHook) }
        return end
    }

    private static func callHook(_ bytes: [UInt8]) throws {
        guard !bytes.isEmpty else { return }
        try callWithoutArguments(bytes)
    }

    /// Until the pool is closed, its process dead, or it has done its share.
    private mutating func serve() throws -> End {
        while orders.maxTasks == 0 || served < orders.maxTasks {
            turn += 1
            task.begin(turn)
            let keeps = jobs.hasBroadcasts
            // The kernel ends it with the pool's process, whose drivers look after what is posted.
            let status = unsafe cshm_board_claim_watched(board, &lease, endOfPatience(keeps))
            if status == -ETIMEDOUT, keeps {
                jobs.forgetBroadcasts()
                work = nil
                if task.end() { return .wasCancelled }
                continue
            }
            if status == -ECANCELED || status == -ETIMEDOUT {
                _ = task.end()
                return .over
            }
            try check(status, "cshm_board_claim_watched")
            let since = task.works(turn, measures: orders.measures)
            var isLeaving = false
            do {
                isLeaving = try perform()
            } catch {
                try fail(unsafe lease.first, error)
            }
            let first = unsafe lease.first
            let count = unsafe UInt64(lease.end - lease.first)
            // Before it is done: who has the result finds it counted.
            if !isLeaving { task.count(count, index: UInt64(first), since: since) }
            task.rests(turn)
            unsafe cshm_board_done(board, &lease)
            served += 1
            if task.end() { return .wasCancelled }
            if isLeaving { return .over }
            if memory.isTooMuch { return .isUsedUp }
        }
        return .isUsedUp
    }

    /// How long it keeps what was sent with a map while nothing more of the map comes.
    private static let remembrance: Int64 = 100_000_000

    /// Until when it waits for work: to leave, or once to let go of what may be large.
    private func endOfPatience(_ keepsBroadcasts: Bool) -> Int64 {
        if keepsBroadcasts { return deadline(in: Self.remembrance) }
        return orders.idleTime == 0 ? .max : deadline(in: orders.idleTime)
    }

    /// Does what is leased.
    ///
    /// - Returns: Whether that is to leave.
    private mutating func perform() throws -> Bool {
        if unsafe lease.is_new != 0, let known = work, unsafe !known.isAlso(for: lease, jobs) {
            work = nil
        }
        let work = try unsafe self.work ?? WorkerBatch(&jobs, lease)
        self.work = work
        try unsafe work.check(lease)
        switch work.manner {
        case .directMap(var closure): try unsafe mapInPlace(&closure, work.form)
        case .directCall(var pack): try callInPlace(&pack, work.form)
        case .encodedMap(let function): try mapEncoded(function, work)
        case .encodedCall(let function): try call(function, work.form)
        case .leave: return true
        }
        return false
    }

    /// What there is room for on every single task's own sheet.
    private static let shortage = RemoteFailure.encode(
        SharedStateError(
            .full, "shared memory is full: no room for what the task returned or threw"))

    private mutating func fail(_ element: UInt32, _ error: any Error) throws {
        do {
            try record(element, .thrown, RemoteFailure.encode(error))
        } catch {
            try record(element, .thrown, Self.shortage)
        }
    }

    private mutating func record(
        _ element: UInt32, _ kind: RecordKind, _ bytes: [UInt8]
    ) throws {
        var writer = ByteWriter()
        writer.bytes = bytes
        try record(element, kind, writer)
    }

    private mutating func record(
        _ element: UInt32, _ kind: RecordKind, _ content: ByteWriter
    ) throws {
        var room: UnsafeMutableRawPointer?
        let status = unsafe cshm_board_record(
            board, &lease, element, kind.rawValue, UInt64(content.count), &room)
        if status != 0 {
            let error = SharedStateError(
                status: status, "cshm_board_record", "a result of \(content.count) bytes")
            guard kind == .value else { throw error }
            return try fail(element, error)
        }
        if let room = unsafe room { unsafe content.copy(to: room) }
        unsafe cshm_board_commit(board, &lease)
    }

    private mutating func callInPlace(_ pack: inout cworker_pack, _ form: JobForm) throws {
        unsafe cshm_board_run(board, 0)
        var attempts = form.retries
        while let thrown = unsafe cworker_call_pack(&pack, lease.input, lease.output) {
            let error = unsafe Self.error(thrown)
            if attempts == 0 { return try fail(0, error) }
            attempts -= 1
        }
    }

    /// An error that compiled code threw, and gave up.
    private static func error(_ thrown: UnsafeMutableRawPointer) -> any Error {
        var thrown = unsafe thrown
        return unsafe withUnsafeMutablePointer(to: &thrown) {
            unsafe $0.withMemoryRebound(to: (any Error).self, capacity: 1) { unsafe $0.move() }
        }
    }

    /// One task.
    private mutating func call(_ function: any RemoteCallable, _ form: JobForm) throws {
        unsafe cshm_board_run(board, 0)
        let input = unsafe UnsafeRawBufferPointer(
            start: lease.input, count: Int(lease.input_size))
        var attempts = form.retries
        while true {
            var writer = ByteWriter(keepsPieces: true)
            do {
                var reader = unsafe ByteReader(input)
                try function.call(arguments: &reader, into: &writer)
                return try record(0, .value, writer)
            } catch {
                if attempts == 0 { return try fail(0, error) }
                attempts -= 1
            }
        }
    }
}

// MARK: A function of each element

extension PoolWorker {
    private mutating func mapInPlace(_ closure: inout cworker_closure, _ form: JobForm) throws {
        var next = unsafe lease.first
        var attempts = form.retries
        while unsafe next < lease.end {
            var thrown: UnsafeMutableRawPointer?
            next = unsafe cworker_call_each(
                &closure, lease.input, lease.output, next, lease.end, cshm_board_running(board),
                &thrown)
            guard let thrown = unsafe thrown else { break }
            let error = unsafe Self.error(thrown)
            if attempts > 0 {
                attempts -= 1
                continue
            }
            attempts = form.retries
            try fail(next, error)
            next += 1
        }
    }

    private mutating func mapEncoded(_ function: any RemoteMap, _ work: WorkerBatch) throws {
        let all = unsafe UnsafeRawBufferPointer(start: lease.input, count: Int(lease.input_size))
        for element in unsafe lease.first..<lease.end {
            unsafe cshm_board_run(board, element)
            var attempts = work.form.retries
            while true {
                do {
                    let range = unsafe try place(of: Int(element), in: all, work.elementStride)
                    var reader = unsafe ByteReader(UnsafeRawBufferPointer(rebasing: all[range]))
                    var writer = ByteWriter()
                    try function.call(element: &reader, into: &writer)
                    if work.form.resultsAreBits {
                        let stride = work.resultStride
                        unsafe (lease.output + stride * Int(element)).copyMemory(
                            from: writer.bytes, byteCount: min(stride, writer.bytes.count))
                    } else {
                        try record(element, .value, writer.bytes)
                    }
                    break
                } catch {
                    if attempts == 0 {
                        try fail(element, error)
                        break
                    }
                    attempts -= 1
                }
            }
        }
    }

    /// Where an element lies: by its number, or as the table says that the input begins with.
    private func place(
        of element: Int, in input: UnsafeRawBufferPointer, _ stride: Int
    ) throws(SharedStateError) -> Range<Int> {
        if stride > 0 { return element * stride..<(element + 1) * stride }
        guard (element + 2) * 8 <= input.count else { throw .truncated }
        let start = unsafe input.load(fromByteOffset: element * 8, as: UInt64.self)
        let end = unsafe input.load(fromByteOffset: element * 8 + 8, as: UInt64.self)
        guard start <= end, end <= input.count else { throw .truncated }
        return Int(start)..<Int(end)
    }
}
