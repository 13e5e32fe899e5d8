// SPDX-License-Identifier: Apache-2.0

internal import CShm
internal import Synchronization

/// The tasks of this process that wait for what belongs to a thread, such as a mutex.
///
/// No thread of the ``Reactor``'s can acquire that for them. So it looks, and when what they wait for
/// may be had it calls one, who tries on a thread of its own. Until that one has tried, nobody else
/// is called. Whoever tries in vain goes before the others the next time.
///
///     var status = tryAcquire()
///     while status == Answer.wouldWait {
///         try await callers.wait(until: deadline)
///         status = tryAcquireWoken()          // no `await` in between, nor before the release
///         callers.hasTried(status)
///     }
///
/// What one was called for may have woken it alone, of all who wait in any process: the try has to see
/// to them, as `cshm_mutex_try_acquire_woken()` does.
internal final class Callers: Sendable {
    private let waitables: [Waitable]
    private let isCalled = Atomic(false)

    /// - Parameters:
    ///   - count: How many places there are to wait at.
    ///   - fill: A function of C, such as `cshm_mutex_waitable()`, that fills them in. They are asked as
    ///     long as somebody waits, who keeps them mapped.
    init(_ count: Int = 1, _ fill: (UnsafeMutablePointer<cshm_waitable>) -> Void) {
        var waitables = unsafe [cshm_waitable](repeating: cshm_waitable(), count: count)
        unsafe waitables.withUnsafeMutableBufferPointer { waitables in
            if let first = waitables.baseAddress { unsafe fill(first) }
        }
        self.waitables = unsafe waitables.map { unsafe Waitable(native: $0) }
    }

    /// Waits to be called.
    ///
    /// - Parameters:
    ///   - deadline: Absolute; the wait ends no earlier.
    ///   - isNext: Whether it goes before those that wait already.
    ///   - owner: What keeps the memory mapped.
    /// - Throws: `timedOut`, `CancellationError`, `system`. If it throws nothing, it has been called,
    ///   and must try.
    func wait(
        until deadline: Int64, isNext: Bool, keeping owner: some AnyObject & Sendable
    ) async throws {
        let places = waitables.map { waitable in
            let attempt: @Sendable () -> Int32 = { [self] in
                withExtendedLifetime(owner) { mayCall(waitable) ? 0 : Answer.wouldWait }
            }
            return (unsafe Reactor.Place(waitable.native), attempt)
        }
        let status = try await Reactor.wait(at: places, until: deadline, isNext: isNext)
        try check(status, "the wait for a lock")
    }

    /// Says that the one who was called has tried.
    func hasTried(_ status: Int32) {
        isCalled.store(false, ordering: .sequentiallyConsistent)
        // Who has it, or will try again, wakes the next; else it is to be told the same.
        if status < 0, status != Answer.wouldWait {
            for waitable in waitables { Reactor.lookAgain(at: unsafe .init(waitable.native)) }
        }
    }

    private func mayCall(_ waitable: Waitable) -> Bool {
        waitable.isReady && !isCalled.exchange(true, ordering: .sequentiallyConsistent)
    }
}

/// What C waits for, to be asked by any thread.
@safe
internal struct Waitable: Sendable {
    nonisolated(unsafe) let native: cshm_waitable

    var isReady: Bool { unsafe native.is_ready(native.object) != 0 }
}
