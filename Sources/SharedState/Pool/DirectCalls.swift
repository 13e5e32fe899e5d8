// SPDX-License-Identifier: Apache-2.0

internal import CShm

/// Blocking calls of functions whose arguments and result are plain bits: the worker calls the
/// function on the arguments where the caller stored them, and the result is stored beside them.
///
/// Death: as of an element of a map whose results are stored in place.
extension Pool {
    /// - Returns: `nil` if it is to be posted in another way.
    internal func callDirectly<each Argument: Sendable, Result: Sendable>(
        _ arguments: repeat each Argument, options: TaskOptions,
        body: @escaping @Sendable (repeat each Argument) throws -> Result
    ) throws -> Result? {
        // Another closure with a context may be at the same address later.
        let words = unsafe unsafeBitCast(FunctionPack(body: body), to: (UInt, UInt).self)
        guard words.1 == 0, options.limit == nil else { return nil }
        var key = DirectCatalog.Key(words.0, Result.self)
        for type in repeat (each Argument).self { key.add(type) }
        let core = core
        let site = try core.directs.site(of: key) { () throws(SharedStateError) in
            let layout = DirectLayout(
                repeat try TransferPlan.plan(for: (each Argument).self),
                result: try TransferPlan<Result>.plan(for: Result.self))
            guard let layout else { return nil }
            let function = try FunctionReference(pack: body)
            return DirectSite(job: try core.job(function.bytes), layout: layout)
        }
        guard let site else { return nil }
        let batch = try unsafe core.postDirectly(site, try options.checked()) { memory in
            var index = 0
            repeat unsafe site.layout.store(each arguments, &index, in: memory)
        }
        guard let batch else { return nil }
        do {
            try core.awaitDirectly(batch)
        } catch {
            core.end(batch)
            throw error
        }
        // Whether it is one, is known by what follows: bits are something in any case.
        let result = unsafe batch.pointer.pointee.output.load(as: Result.self)
        if core.endWhole(batch) { return result }
        defer { core.end(batch) }
        throw core.error(of: batch)
    }
}

/// What is known of a function that is called directly.
internal final class DirectSite: Sendable {
    let job: Job
    let layout: DirectLayout

    init(job: Job, layout: DirectLayout) {
        self.job = job
        self.layout = layout
    }
}

/// The functions that were called directly before, and those that cannot be.
///
/// By the types that a caller has at hand: to look the type of a generic entry up costs more than
/// all the rest of a call.
internal final class DirectCatalog: Sendable {
    struct Key: Hashable, Sendable {
        let code: UInt
        let result: ObjectIdentifier
        private var first: ObjectIdentifier?
        private var second: ObjectIdentifier?
        private var others: [ObjectIdentifier] = []

        init(_ code: UInt, _ result: Any.Type) {
            self.code = code
            self.result = ObjectIdentifier(result)
        }

        mutating func add(_ argument: Any.Type) {
            let type = ObjectIdentifier(argument)
            if first == nil {
                first = type
            } else if second == nil {
                second = type
            } else {
                others.append(type)
            }
        }
    }

    private struct State {
        var known: [Key: DirectSite?] = [:]
        var last: (key: Key, site: DirectSite?)?
    }

    private static let limit = 1024
    private let state = Mutex(State())

    /// - Parameters:
    ///   - key: The function and its types.
    ///   - make: Makes what is to be known of it, on first use.
    /// - Returns: `nil` if it cannot be called directly.
    /// - Throws: What `make` throws.
    func site(
        of key: Key, make: () throws(SharedStateError) -> DirectSite?
    ) throws(SharedStateError) -> DirectSite? {
        let found = state.withLock { state -> DirectSite?? in
            if let last = state.last, last.key == key { return last.site }
            guard let site = state.known[key] else { return nil }
            state.last = (key, site)
            return site
        }
        if let found { return found }
        let made = try make()
        state.withLock { state in
            if state.known.count >= Self.limit { state.known = [:] }
            state.known[key] = .some(made)
            state.last = (key, made)
        }
        return made
    }
}

extension PoolCore {
    /// As ``call(_:_:_:_:)``; `store` stores the arguments.
    func postDirectly(
        _ site: DirectSite, _ options: TaskOptions, _ store: (UnsafeMutableRawPointer) -> Void
    ) throws(SharedStateError) -> PostedBatch? {
        var form = JobForm(kind: .call)
        form.elementsAreBits = true
        form.resultsAreBits = true
        form.retries = UInt8(clamping: options.retries)
        var shape = cshm_batch_shape()
        shape.job = site.job.offset
        shape.tag = form.tag
        shape.count = 1
        shape.group = 1
        shape.input_size = UInt64(site.layout.size)
        shape.output_size = UInt64(site.layout.resultSize)
        shape.urgency = options.urgency.rawValue
        return try state.withLock { (state) throws(SharedStateError) -> PostedBatch? in
            try state.checkOpen()
            if state.isShort { startLater(openSeats(&state), &state) }
            guard state.pending[Int(options.urgency.rawValue)].isEmpty,
                unsafe cshm_board_room(board) > Self.reserve
            else { return nil }
            var made: UnsafeMutablePointer<cshm_batch>?
            try unsafe check(cshm_board_draft(board, &shape, &made), "cshm_board_draft", "a task")
            guard let made = unsafe made else { return nil }
            unsafe store(made.pointee.input)
            let batch = unsafe PostedBatch(
                made, job: site.job, options: options, task: nil, base: 0)
            batch.isSingle = true
            add(batch, &state)
            unsafe cshm_board_post(board, made)
            state.runs += 1
            state.drivers += 1
            return batch
        }
    }

    func awaitDirectly(_ batch: PostedBatch) throws(SharedStateError) {
        if unsafe cshm_batch_spin(board, batch.pointer) == 0 { try driveUntilReady(batch) }
    }

    /// Gives back a task, if its result is in place and nobody else is to be looked after.
    func endWhole(_ batch: PostedBatch) -> Bool {
        let (isWhole, hasOthers, drivers) = state.withLock { state -> (Bool, Bool, Int) in
            guard batch.isIntact, batch.state(of: 0).phase == Int32(CSHM_GROUP_DONE),
                unsafe cshm_batch_has_records(batch.pointer) == 0
            else {
                batch.isTaken = true
                return (false, false, 0)
            }
            state.deathsInARow = 0
            retire(batch, &state)
            state.runs -= 1
            letGo(&state)
            let hasOthers = state.hasWork
            // It may not have driven, and nobody else did meanwhile.
            if !hasOthers { state.drivers -= 1 }
            return (true, hasOthers, state.drivers)
        }
        guard isWhole else { return false }
        if hasOthers {
            pump()
            stopDriving()
            ring()
        } else {
            if exits.withLock({ !$0.isEmpty }) { wakeCollector() }
            if drivers > 0 { ring() }
        }
        return true
    }

    /// Why a task that is the caller's alone has no result.
    func error(of batch: PostedBatch) -> SharedStateError {
        switch outcome(of: batch) {
        case .failed(let error): error
        case .record(.thrown, let bytes, let pid):
            unsafe SharedStateError.thrown(bytes, index: 0, pid: pid)
        case .record(.value, _, _):
            SharedStateError(.incompatible, "a task's result is damaged")
        }
    }
}
