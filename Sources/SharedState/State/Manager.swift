// SPDX-License-Identifier: Apache-2.0

internal import CShm

/// Makes containers that every process reads and writes in place, and finds them by name.
///
/// There is no server process: a container is shared memory, and each process works on it itself.
/// What has no name is sent as a handle. What has one is made by whoever asks first, and found by all
/// others:
///
///     let manager = try Manager(named: "factory")            // in any program of this user
///     let stock = try manager.dictionary("stock", String.self, Int.self)
///
/// What has no name goes with the last that has it: a handle of a living process, a container that it is
/// stored in, or a ``Queue`` that it is in. So do containers, queues, and all that processes agree by:
/// locks, conditions, semaphores, events, barriers, values, arrays and the like. Two containers that hold
/// each other keep each other; what holds itself, directly or through others, is to be removed from there, or
/// stays. What was also sent in another way lives as long as its region: as an argument or a result, by a
/// broadcast, a pipe or a lane, as a key, or into another region; and so does what more than 27 processes
/// had at a time, and a broadcast, a pipe, lanes or a future in a container.
///
/// A manager is a region and nothing else, so it may be dropped. What has a name lives as long as its
/// region: that of the family with the last process of it, a named one until ``remove(_:)``.
///
/// - Processes, threads, tasks: safe.
public struct Manager: Sendable {
    /// Where its containers live.
    public let region: Region

    /// A manager of containers in a region.
    ///
    /// - Parameter region: Where they live; `nil` is the family's region.
    /// - Throws: `full`, `system`.
    public init(in region: Region? = nil) throws(SharedStateError) {
        self.region = try Region.orFamily(region)
    }

    /// The manager of that name, which is made if there is none.
    ///
    /// - Parameters:
    ///   - name: 1 to 200 bytes without `/`, not starting with a dot.
    ///   - capacity: If it is made, the bytes that it may grow to, 1 MiB to 1 TiB; `nil` takes half of
    ///     the memory. What does not fit throws `full`.
    /// - Throws: `invalidArgument`, `incompatible`, `full`, `tooManyUsers`, `system`.
    public init(named name: String, capacity: Int? = nil) throws(SharedStateError) {
        while true {
            do {
                region = try Region(opening: name)
                return
            } catch  where error.code == .notFound {}
            do {
                region = try Region(creating: name, capacity: capacity)
                return
            } catch  where error.code == .alreadyExists {}
        }
    }

    /// Makes the manager of a name.
    ///
    /// - Throws: `alreadyExists`, `invalidArgument`, `full`, `system`.
    public init(creating name: String, capacity: Int? = nil) throws(SharedStateError) {
        region = try Region(creating: name, capacity: capacity)
    }

    /// Finds the manager of a name.
    ///
    /// - Throws: `notFound`, `incompatible`, `tooManyUsers`, `invalidArgument`, `system`.
    public init(opening name: String) throws(SharedStateError) {
        region = try Region(opening: name)
    }

    /// Takes a manager's name away; those who have it open keep it.
    ///
    /// - Throws: `notFound`, `invalidArgument`, `system`.
    public static func remove(_ name: String) throws(SharedStateError) {
        try Region.remove(name)
    }

    /// The names of its containers.
    ///
    /// - Throws: `incompatible`.
    public func names() throws(SharedStateError) -> [String] {
        try region.names()
    }

    /// Takes a container's name away; those who have it open keep it.
    ///
    /// - Throws: `notFound`, `invalidArgument`.
    public func removeName(_ name: String) throws(SharedStateError) {
        try region.removeName(name)
    }

    /// Finds what has a name, or makes it: also if another does at the same time.
    internal func find<Object>(
        _ name: String?, new: () throws -> Object, create: (String) throws -> Object,
        open: (String) throws -> Object
    ) throws -> Object {
        guard let name else { return try new() }
        while true {
            do {
                return try open(name)
            } catch let error as SharedStateError where error.code == .notFound {}
            do {
                return try create(name)
            } catch let error as SharedStateError where error.code == .alreadyExists {}
        }
    }

    // MARK: Containers

    /// A dictionary.
    ///
    /// - Parameters:
    ///   - name: What it is found by, or made; `nil` makes one without a name. And so below.
    ///   - key: What its keys are.
    ///   - value: What its values are.
    /// - Returns: The dictionary.
    /// - Throws: `incompatible` (that name is another's), `cannotCross`, `full`, `system`.
    public func dictionary<Key: Hashable & Sendable, Value: Sendable>(
        _ name: String? = nil, _ key: Key.Type = Key.self, _ value: Value.Type = Value.self
    ) throws -> ManagedDictionary<Key, Value> {
        try find(
            name, new: { try ManagedDictionary(in: region) },
            create: { try ManagedDictionary(creating: $0, in: region) },
            open: { try ManagedDictionary(opening: $0, in: region) })
    }

    /// A dictionary without a name.
    ///
    /// - Throws: `cannotCross`, `full`, `system`.
    public func dictionary<Key: Hashable & Sendable, Value: Sendable>(
        _ key: Key.Type, _ value: Value.Type
    ) throws(SharedStateError) -> ManagedDictionary<Key, Value> {
        try ManagedDictionary(in: region)
    }

    /// An array.
    ///
    /// - Throws: `incompatible` (that name is another's), `cannotCross`, `full`, `system`.
    public func array<Element: Sendable>(
        _ name: String? = nil, of element: Element.Type = Element.self
    ) throws -> ManagedArray<Element> {
        try find(
            name, new: { try ManagedArray(in: region) },
            create: { try ManagedArray(creating: $0, in: region) },
            open: { try ManagedArray(opening: $0, in: region) })
    }

    /// A set.
    ///
    /// - Throws: `incompatible` (that name is another's), `cannotCross`, `full`, `system`.
    public func set<Member: Hashable & Sendable>(
        _ name: String? = nil, of member: Member.Type = Member.self
    ) throws -> ManagedSet<Member> {
        try find(
            name, new: { try ManagedSet(in: region) },
            create: { try ManagedSet(creating: $0, in: region) },
            open: { try ManagedSet(opening: $0, in: region) })
    }

    /// A value of any type that can cross.
    ///
    /// - Parameters:
    ///   - name: What it is found by, or made.
    ///   - value: What it is, if it is made.
    /// - Returns: The value.
    /// - Throws: `incompatible` (that name is another's), `cannotCross`, `full`, `system`.
    public func value<Value: Sendable>(
        _ name: String, _ value: Value
    ) throws -> ManagedValue<Value> {
        try find(
            name, new: { try ManagedValue(value, in: region) },
            create: { try ManagedValue(creating: $0, value, in: region) },
            open: { try ManagedValue(opening: $0, in: region) })
    }

    /// The properties of a type of one's own.
    ///
    /// - Parameters:
    ///   - name: What it is found by, or made.
    ///   - properties: What they are, if it is made.
    /// - Returns: The namespace.
    /// - Throws: `incompatible` (that name is another's), `cannotCross`, `full`, `system`.
    public func namespace<Properties: Sendable>(
        _ name: String, _ properties: Properties
    ) throws -> ManagedNamespace<Properties> {
        ManagedNamespace(try value(name, properties))
    }

    /// The properties of a type of one's own, without a name.
    ///
    /// - Throws: `cannotCross`, `full`, `system`.
    public func namespace<Properties: Sendable>(
        _ properties: Properties
    ) throws -> ManagedNamespace<Properties> {
        try ManagedNamespace(properties, in: region)
    }
}

/// Runs `body` with a manager of a name of its own, which is taken away at the end.
///
/// - Parameters:
///   - name: As for `Manager.init(creating:capacity:)`; `nil`: containers live in the family's region,
///     and those that are not sent are freed with their handles.
///   - capacity: Bytes that a manager with a name may grow to.
///   - body: Uses it.
/// - Returns: What `body` returns.
/// - Throws: As `Manager.init(creating:capacity:)`, or what `body` throws.
public func withManager<Result>(
    named name: String? = nil, capacity: Int? = nil, _ body: (Manager) throws -> Result
) throws -> Result {
    guard let name else { return try body(Manager()) }
    let manager = try Manager(creating: name, capacity: capacity)
    defer { try? Manager.remove(name) }
    return try body(manager)
}
