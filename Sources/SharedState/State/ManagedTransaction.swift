// SPDX-License-Identifier: Apache-2.0

internal import CShm

extension ManagedDictionary {
    /// Reads, changes and writes several keys, all or none.
    ///
    ///     try accounts.transaction(["ann", "bob"]) { accounts in
    ///         accounts["ann", default: 0] -= 5
    ///         accounts["bob", default: 0] += 5
    ///     }
    ///
    /// Nobody else changes these keys meanwhile. Who reads without a lock may see one of them changed
    /// before another; ``frozen()``, and every change that comes next, finds all of them or none.
    ///
    /// - Parameters:
    ///   - keys: The keys that `body` may change, at most 1024 and no two equal; they need not be there.
    ///   - body: Is given those that are there, and leaves what they are to be. What it does not change
    ///     stays. If it throws, nothing changes. It must not change this dictionary in another way.
    /// - Returns: What `body` returns.
    /// - Throws: `invalidArgument` (too many keys, or two that are equal, before `body` is run; `body`
    ///   left a key that is none of `keys`), `deadlock` (from within an `update` of this dictionary), `full`, `incompatible`, or
    ///   what `body`, encoding or decoding throw; the dictionary is unchanged then.
    ///
    /// If this process is killed meanwhile, whoever needs one of the keys next finishes what it had
    /// committed, and forgets what it had not.
    @discardableResult
    public func transaction<Result>(
        _ keys: some Collection<Key>, _ body: (inout [Key: Value]) throws -> Result
    ) throws -> Result {
        try Self.checkKeys(keys)
        var pack = BytePack()
        for key in keys { pack.append(try keyCodec.bytes(of: key)) }
        return try unsafe pack.withParts { parts in
            var transaction = try unsafe MapTransaction(core, keys: parts)
            defer { transaction.abandon() }
            let before = try values(in: transaction, keys)
            var after = before
            let result = try body(&after)
            try commit(&transaction, keys, after)
            return result
        }
    }

    /// Keys that are equal here may have other bytes, and so be two keys of the dictionary; `body` could
    /// not tell them apart.
    private static func checkKeys(_ keys: some Collection<Key>) throws(SharedStateError) {
        guard keys.count <= MapTransaction.keysMax else {
            throw SharedStateError(
                .invalidArgument,
                "a transaction has at most \(MapTransaction.keysMax) keys, not \(keys.count)")
        }
        var places: [Key: Int] = [:]
        for (index, key) in keys.enumerated() {
            if let first = places.updateValue(index, forKey: key) {
                throw SharedStateError(
                    .invalidArgument,
                    "keys \(first) and \(index) of a transaction are equal; give each key once")
            }
        }
    }

    private func values(
        in transaction: borrowing MapTransaction, _ keys: some Collection<Key>
    ) throws -> [Key: Value] {
        var values: [Key: Value] = [:]
        for (index, key) in keys.enumerated() {
            guard let bytes = unsafe transaction.bytes(index) else { continue }
            values[key] = try unsafe valueCodec.decodeStored(bytes)
        }
        return values
    }

    private func commit(
        _ transaction: inout MapTransaction, _ keys: some Collection<Key>, _ values: [Key: Value]
    ) throws {
        guard values.count == keys.count(where: { values[$0] != nil }) else {
            throw SharedStateError(
                .invalidArgument, "a transaction changes the keys that it was given, and no other")
        }
        var pack = BytePack()
        var changes: [StoredElement] = []
        for key in keys {
            guard let value = values[key] else {
                pack.append([])
                continue
            }
            let stored = try valueCodec.stored(value, in: core.object.region)
            unsafe stored.bytes.withUnsafeBytes { unsafe pack.append($0) }
            changes.append(stored)
        }
        try unsafe pack.withParts { parts in
            for (index, key) in keys.enumerated() {
                unsafe transaction.set(index, values[key] == nil ? nil : parts[index])
            }
            try transaction.commit()
        }
        for change in changes { change.isStored() }
    }
}

/// Some sequences of bytes, one behind the other.
private struct BytePack {
    private var bytes: [UInt8] = []
    private var ends: [Int] = []

    mutating func append(_ part: [UInt8]) {
        bytes += part
        ends.append(bytes.count)
    }

    mutating func append(_ part: UnsafeRawBufferPointer) {
        unsafe bytes.append(contentsOf: part)
        ends.append(bytes.count)
    }

    func withParts<Result>(
        _ body: ([UnsafeRawBufferPointer]) throws -> Result
    ) rethrows -> Result {
        try unsafe bytes.withUnsafeBytes { all in
            var start = 0
            let parts = unsafe ends.map { end in
                defer { start = end }
                return unsafe UnsafeRawBufferPointer(rebasing: all[start..<end])
            }
            return try unsafe body(parts)
        }
    }
}

/// Keys under their shards' locks, until it is committed or abandoned.
@safe
internal struct MapTransaction: ~Copyable {
    static let keysMax = 1024

    private let core: MapCore
    private var steps: [cshm_map_step]
    private var isOpen = true

    /// The keys' bytes are not copied.
    init(_ core: MapCore, keys: [UnsafeRawBufferPointer]) throws(SharedStateError) {
        self.core = core
        unsafe steps = keys.map { key in
            var step = unsafe cshm_map_step()
            unsafe step.key = key.baseAddress
            unsafe step.key_length = UInt64(key.count)
            return unsafe step
        }
        guard unsafe !keys.isEmpty else {
            isOpen = false
            return
        }
        try unsafe core.confirm(
            cshm_map_begin(core.pointer, &steps, UInt32(clamping: steps.count)), "cshm_map_begin")
    }

    /// The value's bytes; `nil` if the key is absent.
    func bytes(_ index: Int) -> UnsafeRawBufferPointer? {
        guard let start = unsafe steps[index].value else { return nil }
        return unsafe UnsafeRawBufferPointer(start: start, count: Int(steps[index].length))
    }

    /// Says what a key is to be, if that is not what it is; `nil` removes it.
    mutating func set(_ index: Int, _ value: UnsafeRawBufferPointer?) {
        guard let value = unsafe value else {
            return unsafe steps[index].action = CSHM_MAP_REMOVE
        }
        if let there = unsafe bytes(index), unsafe there.elementsEqual(value) { return }
        unsafe steps[index].action = CSHM_MAP_SET
        unsafe steps[index].new_value = value.baseAddress
        unsafe steps[index].new_length = UInt64(value.count)
    }

    mutating func commit() throws(SharedStateError) {
        guard isOpen else { return }
        isOpen = false
        try unsafe core.confirm(
            cshm_map_commit(core.pointer, &steps, UInt32(steps.count)), "cshm_map_commit")
    }

    mutating func abandon() {
        guard isOpen else { return }
        isOpen = false
        unsafe cshm_map_abandon(core.pointer, &steps, UInt32(steps.count))
    }
}
