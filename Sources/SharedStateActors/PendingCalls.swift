// SPDX-License-Identifier: Apache-2.0

internal import SharedState

/// The calls of this process whose outcome has not come.
internal final class PendingCalls: Sendable {
    typealias Outcome = CallOutcome.Outcome
    private typealias Waiting = CheckedContinuation<Outcome, any Error>

    private struct Call {
        let host: CallMessage.Sender
        /// How many messages its host had left out before.
        let damages: UInt64
        var outcome: Result<Outcome, any Error>?
        var waiting: Waiting?
    }

    private struct State {
        var last: UInt64 = 0
        var calls: [UInt64: Call] = [:]
        /// How many of them each host has.
        var hosts: [CallMessage.Sender: Int] = [:]
        /// Why there can be no more.
        var end: (any Error)?

        mutating func remove(_ number: UInt64) -> Call? {
            guard let call = calls.removeValue(forKey: number) else { return nil }
            let left = (hosts[call.host] ?? 1) - 1
            hosts[call.host] = left > 0 ? left : nil
            return call
        }
    }

    private let state = Mutex(State())

    /// Begins a call.
    ///
    /// - Parameters:
    ///   - host: Who will answer.
    ///   - damages: How many messages it had left out as it was looked after.
    /// - Returns: Its number.
    /// - Throws: Why there can be no more.
    func begin(at host: CallMessage.Sender, after damages: UInt64) throws -> UInt64 {
        try state.withLock { state in
            if let end = state.end { throw end }
            state.last += 1
            state.calls[state.last] = Call(host: host, damages: damages)
            state.hosts[host, default: 0] += 1
            return state.last
        }
    }

    /// Waits for its outcome, once.
    func outcome(of number: UInt64) async throws -> Outcome {
        try await withCheckedThrowingContinuation { waiting in
            let outcome = state.withLock { state -> Result<Outcome, any Error>? in
                guard let call = state.calls[number] else { return .failure(InboxReader.ended) }
                guard let outcome = call.outcome else {
                    state.calls[number]?.waiting = waiting
                    return nil
                }
                _ = state.remove(number)
                return outcome
            }
            if let outcome { waiting.resume(with: outcome) }
        }
    }

    /// Its outcome has come; one that nobody waits for any more is left out.
    func finish(_ number: UInt64, _ outcome: Result<Outcome, any Error>) {
        let waiting = state.withLock { state -> Waiting? in
            guard let call = state.calls[number], call.outcome == nil else { return nil }
            guard let waiting = call.waiting else {
                state.calls[number]?.outcome = outcome
                return nil
            }
            _ = state.remove(number)
            return waiting
        }
        waiting?.resume(with: outcome)
    }

    /// Nobody will wait for it.
    func forget(_ number: UInt64) {
        state.withLock { _ = $0.remove(number) }
    }

    /// Those that are to answer.
    var hosts: [CallMessage.Sender] { state.withLock { Array($0.hosts.keys) } }

    /// Whether there can be no more.
    var hasEnded: Bool { state.withLock { $0.end != nil } }

    /// Ends all that there are.
    func fail(_ error: any Error) { fail(error) { _ in true } }

    /// Ends those that a host will not answer any more.
    func fail(at host: CallMessage.Sender, _ error: any Error) { fail(error) { $0.host == host } }

    /// Ends those at a host that were begun before it had left out so many messages.
    func fail(at host: CallMessage.Sender, before damages: UInt64, _ error: any Error) {
        fail(error) { $0.host == host && $0.damages != damages }
    }

    private func fail(_ error: any Error, _ isMeant: (Call) -> Bool) {
        let numbers = state.withLock { state in
            state.calls.filter { isMeant($0.value) }.map(\.key)
        }
        for number in numbers { finish(number, .failure(error)) }
    }

    /// Ends all, and those to come.
    func end(_ error: any Error) {
        state.withLock { $0.end = $0.end ?? error }
        fail(error)
    }
}
