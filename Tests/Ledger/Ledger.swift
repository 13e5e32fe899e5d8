// SPDX-License-Identifier: Apache-2.0

public import Distributed
internal import Glibc
public import SharedStateActors

/// What is booked.
public struct Entry: Codable, Sendable {
    /// For what.
    public let what: String
    /// How much.
    public let amount: Int

    /// So much for that.
    public init(what: String, amount: Int) {
        self.what = what
        self.amount = amount
    }
}

/// More was taken than there is.
public struct Overdrawn: Error, Codable, Equatable {
    /// How much.
    public let amount: Int

    /// So much.
    public init(amount: Int) {
        self.amount = amount
    }
}

private struct Lost: Error, Codable {}

/// An actor that several programs know.
public distributed actor Ledger {
    /// The library's.
    public typealias ActorSystem = SharedActorSystem

    private var total = 0

    /// One with nothing in it.
    public init(in system: SharedActorSystem) {
        actorSystem = system
    }

    /// Adds, and tells the sum.
    public distributed func book(_ entry: Entry) throws -> Int {
        guard total + entry.amount >= 0 else { throw Overdrawn(amount: entry.amount) }
        total += entry.amount
        return total
    }

    /// Throws what others do not know.
    public distributed func lose() throws { throw Lost() }

    /// Where it is.
    public distributed func processIdentifier() -> Int32 { getpid() }
}
