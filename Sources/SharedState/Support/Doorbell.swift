// SPDX-License-Identifier: Apache-2.0

internal import CShm

/// A parking word of this process: threads and tasks wait for a condition, others ring when it may be
/// true.
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

    /// For those who wait here beside other things, and keep this object.
    var place: Reactor.Place { unsafe Reactor.Place(park, .anyone) }

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

    /// Waits in a task until the condition, which keeps nothing waiting, is true.
    ///
    /// - Returns: Whether it is; not once the deadline has passed.
    /// - Throws: `CancellationError`, `system`.
    func wait(
        until deadline: Int64, for condition: @escaping @Sendable () -> Bool
    ) async throws -> Bool {
        let status = try await Reactor.wait(at: place, until: deadline) { [self] in
            withExtendedLifetime(self) { condition() ? 0 : Answer.wouldWait }
        }
        return status == 0
    }
}
