// SPDX-License-Identifier: Apache-2.0

internal import CShm

/// What of a dictionary does not depend on the types of its keys and values: the view of it that C
/// gives, and its calls on raw memory.
///
/// The generic parts are inlined into the caller's module; these are not.
@safe
@usableFromInline
internal final class MapCore: Sendable {
    internal let object: SharedObject
    internal nonisolated(unsafe) let pointer: OpaquePointer
    /// For errors.
    private let type: Any.Type

    internal init(
        _ object: SharedObject, tag: UInt64, of type: Any.Type
    ) throws(SharedStateError) {
        var opened: OpaquePointer?
        try unsafe check(
            cshm_map_open(object.region.pointer, object.offset, tag, &opened), "cshm_map_open",
            "\(type)")
        unsafe pointer = opened.unsafelyUnwrapped
        self.object = object
        self.type = type
    }

    /// Lays out an empty map, with a name or without, of as many shards as C takes by default or others,
    /// whose values say what they hold, or not.
    internal static func make(
        named name: String? = nil, tag: UInt64, shards: UInt32 = 0, holds: Bool = false,
        in region: Region?
    ) throws(SharedStateError) -> SharedObject {
        let region = try Region.orFamily(region)
        var options = cshm_map_options(type_tag: tag, shards: shards, holds: holds ? 1 : 0)
        var offset: UInt64 = 0
        try unsafe check(cshm_map_create(region.pointer, &options, &offset), "cshm_map_create")
        guard let name else {
            let object = SharedObject(region, offset, sent: false)
            if holds { try object.anchor(of: CSHM_KIND_MAP) }
            return object
        }
        return try SharedObject(region, offset, named: name, kind: CSHM_KIND_MAP, tag: tag)
    }

    deinit {
        if object.wasSent {
            unsafe cshm_map_close(pointer)
        } else {
            unsafe cshm_map_destroy(pointer)
        }
    }

    // MARK: What the inlined code calls

    /// Copies a value of just that length out.
    @usableFromInline
    internal func get(
        _ key: UnsafeRawPointer, _ keyLength: Int, into room: UnsafeMutableRawPointer, _ length: Int
    ) -> Int32 {
        var found: UInt64 = 0
        let status = unsafe cshm_map_get(
            pointer, key, UInt64(keyLength), room, UInt64(length), &found)
        if status == 0 { return found == UInt64(length) ? 0 : Answer.damaged }
        return status == Answer.tooLarge ? Answer.damaged : status
    }

    @usableFromInline
    internal func put(
        _ key: UnsafeRawPointer, _ keyLength: Int, _ value: UnsafeRawPointer, _ length: Int
    ) -> Int32 {
        unsafe cshm_map_put(pointer, key, UInt64(keyLength), value, UInt64(length))
    }

    @usableFromInline
    internal func add(
        _ delta: Int, _ key: UnsafeRawPointer?, _ keyLength: Int, sum: inout Int
    ) -> Int32 {
        var before: Int64 = 0
        let status = unsafe cshm_map_fetch_add(
            pointer, key, UInt64(keyLength), Int64(delta), &before)
        sum = Int(before) &+ delta
        return status
    }

    /// A text that is the value of a text.
    @usableFromInline
    internal func text(of key: String) throws -> String? {
        var key = key
        return try key.withUTF8 { key in
            try unsafe withValue(of: UnsafeRawBufferPointer(key)) { try unsafe Text.decode($0) }
        }
    }

    @usableFromInline
    internal func set(_ text: String, of key: String) throws {
        var (text, key) = (text, key)
        try key.withUTF8 { key in
            try text.withUTF8 {
                try unsafe set(UnsafeRawBufferPointer(key), UnsafeRawBufferPointer($0))
            }
        }
    }

    @usableFromInline
    internal static var absent: Int32 { Answer.absent }

    /// Turns a status into an error.
    @usableFromInline
    @inline(never)
    internal func failure(_ status: Int32, _ function: StaticString) -> SharedStateError {
        SharedStateError(status: status, function, "\(type)")
    }

    // MARK: For the other files

    @discardableResult
    internal func confirm(
        _ status: Int32, _ function: StaticString
    ) throws(SharedStateError) -> Int32 {
        guard status < 0 else { return status }
        throw failure(status, function)
    }

    internal var count: Int { Int(unsafe cshm_map_count(pointer)) }

    /// Copies a value out for `body`; `nil` if the key is absent.
    internal func withValue<Result>(
        of key: UnsafeRawBufferPointer, _ body: (UnsafeRawBufferPointer) throws -> Result
    ) throws -> Result? {
        var size = 256
        while true {
            var length: UInt64 = 0
            var status: Int32 = 0
            let result = unsafe try withUnsafeTemporaryAllocation(byteCount: size, alignment: 16) {
                room -> Result? in
                status = unsafe cshm_map_get(
                    pointer, key.baseAddress, UInt64(key.count), room.baseAddress, UInt64(size),
                    &length)
                guard status == 0 else { return nil }
                return try unsafe body(UnsafeRawBufferPointer(rebasing: room[..<Int(length)]))
            }
            if let result { return result }
            switch status {
            case Answer.absent: return nil
            case Answer.tooLarge: size = Int(length)
            default: try confirm(status, "cshm_map_get")
            }
        }
    }

    internal func contains(_ key: UnsafeRawBufferPointer) throws(SharedStateError) -> Bool {
        try unsafe version(of: key) != 0
    }

    /// A number that is another after each change of the key; 0 if it is absent.
    internal func version(of key: UnsafeRawBufferPointer) throws(SharedStateError) -> UInt64 {
        var version: UInt64 = 0
        try unsafe confirm(
            cshm_map_version(pointer, key.baseAddress, UInt64(key.count), &version),
            "cshm_map_version")
        return version
    }

    /// A number that is another after each change of any key.
    internal var changes: UInt64 { unsafe cshm_map_changes(pointer) }

    /// Where those wait who watch.
    internal var place: Reactor.Place {
        unsafe Reactor.Place(.anyone) { waitable in
            var watch = unsafe cshm_map_watch(map: pointer, key: nil, key_length: 0, version: 0)
            unsafe cshm_map_waitable(&watch, waitable)
        }
    }

    internal func set(
        _ key: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer
    ) throws(SharedStateError) {
        try unsafe confirm(
            cshm_map_put(
                pointer, key.baseAddress, UInt64(key.count), value.baseAddress, UInt64(value.count)),
            "cshm_map_put")
    }

    /// Works on one entry under its shard's lock.
    internal func withEntry<Result>(
        of key: UnsafeRawBufferPointer, _ body: (inout MapEntry) throws -> Result
    ) throws -> Result {
        var raw = unsafe cshm_map_entry()
        try unsafe confirm(
            cshm_map_lock(pointer, key.baseAddress, UInt64(key.count), &raw),
            "cshm_map_lock")
        var entry = unsafe MapEntry(core: self, raw: raw)
        defer { unsafe cshm_map_unlock(pointer, &entry.raw) }
        return try body(&entry)
    }

    internal func removeAll() throws(SharedStateError) {
        try unsafe confirm(cshm_map_clear(pointer), "cshm_map_clear")
    }

    /// Has nobody change anything while `body` looks at the bytes of all keys and values.
    internal func withFrozenItems<Result>(_ body: ([MapItem]) throws -> Result) throws -> Result {
        try unsafe confirm(cshm_map_freeze(pointer), "cshm_map_freeze")
        defer { unsafe cshm_map_thaw(pointer) }
        return try body(items(frozen: false))
    }

    /// The bytes of all keys and values: shard by shard, or while nobody changes anything.
    internal func items(frozen: Bool) throws -> [MapItem] {
        if frozen { return try withFrozenItems { $0 } }
        var walk = MapWalk()
        while try unsafe walk.step(pointer, self) {}
        return walk.items
    }
}

/// A key's and a value's bytes, one after the other.
internal struct MapItem {
    internal let bytes: [UInt8]
    internal let keyLength: Int

    internal func withKey<Result>(
        _ body: (UnsafeRawBufferPointer) throws -> Result
    ) rethrows -> Result {
        try unsafe bytes.withUnsafeBytes {
            try unsafe body(UnsafeRawBufferPointer(rebasing: $0[..<keyLength]))
        }
    }

    internal func withValue<Result>(
        _ body: (UnsafeRawBufferPointer) throws -> Result
    ) rethrows -> Result {
        try unsafe bytes.withUnsafeBytes {
            try unsafe body(UnsafeRawBufferPointer(rebasing: $0[keyLength...]))
        }
    }
}

/// A walk over a map; what is seen of a shard counts when the shard has been walked to its end.
@safe
private struct MapWalk {
    private(set) var items: [MapItem] = []
    private var whole = 0
    private var shard: UInt32 = 0
    private var cursor = cshm_map_cursor()
    private var room = [UInt8](repeating: 0, count: 512)

    /// - Returns: Whether there is more.
    mutating func step(_ map: OpaquePointer, _ core: MapCore) throws(SharedStateError) -> Bool {
        var keyLength: UInt64 = 0
        var length: UInt64 = 0
        let status = unsafe cshm_map_next(
            map, &cursor, &room, UInt64(room.count), &keyLength, &length)
        if cursor.shard != shard {
            shard = cursor.shard
            whole = items.count
        }
        switch status {
        case 0:
            items.append(
                MapItem(
                    bytes: Array(room[..<Int(keyLength + length)]), keyLength: Int(keyLength)))
        case Answer.absent: return false
        case Answer.tooLarge: room = [UInt8](repeating: 0, count: Int(keyLength + length))
        case Answer.stale: items.removeSubrange(whole...)
        default: try core.confirm(status, "cshm_map_next")
        }
        return true
    }
}

/// An entry under its shard's lock.
@safe
internal struct MapEntry {
    fileprivate let core: MapCore
    fileprivate var raw: cshm_map_entry

    /// The value's bytes, until it is changed; `nil` if the key is absent.
    internal var bytes: UnsafeRawBufferPointer? {
        guard let start = unsafe raw.value else { return nil }
        return unsafe UnsafeRawBufferPointer(start: start, count: Int(raw.length))
    }

    internal mutating func set(_ value: UnsafeRawBufferPointer) throws(SharedStateError) {
        try unsafe core.confirm(
            cshm_map_entry_set(
                core.pointer, &raw, value.baseAddress, UInt64(value.count)),
            "cshm_map_entry_set")
    }

    internal mutating func remove() {
        unsafe cshm_map_entry_remove(core.pointer, &raw)
    }
}
