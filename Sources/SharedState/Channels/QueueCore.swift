// SPDX-License-Identifier: Apache-2.0

internal import CShm

/// What of a queue does not depend on the type of its elements: the view of it that C gives, and
/// its calls on raw memory.
///
/// The generic parts of ``Queue`` are inlined into the caller's module; these are not.
@safe
@usableFromInline
internal final class QueueCore: Sendable {
    internal let object: SharedObject
    internal nonisolated(unsafe) let pointer: OpaquePointer
    /// What the elements are, if that is not told by their Swift type.
    internal let customTag: UInt64?
    /// For errors.
    private let elementType: Any.Type

    internal init(
        _ object: SharedObject, customTag: UInt64?, elementType: Any.Type
    ) throws(SharedStateError) {
        var opened: OpaquePointer?
        try unsafe check(
            cshm_queue_open(
                object.region.pointer, object.offset, customTag ?? typeTag(elementType), &opened),
            "cshm_queue_open", "Queue<\(elementType)>")
        unsafe pointer = opened.unsafelyUnwrapped
        self.object = object
        self.customTag = customTag
        self.elementType = elementType
    }

    deinit {
        if object.wasSent {
            unsafe cshm_queue_close(pointer)
        } else {
            unsafe cshm_queue_destroy(pointer)
        }
    }

    // MARK: What the inlined code calls

    @usableFromInline
    internal func put(_ bytes: UnsafeRawPointer, _ length: Int, until deadline: Int64) -> Int32 {
        unsafe cshm_queue_put_until(pointer, bytes, UInt64(length), deadline)
    }

    @usableFromInline
    internal func tryPut(_ bytes: UnsafeRawPointer, _ length: Int) -> Int32 {
        unsafe cshm_queue_try_put(pointer, bytes, UInt64(length))
    }

    @usableFromInline
    internal func get(
        into room: UnsafeMutableRawPointer, _ length: Int, until deadline: Int64
    ) -> Int32 {
        var message = unsafe cshm_message()
        let status = unsafe cshm_queue_take_until(pointer, &message, deadline)
        return unsafe status == 0 ? copyOut(&message, into: room, length) : status
    }

    @usableFromInline
    internal func tryGet(into room: UnsafeMutableRawPointer, _ length: Int) -> Int32 {
        var message = unsafe cshm_message()
        let status = unsafe cshm_queue_try_take(pointer, &message)
        return unsafe status == 0 ? copyOut(&message, into: room, length) : status
    }

    @usableFromInline
    internal static var wouldWait: Int32 { Answer.wouldWait }

    @usableFromInline
    internal static func deadline(_ timeout: Duration) -> Int64 {
        SharedState.deadline(after: timeout)
    }

    /// Turns a status into an error.
    @usableFromInline
    @inline(never)
    internal func failure(_ status: Int32, _ function: StaticString) -> SharedStateError {
        SharedStateError(status: status, function, "Queue<\(elementType)>")
    }

    // MARK: For the other files

    /// Puts the bytes of a stored element, which hold something or not.
    internal func put(
        _ bytes: UnsafeRawBufferPointer, holds: Bool, until deadline: Int64
    ) -> Int32 {
        let (start, count) = (bytes.baseAddress, UInt64(bytes.count))
        return holds
            ? unsafe cshm_queue_put_holding_until(pointer, start, count, deadline)
            : unsafe cshm_queue_put_until(pointer, start, count, deadline)
    }

    /// As ``put(_:holds:until:)``, without waiting.
    internal func tryPut(_ bytes: UnsafeRawBufferPointer, holds: Bool) -> Int32 {
        let (start, count) = (bytes.baseAddress, UInt64(bytes.count))
        return holds
            ? unsafe cshm_queue_try_put_holding(pointer, start, count)
            : unsafe cshm_queue_try_put(pointer, start, count)
    }

    /// Copies elements of `length` bytes out and releases them.
    @inline(__always)
    private func copyOut(
        _ message: inout cshm_message, into room: UnsafeMutableRawPointer, _ length: Int
    ) -> Int32 {
        let fits = unsafe message.length == UInt64(length)
        if fits {
            unsafe room.copyMemory(from: message.data, byteCount: length)
        }
        unsafe cshm_queue_release(pointer, &message)
        return fits ? 0 : Answer.damaged
    }

    /// Takes up to `limit` elements of `length` bytes, waiting for the first.
    ///
    /// - Returns: How many, at least 1; or why none.
    internal func getMany(
        into room: UnsafeMutableRawPointer, _ length: Int, limit: Int, until deadline: Int64
    ) -> Int32 {
        var message = unsafe cshm_message()
        let most = UInt32(clamping: limit)
        let status = unsafe cshm_queue_take_many_until(pointer, most, &message, deadline)
        if status != 0 { return status }
        let taken = unsafe copyOut(&message, pack: room, length)
        guard taken > 0, taken < limit else { return taken }
        let more = unsafe tryGetMany(
            into: room + Int(taken) * length, length, limit: limit - Int(taken))
        return taken + max(0, more)
    }

    /// As ``getMany(into:_:limit:until:)``, without waiting.
    internal func tryGetMany(
        into room: UnsafeMutableRawPointer, _ length: Int, limit: Int
    ) -> Int32 {
        var total: Int32 = 0
        while total < limit {
            var message = unsafe cshm_message()
            let most = UInt32(clamping: limit - Int(total))
            var status = unsafe cshm_queue_try_take_many(pointer, most, &message)
            if status == 0 {
                status = unsafe copyOut(&message, pack: room + Int(total) * length, length)
            }
            if status < 0 { return total > 0 ? total : status }
            total += status
        }
        return total
    }

    /// Copies the elements of a pack out and releases them.
    ///
    /// - Returns: How many they were, or that they are not of that length.
    private func copyOut(
        _ message: inout cshm_message, pack room: UnsafeMutableRawPointer, _ length: Int
    ) -> Int32 {
        let fits = unsafe message.length == UInt64(length)
        let count = unsafe message.count
        if fits {
            unsafe room.copyMemory(from: message.data, byteCount: length * Int(count))
        }
        unsafe cshm_queue_release(pointer, &message)
        return fits ? Int32(clamping: count) : Answer.damaged
    }
}
