// SPDX-License-Identifier: Apache-2.0

internal import CShm
internal import Synchronization

/// An object's place: what is sent when a handle is.
internal struct ObjectPlace: Codable, Hashable, Sendable {
    private let place: RegionPlace
    let offset: UInt64

    init(_ region: Region, _ offset: UInt64) throws(SharedStateError) {
        place = try RegionPlace(region)
        self.offset = offset
    }

    func region() throws(SharedStateError) -> Region {
        try place.region()
    }
}

/// What every handle keeps: the region, the place in it, and whether it was ever sent.
///
/// An object
/// that was never sent is freed with its last handle; one that was lives as long as its region.
internal final class SharedObject: Sendable {
    let region: Region
    let offset: UInt64
    private let sent: Atomic<Bool>

    init(_ region: Region, _ offset: UInt64, sent: Bool) {
        self.region = region
        self.offset = offset
        self.sent = Atomic(sent)
        region.addObject()
    }

    deinit {
        region.removeObject()
    }

    /// Gives a new object its name; it then lives as long as its region.
    convenience init(
        _ region: Region, _ offset: UInt64, named name: String, kind: cshm_kind, tag: UInt64
    ) throws(SharedStateError) {
        do {
            try unsafe check(
                cshm_directory_add(region.pointer, name, kind.rawValue, tag, offset),
                "cshm_directory_add", name)
        } catch {
            _ = unsafe cshm_heap_free(region.pointer, offset)
            throw error
        }
        self.init(region, offset, sent: true)
    }

    /// Gives an object that was never sent a name; it then lives as long as its region.
    func name(_ name: String, kind: cshm_kind, tag: UInt64) throws(SharedStateError) {
        try unsafe check(
            cshm_directory_add(region.pointer, name, kind.rawValue, tag, offset),
            "cshm_directory_add", name)
        sent.store(true, ordering: .releasing)
    }

    /// Finds the object of a name; whoever opens it checks its type.
    convenience init(
        opening name: String, in region: Region?, kind: cshm_kind
    ) throws(SharedStateError) {
        let region = try Region.orFamily(region)
        var entry = cshm_directory_entry()
        try unsafe check(
            cshm_directory_find(region.pointer, name, &entry), "cshm_directory_find", name)
        try kind.check(entry, named: name)
        self.init(region, entry.offset, sent: true)
    }

    var wasSent: Bool { sent.load(ordering: .acquiring) }

    /// The place to send; from now on the object outlives this process.
    func place() throws(SharedStateError) -> ObjectPlace {
        if !sent.exchange(true, ordering: .acquiringAndReleasing) {
            try unsafe check(cshm_heap_share(region.pointer, offset), "cshm_heap_share")
        }
        return try ObjectPlace(region, offset)
    }

    /// The address of the object's first `size` bytes.
    func address(size: Int) throws(SharedStateError) -> UnsafeMutableRawPointer {
        guard
            let address = unsafe cshm_heap_pointer(region.pointer, offset, UInt64(size))
        else {
            throw SharedStateError(.incompatible, "no object of that size at the handle's place")
        }
        return unsafe address
    }

    /// Allocates `size` zeroed bytes.
    static func allocate(
        _ size: Int, in region: Region?
    ) throws(SharedStateError) -> SharedObject {
        let region = try Region.orFamily(region)
        var offset: UInt64 = 0
        try unsafe check(
            cshm_heap_allocate(region.pointer, UInt64(size), &offset), "cshm_heap_allocate")
        let object = SharedObject(region, offset, sent: false)
        unsafe try object.address(size: size).initializeMemory(
            as: UInt8.self, repeating: 0, count: size)
        return object
    }

    /// Allocates `size` zeroed bytes, makes an object of them, and gives it a name, if it is to have
    /// one.
    static func make(
        _ size: Int, in region: Region?, named name: String? = nil, kind: cshm_kind,
        tag: UInt64 = 0,
        _ initialize: (UnsafeMutableRawPointer) -> Void
    ) throws(SharedStateError) -> SharedObject {
        let object = try allocate(size, in: region)
        unsafe initialize(try object.address(size: size))
        guard let name else { return object }
        return try SharedObject(object.region, object.offset, named: name, kind: kind, tag: tag)
    }

    /// Frees the object, if nobody else can have it.
    func freeUnlessSent() {
        if !wasSent { _ = unsafe cshm_heap_free(region.pointer, offset) }
    }
}
