// SPDX-License-Identifier: Apache-2.0

internal import Distributed
internal import SharedState

/// The actors of this process that others may call, and the calls under way.
internal final class HostedActors: Sendable {
    private struct Hosted {
        weak var actor: (any DistributedActor)?
        let type: UInt64
    }

    /// A call of another system's.
    private struct Key: Hashable {
        let from: CallMessage.Sender
        let number: UInt64
    }

    private struct State {
        var last: UInt64 = 0
        var actors: [UInt64: Hosted] = [:]
        /// Those that have names, which are kept.
        var named: [String: any DistributedActor] = [:]
        var running: [Key: Task<Void, Never>] = [:]
    }

    private let state = Mutex(State())

    /// A number that no other actor of this life has.
    func nextNumber() -> UInt64 {
        state.withLock { state in
            state.last += 1
            return state.last
        }
    }

    func add(_ actor: any DistributedActor, _ id: SharedActorID) {
        state.withLock { $0.actors[id.number] = Hosted(actor: actor, type: id.type) }
    }

    func remove(_ id: SharedActorID) {
        state.withLock { _ = $0.actors.removeValue(forKey: id.number) }
    }

    /// The actor of that number, if it is there and of that type.
    func find(_ number: UInt64, _ type: UInt64) throws -> any DistributedActor {
        let hosted = state.withLock { $0.actors[number] }
        guard let actor = hosted?.actor else {
            throw SharedStateError(.notFound, "its process has the actor no more")
        }
        guard hosted?.type == type else {
            throw SharedStateError(.incompatible, "the actor is of another type")
        }
        return actor
    }

    /// Keeps an actor for as long as it has that name; `nil` keeps none.
    func keep(_ actor: (any DistributedActor)?, as name: String) {
        // What was kept may end here, and then asks for the lock itself.
        let before = state.withLock { state in
            let before = state.named[name]
            state.named[name] = actor
            return before
        }
        withExtendedLifetime(before) {}
    }

    // MARK: Calls under way

    /// Starts what carries a call out.
    func start(_ call: CallMessage.Call, _ body: @escaping @Sendable () async -> Void) {
        let key = Key(from: call.from, number: call.number)
        state.withLock { state in
            state.running[key] = Task(executorPreference: CallThreads.shared) {
                await body()
                self.state.withLock { _ = $0.running.removeValue(forKey: key) }
            }
        }
    }

    /// Cancels the task of a call, if it runs.
    ///
    /// Not on this thread, as the function's own code for that may wait.
    func cancel(from: CallMessage.Sender, _ number: UInt64) {
        guard let task = state.withLock({ $0.running[Key(from: from, number: number)] }) else {
            return
        }
        Task(executorPreference: CallThreads.shared) { task.cancel() }
    }
}
