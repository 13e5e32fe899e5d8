// SPDX-License-Identifier: Apache-2.0

internal import CShm

/// How a task's elements, results and function are laid out: a batch's tag.
internal struct JobForm: Sendable {
    enum Kind: UInt8, Sendable {
        /// One task, whose arguments are the batch's whole input.
        case call = 0
        /// A function of each element.
        case map = 1
        /// No task: whoever claims it leaves.
        case leave = 2
    }

    var kind: Kind
    /// Elements lie side by side; if not, behind a table of where each begins.
    var elementsAreBits = false
    /// Results are stored in place; if not, they are records.
    var resultsAreBits = false
    /// How often a task that throws is run again.
    var retries: UInt8 = 0

    var tag: UInt64 {
        UInt64(kind.rawValue) | (elementsAreBits ? 0x100 : 0) | (resultsAreBits ? 0x200 : 0)
            | UInt64(retries) << 16
    }

    init(kind: Kind) { self.kind = kind }

    init(tag: UInt64) throws(SharedStateError) {
        guard let kind = Kind(rawValue: UInt8(truncatingIfNeeded: tag)) else {
            throw SharedStateError(.incompatible, "the bytes are damaged: not a task")
        }
        self.kind = kind
        elementsAreBits = tag & 0x100 != 0
        resultsAreBits = tag & 0x200 != 0
        retries = UInt8(truncatingIfNeeded: tag >> 16)
    }
}

/// What a record says.
internal enum RecordKind: UInt32 {
    case value = 0
    /// A ``RemoteFailure``.
    case thrown = 1
}

/// A function and its broadcast argument in shared memory, freed with its last task.
///
/// Layout: `{number, length, function, broadcast}`.
internal final class Job: Sendable {
    let region: Region
    let offset: UInt64
    /// Of the broadcast argument: what no worker received is taken back at its end.
    private let departure: Departure?

    init(
        number: UInt64, function: [UInt8], broadcast: TaskInput?, in region: Region
    ) throws(SharedStateError) {
        let argument = broadcast?.writer.bytes ?? []
        var writer = ByteWriter(reservingCapacity: function.count + argument.count + 32)
        writer.append(fixed: number)
        writer.append(fixed: UInt64(0))
        writer.append(prefixed: function)
        writer.append(raw: argument)
        var bytes = writer.bytes
        let length = UInt64(bytes.count)
        unsafe withUnsafeBytes(of: length.littleEndian) {
            unsafe bytes.replaceSubrange(8..<16, with: $0)
        }
        self.region = region
        departure = broadcast?.departure
        offset = try SharedBytes(bytes, in: region).offset
    }

    deinit {
        _ = unsafe cshm_heap_free(region.pointer, offset)
    }
}

/// The jobs that a worker has seen lately, each resolved once however many tasks it has.
internal struct JobCache {
    enum Function {
        case call(any RemoteCallable)
        case map(any RemoteMap)
        /// No task: whoever claims it leaves.
        case leave
    }

    private let region: Region
    private struct Known {
        let number: UInt64
        let offset: UInt64
        let function: Function
        /// It has a value that was sent with it, which may be large, or a handle.
        let hasBroadcast: Bool
    }

    private var known: [Known] = []
    private static let limit = 16
    /// So many that maps by turns do not decode theirs each time, and no more.
    private static let broadcastLimit = 2

    /// Whether it keeps values that were sent with functions.
    private(set) var hasBroadcasts = false

    /// Lets go of these, and of what is known of their functions.
    mutating func forgetBroadcasts() {
        known.removeAll(where: \.hasBroadcast)
        hasBroadcasts = false
    }

    init(region: Region) {
        self.region = region
    }

    /// The number of the job at an offset; 0 where there is none.
    func number(at offset: UInt64) -> UInt64 {
        unsafe cshm_heap_pointer(region.pointer, offset, 16)?.load(as: UInt64.self) ?? 0
    }

    mutating func function(
        at offset: UInt64, _ number: UInt64, _ kind: JobForm.Kind
    ) throws -> Function {
        if kind == .leave { return .leave }
        if let index = known.lastIndex(where: { $0.number == number && $0.offset == offset }) {
            return known[index].function
        }
        guard let header = unsafe cshm_heap_pointer(region.pointer, offset, 16) else {
            throw SharedStateError(.incompatible, "a task's function is not where it should be")
        }
        let length = unsafe header.load(fromByteOffset: 8, as: UInt64.self)
        guard length >= 16, unsafe cshm_heap_pointer(region.pointer, offset, length) != nil else {
            throw SharedStateError(.incompatible, "a task's function is not where it should be")
        }
        let bytes = unsafe UnsafeRawBufferPointer(start: header + 16, count: Int(length) - 16)
        var reader = unsafe ByteReader(bytes)
        let reference = try reader.prefixed()
        let hasBroadcast = reader.remaining > 0
        let function: Function =
            switch kind {
            case .call: .call(try FunctionReference.resolve(reference))
            case .map: .map(try FunctionReference.resolveMap(reference, broadcast: &reader))
            case .leave: .leave
            }
        makeRoom(hasBroadcast)
        if hasBroadcast { hasBroadcasts = true }
        known.append(
            Known(number: number, offset: offset, function: function, hasBroadcast: hasBroadcast))
        return function
    }

    private mutating func makeRoom(_ forBroadcast: Bool) {
        if known.count == Self.limit { known.removeFirst() }
        guard forBroadcast, known.count(where: \.hasBroadcast) == Self.broadcastLimit,
            let oldest = known.firstIndex(where: \.hasBroadcast)
        else { return }
        known.remove(at: oldest)
    }
}
