// SPDX-License-Identifier: Apache-2.0

/// Makes containers that every process of the family reads and writes in place.
///
/// There is no server process: a container is shared memory, and each process works on it itself.
/// Send the containers, not the manager.
public struct Manager: Sendable {
    private let region: Region?

    /// A manager of containers in a region.
    ///
    /// - Parameter region: Where they live; `nil` is the family's region.
    /// - Throws: `full`, `system`.
    public init(in region: Region? = nil) throws(SharedStateError) {
        self.region = try Region.orFamily(region)
    }

    /// Makes an empty dictionary.
    ///
    /// - Throws: `cannotCross`, `full`, `system`.
    public func dictionary<Key: Hashable & Sendable, Value: Sendable>(
        _ key: Key.Type = Key.self, _ value: Value.Type = Value.self
    ) throws(SharedStateError) -> ManagedDictionary<Key, Value> {
        try ManagedDictionary(in: region)
    }

    /// Makes a queue.
    ///
    /// - Throws: As `Queue.init`.
    public func queue<Element: Sendable>(
        of element: Element.Type = Element.self, capacity: Int = 1024
    ) throws(SharedStateError) -> Queue<Element> {
        try Queue(capacity: capacity, in: region)
    }

    /// Makes a lock.
    ///
    /// - Throws: As `Lock.init`.
    public func lock() throws(SharedStateError) -> Lock {
        try Lock(in: region)
    }

    /// Makes a shared value.
    ///
    /// - Throws: As `SharedValue.init`.
    public func value<Value: BitwiseCopyable & Sendable>(
        _ value: Value
    ) throws(SharedStateError) -> SharedValue<Value> {
        try SharedValue(value, in: region)
    }
}
