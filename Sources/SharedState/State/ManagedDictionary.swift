// SPDX-License-Identifier: Apache-2.0

internal import CShm

/// A dictionary in shared memory that every process of the family reads and writes in place.
///
/// A subscript looks, as does ``contains(_:)``; changes are methods, as they may throw. What reads,
/// changes and writes one key is one step: no other process comes between. Keys are equal when their
/// encoded bytes are: `String` keys by their UTF-8, so that two canonically equivalent spellings are
/// two keys.
///
/// A value that is itself a handle, such as a `ManagedArray`, is live: what one process does to it,
/// all see; how long it lives, ``Manager`` says. A value that is not, such as an array, is a copy: change
/// it by ``update(_:default:_:)``.
///
/// - Processes, threads: safe. Reads take no lock. Tasks: writes may block the thread.
/// - Death: a writer killed at any instruction has changed its key or has not; the next writer
///   finishes or undoes. A *stopped* writer holds up the other writers of its 64th of the keys.
///
/// The corresponding C header is `cshm/map.h`.
@safe
public final class ManagedDictionary<Key: Hashable & Sendable, Value: Sendable>: Sendable, Codable {
    @usableFromInline internal let core: MapCore
    /// Whether key and value cross as the bytes that they have in memory.
    @usableFromInline internal let isBits: Bool
    internal let keyCodec: KeyCodec<Key>
    internal let valueCodec: MessageCodec<Value>

    // MARK: Making one

    private init(_ object: SharedObject, _ codecs: Codecs) throws(SharedStateError) {
        core = try MapCore(object, tag: Self.tag, of: ManagedDictionary.self)
        (keyCodec, valueCodec) = codecs
        isBits = keyCodec.isBits && valueCodec.isBits
    }

    private typealias Codecs = (KeyCodec<Key>, MessageCodec<Value>)

    private static func codecs() throws(SharedStateError) -> Codecs {
        (try KeyCodec<Key>(), try MessageCodec<Value>())
    }

    internal static var tag: UInt64 { typeTag(Key.self, Value.self) }

    /// Makes an empty dictionary.
    ///
    /// - Parameter region: Where it lives; `nil` is the family's region.
    /// - Throws: `cannotCross`, `full`, `system`.
    public convenience init(in region: Region? = nil) throws(SharedStateError) {
        let codecs = try Self.codecs()
        try self.init(
            try MapCore.make(tag: Self.tag, holds: codecs.1.mayNameHandles, in: region), codecs)
    }

    /// Makes an empty dictionary and gives it a name.
    ///
    /// Any program that opens the region finds it by that. It lives as long as its region.
    ///
    /// - Parameters:
    ///   - name: 1 to 200 bytes.
    ///   - region: Where it lives; `nil` is the family's region.
    /// - Throws: `alreadyExists`, `cannotCross`, `full`, `system`.
    public convenience init(creating name: String, in region: Region?) throws(SharedStateError) {
        let codecs = try Self.codecs()
        try self.init(
            try MapCore.make(
                named: name, tag: Self.tag, holds: codecs.1.mayNameHandles, in: region), codecs)
    }

    /// Opens the dictionary of that name.
    ///
    /// - Throws: `notFound`, `incompatible` (not a dictionary of such keys and values), `cannotCross`.
    public convenience init(opening name: String, in region: Region?) throws(SharedStateError) {
        let codecs = try Self.codecs()
        try self.init(try SharedObject(opening: name, in: region, kind: CSHM_KIND_MAP), codecs)
    }

    /// Opens the dictionary a sent handle names.
    public convenience init(from decoder: any Decoder) throws {
        let place = try ObjectPlace(from: decoder)
        let codecs = try Self.codecs()
        try self.init(SharedObject(arriving: place), codecs)
    }

    /// Sends the handle; the dictionary then lives as long as its region, or, if it is sent by queues and
    /// stored in containers only, as long as anybody has it.
    public func encode(to encoder: any Encoder) throws {
        try core.object.place(endedAs: CSHM_KIND_MAP).encode(to: encoder)
    }

    // MARK: Looking

    /// Items in it.
    public var count: Int { core.count }

    /// Whether it holds nothing.
    public var isEmpty: Bool { count == 0 }

    /// The value of a key, copied out without a lock; `nil` if the key is absent.
    ///
    /// - Throws: `incompatible` (damaged bytes), or what encoding and decoding throw.
    @inlinable
    public subscript(key: Key) -> Value? {
        get throws {
            if Key.self == String.self, Value.self == String.self {
                let key = unsafe unsafeBitCast(key, to: String.self)
                return unsafe unsafeBitCast(try core.text(of: key), to: Value?.self)
            }
            guard _isPOD(Key.self), _isPOD(Value.self), isBits else { return try encodedValue(key) }
            return try unsafe withUnsafeTemporaryAllocation(of: Value.self, capacity: 1) { room in
                let room = unsafe room.baseAddress.unsafelyUnwrapped
                let status = unsafe withUnsafeBytes(of: key) {
                    unsafe core.get(
                        $0.baseAddress.unsafelyUnwrapped, MemoryLayout<Key>.size, into: room,
                        MemoryLayout<Value>.stride)
                }
                if status == 0 { return unsafe room.move() }
                if status == MapCore.absent { return nil }
                throw core.failure(status, "cshm_map_get")
            }
        }
    }

    /// The value of a key, or another one if it is absent.
    ///
    /// - Throws: As ``subscript(_:)``.
    public subscript(key: Key, default value: @autoclosure () -> Value) -> Value {
        get throws { try self[key] ?? value() }
    }

    @usableFromInline
    internal func encodedValue(_ key: Key) throws -> Value? {
        try unsafe keyCodec.withBytes(of: key) { key in
            try HandleEnded.readingAgain {
                try unsafe core.withValue(of: key) { try unsafe valueCodec.decodeStored($0) }
            } locked: {
                try unsafe core.withEntry(of: key) { try decode($0) }
            }
        }
    }

    /// Whether the key is there.
    ///
    /// - Throws: `incompatible`, or what encoding the key throws.
    public func contains(_ key: Key) throws -> Bool {
        try unsafe keyCodec.withBytes(of: key) { try unsafe core.contains($0) }
    }

    // MARK: Setting and removing

    /// Sets the value of a key, whether it is there or not.
    ///
    /// - Throws: `full`, `incompatible`, or what encoding throws; the dictionary is unchanged then.
    @inlinable
    public func set(_ value: Value, forKey key: Key) throws {
        if Key.self == String.self, Value.self == String.self {
            return try core.set(
                unsafe unsafeBitCast(value, to: String.self),
                of: unsafe unsafeBitCast(key, to: String.self))
        }
        guard _isPOD(Key.self), _isPOD(Value.self), isBits else {
            return try setEncoded(value, key)
        }
        let status = unsafe withUnsafeTemporaryAllocation(of: Value.self, capacity: 1) { room in
            unsafe room.initializeElement(at: 0, to: value)
            return unsafe withUnsafeBytes(of: key) {
                unsafe core.put(
                    $0.baseAddress.unsafelyUnwrapped, MemoryLayout<Key>.size,
                    room.baseAddress.unsafelyUnwrapped, MemoryLayout<Value>.stride)
            }
        }
        if status < 0 { throw core.failure(status, "cshm_map_put") }
    }

    @usableFromInline
    internal func setEncoded(_ value: Value, _ key: Key) throws {
        try unsafe keyCodec.withBytes(of: key) { key in
            try unsafe valueCodec.withStored(of: value, in: core.object.region) {
                try unsafe core.set(key, $0)
            }
        }
    }

    /// Sets the value of a key, and tells the one before.
    ///
    /// - Returns: The value before; `nil` if the key was absent.
    /// - Throws: As ``set(_:forKey:)``.
    @discardableResult
    public func updateValue(_ value: Value, forKey key: Key) throws -> Value? {
        try withEntry(key) { entry in
            let before = try decode(entry)
            try store(value, in: &entry)
            return before
        }
    }

    /// Sets the value of a key that is absent.
    ///
    /// - Returns: Whether it was.
    /// - Throws: As ``set(_:forKey:)``.
    @discardableResult
    public func insert(_ value: Value, forKey key: Key) throws -> Bool {
        try withEntry(key) { entry in
            guard unsafe entry.bytes == nil else { return false }
            try store(value, in: &entry)
            return true
        }
    }

    /// The value of a key, which is set first if the key is absent.
    ///
    /// - Returns: The value that is there afterwards.
    /// - Throws: As ``set(_:forKey:)``.
    @discardableResult
    public func setDefault(_ value: @autoclosure () throws -> Value, forKey key: Key) throws
        -> Value
    {
        if let there = try self[key] { return there }
        return try withEntry(key) { entry in
            if let there = try decode(entry) { return there }
            let value = try value()
            try store(value, in: &entry)
            return value
        }
    }

    /// Removes a key.
    ///
    /// - Returns: Its value; `nil` if it was absent.
    /// - Throws: `incompatible`, or what encoding the key or decoding the value throws; it stays then.
    @discardableResult
    public func removeValue(forKey key: Key) throws -> Value? {
        try withEntry(key) { entry in
            let before = try decode(entry)
            entry.remove()
            return before
        }
    }

    /// Removes a key.
    ///
    /// - Returns: Its value, or `value` if it was absent.
    /// - Throws: As ``removeValue(forKey:)``.
    public func pop(_ key: Key, default value: @autoclosure () -> Value) throws -> Value {
        try removeValue(forKey: key) ?? value()
    }

    /// Removes any key.
    ///
    /// - Returns: It and its value; `nil` if there is none.
    /// - Throws: As ``removeValue(forKey:)``.
    public func popAny() throws -> (key: Key, value: Value)? {
        while let key = try anyKey() {
            if let value = try removeValue(forKey: key) { return (key, value) }
        }
        return nil
    }

    private func anyKey() throws -> Key? {
        try unsafe core.items(frozen: false).first?.withKey { try unsafe keyCodec.decode($0) }
    }

    /// Removes everything, a 64th at a time.
    ///
    /// - Throws: `incompatible`.
    public func removeAll() throws {
        try core.removeAll()
    }

    // MARK: In one step

    /// Reads, changes and writes one key's value in one step: no other process comes between.
    ///
    /// - Parameters:
    ///   - key: The key; it need not be there.
    ///   - initial: What `body` finds if the key is absent.
    ///   - body: Changes the value. If it throws, nothing changes. It must not change this dictionary.
    /// - Returns: What `body` returns.
    /// - Throws: `deadlock` (from within another `update` of this dictionary), `full`, or what
    ///   `body`, encoding or decoding throw.
    @discardableResult
    public func update<Result>(
        _ key: Key, default initial: @autoclosure () throws -> Value,
        _ body: (inout Value) throws -> Result
    ) throws -> Result {
        try withEntry(key) { entry in
            var value = try decode(entry) ?? initial()
            let result = try body(&value)
            try store(value, in: &entry)
            return result
        }
    }

    /// Reads, changes and writes or removes one key's value in one step.
    ///
    /// - Parameters:
    ///   - key: The key; it need not be there.
    ///   - body: Finds `nil` if the key is absent, and leaves `nil` to remove it.
    /// - Returns: What `body` returns.
    /// - Throws: As ``update(_:default:_:)``.
    @discardableResult
    public func update<Result>(
        _ key: Key, _ body: (inout Value?) throws -> Result
    ) throws -> Result {
        try withEntry(key) { entry in
            var value = try decode(entry)
            let result = try body(&value)
            if let value { try store(value, in: &entry) } else { entry.remove() }
            return result
        }
    }

    private func withEntry<Result>(
        _ key: Key, _ body: (inout MapEntry) throws -> Result
    ) throws -> Result {
        try unsafe keyCodec.withBytes(of: key) { try unsafe core.withEntry(of: $0, body) }
    }

    private func decode(_ entry: borrowing MapEntry) throws -> Value? {
        guard let bytes = unsafe entry.bytes else { return nil }
        return try unsafe valueCodec.decodeStored(bytes)
    }

    private func store(_ value: Value, in entry: inout MapEntry) throws {
        try unsafe valueCodec.withStored(of: value, in: core.object.region) {
            try unsafe entry.set($0)
        }
    }
}

extension ManagedDictionary where Value: Equatable {
    /// Sets the value of a key if its value is the expected one, in one step.
    ///
    /// - Parameters:
    ///   - key: The key; it need not be there.
    ///   - expected: What it should have; `nil`: it should be absent.
    ///   - desired: What it gets; `nil` removes it.
    /// - Returns: Whether it was the expected one.
    /// - Throws: As ``set(_:forKey:)``.
    @discardableResult
    public func compareExchange(
        _ key: Key, expected: Value?, desired: Value?
    ) throws -> Bool {
        try update(key) { value in
            guard value == expected else { return false }
            value = desired
            return true
        }
    }
}

extension ManagedDictionary where Value == Int {
    /// Adds to a value in one step; one that is absent is 0.
    ///
    /// - Returns: The sum.
    /// - Throws: As ``set(_:forKey:)``.
    @inlinable
    @discardableResult
    public func add(_ delta: Int, forKey key: Key) throws -> Int {
        guard _isPOD(Key.self), isBits else { return try addEncoded(delta, key) }
        var sum = 0
        let status = unsafe withUnsafeBytes(of: key) {
            unsafe core.add(
                delta, $0.baseAddress.unsafelyUnwrapped, MemoryLayout<Key>.size, sum: &sum)
        }
        if status < 0 { throw core.failure(status, "cshm_map_fetch_add") }
        return sum
    }

    @usableFromInline
    internal func addEncoded(_ delta: Int, _ key: Key) throws -> Int {
        var sum = 0
        let status = try unsafe keyCodec.withBytes(of: key) { key in
            unsafe core.add(delta, key.baseAddress, key.count, sum: &sum)
        }
        if status < 0 { throw core.failure(status, "cshm_map_fetch_add") }
        return sum
    }
}

extension ManagedDictionary {
    /// Reads a value of plain bits where it lies; its shard's writers wait meanwhile.
    ///
    /// - Parameters:
    ///   - key: The key.
    ///   - body: Reads it; it must not change this dictionary.
    /// - Returns: What `body` returns; `nil` if the key is absent.
    /// - Throws: `incompatible`, or what `body` throws.
    public func withValue<Item: BitwiseCopyable, Result>(
        forKey key: Key, _ body: (Span<Item>) throws -> Result
    ) throws -> Result? where Value == [Item] {
        try withEntry(key) { entry in
            guard let bytes = unsafe entry.bytes else { return nil }
            guard valueCodec.isPlainArray, let start = bytes.baseAddress,
                UInt(bitPattern: start) % UInt(MemoryLayout<Item>.alignment) == 0,
                bytes.count % MemoryLayout<Item>.stride == 0
            else {
                let copy = try unsafe valueCodec.decodeStored(bytes)
                return try body(copy.span)
            }
            return unsafe try body(bytes.bindMemory(to: Item.self).span)
        }
    }
}
