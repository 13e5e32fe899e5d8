// SPDX-License-Identifier: Apache-2.0

internal import CShm
internal import Synchronization

/// An object's place: what is sent when a handle is.
internal struct ObjectPlace: Codable, Hashable, Sendable {
    private let place: RegionPlace
    let offset: UInt64
    /// Of an object that is counted; who stored this holds it.
    let anchor: AnchorPlace?

    init(
        _ region: Region, _ offset: UInt64, _ anchor: cshm_anchor? = nil
    ) throws(SharedStateError) {
        place = try RegionPlace(region)
        self.offset = offset
        self.anchor = anchor.map { AnchorPlace(place: $0.place, generation: $0.generation) }
    }

    func region() throws(SharedStateError) -> Region {
        try place.region()
    }
}

/// An object's anchor, as it is sent.
internal struct AnchorPlace: Codable, Hashable, Sendable {
    let place: UInt64
    let generation: UInt64
}

/// What every handle keeps: the region, the place in it, and whether it was ever sent.
///
/// An object that was never sent is freed with its last handle. One that was only stored in containers, or
/// put into queues, goes with the last of those and of the handles. One that was sent otherwise lives as long
/// as its region.
internal final class SharedObject: Sendable {
    let region: Region
    let offset: UInt64
    private let ownership: Mutex<Ownership>

    init(_ region: Region, _ offset: UInt64, sent: Bool) {
        self.region = region
        self.offset = offset
        ownership = Mutex(sent ? .shared : .own)
        region.addObject()
    }

    /// The object that has arrived.
    ///
    /// - Throws: `HandleEnded`, and as `ObjectPlace.region()`.
    init(arriving place: ObjectPlace) throws {
        region = try place.region()
        offset = place.offset
        if let anchor = place.anchor {
            var counted = cshm_anchor(place: anchor.place, generation: anchor.generation)
            let status = unsafe cshm_anchor_acquire(region.pointer, &counted)
            if status == Answer.absent { throw HandleEnded() }
            try check(status, "cshm_anchor_acquire")
            ownership = Mutex(.counted(counted))
        } else {
            ownership = Mutex(.shared)
        }
        region.addObject()
    }

    deinit {
        if case .counted(var anchor) = ownership.withLock({ $0 }) {
            _ = unsafe cshm_anchor_release(region.pointer, &anchor)
        }
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
        try keep()
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

    /// Whether it does not go with this handle.
    var wasSent: Bool {
        if case .own = ownership.withLock({ $0 }) { false } else { true }
    }

    /// The place to send.
    ///
    /// In what says what it holds, such as a value of a container, the object is counted; sent otherwise it
    /// lives as long as its region from now on.
    ///
    /// - Parameter kind: What ends it: a block, if it has no other blocks.
    /// - Returns: The place.
    /// - Throws: `full`, `system`.
    func place(endedAs kind: cshm_kind = CSHM_KIND_BLOCK) throws(SharedStateError) -> ObjectPlace {
        guard Departure.holds(in: region), let anchor = try anchor(of: kind) else {
            return try keptPlace()
        }
        Departure.hold(anchor, of: self)
        return try ObjectPlace(region, offset, anchor)
    }

    /// The place to send of an object that then lives as long as its region.
    func keptPlace() throws(SharedStateError) -> ObjectPlace {
        try keep()
        return try ObjectPlace(region, offset)
    }

    /// Has the object live as long as its region.
    private func keep() throws(SharedStateError) {
        let status = ownership.withLock { ownership in
            let status =
                switch ownership {
                case .own: unsafe cshm_heap_share(region.pointer, offset)
                case .counted(var anchor): unsafe cshm_anchor_keep(region.pointer, &anchor)
                case .shared: Int32(0)
                }
            // One that is kept is released all the same, which changes nothing.
            if case .own = ownership, status == 0 { ownership = .shared }
            return status
        }
        try check(status, "cshm_heap_share")
    }

    /// Has the object counted, if nobody else has it.
    ///
    /// - Returns: Its anchor; `nil` if it is shared.
    @discardableResult
    func anchor(of kind: cshm_kind) throws(SharedStateError) -> cshm_anchor? {
        var status: Int32 = 0
        let anchor = ownership.withLock { ownership -> cshm_anchor? in
            switch ownership {
            case .shared: return nil
            case .counted(let anchor): return anchor
            case .own:
                var anchor = cshm_anchor()
                status = unsafe cshm_anchor_create(region.pointer, kind, offset, &anchor)
                guard status == 0 else { return nil }
                ownership = .counted(anchor)
                return anchor
            }
        }
        try check(status, "cshm_anchor_create")
        return anchor
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
