// SPDX-License-Identifier: Apache-2.0

internal import CShm
internal import Glibc

/// What is sent when an end of a pipe is.
internal struct PipeHandle: Codable {
    let place: ObjectPlace
    let tag: UInt64
}

/// The ring of a pipe, which its ends share.
@safe
internal final class PipeRing: Sendable {
    let name: String
    let tag: UInt64
    let object: SharedObject
    /// A view without a role.
    private nonisolated(unsafe) let view: OpaquePointer

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
        unsafe view = try Self.open(object)
    }

    init(from decoder: any Decoder, of type: Any.Type) throws {
        let handle = try PipeHandle(from: decoder)
        guard handle.tag == typeTag(type) else {
            throw SharedStateError(.incompatible, "the pipe is not one of \(type)")
        }
        object = try SharedObject(arriving: handle.place)
        tag = handle.tag
        name = "a pipe of \(type)"
        unsafe view = try Self.open(object)
    }

    deinit {
        if object.wasSent {
            unsafe cshm_ring_close(view)
        } else {
            unsafe cshm_ring_destroy(view)
        }
    }

    /// A view of its own, for an end.
    fileprivate func open() throws(SharedStateError) -> OpaquePointer {
        unsafe try Self.open(object)
    }

    private static func open(_ object: SharedObject) throws(SharedStateError) -> OpaquePointer {
        var opened: OpaquePointer?
        try unsafe check(
            cshm_ring_open(object.region.pointer, object.offset, &opened), "cshm_ring_open")
        return unsafe opened.unsafelyUnwrapped
    }

    /// Messages in it at some instant of the call.
    var count: Int { Int(clamping: unsafe cshm_ring_count(view)) }

    /// Where its receiver waits.
    var items: Reactor.Place {
        unsafe Reactor.Place { unsafe cshm_ring_items(view, $0) }
    }

    /// Where its sender waits.
    var room: Reactor.Place {
        unsafe Reactor.Place { unsafe cshm_ring_room(view, $0) }
    }
}

/// One end of a pipe.
///
/// An end belongs to the process that it was made in or sent to; sending it on gives it up, unless
/// it was used. So it has an owner whose death the other end is told, save on its way.
internal final class PipeCore: Sendable {
    enum Side: Sendable {
        case sender
        case receiver
    }

    /// A view of the ring that has the role.
    @safe
    struct View: Sendable {
        fileprivate(set) nonisolated(unsafe) var ring: OpaquePointer
        /// The receiver's box for file descriptors, once it is open.
        fileprivate(set) nonisolated(unsafe) var post: OpaquePointer?
    }

    private struct State {
        var view: View?
        var isUsed = false
    }

    let ring: PipeRing
    private let side: Side
    /// Whether messages may take file descriptors along.
    private let hasBaggage: Bool
    private let state = Mutex(State())
    private let turn = Turn()

    init(_ ring: PipeRing, _ side: Side, hasBaggage: Bool) {
        self.ring = ring
        self.side = side
        self.hasBaggage = hasBaggage
        // Why this end cannot be had is told who uses it.
        state.withLock { state in _ = try? hold(&state) }
    }

    deinit {
        close()
        state.withLock { drop(&$0) }
    }

    /// What to send; the end is then nobody's until it arrives.
    func handle() throws(SharedStateError) -> PipeHandle {
        let handle = PipeHandle(place: try ring.object.keptPlace(), tag: ring.tag)
        state.withLock { if !$0.isUsed { drop(&$0) } }
        return handle
    }

    /// Uses the end, which is then this process's.
    func use<Result>(_ body: (View) throws -> Result) throws -> Result {
        guard turn.take() else { throw failure(Answer.busy, "a pipe") }
        defer { turn.giveBack() }
        return try body(
            state.withLock { (state) throws(SharedStateError) -> View in
                state.isUsed = true
                return try hold(&state)
            })
    }

    /// As ``use(_:)``, for an attempt: errors are answers.
    func attempt(_ body: (View) -> Int32) -> Int32 {
        do {
            return try use(body)
        } catch {
            return -((error as? SharedStateError)?.errno ?? EPROTO)
        }
    }

    /// Ends the stream, or the pipe, if the end is this process's.
    func close() {
        state.withLock { state in
            guard let view = state.view else { return }
            switch side {
            case .sender: _ = unsafe cshm_ring_finish(view.ring)
            case .receiver: unsafe cshm_ring_cancel(view.ring)
            }
        }
    }

    func failure(_ status: Int32, _ function: StaticString) -> SharedStateError {
        if status == Answer.busy {
            return SharedStateError(
                .invalidArgument,
                "this end of \(ring.name) is another process's, or another thread is at it",
                errno: -status)
        }
        return SharedStateError(status: status, function, ring.name)
    }

    /// Has the role, and the box.
    @discardableResult
    private func hold(_ state: inout State) throws(SharedStateError) -> View {
        var view: View
        if let held = state.view {
            view = held
        } else {
            unsafe view = View(ring: try ring.open())
            let status =
                switch side {
                case .sender: unsafe cshm_ring_become_producer(view.ring)
                case .receiver: unsafe cshm_ring_become_consumer(view.ring)
                }
            if status < 0 {
                unsafe cshm_ring_close(view.ring)
                throw failure(status, "cshm_ring_become")
            }
        }
        if hasBaggage, side == .receiver, unsafe view.post == nil { openPost(of: &view) }
        state.view = view
        return view
    }

    /// A dead owner's may be there for a moment: the next use tries again, and the sender waits.
    private func openPost(of view: inout View) {
        let object = ring.object
        guard unsafe cshm_post_open(object.region.pointer, object.offset, &view.post) == 0 else {
            return
        }
        ring.room.wakeAll()
    }

    private func drop(_ state: inout State) {
        guard let view = state.view else { return }
        if let post = unsafe view.post { unsafe cshm_post_close(post) }
        unsafe cshm_ring_close(view.ring)
        state.view = nil
    }
}

// MARK: Attempts

extension PipeCore {
    /// Puts a message and the descriptors it names, if there is room and the receiver has its box.
    func trySend(_ bytes: UnsafeRawBufferPointer, with baggage: Baggage?, _ view: View) -> Int32 {
        var room: UnsafeMutableRawPointer?
        var status = unsafe tryClaim(bytes.count, view, &room)
        if status == 0, let (ticket, descriptors) = baggage?.contents {
            status = post(descriptors, ticket, view)
        }
        guard status == 0 else { return status }
        unsafe UnsafeMutableRawBufferPointer(start: room, count: bytes.count).copyMemory(
            from: bytes)
        unsafe cshm_ring_commit(view.ring)
        return 0
    }

    /// Room for one message, to be committed.
    func tryClaim(_ length: Int, _ view: View, _ room: inout UnsafeMutableRawPointer?) -> Int32 {
        unsafe unlessGone(view, cshm_ring_try_claim(view.ring, UInt64(length), &room))
    }

    private func unlessGone(_ view: View, _ status: Int32) -> Int32 {
        guard status == Answer.wouldWait else { return status }
        return unsafe cshm_ring_consumer_is_gone(view.ring) == 1 ? Answer.finished : status
    }

    /// What an empty ring means: the end, if its sender is dead and left nothing.
    func tryPeek(
        _ view: View, _ data: inout UnsafeRawPointer?, _ length: inout UInt64
    ) -> Int32 {
        let status = unsafe cshm_ring_try_peek(view.ring, &data, &length)
        guard status == Answer.wouldWait, unsafe cshm_ring_producer_is_gone(view.ring) == 1 else {
            return status
        }
        let last = unsafe cshm_ring_try_peek(view.ring, &data, &length)
        return last == Answer.wouldWait ? Answer.finished : last
    }

    /// Looks for the next message, which stays.
    func tryLook() -> Int32 {
        attempt { view in
            var data: UnsafeRawPointer?
            var length: UInt64 = 0
            return unsafe tryPeek(view, &data, &length)
        }
    }

    private func post(_ descriptors: [Int32], _ ticket: UInt64, _ view: View) -> Int32 {
        let object = ring.object
        let status = unsafe cshm_post_send(
            object.region.pointer, object.offset, ticket, descriptors, UInt32(descriptors.count))
        // The receiver has no box yet, or it had one and is dead.
        return unlessGone(view, status == Answer.noBox ? Answer.wouldWait : status)
    }

    /// The descriptors that came with the message of that ticket.
    func descriptors(_ ticket: UInt64, _ view: View) throws(SharedStateError) -> [Int32] {
        guard let post = unsafe view.post else { throw descriptorsAreGone }
        var descriptors = [Int32](repeating: -1, count: Int(CSHM_POST_MAX))
        let count = unsafe cshm_post_take(post, ticket, &descriptors, UInt32(CSHM_POST_MAX))
        if count == Answer.absent { throw descriptorsAreGone }
        try check(count, "cshm_post_take", ring.name)
        return Array(descriptors.prefix(Int(count)))
    }

    private var descriptorsAreGone: SharedStateError {
        SharedStateError(
            .notFound,
            "the message's file descriptors went with a receiver of \(ring.name) that died")
    }
}
