// SPDX-License-Identifier: Apache-2.0

extension ManagedDictionary {
    /// Everything in it, copied out without a lock.
    ///
    /// It is weakly consistent: what stays throughout is in it; what others change meanwhile is in it
    /// as it was before or after. ``frozen()`` is of one instant.
    ///
    /// - Throws: `incompatible`, or what decoding throws.
    public func snapshot() throws -> [Key: Value] {
        try HandleEnded.readingAgain {
            try dictionary(core.items(frozen: false))
        } locked: {
            try frozen()
        }
    }

    /// Everything in it, as it was at one instant: writers wait while its bytes are copied.
    ///
    /// - Throws: As ``snapshot()``, and `deadlock` from within an `update` of this dictionary.
    public func frozen() throws -> [Key: Value] {
        try core.withFrozenItems { try dictionary($0) }
    }

    private func dictionary(_ items: [MapItem]) throws -> [Key: Value] {
        var result: [Key: Value] = [:]
        result.reserveCapacity(items.count)
        for item in items {
            let key = try unsafe item.withKey { try unsafe keyCodec.decode($0) }
            result[key] = try unsafe item.withValue { try unsafe valueCodec.decodeStored($0) }
        }
        return result
    }

    /// The keys, as ``snapshot()``.
    public var keys: [Key] {
        get throws {
            try core.items(frozen: false).map {
                try unsafe $0.withKey { try unsafe keyCodec.decode($0) }
            }
        }
    }

    /// The values, as ``snapshot()``.
    public var values: [Value] {
        get throws {
            try HandleEnded.readingAgain {
                try values(core.items(frozen: false))
            } locked: {
                try core.withFrozenItems { try values($0) }
            }
        }
    }

    private func values(_ items: [MapItem]) throws -> [Value] {
        try items.map { try unsafe $0.withValue { try unsafe valueCodec.decodeStored($0) } }
    }

    /// Sets the values of several keys, one after the other.
    ///
    /// - Parameters:
    ///   - other: Keys and values.
    ///   - combine: What a key gets that is there; it is given the value there and the new one.
    /// - Throws: As ``set(_:forKey:)``, or what `combine` throws; those before are set then.
    public func merge(
        _ other: some Sequence<(Key, Value)>,
        uniquingKeysWith combine: (Value, Value) throws -> Value = { _, new in new }
    ) throws {
        for (key, value) in other {
            try update(key) { there in
                there = try there.map { try combine($0, value) } ?? value
            }
        }
    }

    /// Sets the values of several keys, one after the other.
    ///
    /// - Parameters:
    ///   - other: Keys and values.
    ///   - combine: What a key gets that is there; it is given the value there and the new one.
    /// - Throws: As ``merge(_:uniquingKeysWith:)``.
    public func merge(
        _ other: [Key: Value],
        uniquingKeysWith combine: (Value, Value) throws -> Value = { _, new in new }
    ) throws {
        try merge(other.lazy.map { ($0.key, $0.value) }, uniquingKeysWith: combine)
    }

    /// Another dictionary of the same content, in the same region.
    ///
    /// - Throws: `full`, and as ``snapshot()``.
    public func copy() throws -> ManagedDictionary {
        let copy = try ManagedDictionary(in: core.object.region)
        if valueCodec.mayNameHandles {
            for (key, value) in try snapshot() { try copy.set(value, forKey: key) }
            return copy
        }
        for item in try core.items(frozen: false) {
            try unsafe item.withKey { key in
                try unsafe item.withValue { try unsafe copy.core.set(key, $0) }
            }
        }
        return copy
    }
}
