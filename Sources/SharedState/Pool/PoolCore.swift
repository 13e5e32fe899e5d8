// SPDX-License-Identifier: Apache-2.0

internal import CShm
internal import Glibc
internal import Synchronization

/// What a pool is made of: a board (`cshm/board.h`), workers in its seats, and what is on its way.
///
/// Whoever waits for a result drives the pool: takes what is done, buries the dead, posts what there
/// is room for. While nobody waits, and something is on its way, the pool's own thread drives.
@safe
internal final class PoolCore: Sendable {
    fileprivate struct Worker {
        let number: UInt32
        var child: SpawnedChild?
    }

    fileprivate struct Pending {
        let task: SingleTask
        let input: [UInt8]
    }

    fileprivate struct Exit {
        let seat: Int
        let number: UInt32
        let exit: ChildExit
    }

    fileprivate struct State {
        var seats: [Worker?]
        var live: [PostedBatch] = []
        /// Single tasks that are posted.
        var singles = 0
        /// Batches whose tasks have a deadline.
        var limited = 0
        var pending: [Fifo<Pending>] = [Fifo(), Fifo(), Fifo()]
        var nextNumber: UInt32 = 1
        /// Maps under way.
        var runs = 0
        /// Threads that drive.
        var drivers = 0
        var deathsInARow = 0
        var failure: SharedStateError?
        var isClosed = false
        var pids: [UInt32: Int32] = [:]
    }

    /// Deaths without one result between them after which the pool gives up replacing workers.
    private static let stormLimit = 16
    /// Posts that single tasks leave to maps.
    private static let reserve: UInt32 = 8

    let workerCount: Int
    let region: Region
    private nonisolated(unsafe) let board: OpaquePointer
    private let place: UInt64
    private let orders: PoolWorker.Orders
    private let state: Mutex<State>
    /// Ends of workers that are not seen to yet.
    ///
    /// Apart, as it is told of them while a driver, with the other lock held, waits for a new worker
    /// to be forked.
    private let exits = Mutex<[Exit]>([])
    private let jobs = Atomic<UInt64>(1)
    let catalog = JobCatalog()
    private let collector = Collector()

    init(workers: Int, orders: PoolWorker.Orders) throws(SharedStateError) {
        workerCount = workers
        region = try FamilyRegion.shared()
        self.orders = orders
        var place: UInt64 = 0
        var board: OpaquePointer?
        try unsafe check(
            cshm_board_create(region.pointer, UInt32(workers), &place, &board),
            "cshm_board_create")
        unsafe self.board = board.unsafelyUnwrapped
        self.place = place
        state = Mutex(State(seats: Array(repeating: nil, count: workers)))
        do throws(SharedStateError) {
            for seat in 0..<workers {
                try state.withLock { (state) throws(SharedStateError) in
                    try startWorker(in: seat, &state)
                }
            }
        } catch {
            shutDown()
            throw error
        }
    }

    func job(
        _ function: [UInt8], broadcast: [UInt8] = []
    ) throws(SharedStateError) -> Job {
        try Job(
            number: jobs.wrappingAdd(1, ordering: .relaxed).oldValue, function: function,
            broadcast: broadcast, in: region)
    }

    // MARK: Driving

    /// Drives the pool until `isDone`.
    func drive(until deadline: Int64, _ isDone: () -> Bool) throws(SharedStateError) {
        state.withLock { $0.drivers += 1 }
        let status = rest(until: deadline) {
            pump()
            return isDone() ? 0 : Answer.wouldWait
        }
        let mustGoOn = state.withLock { state in
            state.drivers -= 1
            return state.drivers == 0 && state.hasWork
        }
        if mustGoOn { wakeCollector() }
        try check(status, "cshm_board_await")
    }

    private func rest(until deadline: Int64, _ attempt: () -> Int32) -> Int32 {
        withoutActuallyEscaping(attempt) { attempt in
            var attempt = attempt
            return unsafe withUnsafeMutablePointer(to: &attempt) { attempt in
                unsafe cshm_board_await(
                    board,
                    { context in
                        guard let context = unsafe context else { return 0 }
                        return unsafe context.assumingMemoryBound(to: (() -> Int32).self).pointee()
                    }, attempt, deadline)
            }
        }
    }

    /// Makes drivers look again.
    func ring() {
        unsafe cshm_board_ring(board)
    }

    /// Buries the dead, tells tasks that are done, and posts what there is room for.
    private func pump() {
        let taken = state.withLock { state -> [PostedBatch] in
            bury(takeExits(), &state)
            if state.limited > 0 { for batch in state.live { enforceLimit(batch, &state) } }
            return state.singles == 0 ? [] : takeDone(&state)
        }
        guard !taken.isEmpty else {
            state.withLock { if !$0.isIdle { postPending(&$0) } }
            return
        }
        for batch in taken { batch.task?.complete(outcome(of: batch)) }
        let others = state.withLock { state in
            for batch in taken { retire(batch, &state) }
            postPending(&state)
            return state.drivers > 1
        }
        if others { ring() }
    }

    private func takeDone(_ state: inout State) -> [PostedBatch] {
        var taken: [PostedBatch] = []
        for batch in state.live where batch.task != nil && !batch.isTaken {
            let phase = batch.state(of: 0).phase
            guard phase >= Int32(CSHM_GROUP_DONE) else { continue }
            batch.isTaken = true
            state.singles -= 1
            if phase == Int32(CSHM_GROUP_DONE), batch.losses.isEmpty { state.deathsInARow = 0 }
            taken.append(batch)
        }
        return taken
    }

    /// Of a single task that is done; valid until it is retired.
    private func outcome(of batch: PostedBatch) -> SingleTask.Outcome {
        if let loss = batch.losses[0] { return .failed(loss) }
        if let verdict = batch.verdict, batch.state(of: 0).phase != Int32(CSHM_GROUP_DONE) {
            return .failed(verdict)
        }
        if let record = batch.salvaged[0] {
            // Its bytes live as long as the batch.
            return unsafe record.bytes.withUnsafeBytes { bytes in
                unsafe .record(RecordKind(rawValue: record.kind) ?? .thrown, bytes, pid: 0)
            }
        }
        var cursor: (UInt64, UInt64) = (0, 0)
        var record = unsafe cshm_record()
        let found = unsafe nextRecord(batch, 0, &cursor, &record)
        guard found else {
            return .failed(SharedStateError(.incompatible, "a task's result is damaged"))
        }
        let pid = pid(of: batch.state(of: 0).worker)
        return unsafe .record(
            RecordKind(rawValue: record.kind) ?? .thrown,
            UnsafeRawBufferPointer(start: record.data, count: Int(record.length)), pid: pid)
    }

    /// The next record of a group; `cursor` begins with zeroes.
    func nextRecord(
        _ batch: PostedBatch, _ group: UInt32, _ cursor: inout (UInt64, UInt64),
        _ record: inout cshm_record
    ) -> Bool {
        unsafe withUnsafeMutablePointer(to: &cursor) { cursor in
            unsafe cursor.withMemoryRebound(to: UInt64.self, capacity: 2) { cursor in
                unsafe cshm_batch_record(board, batch.pointer, group, cursor, &record) == 1
            }
        }
    }

    func pid(of worker: UInt32) -> Int32 {
        state.withLock { $0.pids[worker] ?? 0 }
    }

    private func retire(_ batch: PostedBatch, _ state: inout State) {
        if batch.options.limit != nil { state.limited -= 1 }
        let last = state.live.removeLast()
        if last !== batch {
            state.live[batch.index] = last
            last.index = batch.index
        }
        unsafe cshm_board_retire(board, batch.pointer)
    }

    // MARK: Single tasks

    /// Takes a task; `input` is what the worker decodes.
    ///
    /// The caller says whether it is about to drive.
    func submit(
        _ task: SingleTask, _ input: [UInt8], isAwaited: Bool
    ) throws(SharedStateError) {
        let mustWake = try state.withLock { (state) throws(SharedStateError) -> Bool in
            try state.checkOpen()
            let urgency = Int(task.options.urgency.rawValue)
            if state.pending[urgency].isEmpty,
                unsafe cshm_board_room(board) > Self.reserve
            {
                try post(task, input, &state)
            } else {
                state.pending[urgency].append(Pending(task: task, input: input))
            }
            return !isAwaited && state.drivers == 0
        }
        if mustWake { wakeCollector() }
    }

    private func post(
        _ task: SingleTask, _ input: [UInt8], _ state: inout State
    ) throws(SharedStateError) {
        var shape = cshm_batch_shape()
        shape.job = task.job.offset
        shape.tag = task.form.tag
        shape.count = 1
        shape.group = 1
        shape.input_size = UInt64(input.count)
        shape.sheet = 96
        shape.urgency = task.options.urgency.rawValue
        shape.timed = task.options.limit == nil ? 0 : 1
        var made: UnsafeMutablePointer<cshm_batch>?
        try unsafe check(cshm_board_draft(board, &shape, &made), "cshm_board_draft", "a task")
        guard let made = unsafe made else { return }
        unsafe made.pointee.input.copyMemory(from: input, byteCount: input.count)
        let batch = unsafe PostedBatch(
            made, job: task.job, options: task.options, task: task, base: 0)
        add(batch, &state)
        state.singles += 1
        unsafe cshm_board_post(board, made)
    }

    private func add(_ batch: PostedBatch, _ state: inout State) {
        batch.index = state.live.count
        if batch.options.limit != nil { state.limited += 1 }
        state.live.append(batch)
    }

    /// As many pending tasks as there is room for.
    private func postPending(_ state: inout State) {
        for urgency in state.pending.indices {
            while let next = state.pending[urgency].first {
                guard unsafe cshm_board_room(board) > Self.reserve else { return }
                do throws(SharedStateError) {
                    try post(next.task, next.input, &state)
                    state.pending[urgency].removeFirst()
                } catch {
                    // No memory: when some task is done there may be; if none is there, never.
                    if !state.live.isEmpty { return }
                    state.pending[urgency].removeFirst()
                    failLater(next.task, error)
                }
            }
        }
    }

    /// Tells a task of its failure, on another thread, as a lock is held.
    private func failLater(_ task: SingleTask, _ error: SharedStateError) {
        collector.add { task.complete(.failed(error)) }
        wakeCollector()
    }

    /// Takes a task back, or kills the worker that runs it.
    ///
    /// - Returns: Whether it was not done before.
    func cancel(_ task: SingleTask, _ error: SharedStateError, kill: Bool) -> Bool {
        let (found, pending) = state.withLock { state -> (Bool, Bool) in
            for urgency in state.pending.indices
            where state.pending[urgency].remove(where: { $0.task === task }) {
                return (true, true)
            }
            guard let batch = state.live.first(where: { $0.task === task && !$0.isTaken }) else {
                return (false, false)
            }
            if batch.verdict != nil { return (true, false) }
            batch.verdict = error
            if unsafe cshm_batch_drop(batch.pointer, 0) == 0 { return (true, false) }
            let (phase, worker) = batch.state(of: 0)
            batch.verdict = nil
            guard kill, phase == Int32(CSHM_GROUP_CLAIMED) else { return (false, false) }
            batch.verdicts[worker] = error
            self.kill(worker, state)
            return (true, false)
        }
        if pending { task.complete(.failed(error)) }
        if found { wakeDriver() }
        return found
    }

    /// Whether a worker runs it.
    func isRunning(_ task: SingleTask) -> Bool {
        state.withLock { state in
            state.live.contains {
                $0.task === task && $0.state(of: 0).phase == Int32(CSHM_GROUP_CLAIMED)
            }
        }
    }

    private func kill(_ number: UInt32, _ state: borrowing State) {
        for worker in state.seats {
            guard let worker, worker.number == number, let child = worker.child else { continue }
            try? Zygote.shared().signal(child, SIGKILL)
        }
    }

    /// Kills the worker of a task that has run for too long.
    private func enforceLimit(_ batch: PostedBatch, _ state: inout State) {
        guard let limit = batch.options.limit else { return }
        for group in 0..<batch.groups {
            let (phase, worker) = batch.state(of: group)
            guard phase == Int32(CSHM_GROUP_CLAIMED), batch.verdicts[worker] == nil,
                let seat = state.seats.firstIndex(where: { $0?.number == worker }),
                unsafe cshm_board_claimed_for(board, UInt32(seat)) > limit
            else { continue }
            batch.verdicts[worker] = SharedStateError(
                .timedOut, "the task ran for longer than its deadline of \(limit) ns allows")
            kill(worker, state)
        }
    }

    // MARK: Maps

    /// Posts a batch of a map.
    func post(_ batch: PostedBatch) {
        state.withLock { state in
            add(batch, &state)
            unsafe cshm_board_post(board, batch.pointer)
        }
    }

    /// Makes a batch of a map, or nothing if the board is full.
    func draft(
        _ shape: cshm_batch_shape
    ) throws(SharedStateError) -> UnsafeMutablePointer<cshm_batch>? {
        try unsafe state.withLock { state throws(SharedStateError) in
            if let failure = state.failure { throw failure }
            var shape = shape
            var made: UnsafeMutablePointer<cshm_batch>?
            let status = unsafe cshm_board_draft(board, &shape, &made)
            if status == Answer.wouldWait { return nil }
            try check(status, "cshm_board_draft", "elements of a map")
            nonisolated(unsafe) let batch = unsafe made
            return unsafe batch
        }
    }

    func retire(_ batch: PostedBatch) {
        state.withLock { retire(batch, &$0) }
    }

    /// Gives up a draft.
    func discard(_ draft: UnsafeMutablePointer<cshm_batch>) {
        state.withLock { _ in unsafe cshm_board_retire(board, draft) }
    }

    /// Gives up a map's batches: what is running goes on, to no avail.
    func abandon(_ batches: [PostedBatch]) {
        state.withLock { state in
            for batch in batches {
                batch.drop()
                retire(batch, &state)
            }
        }
    }

    /// Fails tasks that nobody has begun.
    func cancelPending() {
        let error = SharedStateError(.closed, "the task was cancelled")
        state.withLock { state in
            for urgency in state.pending.indices {
                while let next = state.pending[urgency].first {
                    state.pending[urgency].removeFirst()
                    failLater(next.task, error)
                }
            }
            for batch in state.live where batch.task != nil && !batch.isTaken {
                batch.verdict = error
                if unsafe cshm_batch_drop(batch.pointer, 0) != 0 { batch.verdict = nil }
            }
        }
        wakeDriver()
    }

    /// A map begins; throws if the pool takes no more.
    func beginRun() throws(SharedStateError) {
        try state.withLock { (state) throws(SharedStateError) in
            try state.checkOpen()
            state.runs += 1
        }
    }

    func endRun() {
        state.withLock { $0.runs -= 1 }
        ring()
    }

    /// Looks at what a dead worker left of a batch, under the pool's lock.
    func withLosses<Result>(
        of batch: PostedBatch, _ body: (PostedBatch) throws -> sending Result
    ) rethrows -> sending Result {
        try state.withLock { state in
            if batch.losses.isEmpty { state.deathsInARow = 0 }
            return try body(batch)
        }
    }

    /// Why the pool gave up, if it did.
    var failure: SharedStateError? { state.withLock { $0.failure } }

    // MARK: Workers

    private func startWorker(in seat: Int, _ state: inout State) throws(SharedStateError) {
        let number = state.nextNumber
        state.nextNumber += 1
        unsafe cshm_board_seat(board, UInt32(seat), number)
        var request = ByteWriter()
        request.append(byte: WorkerRole.poolWorker.rawValue)
        request.append(fixed: place)
        request.append(fixed: UInt32(seat))
        request.append(fixed: number)
        orders.encode(into: &request)
        state.seats[seat] = Worker(number: number)
        do throws(SharedStateError) {
            // The board lives as long as a worker may store into it.
            let child = try Zygote.shared().spawn(payload: request.bytes) { exit in
                self.hasEnded(Exit(seat: seat, number: number, exit: exit))
            }
            state.seats[seat]?.child = child
            state.pids[number] = child.pid
            if state.pids.count > 4 * workerCount + 64 {
                state.pids = state.pids.filter { $0.key + UInt32(2 * workerCount + 32) > number }
            }
        } catch {
            state.seats[seat] = nil
            throw error
        }
    }

    /// On the thread that listens to the zygote.
    private func hasEnded(_ exit: Exit) {
        region.reap()
        exits.withLock { $0.append(exit) }
        wakeDriver()
    }

    private func takeExits() -> [Exit] {
        exits.withLock { exits in
            defer { exits = [] }
            return exits
        }
    }

    private func wakeDriver() {
        ring()
        wakeCollector()
    }

    /// Gives what the dead had begun an outcome, the rest to others, and their seats to new ones.
    private func bury(_ ended: [Exit], _ state: inout State) {
        for exit in ended {
            var element: UInt32 = 0
            let status = unsafe cshm_board_bury(board, UInt32(exit.seat), &element)
            if status == Answer.wouldWait {
                exits.withLock { $0.append(exit) }
                continue
            }
            state.seats[exit.seat] = nil
            for batch in state.live {
                while true {
                    let group = unsafe cshm_batch_claimed_by(batch.pointer, exit.number)
                    guard group >= 0 else { break }
                    settle(batch, UInt32(group), exit, named: element)
                }
            }
            replace(exit, &state)
        }
    }

    private func settle(_ batch: PostedBatch, _ group: UInt32, _ exit: Exit, named: UInt32) {
        let first = unsafe cshm_batch_begin(batch.pointer, group)
        let end = batch.elements(of: group).upperBound
        var cursor: (UInt64, UInt64) = (0, 0)
        var record = unsafe cshm_record()
        while unsafe nextRecord(batch, group, &cursor, &record) {
            let bytes = unsafe UnsafeRawBufferPointer(
                start: record.data, count: Int(record.length))
            unsafe batch.salvaged[record.element] = (record.kind, Array(bytes), exit.number)
        }
        var from = first
        if named > first, named <= end {
            let element = named - 1
            from = named
            if batch.salvaged[element] == nil {
                let attempts = (batch.attempts[element] ?? 0) + 1
                batch.attempts[element] = attempts
                let verdict = batch.verdicts[exit.number]
                if attempts <= batch.options.retries, verdict == nil {
                    from = element
                } else {
                    batch.losses[element] =
                        verdict
                        ?? .died(exit.exit.report, index: batch.base + Int(element))
                }
            }
        }
        unsafe cshm_board_reopen(board, batch.pointer, group, from)
    }

    private func replace(_ exit: Exit, _ state: inout State) {
        guard !state.isClosed || state.hasWork, state.failure == nil else { return }
        if exit.exit.report.status != .exited(code: 0) { state.deathsInARow += 1 }
        do throws(SharedStateError) {
            guard state.deathsInARow < Self.stormLimit else {
                throw SharedStateError(
                    .workerDied,
                    "\(state.deathsInARow) workers in a row died without a result, "
                        + "the last of \(exit.exit.report); the pool was closed")
            }
            try startWorker(in: exit.seat, &state)
        } catch {
            if state.deathsInARow >= Self.stormLimit || state.seats.allSatisfy({ $0 == nil }) {
                giveUp(&state, error)
            }
        }
    }

    /// Fails all that is on its way, under the lock.
    private func giveUp(_ state: inout State, _ error: SharedStateError) {
        state.isClosed = true
        if state.failure == nil { state.failure = error }
        for urgency in state.pending.indices {
            while let next = state.pending[urgency].first {
                state.pending[urgency].removeFirst()
                failLater(next.task, error)
            }
        }
        for batch in state.live where batch.task != nil && !batch.isTaken {
            batch.isTaken = true
            state.singles -= 1
            batch.drop()
            let task = batch.task
            retire(batch, &state)
            if let task { failLater(task, error) }
        }
    }

    /// Ends every worker now.
    ///
    /// Tasks that are not done fail with `closed`.
    func shutDown() {
        let ended = state.withLock { state in
            giveUp(&state, SharedStateError(.closed, "the pool was terminated"))
            unsafe cshm_board_close(board)
            defer { for seat in state.seats.indices { state.seats[seat] = nil } }
            return state.seats.compactMap { $0?.child }
        }
        for child in ended { try? Zygote.shared().signal(child, SIGKILL) }
        ring()
        collector.stop()
    }

    deinit {
        // No worker is left: each one's end holds the core until then.
        unsafe cshm_board_destroy(board)
    }

    /// Takes no more tasks.
    func close() {
        state.withLock { $0.isClosed = true }
    }

    /// Whether no task is on its way.
    var isIdle: Bool { state.withLock { $0.isIdle } }

    /// The process ids of the workers.
    var pids: [Int32] { state.withLock { $0.seats.compactMap { $0?.child?.pid } } }

    // MARK: The pool's own thread

    private func wakeCollector() {
        collector.wake { [weak self] in
            guard let self else { return }
            self.collect()
        }
    }

    /// Drives while there is something to drive and nobody else does.
    private func collect() {
        guard mustCollect else { return }
        let limits = state.withLock { $0.limited > 0 }
        let deadline = limits ? cshm_now_ns() + 10_000_000 : Int64.max
        _ = rest(until: deadline) {
            pump()
            return mustCollect ? Answer.wouldWait : 0
        }
        if mustCollect { wakeCollector() }
    }

    private var mustCollect: Bool {
        let ended = exits.withLock { !$0.isEmpty }
        return state.withLock { $0.drivers == 0 && ($0.hasWork || ended) }
    }
}

extension PoolCore.State {
    /// Whether single tasks are on their way.
    fileprivate var hasWork: Bool { singles > 0 || pending.contains { !$0.isEmpty } }

    fileprivate var isIdle: Bool { runs == 0 && !hasWork }

    fileprivate func checkOpen() throws(SharedStateError) {
        if let failure { throw failure }
        if isClosed { throw SharedStateError(.closed, "the pool was closed; make a new one") }
    }
}

/// First in, first out.
internal struct Fifo<Element> {
    private var elements: [Element?] = []
    private var head = 0

    var isEmpty: Bool { head == elements.count }
    var first: Element? { isEmpty ? nil : elements[head] }

    mutating func append(_ element: Element) {
        elements.append(element)
    }

    mutating func removeFirst() {
        elements[head] = nil
        head += 1
        if head == elements.count {
            elements.removeAll(keepingCapacity: head < 1024)
            head = 0
        } else if head >= 1024, head * 2 > elements.count {
            elements.removeFirst(head)
            head = 0
        }
    }

    /// Removes the first that matches.
    mutating func remove(where matches: (Element) -> Bool) -> Bool {
        guard let index = elements[head...].firstIndex(where: { $0.map(matches) ?? false }) else {
            return false
        }
        elements.remove(at: index)
        return true
    }
}
