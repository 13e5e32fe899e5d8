// SPDX-License-Identifier: Apache-2.0

internal import CShm

/// What is sent when an end of a pipe is.
internal struct PipeHandle: Codable {
    let place: ObjectPlace
    let tag: UInt64
}

/// One process's view of a pipe's ring, and which of its ends the process has.
///
/// An end is claimed by its first use, so that handles can be sent on.
@safe
internal final class PipeCore: Sendable {
    let name: String
    private let object: SharedObject
    private let tag: UInt64
    private nonisolated(unsafe) let pointer: OpaquePointer
    private let sending = Mutex(false)
    private let receiving = Mutex(false)
    private let sendTurn = Turn()
    private let receiveTurn = Turn()

    init<Element>(
        of type: Element.Type, capacity: Int, in region: Region?
    ) throws(SharedStateError) {
        guard (1...1_048_576).contains(capacity) else {
            throw SharedStateError(
                .invalidArgument, "a pipe holds 1 to 1048576 messages, not \(capacity)")
        }
        let inline = try MessageCodec<Element>().inlineSize
        let region = try Region.orFamily(region)
        var power: UInt32 = 2
        while Int(power) < capacity { power *= 2 }
        var offset: UInt64 = 0
        try unsafe check(
            cshm_ring_create(region.pointer, power, inline, &offset), "cshm_ring_create")
        object = SharedObject(region, offset, sent: false)
        tag = typeTag(type)
        name = "a pipe of \(type)"
        unsafe pointer = try Self.open(object)
    }

    init(from decoder: any Decoder, of type: Any.Type) throws {
        let handle = try PipeHandle(from: decoder)
        guard handle.tag == typeTag(type) else {
            throw SharedStateError(.incompatible, "the pipe is not one of \(type)")
        }
        object = SharedObject(try handle.place.region(), handle.place.offset, sent: true)
        tag = handle.tag
        name = "a pipe of \(type)"
        unsafe pointer = try Self.open(object)
    }

    deinit {
        if object.wasSent {
            unsafe cshm_ring_close(pointer)
        } else {
            unsafe cshm_ring_destroy(pointer)
        }
    }

    private static func open(_ object: SharedObject) throws(SharedStateError) -> OpaquePointer {
        var opened: OpaquePointer?
        try unsafe check(
            cshm_ring_open(object.region.pointer, object.offset, &opened), "cshm_ring_open")
        return unsafe opened.unsafelyUnwrapped
    }

    func handle() throws(SharedStateError) -> PipeHandle {
        PipeHandle(place: try object.place(), tag: tag)
    }

    func asSender<Result>(_ body: (OpaquePointer) throws -> Result) throws -> Result {
        try sendTurn.run(name) {
            try claim(sending) { unsafe cshm_ring_become_producer(pointer) }
            return try unsafe body(pointer)
        }
    }

    func asReceiver<Result>(_ body: (OpaquePointer) throws -> Result) throws -> Result {
        try receiveTurn.run(name) {
            try claim(receiving) { unsafe cshm_ring_become_consumer(pointer) }
            return try unsafe body(pointer)
        }
    }

    /// Where the receiver waits.
    var items: Reactor.Place {
        unsafe Reactor.Place { unsafe cshm_ring_items(pointer, $0) }
    }

    /// Ends the stream, if this process is its sender.
    func finish() {
        if sending.withLock({ $0 }) { _ = unsafe cshm_ring_finish(pointer) }
    }

    /// Ends the pipe, if this process is its receiver.
    func cancel() {
        if receiving.withLock({ $0 }) { unsafe cshm_ring_cancel(pointer) }
    }

    private func claim(_ isMine: borrowing Mutex<Bool>, _ become: () -> Int32) throws {
        try isMine.withLock { isMine throws in
            if isMine { return }
            let status = become()
            if status == Answer.busy {
                throw SharedStateError(
                    .invalidArgument, "this end of \(name) is another process's; make another pipe")
            }
            try check(status, "cshm_ring_become")
            isMine = true
        }
    }
}

extension Turn {
    fileprivate func run<Result>(_ name: String, _ body: () throws -> Result) throws -> Result {
        guard take() else {
            throw SharedStateError(channel: Answer.busy, "a pipe", name)
        }
        defer { giveBack() }
        return try body()
    }
}
