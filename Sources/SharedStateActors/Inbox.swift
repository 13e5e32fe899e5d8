// SPDX-License-Identifier: Apache-2.0

internal import SharedState

/// Who has an inbox, from when on: one life of one actor system.
///
/// The participant's stamp and the number of the system in that process together are never used
/// again, so that who takes a dead owner's inbox over is not taken for it.
internal struct Owner: BitwiseCopyable, Hashable, Codable, Sendable {
    /// The process, as the region knows it; 0 of none.
    let participant: UInt64
    /// Which of the systems of that process.
    let life: UInt64

    /// Of an inbox that was given back.
    static let nobody = Owner(participant: 0, life: 0)
    /// Of an inbox that cannot be read: nobody's for ever.
    static let nobodyEver = Owner(participant: 0, life: .max)
}

/// What the table says of an inbox.
internal struct Tenancy: BitwiseCopyable, Hashable, Codable, Sendable {
    let owner: Owner
    /// How many damaged messages its owner has left out.
    ///
    /// Who waits for an outcome and sees it change does not know whether its call was one of them.
    let damages: UInt64
}

/// The inboxes of a region: which there are, and whose they are.
///
/// An inbox is a queue with a name, and an entry of a dictionary says whose it is. One whose owner is
/// dead, or has given it back, is taken over by the next system that needs one, so there are no more
/// than there were systems at the same time.
///
/// Who writes an entry: who takes the inbox over, by an exchange; then its owner alone.
///
/// - Death: who dies before its entry is stored has taken nothing; afterwards, the inbox is one of a
///   dead owner, with or without a queue. Whoever takes it over makes the queue if there is none, and
///   leaves out what was put there for others: each message says for whom it is. An owner that dies
///   before it has told of a damage is dead to those who wait.
internal struct InboxTable: Sendable {
    let region: Region
    private let entries: ManagedDictionary<Int, Tenancy>

    private static let capacity = 256
    /// Threads of all processes that may be putting into one inbox at the same moment.
    private static let ports = 256
    /// More than processes can be attached to a region.
    private static let limit = 4096
    private static let lives = Mutex<UInt64>(0)

    init(_ region: Region) throws {
        self.region = region
        entries = try Manager(in: region).dictionary("sharedstate.actors", Int.self, Tenancy.self)
    }

    /// What is said of a system's inbox; `nil` if it is not there any more, its process is dead, or the
    /// table is damaged.
    func tenancy(of system: CallMessage.Sender) -> Tenancy? {
        guard let tenancy = try? entries[system.inbox], tenancy.owner == system.owner,
            !region.isGone(system.owner.participant)
        else { return nil }
        return tenancy
    }

    func isThere(_ system: CallMessage.Sender) -> Bool { tenancy(of: system) != nil }

    /// Takes the first inbox that nobody has.
    func claim() throws -> Inbox {
        let life = Self.lives.withLock {
            $0 += 1
            return $0
        }
        let owner = Owner(participant: region.participant, life: life)
        for number in 0..<Self.limit {
            let before = try entries[number]
            if let before, !isFree(before.owner) { continue }
            guard
                try entries.compareExchange(
                    number, expected: before, desired: Tenancy(owner: owner, damages: 0))
            else { continue }
            do {
                return Inbox(self, number, owner, try queue(number))
            } catch {
                give(number, from: owner, to: .nobody)
                throw error
            }
        }
        throw SharedStateError(
            .tooManyUsers, "the region has \(Self.limit) actor systems of live processes")
    }

    private func isFree(_ owner: Owner) -> Bool {
        if owner.participant == 0 { return owner != .nobodyEver }
        return region.isGone(owner.participant)
    }

    /// Says that the inbox is no more its owner's.
    ///
    /// Where that fails, as the table is damaged or somebody else has it, others find that by themselves.
    func give(_ number: Int, from owner: Owner, to next: Owner) {
        change(number, of: owner) { _ in Tenancy(owner: next, damages: 0) }
    }

    /// Says that a damaged message was left out.
    func tellDamage(_ number: Int, _ owner: Owner) {
        change(number, of: owner) { Tenancy(owner: owner, damages: $0.damages &+ 1) }
    }

    private func change(_ number: Int, of owner: Owner, _ next: (Tenancy) -> Tenancy) {
        while let tenancy = try? entries[number], tenancy.owner == owner {
            guard
                let isDone = try? entries.compareExchange(
                    number, expected: tenancy, desired: next(tenancy)), !isDone
            else { return }
        }
    }

    /// The queue of an inbox.
    func queue(_ number: Int) throws(SharedStateError) -> Queue<[UInt8]> {
        let name = "sharedstate.actors.\(number)"
        while true {
            do {
                return try Queue(opening: name, in: region)
            } catch  where error.code == .notFound {}
            do {
                return try Queue(
                    creating: name, in: region, capacity: Self.capacity, ports: Self.ports)
            } catch  where error.code == .alreadyExists {}
        }
    }
}

/// The inbox of a system of this process.
internal final class Inbox: Sendable {
    let table: InboxTable
    let number: Int
    let owner: Owner
    private let queue: Queue<[UInt8]>
    /// Held while something is taken, so that nothing is taken that is the next owner's.
    private let isOpen = Mutex(true)

    init(_ table: InboxTable, _ number: Int, _ owner: Owner, _ queue: Queue<[UInt8]>) {
        self.table = table
        self.number = number
        self.owner = owner
        self.queue = queue
    }

    var capacity: Int { queue.capacity }

    /// Nothing is taken any more, and the inbox is the next one's.
    func close() { close(for: .nobody) }

    /// Nothing is taken any more, by nobody, as it cannot be.
    func giveUp() { close(for: .nobodyEver) }

    private func close(for next: Owner) {
        isOpen.withLock { isOpen in
            guard isOpen else { return }
            isOpen = false
            table.give(number, from: owner, to: next)
        }
    }

    /// Says to those who wait for an outcome that a damaged message was left out.
    func tellDamage() { table.tellDamage(number, owner) }

    /// The next message if there is one now.
    ///
    /// - Throws: `closed`; `incompatible` (damaged queue); `tooManyUsers`, for a while.
    func tryNext() throws -> [UInt8]? {
        try isOpen.withLock { isOpen in
            guard isOpen else { throw InboxReader.ended }
            return try queue.tryGet()
        }
    }

    /// Waits until `isOver` says so, which is asked when a message has come and every 25 ms, on a thread
    /// of the reactor's.
    ///
    /// - Throws: `CancellationError`, `system`.
    func waitForMessages(until isOver: @escaping @Sendable () -> Bool) async throws {
        try await queue.waitForElements(isOver)
    }

    /// Has it asked again soon.
    func lookAgain() { queue.lookAgainForElements() }
}

extension Queue where Element == [UInt8] {
    /// Puts a message, waiting for room unless `isOver` says so, which is asked about every 25 ms.
    ///
    /// - Returns: Whether it was put.
    /// - Throws: As `put`.
    internal func put(
        _ message: [UInt8], until deadline: Int64, unless isOver: @escaping @Sendable () -> Bool
    ) async throws -> Bool {
        try Task.checkCancellation()
        if try tryPut(message) { return true }
        let answer = Answer<Bool>()
        try await waitForRoom(until: deadline) {
            answer.settle {
                if isOver() { return false }
                return try self.tryPut(message) ? true : nil
            }
        }
        return try answer.value() ?? false
    }
}

/// What an attempt found, on its way to the task that waits.
internal final class Answer<Value: Sendable>: Sendable {
    private let result = Mutex<Result<Value, any Error>?>(nil)

    /// Whether it is settled: by a value that is there, or an error.
    func settle(_ find: () throws -> Value?) -> Bool {
        do {
            guard let found = try find() else { return false }
            result.withLock { $0 = .success(found) }
        } catch {
            result.withLock { $0 = .failure(error) }
        }
        return true
    }

    func value() throws -> Value? { try result.withLock { $0 }?.get() }
}
