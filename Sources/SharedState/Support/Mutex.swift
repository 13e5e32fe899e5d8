// SPDX-License-Identifier: Apache-2.0

internal import Glibc

/// A value of this process that one thread at a time may use.
///
/// The same as Synchronization's type of that name, but over glibc's mutex: ThreadSanitizer judges
/// what that one guards, whereas the waiting of the other is out of its sight, inside the runtime.
///
/// Sendable, unchecked: the value is reached in `withLock` only, which sends it in and out.
@safe
package struct Mutex<Value: ~Copyable>: ~Copyable, @unchecked Sendable {
    private let native: UnsafeMutablePointer<pthread_mutex_t>
    private let value: UnsafeMutablePointer<Value>

    package init(_ value: consuming sending Value) {
        unsafe native = .allocate(capacity: 1)
        unsafe pthread_mutex_init(native, nil)
        unsafe self.value = .allocate(capacity: 1)
        unsafe self.value.initialize(to: value)
    }

    deinit {
        unsafe value.deinitialize(count: 1)
        unsafe value.deallocate()
        unsafe pthread_mutex_destroy(native)
        unsafe native.deallocate()
    }

    package borrowing func withLock<Result: ~Copyable, Failure: Error>(
        _ body: (inout sending Value) throws(Failure) -> sending Result
    ) throws(Failure) -> sending Result {
        unsafe pthread_mutex_lock(native)
        defer { unsafe pthread_mutex_unlock(native) }
        return unsafe try body(&value.pointee)
    }
}
