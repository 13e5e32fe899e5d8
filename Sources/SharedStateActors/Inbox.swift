// SPDX-License-Identifier: Apache-2.0

internal import SharedState

/// Who has an inbox, from when on: one life of one actor system.
///
/// The participant's stamp and the number of the system in that process together are never used
/// again, so that who takes a dead owner's inbox over is not taken for it.
internal struct Owner: BitwiseCopyable, Hashable, Codable, Sendable {
    /// The process, as the region knows it; 0 of an inbox that was given back.
    let participant: UInt64
    /// Which of the systems of that process.
    let life: UInt64

    static let nobody = Owner(participant: 0, life: 0)
}

/// The inboxes of a region: which there are, and whose they are.
///
/// An inbox is a queue with a name, and an entry of a dictionary says whose it is. One whose owner is
/// dead, or has given it back, is taken over by the next system that needs one, so there are no more
/// than there were systems at the same time.
///
/// - Death: who dies before its entry is stored has taken nothing; afterwards, the inbox is one of a
///   dead owner, with or without a queue. Whoever takes it over makes the queue if there is none, and
///   leaves out what was put there for others: each message says for whom it is.
internal struct InboxTable: Sendable {
    let region: Region
    private let owners: ManagedDictionary<Int, Owner>

    private static let capacity = 256
    /// Threads of all processes that may be putting into one inbox at the same moment.
    private static let ports = 256
    /// More than processes can be attached to a region.
    private static let limit = 4096
    private static let lives = Mutex<UInt64>(0)

    init(_ region: Region) throws {
        self.region = region
        owners = try Manager(in: region).dictionary("sharedstate.actors", Int.self, Owner.self)
    }

    /// Whether the system is there still, and its process lives; not, where that is damaged.
    func isThere(_ owner: Owner, _ number: Int) -> Bool {
        (try? owners[number]) == owner && !region.isGone(owner.participant)
    }

    /// Takes the first inbox that nobody has.
    func claim() throws -> Inbox {
        let life = Self.lives.withLock {
            $0 += 1
            return $0
        }
        let owner = Owner(participant: region.participant, life: life)
        for number in 0..<Self.limit {
            let before = try owners[number]
            if let before, before != .nobody, !region.isGone(before.participant) { continue }
            guard try owners.compareExchange(number, expected: before, desired: owner) else {
                continue
            }
            do {
                return Inbox(self, number, owner, try queue(number))
            } catch {
                giveBack(number, owner)
                throw error
            }
        }
        throw SharedStateError(
            .tooManyUsers, "the region has \(Self.limit) actor systems of live processes")
    }

    /// Says that the inbox is nobody's any more.
    func giveBack(_ number: Int, _ owner: Owner) {
        // Where that fails the inbox is its owner's until that process is dead.
        _ = try? owners.compareExchange(number, expected: owner, desired: .nobody)
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

    /// Nothing is taken any more, and the inbox is the next one's.
    func close() {
        isOpen.withLock { isOpen in
            guard isOpen else { return }
            isOpen = false
            table.giveBack(number, owner)
        }
    }

    /// The next message if there is one now.
    ///
    /// - Throws: `closed`; `incompatible` (damaged bytes); `tooManyUsers`, for a while.
    func tryNext() throws -> [UInt8]? {
        try isOpen.withLock { isOpen in
            guard isOpen else {
                throw SharedStateError(.closed, "the actor system has ended")
            }
            return try queue.tryGet()
        }
    }

    /// The next message, unless `isOver` says first that there is something else to do; it is asked
    /// while there is none, about every 25 ms.
    ///
    /// - Throws: As ``tryNext()``, and `CancellationError`.
    func next(unless isOver: @escaping @Sendable () -> Bool) async throws -> [UInt8]? {
        if let message = try tryNext() { return message }
        let answer = Answer<[UInt8]?>()
        try await queue.waitForElements { [self] in
            answer.settle {
                if let message = try tryNext() { return .some(message) }
                return isOver() ? .some(nil) : .none
            }
        }
        return try answer.value() ?? nil
    }

    /// The messages that are there, and no more than it can hold.
    func rest() throws -> [[UInt8]] {
        var messages: [[UInt8]] = []
        while messages.count < queue.capacity, let message = try tryNext() {
            messages.append(message)
        }
        return messages
    }
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
private final class Answer<Value: Sendable>: Sendable {
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
