// SPDX-License-Identifier: Apache-2.0

internal import CShm

/// Where a future that was sent has its outcome: `{event, owner, place, length}` in shared memory.
///
/// - Death: of the owner before it set the event leaves no outcome, which who waits is told, since the
///   kernel says that the owner is dead; of anybody else, nothing.
@safe
internal final class FutureSlot: Sendable {
    private static let words = MemoryLayout<cshm_event>.size
    private static let size = words + 3 * 8

    private let object: SharedObject
    private nonisolated(unsafe) let base: UnsafeMutableRawPointer

    /// For a future of this process's.
    init() throws(SharedStateError) {
        let region = try FamilyRegion.shared()
        object = try SharedObject.allocate(Self.size, in: region)
        unsafe base = try object.address(size: Self.size)
        unsafe cshm_event_init(event, CSHM_EVENT_MANUAL)
        unsafe base.storeBytes(
            of: cshm_participant_self(region.pointer), toByteOffset: Self.words, as: UInt64.self)
    }

    /// Opens what a sent future names.
    init(_ place: ObjectPlace) throws(SharedStateError) {
        object = SharedObject(try place.region(), place.offset, sent: true)
        unsafe base = try object.address(size: Self.size)
        try unsafe check(cshm_event_is_set(event), "cshm_event_is_set", "a future")
    }

    deinit {
        object.freeUnlessSent()
    }

    private var event: UnsafeMutablePointer<cshm_event> {
        unsafe base.assumingMemoryBound(to: cshm_event.self)
    }

    func place() throws(SharedStateError) -> ObjectPlace { try object.place() }

    // MARK: The owner

    /// Stores the outcome, and tells who waits; where there is no memory for it, that is the outcome.
    func fill(_ bytes: [UInt8]) {
        var offset: UInt64 = 0
        let size = UInt64(max(1, bytes.count))
        let region = object.region
        if unsafe cshm_heap_allocate(region.pointer, size, &offset) == 0,
            unsafe cshm_heap_share(region.pointer, offset) == 0,
            let place = unsafe cshm_heap_pointer(region.pointer, offset, size)
        {
            unsafe place.copyMemory(from: bytes, byteCount: bytes.count)
            unsafe base.storeBytes(of: offset, toByteOffset: Self.words + 8, as: UInt64.self)
            unsafe base.storeBytes(
                of: UInt64(bytes.count), toByteOffset: Self.words + 16, as: UInt64.self)
        }
        _ = unsafe cshm_event_set(event)
    }

    // MARK: Those who wait

    /// An attempt for those who wait: 0, that it would have to wait, or that the owner is dead.
    func attempt() -> Int32 {
        if unsafe cshm_event_is_set(event) == 1 { return 0 }
        let owner = unsafe base.load(fromByteOffset: Self.words, as: UInt64.self)
        guard unsafe cshm_participant_is_gone(object.region.pointer, owner) == 0 else {
            // It may have set it as its last.
            return unsafe cshm_event_is_set(event) == 1 ? 0 : Answer.finished
        }
        return Answer.wouldWait
    }

    var waitingPlace: Reactor.Place {
        unsafe Reactor.Place(.anyone) { unsafe cshm_event_waitable(event, $0) }
    }

    /// What the owner stored.
    func bytes() throws(SharedStateError) -> [UInt8] {
        let offset = unsafe base.load(fromByteOffset: Self.words + 8, as: UInt64.self)
        let count = unsafe base.load(fromByteOffset: Self.words + 16, as: UInt64.self)
        guard offset != 0 else {
            throw SharedStateError(.full, "there was no shared memory for a future's outcome")
        }
        guard count < UInt64(Int.max),
            let place = unsafe cshm_heap_pointer(object.region.pointer, offset, max(1, count))
        else { throw SharedStateError(.incompatible, "a future's outcome is damaged") }
        return unsafe Array(UnsafeRawBufferPointer(start: place, count: Int(count)))
    }
}

// MARK: Outcomes as bytes

/// What became of a future, for another process.
internal enum FutureOutcome {
    private enum Kind: UInt8 {
        case value = 0
        case cancelled = 1
        case taskFailed = 2
        case workerDied = 3
        case timedOut = 4
        case closed = 5

        var code: SharedStateError.Code {
            switch self {
            case .workerDied: .workerDied
            case .timedOut: .timedOut
            case .closed: .closed
            default: .taskFailed
            }
        }
    }

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
        let kind: Kind =
            switch known?.code {
            case .workerDied: .workerDied
            case .timedOut: .timedOut
            case .closed: .closed
            default: .taskFailed
            }
        writer.append(byte: kind.rawValue)
        writer.append(string: known?.description ?? "\(error)")
        writer.append(fixed: UInt64(known?.task?.index ?? 0))
        writer.append(fixed: known?.task?.workerPID ?? 0)
        writer.append(raw: RemoteFailure.encode(known == nil ? error : known?.task?.error ?? error))
        return writer.bytes
    }

    static func decode<Value>(
        _ bytes: [UInt8], _ plan: TransferPlan<Value>
    ) throws -> Result<Value, any Error> {
        try unsafe bytes.withUnsafeBytes { raw in
            var reader = unsafe ByteReader(raw)
            guard let kind = Kind(rawValue: try reader.byte()) else {
                throw SharedStateError(.incompatible, "a future's outcome is damaged")
            }
            switch kind {
            case .value: return .success(try plan.decode(from: &reader))
            case .cancelled: return .failure(CancellationError())
            default:
                let text = try reader.string()
                let index = Int(truncatingIfNeeded: try reader.fixed(UInt64.self))
                let pid = try reader.fixed(Int32.self)
                let rest = unsafe UnsafeRawBufferPointer(
                    rebasing: raw[(raw.count - reader.remaining)...])
                let (thrown, error) = unsafe RemoteFailure.decode(rest)
                return .failure(
                    SharedStateError(
                        kind.code, text,
                        task: TaskFailure(
                            index: index, workerPID: pid, text: thrown, error: error, exit: nil)))
            }
        }
    }
}

// MARK: Sending a future

extension Future: Codable {
    /// Sends it: another process of the family may then wait for it.
    ///
    /// The outcome lies in shared memory as long as its region does. Where the process that has the
    /// future dies without an outcome, waiting throws `workerDied` elsewhere. What waits elsewhere cannot
    /// cancel it.
    ///
    /// - Throws: `cannotCross`, `full`.
    public func encode(to encoder: any Encoder) throws {
        try sharedSlot().place().encode(to: encoder)
    }

    /// A future of another process's.
    ///
    /// - Throws: `cannotCross`, `notFound`, `incompatible`.
    public convenience init(from decoder: any Decoder) throws {
        let plan = try TransferPlan<Value>.plan(for: Value.self)
        let slot = try FutureSlot(try ObjectPlace(from: decoder))
        self.init(remote: slot, plan)
    }
}
