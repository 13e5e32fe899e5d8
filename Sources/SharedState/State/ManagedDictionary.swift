// SPDX-License-Identifier: Apache-2.0

internal import CShm

/// A dictionary in shared memory that every process of the family reads and writes in place.
///
/// Keys are equal when their encoded bytes are: `String` keys by their UTF-8, so that two canonically
/// equivalent spellings are two keys.
///
/// - Processes, threads: safe. Reads take no lock. Tasks: writes may block the thread.
/// - Death: a writer killed at any instruction has changed its key or has not; the next writer
///   finishes or undoes. A *stopped* writer holds up the other writers of its 64th of the keys.
///
/// The corresponding C header is `cshm/map.h`.
@safe
public final class ManagedDictionary<Key: Hashable & Sendable, Value: Sendable>: Sendable, Codable {
    private let object: SharedObject
    private let keyPlan: TransferPlan<Key>
    private let valuePlan: TransferPlan<Value>
    private nonisolated(unsafe) let pointer: OpaquePointer

    /// Makes an empty dictionary.
    ///
    /// - Parameter region: Where it lives; `nil` is the family's region.
    /// - Throws: `cannotCross`, `full`, `system`.
    public init(in region: Region? = nil) throws(SharedStateError) {
        let region = try Region.orFamily(region)
        keyPlan = try TransferPlan<Key>.plan(for: Key.self)
        valuePlan = try TransferPlan<Value>.plan(for: Value.self)
        var offset: UInt64 = 0
        var options = cshm_map_options(type_tag: typeTag(Key.self, Value.self), shards: 0)
        try unsafe check(cshm_map_create(region.pointer, &options, &offset), "cshm_map_create")
        object = SharedObject(region, offset, sent: false)
        unsafe pointer = try Self.open(object)
    }

    /// Opens the dictionary a sent handle names.
    public init(from decoder: any Decoder) throws {
        let place = try ObjectPlace(from: decoder)
        object = SharedObject(try place.region(), place.offset, sent: true)
        keyPlan = try TransferPlan<Key>.plan(for: Key.self)
        valuePlan = try TransferPlan<Value>.plan(for: Value.self)
        unsafe pointer = try Self.open(object)
    }

    /// Sends the handle; the dictionary then lives as long as its region.
    public func encode(to encoder: any Encoder) throws {
        try object.place().encode(to: encoder)
    }

    deinit {
        if object.wasSent {
            unsafe cshm_map_close(pointer)
        } else {
            unsafe cshm_map_destroy(pointer)
        }
    }

    private static func open(_ object: SharedObject) throws(SharedStateError) -> OpaquePointer {
        var opened: OpaquePointer?
        try unsafe check(
            cshm_map_open(
                object.region.pointer, object.offset, typeTag(Key.self, Value.self), &opened),
            "cshm_map_open", "ManagedDictionary<\(Key.self), \(Value.self)>")
        return unsafe opened.unsafelyUnwrapped
    }

    /// Items in it.
    public var count: Int { Int(unsafe cshm_map_count(pointer)) }

    /// Whether it holds nothing.
    public var isEmpty: Bool { count == 0 }

    /// The value of a key, copied out without a lock; `nil` if the key is absent.
    ///
    /// - Throws: `incompatible` (damaged bytes), or what encoding and decoding throw.
    public func value(forKey key: Key) throws -> Value? {
        let name = try bytes(of: key)
        var size = 256
        while true {
            var length: UInt64 = 0
            var status: Int32 = 0
            let value = unsafe try withUnsafeTemporaryAllocation(byteCount: size, alignment: 16) {
                room -> Value? in
                status = unsafe cshm_map_get(
                    pointer, name, UInt64(name.count), room.baseAddress, UInt64(size), &length)
                guard status == 0 else { return nil }
                return try unsafe decodeValue(
                    UnsafeRawBufferPointer(rebasing: room[..<Int(length)]))
            }
            if let value { return value }
            switch status {
            case Answer.absent: return nil
            case Answer.tooLarge: size = Int(length)
            default: try check(status, "cshm_map_get")
            }
        }
    }

    /// The value of a key, as ``value(forKey:)``.
    public subscript(key: Key) -> Value? {
        get throws { try value(forKey: key) }
    }

    /// Whether the key is there.
    ///
    /// - Throws: `incompatible`, or what encoding the key throws.
    public func contains(_ key: Key) throws -> Bool {
        let name = try bytes(of: key)
        var length: UInt64 = 0
        let status = unsafe cshm_map_get(pointer, name, UInt64(name.count), nil, 0, &length)
        if status == Answer.absent { return false }
        if status == Answer.tooLarge { return true }
        try check(status, "cshm_map_get")
        return true
    }

    /// Sets the value of a key, whether it is there or not.
    ///
    /// - Throws: `full`, `incompatible`, or what encoding throws; the dictionary is unchanged then.
    public func set(_ value: Value, forKey key: Key) throws {
        let name = try bytes(of: key)
        let content = try bytes(of: value)
        try unsafe check(
            cshm_map_put(pointer, name, UInt64(name.count), content, UInt64(content.count)),
            "cshm_map_put")
    }

    /// Removes a key.
    ///
    /// - Returns: Whether it was there.
    /// - Throws: `incompatible`, or what encoding the key throws.
    @discardableResult
    public func removeValue(forKey key: Key) throws -> Bool {
        let name = try bytes(of: key)
        let status = unsafe cshm_map_remove(pointer, name, UInt64(name.count))
        if status == Answer.absent { return false }
        try check(status, "cshm_map_remove")
        return true
    }

    /// Removes everything.
    ///
    /// - Throws: `incompatible`.
    public func removeAll() throws {
        try unsafe check(cshm_map_clear(pointer), "cshm_map_clear")
    }

    /// Reads, changes and writes one key's value in one step: no other process comes between.
    ///
    /// - Parameters:
    ///   - key: The key; it need not be there.
    ///   - initial: What `body` finds if the key is absent.
    ///   - body: Changes the value. If it throws, nothing changes. It must not use this dictionary.
    /// - Returns: What `body` returns.
    /// - Throws: `deadlock` (from within another `update` of this dictionary), `full`, or what
    ///   `body`, encoding or decoding throw.
    @discardableResult
    public func update<Result>(
        _ key: Key, default initial: @autoclosure () throws -> Value,
        _ body: (inout Value) throws -> Result
    ) throws -> Result {
        let name = try bytes(of: key)
        return try unsafe name.withUnsafeBytes { name in
            var entry = unsafe cshm_map_entry()
            try unsafe check(
                cshm_map_lock(pointer, name.baseAddress, UInt64(name.count), &entry),
                "cshm_map_lock")
            defer { unsafe cshm_map_unlock(pointer, &entry) }
            var value =
                if let bytes = unsafe entry.value {
                    try unsafe decodeValue(
                        UnsafeRawBufferPointer(start: bytes, count: Int(entry.length)))
                } else {
                    try initial()
                }
            let result = try body(&value)
            let content = try self.bytes(of: value)
            try unsafe check(
                cshm_map_entry_set(pointer, &entry, content, UInt64(content.count)),
                "cshm_map_entry_set")
            return result
        }
    }

    /// Everything in it, copied out shard by shard: weakly consistent while others write.
    ///
    /// - Throws: `incompatible`, or what decoding throws.
    public func snapshot() throws -> [Key: Value] {
        var result: [Key: Value] = [:]
        var shard: [(Key, Value)] = []
        var shardNumber: UInt32 = 0
        var cursor = cshm_map_cursor()
        var room = [UInt8](repeating: 0, count: 4096)
        while true {
            var keyLength: UInt64 = 0
            var length: UInt64 = 0
            let status = unsafe cshm_map_next(
                pointer, &cursor, &room, UInt64(room.count), &keyLength, &length)
            if cursor.shard != shardNumber || status == Answer.absent {
                for (key, value) in shard { result[key] = value }
                shard.removeAll(keepingCapacity: true)
                shardNumber = cursor.shard
            }
            switch status {
            case 0:
                try unsafe room.withUnsafeBytes { bytes in
                    let split = Int(keyLength)
                    let end = split + Int(length)
                    shard.append(
                        (
                            try unsafe decodeKey(
                                UnsafeRawBufferPointer(rebasing: bytes[..<split])),
                            try unsafe decodeValue(
                                UnsafeRawBufferPointer(rebasing: bytes[split..<end]))
                        ))
                }
            case Answer.absent: return result
            case Answer.tooLarge: room = [UInt8](repeating: 0, count: Int(keyLength + length))
            case Answer.stale: shard.removeAll(keepingCapacity: true)
            default: try check(status, "cshm_map_next")
            }
        }
    }

    /// The keys, as ``snapshot()``.
    public var keys: [Key] { get throws { Array(try snapshot().keys) } }

    /// The values, as ``snapshot()``.
    public var values: [Value] { get throws { Array(try snapshot().values) } }

    private func bytes(of key: Key) throws -> [UInt8] {
        var writer = ByteWriter()
        try keyPlan.encode(key, into: &writer)
        return writer.bytes
    }

    private func bytes(of value: Value) throws -> [UInt8] {
        var writer = ByteWriter()
        try valuePlan.encode(value, into: &writer)
        return writer.bytes
    }

    private func decodeKey(_ bytes: UnsafeRawBufferPointer) throws -> Key {
        var reader = unsafe ByteReader(bytes)
        return try keyPlan.decode(from: &reader)
    }

    private func decodeValue(_ bytes: UnsafeRawBufferPointer) throws -> Value {
        var reader = unsafe ByteReader(bytes)
        return try valuePlan.decode(from: &reader)
    }
}
