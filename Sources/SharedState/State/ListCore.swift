// SPDX-License-Identifier: Apache-2.0

internal import CShm

/// What of an array does not depend on the type of its elements: the view of it that C gives.
@safe
internal final class ListCore: Sendable {
    internal let object: SharedObject
    internal nonisolated(unsafe) let pointer: OpaquePointer
    /// For errors.
    private let type: Any.Type

    internal init(_ object: SharedObject, tag: UInt64, of type: Any.Type) throws(SharedStateError) {
        var opened: OpaquePointer?
        try unsafe check(
            cshm_list_open(object.region.pointer, object.offset, tag, &opened), "cshm_list_open",
            "\(type)")
        unsafe pointer = opened.unsafelyUnwrapped
        self.object = object
        self.type = type
    }

    /// Lays out an empty list, whose elements say what they hold, or not.
    internal static func make(
        named name: String? = nil, tag: UInt64, holds: Bool, in region: Region?
    ) throws(SharedStateError) -> SharedObject {
        let region = try Region.orFamily(region)
        var offset: UInt64 = 0
        let status =
            holds
            ? unsafe cshm_list_create_holding(region.pointer, tag, &offset)
            : unsafe cshm_list_create(region.pointer, tag, &offset)
        try check(status, "cshm_list_create")
        guard let name else {
            let object = SharedObject(region, offset, sent: false)
            if holds { try object.anchor(of: CSHM_KIND_LIST) }
            return object
        }
        return try SharedObject(region, offset, named: name, kind: CSHM_KIND_LIST, tag: tag)
    }

    deinit {
        if object.wasSent {
            unsafe cshm_list_close(pointer)
        } else {
            unsafe cshm_list_destroy(pointer)
        }
    }

    /// Turns a status into an error; that there is no such element is `invalidArgument`.
    @discardableResult
    internal func confirm(
        _ status: Int32, _ function: StaticString
    ) throws(SharedStateError) -> Int32 {
        guard status < 0 else { return status }
        if status == Answer.absent {
            throw SharedStateError(.invalidArgument, "\(type) has no element there [\(function)]")
        }
        throw SharedStateError(status: status, function, "\(type)")
    }

    internal var count: Int { Int(unsafe cshm_list_count(pointer)) }
    internal var changes: UInt64 { unsafe cshm_list_changes(pointer) }

    /// Where those wait who watch.
    internal var place: Reactor.Place {
        unsafe Reactor.Place(.anyone) { waitable in
            var watch = unsafe cshm_list_watch(list: pointer, changes: 0)
            unsafe cshm_list_waitable(&watch, waitable)
        }
    }

    /// Has C copy an element's bytes into enough room, for `body`.
    ///
    /// - Returns: What `body` returns; `nil` if there is no such element.
    internal func withCopy<Result>(
        _ function: StaticString,
        by copy: (UnsafeMutableRawPointer?, UInt64, inout UInt64) -> Int32,
        _ body: (UnsafeRawBufferPointer) throws -> Result
    ) throws -> Result? {
        var size = 256
        while true {
            var length: UInt64 = 0
            var status: Int32 = 0
            let result = unsafe try withUnsafeTemporaryAllocation(byteCount: size, alignment: 16) {
                room -> Result? in
                status = unsafe copy(room.baseAddress, UInt64(size), &length)
                guard status == 0 else { return nil }
                return try unsafe body(UnsafeRawBufferPointer(rebasing: room[..<Int(length)]))
            }
            if let result { return result }
            switch status {
            case Answer.absent: return nil
            case Answer.tooLarge: size = Int(length)
            default: try confirm(status, function)
            }
        }
    }

    /// Elements as they were together at one instant.
    internal func slice<Element>(
        from: Int, count: Int, _ decode: (UnsafeRawBufferPointer) throws -> Element
    ) throws -> [Element] {
        var room: [UInt64] = []
        var copied: UInt64 = 0
        while true {
            var size: UInt64 = 0
            let status = unsafe cshm_list_slice(
                pointer, UInt64(from), UInt64(count), &room, UInt64(room.count * 8), &copied, &size)
            if status != Answer.tooLarge {
                try confirm(status, "cshm_list_slice")
                return try unsafe elements(room, Int(copied), decode)
            }
            room = [UInt64](repeating: 0, count: Int(size / 8) + 8)
        }
    }

    private func elements<Element>(
        _ room: [UInt64], _ count: Int, _ decode: (UnsafeRawBufferPointer) throws -> Element
    ) throws -> [Element] {
        var result: [Element] = []
        result.reserveCapacity(count)
        try unsafe room.withUnsafeBytes { bytes in
            var at = 0
            for _ in 0..<count {
                let length = Int(unsafe bytes.load(fromByteOffset: at, as: UInt64.self))
                result.append(
                    try unsafe decode(
                        UnsafeRawBufferPointer(rebasing: bytes[(at + 8)..<(at + 8 + length)])))
                at += 8 + (length + 7) / 8 * 8
            }
        }
        return result
    }

    /// Puts values in the place of elements, all at once.
    internal func splice(from: Int, count: Int, _ values: [[UInt8]]) throws(SharedStateError) {
        var bytes: [UInt8] = []
        for value in values { bytes.append(contentsOf: value) }
        var at = 0
        let status = unsafe bytes.withUnsafeBytes { bytes in
            let parts = unsafe values.map { value in
                defer { at += value.count }
                return unsafe cshm_list_value(
                    bytes: bytes.baseAddress.map { unsafe $0 + at }, length: UInt64(value.count))
            }
            return unsafe cshm_list_splice(
                pointer, UInt64(from), UInt64(count), parts, UInt64(parts.count))
        }
        try confirm(status, "cshm_list_splice")
    }

    /// Lends an element's bytes while this thread has the lock.
    internal func withPeek<Result>(
        at index: Int, _ body: (UnsafeRawBufferPointer) throws -> Result
    ) throws -> Result {
        var bytes: UnsafeRawPointer?
        var length: UInt64 = 0
        try unsafe confirm(
            cshm_list_peek(pointer, UInt64(index), &bytes, &length), "cshm_list_peek")
        return try unsafe body(UnsafeRawBufferPointer(start: bytes, count: Int(length)))
    }

    /// Has nobody else change it while `body` runs.
    internal func withLock<Result>(_ body: () throws -> Result) throws -> Result {
        try unsafe confirm(cshm_list_lock(pointer), "cshm_list_lock")
        defer { unsafe cshm_list_unlock(pointer) }
        return try body()
    }

    /// As ``withLock(_:)``; also within one of the same thread.
    internal func withLockHeld<Result>(_ body: () throws -> Result) throws -> Result {
        let status = unsafe cshm_list_lock(pointer)
        if status == Answer.deadlock { return try body() }
        try confirm(status, "cshm_list_lock")
        defer { unsafe cshm_list_unlock(pointer) }
        return try body()
    }
}
