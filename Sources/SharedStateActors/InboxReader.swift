// SPDX-License-Identifier: Apache-2.0

internal import SharedState

/// Reads an inbox, and sees to it that every call of this process ends.
///
/// It does so on a thread of the reactor's, at every message and every 25 ms, and waits for nothing
/// there: calls are carried out by ``CallThreads``. So others are served, and calls of this process
/// end, whatever its tasks do.
///
/// A call ends by its outcome, or by an error:
/// - its host is no more (dead, or its system ended): seen here, after what it has put before is read
/// - a message to its host was damaged since it began, so that it is not known whose it was: the host
///   says so at its inbox, see ``Tenancy``, and leaves the message out; seen here
/// - a message to this process was damaged, which may have been its outcome
/// - this inbox cannot be read any more, as somebody has ended or damaged its queue: it is given up, so
///   that others are told `hostDied`, and so that nobody takes it over
internal final class InboxReader: Sendable {
    private let inbox: Inbox
    private let pending: PendingCalls
    private let actors: HostedActors
    private let carryOut: @Sendable (CallMessage.Call, [UInt8]) async -> Void
    /// When the hosts are looked after again.
    private let nextLook = Mutex(ContinuousClock.now)

    init(
        _ inbox: Inbox, _ pending: PendingCalls, _ actors: HostedActors,
        carryOut: @escaping @Sendable (CallMessage.Call, [UInt8]) async -> Void
    ) {
        self.inbox = inbox
        self.pending = pending
        self.actors = actors
        self.carryOut = carryOut
    }

    static var ended: SharedStateError {
        SharedStateError(.closed, "the actor system has ended")
    }

    /// Begins to read, until the task is cancelled or the inbox cannot be read any more.
    func start() -> Task<Void, Never> {
        Task(executorPreference: CallThreads.shared) { await self.read() }
    }

    private func read() async {
        let answer = Answer<Never>()
        do {
            try await inbox.waitForMessages {
                answer.settle {
                    try self.look()
                    return nil
                }
            }
            _ = try answer.value()
        } catch is CancellationError {
            pending.end(Self.ended)
            inbox.close()
        } catch {
            pending.end(error)
            inbox.giveUp()
        }
    }

    /// Reads what is there.
    ///
    /// - Throws: The inbox cannot be read any more.
    private func look() throws {
        CallThreads.shared.look()
        let hosts = isDue() ? pending.hosts : []
        let found = hosts.map { ($0, inbox.table.tenancy(of: $0)) }
        // What the dead have put is in the inbox by now.
        do {
            try drain()
        } catch let error as SharedStateError where error.code == .tooManyUsers {
            // Only for as long as very many threads are putting at once.
            return
        }
        for (host, tenancy) in found {
            if let tenancy {
                pending.fail(at: host, before: tenancy.damages, Self.damaged(theHost: true))
            } else {
                pending.fail(at: host, Self.hostDied(mayHaveRun: true))
            }
        }
    }

    private func isDue() -> Bool {
        nextLook.withLock { next in
            let now = ContinuousClock.now
            guard now >= next else { return false }
            next = now + .milliseconds(20)
            return true
        }
    }

    /// No more than the inbox can hold, as others wait on this thread, too.
    private func drain() throws {
        for _ in 0..<inbox.capacity {
            guard let bytes = try inbox.tryNext() else { return }
            handle(bytes)
        }
        inbox.lookAgain()
    }

    private func handle(_ bytes: [UInt8]) {
        guard let message = try? CallMessage.read(bytes) else { return leaveOut() }
        guard message.to == inbox.owner else { return }
        switch message.kind {
        case .call(let call):
            actors.start(call) { [carryOut] in await carryOut(call, bytes) }
        case .reply(let outcome):
            pending.finish(
                message.number, .success(CallOutcome.Outcome(bytes: bytes, position: outcome)))
        case .cancel: actors.cancel(from: message.from, message.number)
        }
    }

    /// A damaged message: any call of another process, or any outcome.
    private func leaveOut() {
        pending.fail(Self.damaged(theHost: false))
        // Where it may wait for who has stopped in a change of the table.
        Task(executorPreference: CallThreads.shared) { [inbox] in inbox.tellDamage() }
    }

    // MARK: Errors

    static func hostDied(mayHaveRun: Bool) -> SharedStateError {
        SharedStateError(
            .hostDied,
            "the process that hosts the actor died, or its actor system has ended; "
                + (mayHaveRun
                    ? "whether the call was carried out is not known" : "the call was not made"))
    }

    private static func damaged(theHost: Bool) -> SharedStateError {
        SharedStateError(
            .incompatible,
            "a damaged message came to \(theHost ? "the actor's host" : "this process"), and may have "
                + "been this call or its outcome; whether the call was carried out is not known")
    }
}
