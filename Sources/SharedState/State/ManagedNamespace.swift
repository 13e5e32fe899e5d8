// SPDX-License-Identifier: Apache-2.0

/// The properties of a type of one's own, shared by every process of the family.
///
/// A property is read by its name and written by ``set(_:_:)``, as writing may throw:
///
///     struct Settings: Codable { var width = 80, title = "" }
///     let settings = try ManagedNamespace(Settings())
///     try settings.set(\.width, 120)
///     print(try settings.width)
///
/// It is one value: ``value`` has all properties as they were together, and ``update(_:)`` changes
/// several in one step.
///
/// - Processes, threads: safe. Reads take no lock. Tasks: writes may block the thread.
/// - Death: a writer killed at any instruction has changed its properties or has not.
@dynamicMemberLookup
public final class ManagedNamespace<Properties: Sendable>: Sendable, Codable {
    internal let properties: ManagedValue<Properties>

    internal init(_ properties: ManagedValue<Properties>) {
        self.properties = properties
    }

    /// Makes a namespace.
    ///
    /// - Parameters:
    ///   - value: What the properties are at first.
    ///   - region: Where it lives; `nil` is the family's region.
    /// - Throws: `cannotCross`, `full`, `system`, or what encoding throws.
    public init(_ value: Properties, in region: Region? = nil) throws {
        properties = try ManagedValue(value, in: region)
    }

    /// Opens the namespace a sent handle names.
    public init(from decoder: any Decoder) throws {
        properties = try ManagedValue(from: decoder)
    }

    /// Sends the handle; the namespace then lives as long as its region, or, if it is sent by queues and
    /// stored in containers only, as long as anybody has it.
    public func encode(to encoder: any Encoder) throws {
        try properties.encode(to: encoder)
    }

    /// A property.
    ///
    /// - Throws: `incompatible`, or what decoding throws.
    public subscript<Property>(dynamicMember path: KeyPath<Properties, Property>) -> Property {
        get throws { try properties.value[keyPath: path] }
    }

    /// All properties, as they were together at one instant.
    ///
    /// - Throws: `incompatible`, or what decoding throws.
    public var value: Properties { get throws { try properties.value } }

    /// Sets a property.
    ///
    /// - Throws: `full`, `incompatible`, or what encoding throws; it is unchanged then.
    public func set<Property>(
        _ path: WritableKeyPath<Properties, Property>, _ value: Property
    ) throws {
        try properties.update { $0[keyPath: path] = value }
    }

    /// Reads, changes and writes properties in one step: no other process comes between.
    ///
    /// - Returns: What `body` returns.
    /// - Throws: As `ManagedValue.update(_:)`.
    @discardableResult
    public func update<Result>(_ body: (inout Properties) throws -> Result) throws -> Result {
        try properties.update(body)
    }
}
