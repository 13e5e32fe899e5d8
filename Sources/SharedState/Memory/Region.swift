// SPDX-License-Identifier: Apache-2.0

internal import CShm
internal import Glibc
internal import Synchronization

/// A shared-memory region: one mapping in which queues, locks, values and dictionaries live.
///
/// Most programs never name one: stand-alone objects live in the *family* region, made on first
/// use and inherited by every worker. What Python calls `SharedMemory` is a named region with a
/// ``SharedArray`` of bytes in it.
///
/// - Processes: a named region is found by any program of the same user, C included; ``ReadOnlyRegion``
///   looks into one without joining it. Send it like any value: an anonymous one crosses to who has
///   it open, and through a ``SharedPipe``.
/// - Threads, tasks: safe.
/// - Death: an anonymous region ends with the last process of the family. A named one stays until
///   ``remove(_:)``: neither the end of who made it, in whatever way, nor that of who opened it takes it
///   away. See `cshm/region.h`.
@safe
public final class Region: Sendable, Codable {
    private nonisolated(unsafe) let mapping: OpaquePointer
    /// The name it was made or opened under; `nil` for an anonymous region.
    public let name: String?
    package let identity: RegionIdentity
    /// Objects of this process in it.
    private let objects = Atomic(0)
    private let isClosed = Atomic(false)

    private init(_ pointer: OpaquePointer, name: String?) {
        unsafe mapping = pointer
        self.name = name
        self.identity = unsafe RegionIdentity(pointer)
    }

    /// Makes an anonymous region.
    ///
    /// - Parameter capacity: Bytes it may grow to, 1 MiB to 1 TiB; `nil` takes half of the memory.
    ///   Memory is committed only as it is used.
    /// - Throws: `invalidArgument`, `full`, `system`.
    public convenience init(capacity: Int? = nil) throws(SharedStateError) {
        var made: OpaquePointer?
        var options = try Region.options(capacity)
        try unsafe check(cshm_region_create(&options, &made), "cshm_region_create")
        unsafe self.init(unsafe made.unsafelyUnwrapped, name: nil)
        RegionTable.register(self)
    }

    /// Makes a named region, complete before anybody can see it.
    ///
    /// - Parameters:
    ///   - name: 1 to 200 bytes without `/`, not starting with a dot.
    ///   - capacity: As ``init(capacity:)``.
    /// - Throws: `alreadyExists`, `invalidArgument`, `full`, `system`.
    public convenience init(creating name: String, capacity: Int? = nil) throws(SharedStateError) {
        var made: OpaquePointer?
        var options = try Region.options(capacity)
        try unsafe check(
            cshm_region_create_named(name, &options, &made), "cshm_region_create_named", name)
        unsafe self.init(unsafe made.unsafelyUnwrapped, name: name)
        RegionTable.register(self)
    }

    /// Opens the region of that name.
    ///
    /// - Throws: `notFound`, `incompatible` (another build's layout, or damaged), `tooManyUsers`,
    ///   `invalidArgument`, `system`.
    public convenience init(opening name: String) throws(SharedStateError) {
        var made: OpaquePointer?
        try unsafe check(cshm_region_open(name, &made), "cshm_region_open", name)
        unsafe self.init(unsafe made.unsafelyUnwrapped, name: name)
        RegionTable.register(self)
    }

    /// Joins the family's region, whose mapping or descriptor was inherited.
    internal convenience init(joining pointer: OpaquePointer) throws(SharedStateError) {
        try unsafe check(cshm_region_join(pointer), "cshm_region_join")
        unsafe self.init(pointer, name: nil)
        RegionTable.register(self)
    }

    /// Opens an anonymous region, a descriptor of which has arrived.
    internal convenience init(attaching descriptor: Int32) throws(SharedStateError) {
        var made: OpaquePointer?
        try unsafe check(cshm_region_attach(descriptor, &made), "cshm_region_attach")
        unsafe self.init(unsafe made.unsafelyUnwrapped, name: nil)
        RegionTable.register(self)
    }

    /// The region a sent handle names: the one that is open here, or else it is opened.
    ///
    /// - Throws: `notFound` (its name was taken away, or is another's by now; or it has none, and did
    ///   not come through a ``SharedPipe``), and as ``init(opening:)``.
    public convenience init(from decoder: any Decoder) throws {
        let place = try RegionPlace(from: decoder)
        self.init(existing: try place.region())
    }

    /// Sends the region: its identity, and its name or descriptor.
    public func encode(to encoder: any Encoder) throws {
        try RegionPlace(self).encode(to: encoder)
    }

    /// For C, as long as it is open.
    internal var pointer: OpaquePointer {
        precondition(!isClosed.load(ordering: .acquiring), "the region was closed")
        return unsafe mapping
    }

    /// To be sent to who does not find the region otherwise.
    internal var descriptor: Int32 { unsafe cshm_region_descriptor(pointer) }

    /// Whether others find it by its name, or have it because they belong to the family.
    internal var isFound: Bool {
        get throws(SharedStateError) {
            if name != nil { return true }
            return try FamilyRegion.shared() === self
        }
    }

    deinit {
        if !isClosed.load(ordering: .acquiring) { unsafe cshm_region_close(mapping) }
    }

    /// Leaves the region and unmaps it, now and not when the last reference goes.
    ///
    /// Afterwards nothing can be made or opened in it (`closed`), and its own properties stop the
    /// program. Nobody may use it meanwhile. Idempotent.
    ///
    /// - Throws: `inUse` (queues, locks and the like of this process are in it: let go of those first;
    ///   or a thread holds a mutex of it: release that first), `invalidArgument` (it is the family's).
    ///   It is then as it was.
    public func close() throws(SharedStateError) {
        if isClosed.load(ordering: .acquiring) { return }
        if FamilyRegion.isShared(self) {
            throw SharedStateError(
                .invalidArgument, "the family's region stays open as long as its processes")
        }
        let count = objects.load(ordering: .acquiring)
        guard count == 0 else {
            throw SharedStateError(
                .inUse, "\(count) objects of this process are in the region; let go of them first",
                errno: EBUSY)
        }
        // Of several threads one closes it.
        if isClosed.exchange(true, ordering: .acquiringAndReleasing) { return }
        let status = unsafe cshm_region_close(mapping)
        guard status == 0 else {
            isClosed.store(false, ordering: .releasing)
            throw SharedStateError(
                .inUse, "a thread holds a mutex of the region; release it first", errno: -status)
        }
        RegionTable.forget(self)
    }

    /// One more object of this process is in it; one fewer.
    internal func addObject() { objects.add(1, ordering: .relaxed) }
    internal func removeObject() { objects.subtract(1, ordering: .releasing) }

    /// Takes a region's name away; those who have it open keep it.
    ///
    /// - Throws: `notFound`, `invalidArgument`, `system` (the file of that name is no region).
    public static func remove(_ name: String) throws(SharedStateError) {
        unsafe try check(cshm_region_remove(name), "cshm_region_remove", name)
    }

    /// The names of this user's regions.
    ///
    /// - Throws: `system`.
    public static func list() throws(SharedStateError) -> [String] {
        var names: [String] = []
        let status = unsafe withUnsafeMutablePointer(to: &names) { names in
            unsafe cshm_region_list(
                { name, context in
                    guard let name = unsafe name, let context = unsafe context else { return }
                    let list = unsafe context.assumingMemoryBound(to: [String].self)
                    unsafe list.pointee.append(String(cString: name))
                }, names)
        }
        try check(status, "cshm_region_list")
        return names
    }

    /// Takes an object's name away; those who have the object open keep it.
    ///
    /// - Throws: `notFound`, `invalidArgument`.
    public func removeName(_ name: String) throws(SharedStateError) {
        try unsafe check(
            cshm_directory_remove(pointer, name, nil), "cshm_directory_remove", name)
    }

    /// The names of the objects in it.
    ///
    /// - Throws: `incompatible` (damaged bytes).
    public func names() throws(SharedStateError) -> [String] {
        unsafe try Self.names(in: pointer)
    }

    internal static func names(in pointer: OpaquePointer) throws(SharedStateError) -> [String] {
        var names: [String] = []
        let status = unsafe withUnsafeMutablePointer(to: &names) { names in
            unsafe cshm_directory_list(
                pointer,
                { entry, context in
                    guard let entry = unsafe entry, let context = unsafe context else { return }
                    let list = unsafe context.assumingMemoryBound(to: [String].self)
                    unsafe list.pointee.append(
                        withUnsafeBytes(of: entry.pointee.name) {
                            unsafe String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
                        })
                }, names)
        }
        try check(status, "cshm_directory_list")
        return names
    }

    /// Bytes committed so far, whether in use or free.
    public var committedBytes: Int {
        var info = cshm_region_info()
        unsafe cshm_region_describe(pointer, &info)
        return Int(info.committed)
    }

    /// Bytes it may grow to.
    public var capacity: Int {
        var info = cshm_region_info()
        unsafe cshm_region_describe(pointer, &info)
        return Int(info.capacity)
    }

    /// Takes back what dead processes owned.
    ///
    /// - Returns: How many dead processes were found.
    @discardableResult
    public func reap() -> Int {
        Int(max(0, unsafe cshm_region_reap(pointer)))
    }

    /// What names this process among those that are attached to the region, for ever.
    package var participant: UInt64 { unsafe cshm_participant_self(pointer) }

    /// Whether the process of that name is dead, or has left: certainly so, or it may be alive.
    package func isGone(_ participant: UInt64) -> Bool {
        unsafe cshm_participant_is_gone(pointer, participant) == 1
    }

    /// The region asked for, or the family's.
    package static func orFamily(_ region: Region?) throws(SharedStateError) -> Region {
        guard let region else { return try FamilyRegion.shared() }
        guard !region.isClosed.load(ordering: .acquiring) else {
            throw SharedStateError(.closed, "the region was closed; open it again")
        }
        return region
    }

    private static func options(_ capacity: Int?) throws(SharedStateError) -> cshm_region_options {
        guard (capacity ?? 1) > 0 else {
            throw SharedStateError(
                .invalidArgument, "a region's capacity is 1 MiB to 1 TiB, not \(capacity ?? 0)")
        }
        return cshm_region_options(capacity: UInt64(capacity ?? 0))
    }
}

/// The identity of one incarnation of a region, carried by every handle that is sent.
package struct RegionIdentity: Hashable, Sendable {
    let high: UInt64
    let low: UInt64

    init(high: UInt64, low: UInt64) {
        self.high = high
        self.low = low
    }

    init(_ pointer: OpaquePointer) {
        var info = cshm_region_info()
        unsafe cshm_region_describe(pointer, &info)
        let words = unsafe unsafeBitCast(info.uuid, to: (UInt64, UInt64).self)
        self.init(high: words.0, low: words.1)
    }
}

/// A class whose initialiser may answer with an object that is there already.
internal protocol Existing {}

extension Existing {
    init(existing: Self) { self = existing }
}

extension Region: Existing {}

/// What is sent when a region is.
internal struct RegionPlace: Codable, Hashable, Sendable {
    private let high: UInt64
    private let low: UInt64
    private let name: String?
    /// The region's own descriptor, if it is needed to find it and can be sent along.
    private let descriptor: Baggage.Claim?

    init(_ region: Region) throws(SharedStateError) {
        high = region.identity.high
        low = region.identity.low
        name = region.name
        descriptor = try region.isFound ? nil : Baggage.add(region.descriptor)
    }

    func region() throws(SharedStateError) -> Region {
        let identity = RegionIdentity(high: high, low: low)
        if let region = try RegionTable.find(identity) { return region }
        if let name { return try Self.open(name, identity) }
        guard let descriptor, let number = try Baggage.take(descriptor) else {
            throw SharedStateError(
                .notFound,
                "the handle belongs to a region this process has not opened; open it first, or send "
                    + "the handle through a SharedPipe")
        }
        defer { Glibc.close(number) }
        return try Region(attaching: number)
    }

    private static func open(
        _ name: String, _ identity: RegionIdentity
    ) throws(SharedStateError) -> Region {
        let region = try Region(opening: name)
        guard region.identity == identity else {
            throw SharedStateError(
                .notFound,
                "the handle's region \(name) was removed, and another one has its name now")
        }
        return region
    }
}

/// The regions this process has open, so that a handle that arrives finds its own.
internal enum RegionTable {
    private struct Entry {
        weak var region: Region?
    }
    private static let open = Mutex<[RegionIdentity: Entry]>([:])

    static func register(_ region: Region) {
        open.withLock { $0[region.identity] = Entry(region: region) }
    }

    static func forget(_ region: Region) {
        open.withLock { open in
            if open[region.identity]?.region === region { open[region.identity] = nil }
        }
    }

    static func find(_ identity: RegionIdentity) throws(SharedStateError) -> Region? {
        if let region = open.withLock({ $0[identity]?.region }) { return region }
        let family = try FamilyRegion.shared()
        return family.identity == identity ? family : nil
    }
}
