// SPDX-License-Identifier: Apache-2.0

/// What something in shared memory is after each change, in any process.
///
/// It begins with the first change after its iterator was made. Changes in quick succession may be
/// seen as one; the last one is never missed. A task that waits holds no thread.
///
/// - Death: a writer's death may be told as a change, though nothing changed; none is kept back.
public struct ManagedChanges<Element: Sendable>: AsyncSequence, Sendable {
    fileprivate let place: Reactor.Place
    /// A number that is another after each change.
    fileprivate let version: @Sendable () throws -> UInt64
    fileprivate let read: @Sendable () throws -> Element

    internal init(
        at place: Reactor.Place, version: @escaping @Sendable () throws -> UInt64,
        read: @escaping @Sendable () throws -> Element
    ) {
        self.place = place
        self.version = version
        self.read = read
    }

    /// Waits for one change after the other.
    public struct Iterator: AsyncIteratorProtocol {
        private let changes: ManagedChanges
        private var seen: UInt64?

        fileprivate init(_ changes: ManagedChanges) {
            self.changes = changes
            seen = try? changes.version()
        }

        /// What it is after the next change.
        ///
        /// - Throws: `incompatible`, what decoding throws, and `CancellationError`.
        public mutating func next() async throws -> Element? {
            let version = try await nextVersion(
                after: seen, at: changes.place, until: .max, changes.version)
            seen = version
            return try changes.read()
        }
    }

    /// An iterator, for which the changes from now on count.
    public func makeAsyncIterator() -> Iterator { Iterator(self) }
}

/// Waits until a version is another than the one that was seen.
internal func nextVersion(
    after seen: UInt64?, at place: Reactor.Place, until deadline: Int64,
    _ version: @escaping @Sendable () throws -> UInt64
) async throws -> UInt64 {
    try Task.checkCancellation()
    let status = try await Reactor.wait(at: place, until: deadline) {
        (try? version()) == seen ? Answer.wouldWait : 0
    }
    try check(status, "cshm_map_wait_until")
    return try version()
}

extension ManagedDictionary {
    /// The value of a key after each change of it; `nil` when it was removed.
    ///
    /// - Throws: What encoding the key throws.
    public func changes(forKey key: Key) throws -> ManagedChanges<Value?> {
        let bytes = try keyCodec.bytes(of: key)
        return ManagedChanges(
            at: core.place,
            version: { [core] in try core.version(of: bytes) },
            read: { try self[key] })
    }

    /// One element for each change of any key.
    public var changes: ManagedChanges<Void> {
        ManagedChanges(at: core.place, version: { [core] in core.changes }, read: {})
    }

    /// The value of a key; waits until it is there.
    ///
    /// - Parameters:
    ///   - key: The key.
    ///   - timeout: The longest wait; `nil` waits without limit.
    /// - Returns: The value.
    /// - Throws: `timedOut`, `incompatible`, or what encoding and decoding throw.
    public func value(forKey key: Key, timeout: Duration? = nil) throws -> Value {
        let until = deadline(after: timeout)
        let bytes = try keyCodec.bytes(of: key)
        while true {
            if let value = try self[key] { return value }
            let status = blockingWait(at: core.place, until: until) {
                (try? core.version(of: bytes)) == 0 ? Answer.wouldWait : 0
            }
            try core.confirm(status, "cshm_map_wait_until")
        }
    }

    /// The value of a key; waits until it is there, without holding a thread.
    ///
    /// - Parameters:
    ///   - key: The key.
    ///   - timeout: The longest wait; `nil` waits without limit.
    /// - Returns: The value.
    /// - Throws: As the blocking form, and `CancellationError`.
    public func value(forKey key: Key, timeout: Duration? = nil) async throws -> Value {
        let until = deadline(after: timeout)
        let bytes = try keyCodec.bytes(of: key)
        while true {
            if let value = try self[key] { return value }
            _ = try await nextVersion(after: 0, at: core.place, until: until) { [core] in
                try core.version(of: bytes)
            }
        }
    }
}

extension ManagedArray {
    /// One element for each change.
    public var changes: ManagedChanges<Void> {
        ManagedChanges(at: core.place, version: { [core] in core.changes }, read: {})
    }
}

extension ManagedValue {
    /// The value after each change.
    public var changes: ManagedChanges<Value> {
        ManagedChanges(
            at: core.place, version: { [core] in core.changes }, read: { try self.value })
    }
}

extension MapCore {
    fileprivate func version(of key: [UInt8]) throws -> UInt64 {
        try unsafe key.withUnsafeBytes { try unsafe version(of: $0) }
    }
}
