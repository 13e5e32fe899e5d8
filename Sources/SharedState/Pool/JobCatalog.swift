// SPDX-License-Identifier: Apache-2.0

/// What is known of functions that were called before, so that a call need not take them apart
/// again: the job in shared memory, and the plans for arguments and results.
internal final class JobCatalog: Sendable {
    struct Key: Hashable, Sendable {
        let code: UInt
        let type: ObjectIdentifier
    }

    private struct State {
        var known: [Key: any AnyObject & Sendable] = [:]
        var last: (key: Key, value: any AnyObject & Sendable)?
    }

    private static let limit = 1024
    private let state = Mutex(State())

    /// The entry of a function, made on first use.
    ///
    /// A closure with a context is not kept: another may be at the same address later.
    func entry<Closure, Entry: AnyObject & Sendable>(
        of closure: Closure, make: () throws(SharedStateError) -> Entry
    ) throws(SharedStateError) -> Entry {
        let words = unsafe unsafeBitCast(closure, to: (UInt, UInt).self)
        let key = Key(code: words.0, type: ObjectIdentifier(Entry.self))
        if words.1 == 0, let found = find(key) {
            return unsafe unsafeDowncast(found, to: Entry.self)
        }
        let made = try make()
        if words.1 == 0 {
            state.withLock { state in
                if state.known.count >= Self.limit { state.known = [:] }
                state.known[key] = made
                state.last = (key, made)
            }
        }
        return made
    }

    private func find(_ key: Key) -> (any AnyObject & Sendable)? {
        state.withLock { state in
            if let last = state.last, last.key == key { return last.value }
            guard let found = state.known[key] else { return nil }
            state.last = (key, found)
            return found
        }
    }
}

/// What is known of a function of some arguments.
internal final class CallSite<each Argument, Result: Sendable>: Sendable {
    let job: Job
    let result: TransferPlan<Result>
    private let arguments: (repeat TransferPlan<each Argument>)
    private let mayNameHandles: Bool

    init(
        _ core: PoolCore, _ function: FunctionReference
    ) throws(SharedStateError) {
        result = try TransferPlan<Result>.plan(for: Result.self)
        job = try core.job(function.bytes)
        arguments = (repeat try TransferPlan.plan(for: (each Argument).self))
        var mayNameHandles = false
        for plan in repeat each arguments { mayNameHandles = mayNameHandles || plan.mayNameHandles }
        self.mayNameHandles = mayNameHandles
    }

    /// What the task returned, or why it did not.
    func decode(_ outcome: consuming SingleTask.Outcome) -> Swift.Result<Result, any Error> {
        let outcome = consume outcome
        return Swift.Result { try value(of: outcome) }
    }

    /// What the task returned; throws why it did not.
    func value(of outcome: consuming SingleTask.Outcome) throws -> Result {
        try unsafe withBytes(of: outcome) { bytes in
            var reader = unsafe ByteReader(bytes)
            return try result.decode(from: &reader)
        }
    }

    /// Lends the bytes of what the task returned; throws why it did not.
    func withBytes<Value>(
        of outcome: consuming SingleTask.Outcome, _ body: (UnsafeRawBufferPointer) throws -> Value
    ) throws -> Value {
        switch consume outcome {
        case .failed(let error):
            throw error
        case .record(.thrown, let bytes, let pid):
            throw unsafe SharedStateError.thrown(bytes, index: 0, pid: pid)
        case .record(.value, let bytes, _):
            return try unsafe body(bytes)
        }
    }

    /// What a worker decodes; large arrays are copied when it is posted, and not before.
    func encode(_ values: repeat each Argument) throws -> TaskInput {
        var writer = ByteWriter(keepsPieces: true)
        let departure = try encode(repeat each values, into: &writer)
        return TaskInput(writer: writer, departure: departure)
    }

    /// - Returns: What is to be told when the task is done, if anything is.
    func encode(
        _ values: repeat each Argument, into writer: inout ByteWriter
    ) throws -> Departure? {
        guard mayNameHandles else {
            repeat try (each arguments).encode(each values, into: &writer)
            return nil
        }
        return try Departure.begin {
            repeat try (each arguments).encode(each values, into: &writer)
        }.departure
    }
}

/// The arguments of a task, on their way.
internal struct TaskInput: Sendable {
    let writer: ByteWriter
    /// Takes back what no worker received.
    let departure: Departure?
}

/// What is known of a function of an element.
internal final class MapSite<Element>: Sendable {
    let job: Job
    let element: TransferPlan<Element>

    init(_ job: Job) throws(SharedStateError) {
        self.job = job
        element = try TransferPlan<Element>.plan(for: Element.self)
    }
}
