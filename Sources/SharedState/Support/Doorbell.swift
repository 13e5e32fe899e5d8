// SPDX-License-Identifier: Apache-2.0

internal import CShm

/// A parking word of this process: threads wait for a condition, others ring when it may be true.
@safe
internal final class Doorbell: Sendable {
    private nonisolated(unsafe) let park: UnsafeMutablePointer<cshm_park>

    init() {
        unsafe park = .allocate(capacity: 1)
        unsafe park.initialize(to: cshm_park())
    }

    deinit {
        unsafe park.deallocate()
    }

    /// Announces a waiter; look at the condition once more, then ``wait(_:until:)``.
    func prepare() -> UInt32 {
        unsafe cshm_park_prepare(park)
    }

    func wait(_ seen: UInt32, until deadline: Int64) throws(SharedStateError) {
        try unsafe check(cshm_park_wait(park, seen, deadline), "cshm_park_wait")
    }

    func ring() {
        unsafe cshm_park_wake_all(park)
    }
}
