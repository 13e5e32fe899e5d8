// SPDX-License-Identifier: Apache-2.0

extension ManagedDictionary {
    /// Makes a dictionary with the content of one of Swift's.
    ///
    /// - Parameters:
    ///   - items: What is in it at first.
    ///   - region: Where it lives; `nil` is the family's region.
    /// - Throws: As ``init(in:)``, or what encoding throws.
    public convenience init(_ items: [Key: Value], in region: Region? = nil) throws {
        try self.init(in: region)
        try merge(items)
    }

    /// Makes a dictionary with keys and values.
    ///
    /// - Parameters:
    ///   - items: What is in it at first.
    ///   - region: Where it lives; `nil` is the family's region.
    ///   - combine: What a key gets that comes again; it is given the value before and the new one.
    /// - Throws: As ``init(in:)``, or what `combine` or encoding throw.
    public convenience init(
        _ items: some Sequence<(Key, Value)>, in region: Region? = nil,
        uniquingKeysWith combine: (Value, Value) throws -> Value = { _, new in new }
    ) throws {
        try self.init(in: region)
        try merge(items, uniquingKeysWith: combine)
    }

    /// Its content and that of another, as a dictionary of this process.
    ///
    /// - Parameters:
    ///   - other: Keys and values.
    ///   - combine: What a key gets that is in both; it is given the value here and the other's.
    /// - Returns: Both.
    /// - Throws: As ``snapshot()``, or what `combine` throws.
    public func merging(
        _ other: [Key: Value],
        uniquingKeysWith combine: (Value, Value) throws -> Value = { _, new in new }
    ) throws -> [Key: Value] {
        try snapshot().merging(other, uniquingKeysWith: combine)
    }

    /// Its content and other keys and values, as a dictionary of this process.
    ///
    /// - Parameters:
    ///   - other: Keys and values.
    ///   - combine: What a key gets that is there; it is given the value there and the new one.
    /// - Returns: Both.
    /// - Throws: As ``snapshot()``, or what `combine` throws.
    public func merging(
        _ other: some Sequence<(Key, Value)>,
        uniquingKeysWith combine: (Value, Value) throws -> Value = { _, new in new }
    ) throws -> [Key: Value] {
        try snapshot().merging(other, uniquingKeysWith: combine)
    }
}
