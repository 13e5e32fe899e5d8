// SPDX-License-Identifier: Apache-2.0

internal import SharedState

/// Which distributed actor it is, and where: in which region, of which process.
///
/// Sent like any value; ``SharedActorSystem`` finds the actor by it, as does the actor type's own
/// `resolve(id:using:)`. It is never another actor's, whoever dies: no part of it is used twice.
public struct SharedActorID: Hashable, Codable, Sendable, CustomStringConvertible {
    /// `nil` where the actor could not be made known to others.
    internal let region: Region?
    internal let inbox: Int
    internal let owner: Owner
    /// Which of its system's actors.
    internal let number: UInt64
    /// The type's name, as a number.
    internal let type: UInt64
    /// How this process reaches it; not sent.
    private let link = Link()

    private enum CodingKeys: String, CodingKey {
        case region, inbox, owner, number, type
    }

    internal init(region: Region?, inbox: Int, owner: Owner, number: UInt64, type: UInt64) {
        self.region = region
        self.inbox = inbox
        self.owner = owner
        self.number = number
        self.type = type
    }

    /// What calls it from here.
    internal func exchange() throws -> Exchange {
        guard let region else {
            throw SharedStateError(
                .full, "the actor is not known to others: its system had no inbox to be had")
        }
        return try link.exchange(in: region)
    }

    internal var address: Address? {
        region.map { Address(region: $0.identity, inbox: inbox, owner: owner) }
    }

    /// Whether both name the same actor.
    public static func == (left: Self, right: Self) -> Bool {
        left.address == right.address && left.number == right.number
    }

    /// As `==`.
    public func hash(into hasher: inout Hasher) {
        hasher.combine(address)
        hasher.combine(number)
    }

    /// For people.
    public var description: String { "actor \(number) of inbox \(inbox)" }
}

/// Where a system is written to.
internal struct Address: Hashable, Sendable {
    let region: RegionIdentity
    let inbox: Int
    let owner: Owner
}

/// Keeps what an actor was called by, for the next call.
private final class Link: Sendable {
    private let kept = Mutex<Exchange?>(nil)

    func exchange(in region: Region) throws -> Exchange {
        if let exchange = kept.withLock({ $0 }), !exchange.hasEnded { return exchange }
        let exchange = try Exchange.of(region)
        kept.withLock { $0 = exchange }
        return exchange
    }
}
