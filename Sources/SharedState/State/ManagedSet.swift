// SPDX-License-Identifier: Apache-2.0

internal import CShm

/// A set in shared memory that every process of the family reads and changes in place.
///
/// Members are equal when their encoded bytes are, as with the keys of a `ManagedDictionary`. Its
/// algebra works on snapshots and changes member by member: other processes see steps in between.
///
/// - Processes, threads: safe. Reads take no lock. Tasks: writes may block the thread.
/// - Death: a writer killed at any instruction has changed each member or has not.
///
/// The corresponding C header is `cshm/map.h`.
public final class ManagedSet<Member: Hashable & Sendable>: Sendable, Codable {
    private let core: MapCore
    private let codec: KeyCodec<Member>

    // MARK: Making one

    private init(_ object: SharedObject, _ codec: KeyCodec<Member>) throws(SharedStateError) {
        core = try MapCore(object, tag: Self.tag, of: ManagedSet.self)
        self.codec = codec
    }

    internal static var tag: UInt64 { typeTag(Set<Member>.self) }

    /// Makes an empty set.
    ///
    /// - Parameter region: Where it lives; `nil` is the family's region.
    /// - Throws: `cannotCross`, `full`, `system`.
    public convenience init(in region: Region? = nil) throws(SharedStateError) {
        let codec = try KeyCodec<Member>()
        try self.init(try MapCore.make(tag: Self.tag, in: region), codec)
    }

    /// Makes a set with members.
    ///
    /// - Throws: As ``init(in:)``, or what encoding throws.
    public convenience init(_ members: some Sequence<Member>, in region: Region? = nil) throws {
        try self.init(in: region)
        try formUnion(members)
    }

    /// Makes an empty set and gives it a name.
    ///
    /// Any program that opens the region finds it by that. It lives as long as its region.
    ///
    /// - Throws: `alreadyExists`, `cannotCross`, `full`, `system`.
    public convenience init(creating name: String, in region: Region?) throws(SharedStateError) {
        let codec = try KeyCodec<Member>()
        try self.init(try MapCore.make(named: name, tag: Self.tag, in: region), codec)
    }

    /// Opens the set of that name.
    ///
    /// - Throws: `notFound`, `incompatible` (not a set of such members), `cannotCross`.
    public convenience init(opening name: String, in region: Region?) throws(SharedStateError) {
        let codec = try KeyCodec<Member>()
        try self.init(try SharedObject(opening: name, in: region, kind: CSHM_KIND_MAP), codec)
    }

    /// Opens the set a sent handle names.
    public convenience init(from decoder: any Decoder) throws {
        let place = try ObjectPlace(from: decoder)
        let codec = try KeyCodec<Member>()
        try self.init(SharedObject(arriving: place), codec)
    }

    /// Sends the handle; the set then lives as long as its region, or, if it is sent by queues and
    /// stored in containers only, as long as anybody has it.
    public func encode(to encoder: any Encoder) throws {
        try core.object.place(endedAs: CSHM_KIND_MAP).encode(to: encoder)
    }

    // MARK: Members

    /// Members in it.
    public var count: Int { core.count }

    /// Whether it has none.
    public var isEmpty: Bool { count == 0 }

    /// Whether it is a member.
    ///
    /// - Throws: `incompatible`, or what encoding throws.
    public func contains(_ member: Member) throws -> Bool {
        try unsafe codec.withBytes(of: member) { try unsafe core.contains($0) }
    }

    /// Makes it a member.
    ///
    /// - Returns: Whether it was none.
    /// - Throws: `full`, `incompatible`, or what encoding throws.
    @discardableResult
    public func insert(_ member: Member) throws -> Bool {
        try unsafe codec.withBytes(of: member) { member in
            let status = unsafe cshm_map_insert(
                core.pointer, member.baseAddress, UInt64(member.count), nil, 0)
            if status == Answer.exists { return false }
            try core.confirm(status, "cshm_map_insert")
            return true
        }
    }

    /// Makes it no member.
    ///
    /// - Returns: Whether it was one.
    /// - Throws: `incompatible`, or what encoding throws.
    @discardableResult
    public func remove(_ member: Member) throws -> Bool {
        try unsafe codec.withBytes(of: member) { member in
            let status = unsafe cshm_map_remove(
                core.pointer, member.baseAddress, UInt64(member.count))
            if status == Answer.absent { return false }
            try core.confirm(status, "cshm_map_remove")
            return true
        }
    }

    /// Removes any member.
    ///
    /// - Returns: It; `nil` if there is none.
    /// - Throws: `incompatible`, or what decoding throws.
    public func popFirst() throws -> Member? {
        while let item = try core.items(frozen: false).first {
            let member = try unsafe item.withKey { try unsafe codec.decode($0) }
            if try remove(member) { return member }
        }
        return nil
    }

    /// Removes every member.
    ///
    /// - Throws: `incompatible`.
    public func removeAll() throws {
        try core.removeAll()
    }

    /// The members, copied out without a lock; weakly consistent while others write.
    ///
    /// - Throws: `incompatible`, or what decoding throws.
    public func snapshot() throws -> Set<Member> {
        try members(frozen: false)
    }

    /// The members, as they were at one instant: writers wait while they are copied.
    ///
    /// - Throws: As ``snapshot()``.
    public func frozen() throws -> Set<Member> {
        try members(frozen: true)
    }

    private func members(frozen: Bool) throws -> Set<Member> {
        var members = Set<Member>()
        for item in try core.items(frozen: frozen) {
            members.insert(try unsafe item.withKey { try unsafe codec.decode($0) })
        }
        return members
    }

    /// Another set of the same members, in the same region.
    public func copy() throws -> ManagedSet {
        try ManagedSet(snapshot(), in: core.object.region)
    }

    // MARK: Algebra

    /// Makes members of all of them.
    public func formUnion(_ other: some Sequence<Member>) throws {
        for member in other { try insert(member) }
    }

    /// Makes members of all of them.
    public static func |= (set: ManagedSet, other: some Sequence<Member>) throws {
        try set.formUnion(other)
    }

    /// Makes them no members.
    public func subtract(_ other: some Sequence<Member>) throws {
        for member in other { try remove(member) }
    }

    /// Removes members that are not in the other.
    public func formIntersection(_ other: some Sequence<Member>) throws {
        let stay = Set(other)
        for member in try snapshot() where !stay.contains(member) { try remove(member) }
    }

    /// Removes those that are members, and makes members of those that are not.
    public func formSymmetricDifference(_ other: some Sequence<Member>) throws {
        for member in Set(other) where try !insert(member) { try remove(member) }
    }

    /// The members of either, as a set of this process; and so below.
    public func union(_ other: some Sequence<Member>) throws -> Set<Member> {
        try snapshot().union(other)
    }

    /// The members of both.
    public func intersection(_ other: some Sequence<Member>) throws -> Set<Member> {
        try snapshot().intersection(other)
    }

    /// The members that are not in the other.
    public func subtracting(_ other: some Sequence<Member>) throws -> Set<Member> {
        try snapshot().subtracting(other)
    }

    /// The members of one but not of both.
    public func symmetricDifference(_ other: some Sequence<Member>) throws -> Set<Member> {
        try snapshot().symmetricDifference(other)
    }

    /// Whether all its members are in the other.
    public func isSubset(of other: some Sequence<Member>) throws -> Bool {
        try snapshot().isSubset(of: other)
    }

    /// Whether all of the other are members.
    public func isSuperset(of other: some Sequence<Member>) throws -> Bool {
        try other.allSatisfy { try contains($0) }
    }

    /// Whether none of the other is a member.
    public func isDisjoint(with other: some Sequence<Member>) throws -> Bool {
        try !other.contains { try contains($0) }
    }
}
