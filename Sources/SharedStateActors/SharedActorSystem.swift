// SPDX-License-Identifier: Apache-2.0

public import Distributed
public import SharedState

/// Hosts distributed actors in one process, to be called by others: what an object of one's own is for
/// `BaseManager.register` of Python.
///
///     distributed actor Counter {
///         typealias ActorSystem = SharedActorSystem
///         private var total = 0
///         distributed func add(_ amount: Int) -> Int {
///             total += amount
///             return total
///         }
///     }
///
///     let system = try SharedActorSystem()
///     let counter = Counter(actorSystem: system)      // this process hosts it
///     try system.setName("total", of: counter)
///
///     // In another process, to which the actor was sent, or which asks for its name:
///     let counter = try SharedActorSystem().actor("total", as: Counter.self)
///     try await counter.add(5)
///
/// There is no server and no socket: a call is a message in the inbox of the process that hosts the
/// actor, and its outcome one in the caller's. Arguments and results are `Codable`; handles such as
/// `Queue`, and distributed actors, are, too. Calls of a process's own actors are ordinary ones.
///
/// Both programs have the actor's type from the same module, and arguments and results of the same
/// layout; what does not fit throws `incompatible`.
///
/// What a call throws:
/// - what its function threw, if that is `Codable` and its type not private; its text, `taskFailed`,
///   if not
/// - `hostDied`: the host died or ended. A call that was made may have been carried out, or begun;
///   it is not made again.
/// - `timedOut`: the time of ``withDeadline(after:isolation:_:)`` was over; `CancellationError`: the
///   caller's task was cancelled. The task that carries the call out is cancelled then.
/// - `notFound`: the host lives and has let go of the actor
/// - `incompatible`: the types do not fit, or messages were damaged meanwhile; `cannotCross`, `full`
/// - `closed`: this process's inbox was ended or damaged; its actors are gone for others, and a new
///   system works
///
/// - Processes: any process may host and call; each makes its own system, which is cheap, in the same
///   region. Threads, tasks: safe. A call holds no thread while it waits. What others call is carried out
///   on threads of the system's own, even if all threads for tasks are held up; a function that blocks
///   holds one of them, of 64 at most.
/// - Death: of a host, its calls throw `hostDied` within about 25 ms, and its names can be given to other
///   actors. Of a caller, what it called runs to its end, and nobody is told. A *stopped* host is
///   waited for: use a deadline.
///
/// A process that hosts must go on as long as it is to be called: it waits for an ``SharedState/Event``,
/// say. The system keeps the actors that have names; others, like all actors, end with their last
/// reference in the process that hosts them.
public final class SharedActorSystem: DistributedActorSystem, Sendable {
    /// Which actor, and where.
    public typealias ActorID = SharedActorID
    /// Writes calls.
    public typealias InvocationEncoder = CallEncoder
    /// Reads calls.
    public typealias InvocationDecoder = CallDecoder
    /// Writes outcomes.
    public typealias ResultHandler = CallResultHandler
    /// What arguments, results and thrown errors have in common.
    public typealias SerializationRequirement = any Codable

    /// `nil`: only calls, as far as is known.
    private let home: Exchange?

    /// When the calls of this task are given up.
    @TaskLocal internal static var deadline: SuspendingClock.Instant?

    /// That of actors that were sent here.
    internal static let visitors = SharedActorSystem(nil)

    internal init(_ home: Exchange?) {
        self.home = home
    }

    /// An actor system of this process in a region.
    ///
    /// - Parameter region: Where calls are put; `nil` is the family's region. Actors of other regions
    ///   can be called, too.
    /// - Throws: `incompatible` (another build's), `tooManyUsers`, `full`, `system`.
    public convenience init(in region: Region? = nil) throws {
        self.init(try Exchange.of(try Region.orFamily(region)))
    }

    /// Runs `body`, in which calls of other processes' actors throw `timedOut` once the time is over.
    ///
    /// - Parameters:
    ///   - timeout: For all calls in `body` together. Inside another, the earlier end counts.
    ///   - isolation: The caller's actor, on which `body` runs.
    ///   - body: Makes the calls.
    /// - Returns: What `body` returns.
    /// - Throws: What `body` throws.
    public static func withDeadline<Result>(
        after timeout: Duration, isolation: isolated (any Actor)? = #isolation,
        _ body: () async throws -> Result
    ) async rethrows -> Result {
        let mine = SuspendingClock.now.advanced(by: timeout)
        let earlier = deadline.map { min($0, mine) } ?? mine
        return try await $deadline.withValue(earlier, operation: body, isolation: isolation)
    }

    // MARK: Names

    /// Gives an actor of this process a name, by which other programs find it in the region.
    ///
    /// The actor is then kept until the name is taken away, or the system ends. A name that an actor
    /// of a process has that died, or whose system ended, is free.
    ///
    /// - Parameters:
    ///   - name: 1 to 200 bytes.
    ///   - actor: An actor of this system.
    /// - Throws: `alreadyExists`, `invalidArgument`, `full`; `closed`: the system has ended.
    public func setName<Act: DistributedActor>(_ name: String, of actor: Act) throws
    where Act.ID == SharedActorID {
        guard let home, actor.id.owner == home.me.owner else {
            throw SharedStateError(
                .invalidArgument, "the actor was not made by this process in the system's region")
        }
        guard !home.hasEnded else { throw InboxReader.ended }
        try ActorNames(home).set(name, actor.id)
        home.actors.keep(actor, as: name)
    }

    /// Takes a name away that this process has given; those who have the actor keep it.
    ///
    /// - Throws: `notFound`: it is no name of this process's.
    public func removeName(_ name: String) throws {
        guard let home, try ActorNames(home).remove(name) else {
            throw SharedStateError(.notFound, "\(name) is no name of an actor of this process")
        }
        home.actors.keep(nil, as: name)
    }

    /// The actor of a name.
    ///
    /// - Parameters:
    ///   - name: What it was called by the process that hosts it.
    ///   - type: Its type.
    /// - Returns: The actor: itself, if it is this process's.
    /// - Throws: `notFound`, `hostDied`, `incompatible` (it is of another type).
    public func actor<Act: DistributedActor>(_ name: String, as type: Act.Type) throws -> Act
    where Act.ID == SharedActorID, Act.ActorSystem == SharedActorSystem {
        guard let home, let id = try ActorNames(home).find(name) else {
            throw SharedStateError(.notFound, "no actor has the name \(name)")
        }
        guard home.isThere(CallMessage.Sender(inbox: id.inbox, owner: id.owner)) else {
            throw InboxReader.hostDied(mayHaveRun: false)
        }
        return try Act.resolve(id: id, using: self)
    }

    // MARK: What the compiler calls

    /// The actor, if it is this process's; `nil` for one to be called elsewhere.
    public func resolve<Act: DistributedActor>(id: SharedActorID, as type: Act.Type) throws -> Act?
    where Act.ID == SharedActorID {
        guard id.type == typeTag(type) else {
            throw SharedStateError(.incompatible, "the actor is not a \(type)")
        }
        guard let region = id.region, let exchange = Exchange.known(region),
            exchange.me.owner == id.owner
        else { return nil }
        guard let actor = try exchange.actors.find(id.number, id.type) as? Act else {
            throw SharedStateError(.incompatible, "the actor is not a \(type)")
        }
        return actor
    }

    /// Names a new actor.
    public func assignID<Act: DistributedActor>(_ type: Act.Type) -> SharedActorID
    where Act.ID == SharedActorID {
        let home = home ?? (try? Exchange.of(try Region.orFamily(nil)))
        return SharedActorID(
            region: home?.region, inbox: home?.me.inbox ?? 0, owner: home?.me.owner ?? .nobody,
            number: home?.actors.nextNumber() ?? 0, type: typeTag(type))
    }

    /// A new actor can be called.
    public func actorReady<Act: DistributedActor>(_ actor: Act) where Act.ID == SharedActorID {
        guard let exchange = try? actor.id.exchange() else { return }
        exchange.actors.add(actor, actor.id)
    }

    /// An actor of this process has ended.
    public func resignID(_ id: SharedActorID) {
        guard let region = id.region, let exchange = Exchange.known(region),
            exchange.me.owner == id.owner
        else { return }
        exchange.actors.remove(id)
    }

    /// Makes the recorder of a call.
    public func makeInvocationEncoder() -> CallEncoder { CallEncoder() }

    /// Calls a function that returns a value.
    public func remoteCall<Act: DistributedActor, Err: Error, Res: Codable>(
        on actor: Act, target: RemoteCallTarget, invocation: inout CallEncoder,
        throwing: Err.Type, returning: Res.Type
    ) async throws -> Res where Act.ID == SharedActorID {
        let outcome = try await actor.id.exchange().call(
            actor.id, target.identifier, invocation, until: Self.deadline)
        return try CallOutcome.value(outcome, Res.self)
    }

    /// Calls a function that returns nothing.
    public func remoteCallVoid<Act: DistributedActor, Err: Error>(
        on actor: Act, target: RemoteCallTarget, invocation: inout CallEncoder,
        throwing: Err.Type
    ) async throws where Act.ID == SharedActorID {
        let outcome = try await actor.id.exchange().call(
            actor.id, target.identifier, invocation, until: Self.deadline)
        try CallOutcome.nothing(outcome)
    }
}

extension SharedStateError: DistributedActorSystemError {}

/// Tells decoders which system actors have that were sent.
internal enum Resolver: DecodingNotesProvider {
    static var userInfo: [CodingUserInfoKey: Any] {
        [.actorSystemKey: SharedActorSystem.visitors]
    }
}
