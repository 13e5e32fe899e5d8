// SPDX-License-Identifier: Apache-2.0

internal import Distributed
internal import SharedState

/// What this process has of a region's actors: an inbox, the actors that others call, and the calls
/// that it waits for.
///
/// One for each region, shared by all that need it; another one when it has ended.
internal final class Exchange: Sendable {
    let region: Region
    let actors = HostedActors()
    private let inbox: Inbox
    private let table: InboxTable
    private let pending = PendingCalls()
    private let peers = Mutex<[Int: Queue<[UInt8]>]>([:])
    private let reader: Mutex<Task<Void, Never>?> = Mutex(nil)

    private struct Weak {
        weak var exchange: Exchange?
    }
    private static let all = Mutex<[RegionIdentity: Weak]>([:])

    /// The region's.
    static func of(_ region: Region) throws -> Exchange {
        try all.withLock { all in
            if let exchange = all[region.identity]?.exchange, !exchange.hasEnded { return exchange }
            let exchange = try Exchange(region)
            all[region.identity] = Weak(exchange: exchange)
            return exchange
        }
    }

    /// The region's, if this process has it.
    static func known(_ region: Region) -> Exchange? {
        all.withLock { $0[region.identity]?.exchange }
    }

    private init(_ region: Region) throws {
        self.region = region
        table = try InboxTable(region)
        inbox = try table.claim()
        let reader = InboxReader(inbox, pending, actors) { [weak self] call, bytes in
            await self?.carryOut(call, bytes)
        }
        let task = reader.start()
        self.reader.withLock { $0 = task }
    }

    deinit {
        inbox.close()
        pending.end(InboxReader.ended)
        reader.withLock { $0 }?.cancel()
    }

    /// Whether its inbox could not be read any more.
    var hasEnded: Bool { pending.hasEnded }

    /// Where this system is written to.
    var me: CallMessage.Sender { CallMessage.Sender(inbox: inbox.number, owner: inbox.owner) }

    /// Whether a system is there still.
    func isThere(_ peer: CallMessage.Sender) -> Bool { table.isThere(peer) }

    // MARK: Calling

    /// Calls a function of another process's actor.
    func call(
        _ actor: SharedActorID, _ target: String, _ invocation: CallEncoder,
        until deadline: SuspendingClock.Instant?
    ) async throws -> CallOutcome.Outcome {
        let host = CallMessage.Sender(inbox: actor.inbox, owner: actor.owner)
        guard let tenancy = table.tenancy(of: host) else {
            throw InboxReader.hostDied(mayHaveRun: false)
        }
        let number = try pending.begin(at: host, after: tenancy.damages)
        defer { pending.forget(number) }
        let (bytes, departure) = try Departure.begin {
            var writer = CallMessage.beginCall(
                to: host.owner, from: me, number: number, actor: actor, target: target)
            try invocation.encode(into: &writer)
            return writer.bytes
        }
        let timer = deadline.map { deadline in
            Task { [pending] in
                try await Task.sleep(until: deadline, clock: .suspending)
                pending.finish(number, .failure(Self.timedOut))
            }
        }
        defer { timer?.cancel() }
        do {
            return try await withTaskCancellationHandler {
                guard try await send(bytes, to: host, until: deadline) else {
                    throw InboxReader.hostDied(mayHaveRun: false)
                }
                departure.isSent()
                return try await pending.outcome(of: number)
            } onCancel: {
                pending.finish(number, .failure(CancellationError()))
            }
        } catch {
            giveUp(number, at: host)
            throw error
        }
    }

    private static var timedOut: SharedStateError {
        SharedStateError(
            .timedOut, "the deadline of the call passed first; it may have been carried out")
    }

    /// Tells a host that nobody waits; if there is no room for that, its function runs to its end.
    private func giveUp(_ number: UInt64, at host: CallMessage.Sender) {
        guard isThere(host), let queue = try? queue(of: host) else { return }
        _ = try? queue.tryPut(CallMessage.cancel(to: host.owner, from: me, number: number))
    }

    private func queue(of peer: CallMessage.Sender) throws -> Queue<[UInt8]> {
        if let queue = peers.withLock({ $0[peer.inbox] }) { return queue }
        let queue = try table.queue(peer.inbox)
        peers.withLock { $0[peer.inbox] = queue }
        return queue
    }

    /// Puts a message into another system's inbox.
    ///
    /// - Returns: Whether it was put; not if that system is no more.
    private func send(
        _ bytes: [UInt8], to peer: CallMessage.Sender, until deadline: SuspendingClock.Instant?
    ) async throws -> Bool {
        guard isThere(peer) else { return false }
        let queue = try queue(of: peer)
        let until = SharedState.deadline(
            after: deadline.map { SuspendingClock.now.duration(to: $0) })
        return try await queue.put(bytes, until: until) { [table] in
            !table.isThere(peer)
        }
    }

    // MARK: Being called

    private func carryOut(_ call: CallMessage.Call, _ bytes: [UInt8]) async {
        do {
            guard !call.target.isEmpty, TypeName.isName(call.target) else {
                throw SharedStateError(.incompatible, "the call's bytes are damaged: no function")
            }
            let actor = try actors.find(call.actor, call.type)
            var decoder = try CallDecoder(bytes, from: call.arguments)
            try await SharedActorSystem(self).executeDistributedTarget(
                on: actor, target: RemoteCallTarget(call.target), invocationDecoder: &decoder,
                handler: CallResultHandler(call: call, exchange: self))
        } catch {
            await answer(call, refusal(to: call, error))
        }
    }

    /// An answer on its way.
    struct Letter: Sendable {
        let bytes: [UInt8]
        let departure: Departure
    }

    /// Writes an answer; if that is not possible, why.
    func letter(
        to call: CallMessage.Call, _ write: (inout ByteWriter) throws -> Void
    ) -> Letter {
        do {
            let (bytes, departure) = try Departure.begin {
                var writer = CallMessage.beginReply(
                    to: call.from.owner, from: me, number: call.number)
                try write(&writer)
                return writer.bytes
            }
            return Letter(bytes: bytes, departure: departure)
        } catch {
            return refusal(to: call, error)
        }
    }

    private func refusal(to call: CallMessage.Call, _ error: any Error) -> Letter {
        letter(to: call) { CallOutcome.write(refusal: error, into: &$0) }
    }

    /// Sends an answer to who waits for it, trying again until that is done or nobody waits.
    ///
    /// If there is no memory for it that is the answer, which needs none.
    func answer(_ call: CallMessage.Call, _ letter: Letter) async {
        var letter = letter
        while true {
            do {
                if try await send(letter.bytes, to: call.from, until: nil) {
                    letter.departure.isSent()
                }
                return
            } catch is CancellationError {
                // Who called has given up.
                return
            } catch let error as SharedStateError where Self.isOver(error) {
                return
            } catch let error as SharedStateError where error.code == .full {
                letter = refusal(to: call, Self.noMemory)
            } catch {
                // No port or no thread, for a while.
            }
            do { try await Task.sleep(for: .milliseconds(1)) } catch { return }
        }
    }

    /// Whether a queue is of no use any more, which who reads it finds, too.
    private static func isOver(_ error: SharedStateError) -> Bool {
        [.closed, .finished, .incompatible].contains(error.code)
    }

    private static var noMemory: SharedStateError {
        SharedStateError(.full, "no shared memory for the call's outcome")
    }
}
