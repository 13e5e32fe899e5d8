// SPDX-License-Identifier: Apache-2.0

internal import CShm

/// One value of any type that can cross, which every process of the family reads and changes in place.
///
/// A `SharedValue` is faster where the value is plain bits.
///
/// - Processes, threads: safe. Reads take no lock. Tasks: writes may block the thread.
/// - Death: a writer killed at any instruction has changed it or has not. A *stopped* writer holds up
///   other writers.
public final class ManagedValue<Value: Sendable>: Sendable, Codable {
    internal let core: MapCore
    internal let codec: MessageCodec<Value>

    private init(_ object: SharedObject, _ codec: MessageCodec<Value>) throws(SharedStateError) {
        core = try MapCore(object, tag: Self.tag, of: ManagedValue.self)
        self.codec = codec
    }

    internal static var tag: UInt64 { typeTag(ManagedValue<Value>.self) }

    private convenience init(_ value: Value, named name: String?, in region: Region?) throws {
        let codec = try MessageCodec<Value>()
        let made = try MapCore.make(
            tag: Self.tag, shards: 1, holds: codec.mayNameHandles, in: region)
        try self.init(made, codec)
        try set(value)
        if let name { try made.name(name, kind: CSHM_KIND_MAP, tag: Self.tag) }
    }

    /// Makes a value.
    ///
    /// - Parameters:
    ///   - value: What it is at first.
    ///   - region: Where it lives; `nil` is the family's region.
    /// - Throws: `cannotCross`, `full`, `system`, or what encoding throws.
    public convenience init(_ value: Value, in region: Region? = nil) throws {
        try self.init(value, named: nil, in: region)
    }

    /// Makes a value and gives it a name.
    ///
    /// Any program that opens the region finds it by that. It then
    /// lives as long as its region.
    ///
    /// - Throws: `alreadyExists`, and as ``init(_:in:)``.
    public convenience init(creating name: String, _ value: Value, in region: Region?) throws {
        try self.init(value, named: name, in: region)
    }

    /// Opens the value of that name.
    ///
    /// - Throws: `notFound`, `incompatible` (not a value of that type), `cannotCross`.
    public convenience init(opening name: String, in region: Region?) throws(SharedStateError) {
        let codec = try MessageCodec<Value>()
        try self.init(try SharedObject(opening: name, in: region, kind: CSHM_KIND_MAP), codec)
    }

    /// Opens the value a sent handle names.
    public convenience init(from decoder: any Decoder) throws {
        let place = try ObjectPlace(from: decoder)
        let codec = try MessageCodec<Value>()
        try self.init(SharedObject(arriving: place), codec)
    }

    /// Sends the handle; the value then lives as long as its region, or, if it is sent by queues and
    /// stored in containers only, as long as anybody has it.
    public func encode(to encoder: any Encoder) throws {
        try core.object.place(endedAs: CSHM_KIND_MAP).encode(to: encoder)
    }

    /// The value, copied out without a lock.
    ///
    /// - Throws: `incompatible`, or what decoding throws.
    public var value: Value {
        get throws {
            let value = try HandleEnded.readingAgain {
                try unsafe core.withValue(of: Self.key) { try unsafe codec.decodeStored($0) }
            } locked: {
                try unsafe core.withEntry(of: Self.key) { entry in
                    try unsafe entry.bytes.map { try unsafe codec.decodeStored($0) }
                }
            }
            guard let value else { throw Self.missing }
            return value
        }
    }

    /// Sets the value.
    ///
    /// - Throws: `full`, `incompatible`, or what encoding throws; the value is unchanged then.
    public func set(_ value: Value) throws {
        try unsafe codec.withStored(of: value, in: core.object.region) {
            try unsafe core.set(Self.key, $0)
        }
    }

    /// Sets the value and tells the one before, in one step.
    ///
    /// - Throws: As ``set(_:)``.
    public func exchange(_ value: Value) throws -> Value {
        try update { there in
            defer { there = value }
            return there
        }
    }

    /// Reads, changes and writes the value in one step: no other process comes between.
    ///
    /// - Parameter body: Changes the value. If it throws, nothing changes. It must not change this one
    ///   in another way.
    /// - Returns: What `body` returns.
    /// - Throws: `deadlock` (from within another `update` of this value), `full`, or what `body`,
    ///   encoding or decoding throw.
    @discardableResult
    public func update<Result>(_ body: (inout Value) throws -> Result) throws -> Result {
        try unsafe core.withEntry(of: Self.key) { entry in
            guard let bytes = unsafe entry.bytes else { throw Self.missing }
            var value = try unsafe codec.decodeStored(bytes)
            let result = try body(&value)
            try unsafe codec.withStored(of: value, in: core.object.region) {
                try unsafe entry.set($0)
            }
            return result
        }
    }

    /// The one key.
    private static var key: UnsafeRawBufferPointer {
        unsafe UnsafeRawBufferPointer(start: nil, count: 0)
    }

    private static var missing: SharedStateError {
        SharedStateError(.incompatible, "\(Self.self) has lost its value")
    }
}
