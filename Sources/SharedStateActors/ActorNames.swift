// SPDX-License-Identifier: Apache-2.0

internal import SharedState

/// The names of a region's actors.
///
/// - Death: a name is given and taken away by one change of a dictionary's entry. That of an actor
///   whose host is no more is found to be so by whoever looks, and replaced by whoever wants it.
internal struct ActorNames {
    /// An actor but for its region, which is the dictionary's.
    ///
    /// Not private: its name has to be the same in every program.
    struct Entry: BitwiseCopyable, Equatable, Codable, Sendable {
        let inbox: Int
        let owner: Owner
        let number: UInt64
        let type: UInt64
    }

    private let exchange: Exchange
    private let names: ManagedDictionary<String, Entry>

    init(_ exchange: Exchange) throws {
        self.exchange = exchange
        names = try Manager(in: exchange.region).dictionary(
            "sharedstate.actors.names", String.self, Entry.self)
    }

    func set(_ name: String, _ id: SharedActorID) throws {
        guard (1...200).contains(name.utf8.count) else {
            throw SharedStateError(.invalidArgument, "an actor's name has 1 to 200 bytes")
        }
        let entry = Entry(inbox: id.inbox, owner: id.owner, number: id.number, type: id.type)
        while true {
            let before = try names[name]
            if let before, exchange.isThere(host(of: before)) {
                throw SharedStateError(.alreadyExists, "an actor has the name \(name)")
            }
            if try names.compareExchange(name, expected: before, desired: entry) { return }
        }
    }

    /// Whether it was a name of this process's.
    func remove(_ name: String) throws -> Bool {
        guard let entry = try names[name], entry.owner == exchange.me.owner else { return false }
        return try names.compareExchange(name, expected: entry, desired: nil)
    }

    func find(_ name: String) throws -> SharedActorID? {
        guard let entry = try names[name] else { return nil }
        return SharedActorID(
            region: exchange.region, inbox: entry.inbox, owner: entry.owner, number: entry.number,
            type: entry.type)
    }

    private func host(of entry: Entry) -> CallMessage.Sender {
        CallMessage.Sender(inbox: entry.inbox, owner: entry.owner)
    }
}
