// SPDX-License-Identifier: Apache-2.0

internal import CShm

/// The next element of several channels, whichever has one first.
///
///     let (job, order) = try Select.first(of: jobs, orders)     // one of them is not nil
///     let (index, line) = try Select.first(of: logs)            // an array of channels
///
/// Exactly one element is taken, of one channel. If several have one, which of them is first changes
/// from call to call, so that none is passed over for ever. A channel that has ended is waited for no
/// more; when all have, the call throws `finished`.
///
/// Which are ready, of channels, children and file descriptors together, is said by
/// ``ready(of:timeout:)-(_,_)``, which takes nothing:
///
///     for source in try Select.ready(of: [jobs, child, Select.Descriptor(0)], timeout: .seconds(1)) {
///         switch source {                                       // none, if the time was up
///         case let jobs as Queue<Int>: handle(try jobs.tryGet())
///         case let child as ChildProcess: print(try child.join())
///         default: print(readLine() ?? "")
///         }
///     }
///
/// An event loop that sleeps in `epoll` or `poll` watches the descriptor of a ``Bell`` for channels.
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
        let choice = try Choice(branches(repeat each channels))
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
        let choice = try Choice(branches(repeat each channels))
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
        let chosen = try Choice(channels.map { Branch($0) }).wait(until: deadline(after: timeout))
        return try unpack(chosen)
    }

    /// As the blocking form, without holding a thread.
    ///
    /// - Throws: As that, and `CancellationError`; then nothing was taken.
    public static func first<Channel: Selectable>(
        of channels: [Channel], timeout: Duration? = nil
    ) async throws -> (index: Int, element: Channel.Element) {
        let choice = try Choice(channels.map { Branch($0) })
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
    let readiness: Readiness
    let tryNext: @Sendable () throws -> (any Sendable)?

    init(_ channel: some Selectable) {
        readiness = channel.readiness
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
    private let together: Together
    private let state = Mutex(State())

    init(_ branches: [Branch]) throws(SharedStateError) {
        self.branches = branches
        together = try Together(branches.map(\.readiness))
    }

    func wait(until deadline: Int64) throws -> Chosen {
        let start = Int.random(in: branches.indices)
        var status = tryAll(from: start)
        if status == Answer.wouldWait {
            status = try together.wait(until: deadline) { tryAll(from: start) }
        }
        return try result(status)
    }

    func wait(until deadline: Int64) async throws -> Chosen {
        try Task.checkCancellation()
        var status = tryAll(from: Int.random(in: branches.indices))
        if status == Answer.wouldWait {
            status = try await together.wait(until: deadline) { self.tryOne($0) }
        }
        return try result(status)
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
