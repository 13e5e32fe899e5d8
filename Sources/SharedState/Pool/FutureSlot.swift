// SPDX-License-Identifier: Apache-2.0

internal import CShm

/// A reference to the outcome of a future that was sent, in shared memory; see `cshm/outcome.h`.
///
/// - Death: of the owner before it has filled it leaves no outcome, which who waits is told; of anybody
///   who has it, nothing: the last of the living ends it.
@safe
internal final class FutureSlot: Sendable {
    private let region: Region
    private let place: UInt64
    private let generation: UInt64

    /// For a future of this process's.
    init() throws(SharedStateError) {
        let region = try FamilyRegion.shared()
        var outcome = cshm_outcome()
        try unsafe check(cshm_outcome_create(region.pointer, &outcome), "cshm_outcome_create")
        self.region = region
        place = outcome.place
        generation = outcome.generation
        region.addObject()
    }

    /// Receives what a sent future names.
    init(_ ticket: FutureTicket) throws(SharedStateError) {
        region = try ticket.place.region()
        place = ticket.place.offset
        generation = ticket.generation
        var outcome = cshm_outcome(place: place, generation: generation)
        let number = Delivery.mayComeAgain ? 0 : ticket.number
        let status = unsafe cshm_outcome_receive(region.pointer, &outcome, number)
        guard status != Answer.absent else {
            throw SharedStateError(
                .notFound, "the future was received before, and nobody has it any more")
        }
        try check(status, "cshm_outcome_receive", "a future")
        region.addObject()
    }

    deinit {
        var outcome = outcome
        _ = unsafe cshm_outcome_release(region.pointer, &outcome)
        region.removeObject()
    }

    private var outcome: cshm_outcome { cshm_outcome(place: place, generation: generation) }

    /// What is to be sent.
    ///
    /// It is received once, or else the outcome stays as long as its region.
    func send() throws(SharedStateError) -> FutureTicket {
        let objectPlace = try ObjectPlace(region, place)
        var outcome = outcome
        var number: UInt64 = 0
        if Departure.isToOne {
            try unsafe check(
                cshm_outcome_send(region.pointer, &outcome, &number), "cshm_outcome_send")
            // It keeps this reference as well, so that a task's arguments may be decoded again.
            Departure.ifNotSent { [number] in self.takeBack(number) }
        } else {
            try unsafe check(cshm_outcome_keep(region.pointer, &outcome), "cshm_outcome_keep")
        }
        return FutureTicket(place: objectPlace, generation: generation, number: number)
    }

    private func takeBack(_ number: UInt64) {
        var outcome = outcome
        _ = unsafe cshm_outcome_retract(region.pointer, &outcome, number)
    }

    // MARK: The owner

    /// Stores the outcome, and tells who waits; where there is no memory for it, that is the outcome.
    func fill(_ bytes: [UInt8]) {
        var outcome = outcome
        _ = unsafe cshm_outcome_fill(region.pointer, &outcome, bytes, UInt64(bytes.count))
    }

    // MARK: Those who wait

    private func look() -> (status: Int32, bytes: UnsafeRawBufferPointer) {
        var outcome = outcome
        var bytes: UnsafeRawPointer?
        var size: UInt64 = 0
        let status = unsafe cshm_outcome_look(region.pointer, &outcome, &bytes, &size)
        let count = status == 0 ? Int(size) : 0
        return unsafe (status, UnsafeRawBufferPointer(start: bytes, count: count))
    }

    /// An attempt for those who wait: 0, that it would have to wait, or why there is no outcome.
    func attempt() -> Int32 { unsafe look().status }

    var waitingPlace: Reactor.Place {
        unsafe Reactor.Place(.anyone) { waitable in
            var outcome = outcome
            // Of one that this object has a reference to.
            _ = unsafe cshm_outcome_waitable(region.pointer, &outcome, waitable)
        }
    }

    /// What the owner stored; lent to `body`.
    func withBytes<Result>(_ body: (UnsafeRawBufferPointer) throws -> Result) throws -> Result {
        let (status, bytes) = unsafe look()
        switch status {
        case 0: return try unsafe body(bytes)
        case Answer.finished:
            throw SharedStateError(
                .workerDied, "the process that has the future died before there was a result")
        default:
            throw SharedStateError(status: status, "cshm_outcome_look", "a future's outcome")
        }
    }
}

/// What is sent when a future is.
internal struct FutureTicket: Codable {
    let place: ObjectPlace
    let generation: UInt64
    let number: UInt64
}

// MARK: Outcomes as bytes

/// What became of a future, for another process.
internal enum FutureOutcome {
    private enum Kind: UInt8 {
        case value = 0
        case cancelled = 1
        case failed = 2
    }

    /// Both sides are of one family, and so of one build.
    private static let codes = Array(SharedStateError.Code.allCases)

    static func encode<Value>(
        _ outcome: Result<Value, any Error>, _ plan: TransferPlan<Value>
    ) -> [UInt8] {
        var writer = ByteWriter()
        switch outcome {
        case .success(let value):
            do {
                writer.append(byte: Kind.value.rawValue)
                try plan.encode(value, into: &writer)
                return writer.bytes
            } catch {
                return encode(error)
            }
        case .failure(let error): return encode(error)
        }
    }

    private static func encode(_ error: any Error) -> [UInt8] {
        var writer = ByteWriter()
        if error is CancellationError {
            writer.append(byte: Kind.cancelled.rawValue)
            return writer.bytes
        }
        let known = error as? SharedStateError
        writer.append(byte: Kind.failed.rawValue)
        let code = known?.code ?? .taskFailed
        writer.append(byte: UInt8(codes.firstIndex(of: code) ?? 0))
        writer.append(fixed: known?.errno ?? 0)
        // Of what a thread threw as it is, too.
        writer.append(byte: known == nil || known?.task != nil ? 1 : 0)
        writer.append(string: known?.description ?? "\(error)")
        writer.append(fixed: UInt64(known?.task?.index ?? 0))
        writer.append(fixed: known?.task?.workerPID ?? 0)
        writer.append(raw: RemoteFailure.encode(known == nil ? error : known?.task?.error ?? error))
        return writer.bytes
    }

    static func decode<Value>(
        _ raw: UnsafeRawBufferPointer, _ plan: TransferPlan<Value>
    ) throws -> Result<Value, any Error> {
        var reader = unsafe ByteReader(raw)
        guard let kind = Kind(rawValue: try reader.byte()) else {
            throw SharedStateError(.incompatible, "a future's outcome is damaged")
        }
        switch kind {
        case .value: return .success(try plan.decode(from: &reader))
        case .cancelled: return .failure(CancellationError())
        case .failed: return .failure(unsafe try error(from: &reader, raw))
        }
    }

    private static func error(
        from reader: inout ByteReader, _ raw: UnsafeRawBufferPointer
    ) throws -> SharedStateError {
        let number = Int(try reader.byte())
        guard codes.indices.contains(number) else {
            throw SharedStateError(.incompatible, "a future's outcome is damaged")
        }
        let errno = try reader.fixed(Int32.self)
        let isOfTask = try reader.byte() == 1
        let text = try reader.string()
        let index = Int(truncatingIfNeeded: try reader.fixed(UInt64.self))
        let pid = try reader.fixed(Int32.self)
        let rest = unsafe UnsafeRawBufferPointer(
            rebasing: raw[(raw.count - reader.remaining)...])
        let (thrown, error) = unsafe RemoteFailure.decode(rest)
        let task = TaskFailure(index: index, workerPID: pid, text: thrown, error: error, exit: nil)
        return SharedStateError(codes[number], text, errno: errno, task: isOfTask ? task : nil)
    }
}

// MARK: Sending a future

extension Future: Codable {
    /// Sends it: another process of the family may then wait for it.
    ///
    /// The outcome lies in shared memory until nobody has the future any more, in this process or in
    /// another. One that may be received several times is there as long as its region: in a container, a
    /// ``Broadcast``, or leased; so is one that was on its way when its sender or receiver died. Where the
    /// process that has the future dies without an outcome, waiting throws `workerDied` elsewhere. What
    /// waits elsewhere cannot cancel it.
    ///
    /// - Throws: `cannotCross`, `full`.
    public func encode(to encoder: any Encoder) throws {
        try sharedSlot().send().encode(to: encoder)
    }

    /// A future of another process's.
    ///
    /// - Throws: `cannotCross`, `notFound`, `incompatible`.
    public convenience init(from decoder: any Decoder) throws {
        let plan = try TransferPlan<Value>.plan(for: Value.self)
        let slot = try FutureSlot(try FutureTicket(from: decoder))
        self.init(remote: slot, plan)
    }
}
