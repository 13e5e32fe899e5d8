// SPDX-License-Identifier: Apache-2.0

internal import CShm

/// A channel that can be waited for together with others, by ``Select``.
///
/// ``Queue``, ``Lanes``, ``Subscriber`` and ``PipeReceiver`` are.
public protocol Selectable<Element>: Sendable {
    /// What the channel gives.
    associatedtype Element: Sendable

    /// Takes the next element if there is one now.
    ///
    /// - Returns: The element, or `nil` if there is none and the stream goes on.
    func tryNext() throws -> Element?

    /// Where those wait who take.
    var selectionPlace: SelectionPlace { get }
}

/// Where those wait who take from a channel; of use to this library only.
public struct SelectionPlace: Sendable {
    internal let place: Reactor.Place
}

/// The next element of several channels, whichever has one first.
///
///     let (job, order) = try Select.first(of: jobs, orders)     // one of them is not nil
///     let (index, line) = try Select.first(of: logs)            // an array of channels
///
/// Exactly one element is taken, of one channel. If several have one, which of them is first changes
/// from call to call, so that none is passed over for ever. A channel that has ended is waited for no
/// more; when all have, the call throws `finished`. Nothing says which channels are ready without
/// taking from one: `isEmpty` and `poll` do, one by one.
///
/// What is no channel, such as a socket or the descriptor of a ``ChildProcess``, cannot be among them.
/// Wait for it in a task of its own, or in C for all together by a bell (`cshm/bell.h`) in an event loop.
///
/// In `async` code the same names are `async`: they hold no thread while they wait, and have taken
/// nothing when their task is cancelled. Elements are then decoded on a thread of the library's.
public enum Select {
    /// The next element of channels of different kinds.
    ///
    /// - Parameters:
    ///   - channels: 1 to 128 of them.
    ///   - timeout: The longest wait; `nil` waits without limit.
    /// - Returns: One element in its channel's place, and `nil` in all others.
    /// - Throws: `timedOut`, `finished` (all have ended), `invalidArgument` (their number), or what
    ///   taking from one throws.
    public static func first<each Channel: Selectable>(
        of channels: repeat each Channel, timeout: Duration? = nil
    ) throws -> (repeat (each Channel).Element?) {
        let choice = Choice(branches(repeat each channels))
        let chosen = try choice.wait(until: deadline(after: timeout))
        var number = 0
        return (repeat place(chosen, of: each channels, &number))
    }

    /// As the blocking form, without holding a thread.
    ///
    /// - Throws: As that, and `CancellationError`; then nothing was taken.
    public static func first<each Channel: Selectable>(
        of channels: repeat each Channel, timeout: Duration? = nil
    ) async throws -> (repeat (each Channel).Element?) {
        let choice = Choice(branches(repeat each channels))
        let chosen = try await choice.wait(until: deadline(after: timeout))
        var number = 0
        return (repeat place(chosen, of: each channels, &number))
    }

    /// The next element of any number of channels of one kind.
    ///
    /// - Parameters:
    ///   - channels: 1 to 128 of them.
    ///   - timeout: The longest wait; `nil` waits without limit.
    /// - Returns: The element, and which channel it came from.
    /// - Throws: As ``first(of:timeout:)``.
    public static func first<Channel: Selectable>(
        of channels: [Channel], timeout: Duration? = nil
    ) throws -> (index: Int, element: Channel.Element) {
        let chosen = try Choice(channels.map(Branch.init)).wait(until: deadline(after: timeout))
        return try unpack(chosen)
    }

    /// As the blocking form, without holding a thread.
    ///
    /// - Throws: As that, and `CancellationError`; then nothing was taken.
    public static func first<Channel: Selectable>(
        of channels: [Channel], timeout: Duration? = nil
    ) async throws -> (index: Int, element: Channel.Element) {
        let choice = Choice(channels.map(Branch.init))
        return try unpack(try await choice.wait(until: deadline(after: timeout)))
    }

    private static func branches<each Channel: Selectable>(
        _ channels: repeat each Channel
    ) -> [Branch] {
        var branches: [Branch] = []
        for channel in repeat each channels { branches.append(Branch(channel)) }
        return branches
    }

    private static func place<Channel: Selectable>(
        _ chosen: Choice.Chosen, of _: Channel, _ number: inout Int
    ) -> Channel.Element? {
        defer { number += 1 }
        return number == chosen.index ? chosen.element as? Channel.Element : nil
    }

    private static func unpack<Element>(
        _ chosen: Choice.Chosen
    ) throws(SharedStateError) -> (index: Int, element: Element) {
        guard let element = chosen.element as? Element else { throw SharedStateError.truncated }
        return (chosen.index, element)
    }
}

/// One of the channels, whatever its elements are.
private struct Branch: Sendable {
    let place: Reactor.Place
    let tryNext: @Sendable () throws -> (any Sendable)?

    init(_ channel: some Selectable) {
        place = channel.selectionPlace.place
        tryNext = { try channel.tryNext() }
    }
}

/// A choice between channels, made once.
private final class Choice: Sendable {
    struct Chosen: Sendable {
        let index: Int
        let element: any Sendable
    }

    private struct State {
        var ended: Set<Int> = []
        var result: Result<Chosen, any Error>?
    }

    private let branches: [Branch]
    private let state = Mutex(State())

    init(_ branches: [Branch]) {
        self.branches = branches
    }

    func wait(until deadline: Int64) throws -> Chosen {
        try checkCount()
        let start = Int.random(in: branches.indices)
        var status = tryAll(from: start)
        if status == Answer.wouldWait {
            status = blockingWait(at: branches.map(\.place), until: deadline) {
                tryAll(from: start)
            }
            // What this thread was woken for may be in another channel than the one it took from.
            for branch in branches { branch.place.handOn() }
        }
        return try result(status)
    }

    func wait(until deadline: Int64) async throws -> Chosen {
        try checkCount()
        try Task.checkCancellation()
        var status = tryAll(from: Int.random(in: branches.indices))
        if status == Answer.wouldWait {
            let waits = branches.enumerated().map { index, branch in
                (branch.place, { @Sendable in self.tryOne(index) })
            }
            status = try await Reactor.wait(at: waits, until: deadline)
        }
        return try result(status)
    }

    private func checkCount() throws(SharedStateError) {
        guard (1...Int(CSHM_WAIT_MAX)).contains(branches.count) else {
            throw SharedStateError(
                .invalidArgument, "select from 1 to 128 channels, not \(branches.count)")
        }
    }

    private func tryAll(from start: Int) -> Int32 {
        for offset in branches.indices {
            let status = tryOne((start + offset) % branches.count)
            if status != Answer.wouldWait { return status }
        }
        return Answer.wouldWait
    }

    /// Takes from one channel; 0 if the choice is made, be it an error.
    private func tryOne(_ index: Int) -> Int32 {
        do {
            guard let element = try branches[index].tryNext() else { return Answer.wouldWait }
            state.withLock { $0.result = .success(Chosen(index: index, element: element)) }
        } catch let error as SharedStateError where error.code == .finished {
            let areAllEnded = state.withLock { state in
                state.ended.insert(index)
                return state.ended.count == branches.count
            }
            return areAllEnded ? Answer.finished : Answer.wouldWait
        } catch {
            state.withLock { $0.result = .failure(error) }
        }
        return 0
    }

    private func result(_ status: Int32) throws -> Chosen {
        try check(status, "Select.first", "\(branches.count) channels")
        guard let result = state.withLock({ $0.result }) else { throw SharedStateError.truncated }
        return try result.get()
    }
}

// MARK: Channels

extension Queue: Selectable {
    /// As ``tryGet()``.
    public func tryNext() throws -> Element? { try tryGet() }

    /// Where those wait who get.
    public var selectionPlace: SelectionPlace { SelectionPlace(place: core.items.forAnyone) }
}

extension Lanes: Selectable {
    /// As ``tryGet()``.
    public func tryNext() throws -> Element? { try tryGet() }

    /// Where the consumer waits.
    public var selectionPlace: SelectionPlace { SelectionPlace(place: core.items.forAnyone) }
}

extension Subscriber: Selectable {
    /// As ``tryGet()``.
    public func tryNext() throws -> Element? { try tryGet() }

    /// Where it waits.
    public var selectionPlace: SelectionPlace { SelectionPlace(place: core.items.forAnyone) }
}

extension PipeReceiver: Selectable {
    /// As ``tryReceive()``.
    public func tryNext() throws -> Element? { try tryReceive() }

    /// Where it waits.
    public var selectionPlace: SelectionPlace { SelectionPlace(place: core.ring.items.forAnyone) }
}
