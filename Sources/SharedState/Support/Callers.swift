// SPDX-License-Identifier: Apache-2.0

internal import CShm
internal import Synchronization

/// The tasks of this process that wait for what belongs to a thread, such as a mutex.
///
/// No thread of the ``Reactor``'s can acquire that for them. So it looks, and when what they wait for
/// may be had it calls one, who goes to its own actor, tries there, and uses what it has before it
/// awaits again: on one thread. Until it has tried, nobody else is called; unless its actor is so busy
/// that it does not come to it, and then the next one is. Whoever tries in vain goes before the others
/// the next time.
///
///     try await callers.acquire(until: deadline, keeping: self, isolation: isolation) { isWoken in
///         unsafe isWoken ? cshm_mutex_try_acquire_woken(mutex) : cshm_mutex_try_acquire(mutex)
///     } use: { status in … }
///
/// Who was called holds nothing yet: if the process dies then, what they wait for is free, and those
/// who wait in other processes look by themselves, within 25 ms.
///
/// What one was called for may have woken it alone, of all who wait in any process: the try has to see
/// to them, as `cshm_mutex_try_acquire_woken()` does.
internal final class Callers: Sendable {
    private let waitables: [NativeWaitable]
    /// When the one was called who has not tried yet, by `cshm_now_ns()`; 0 if there is none.
    private let called = Atomic<Int64>(0)
    /// So long he may take; less than passes between two looks of the reactor's.
    private static let patience: Int64 = 20_000_000

    /// - Parameters:
    ///   - count: How many places there are to wait at.
    ///   - fill: A function of C, such as `cshm_mutex_waitable()`, that fills them in. They are asked as
    ///     long as somebody waits, who keeps them mapped.
    init(_ count: Int = 1, _ fill: (UnsafeMutablePointer<cshm_waitable>) -> Void) {
        var waitables = unsafe [cshm_waitable](repeating: cshm_waitable(), count: count)
        unsafe waitables.withUnsafeMutableBufferPointer { waitables in
            if let first = waitables.baseAddress { unsafe fill(first) }
        }
        self.waitables = unsafe waitables.map { unsafe NativeWaitable(native: $0) }
    }

    /// Tries until there is another answer than that it would have to wait, and uses what it has then.
    ///
    /// - Parameters:
    ///   - deadline: Absolute; the wait ends no earlier.
    ///   - owner: What keeps the memory mapped.
    ///   - isolation: Where it tries, and uses what it has: where the caller does.
    ///   - attempt: A try, which is told whether it was called for it.
    ///   - use: Is given the try's answer, on the thread of the try, without an `await` in between: it
    ///     releases what was acquired.
    /// - Returns: What `use` returns.
    /// - Throws: `timedOut`, `CancellationError`, `system`, or what `use` throws.
    func acquire<Result>(
        until deadline: Int64, keeping owner: some AnyObject & Sendable,
        isolation: isolated (any Actor)?, _ attempt: (_ isWoken: Bool) -> Int32,
        use: (Int32) throws -> Result
    ) async throws -> Result {
        defer { withExtendedLifetime(owner) {} }
        var status = attempt(false)
        var isNext = false
        while status == Answer.wouldWait {
            try await wait(until: deadline, isNext: isNext, keeping: owner)
            status = attempt(true)
            hasTried(status)
            isNext = true
        }
        return try use(status)
    }

    /// Waits to be called.
    ///
    /// If it throws nothing, it has been called, and must try.
    private func wait(
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
    private func hasTried(_ status: Int32) {
        called.store(0, ordering: .sequentiallyConsistent)
        // Who has it, or will try again, wakes the next; else it is to be told the same.
        if status < 0, status != Answer.wouldWait {
            for waitable in waitables { Reactor.lookAgain(at: unsafe .init(waitable.native)) }
        }
    }

    private func mayCall(_ waitable: NativeWaitable) -> Bool {
        guard waitable.isReady else { return false }
        let last = called.load(ordering: .sequentiallyConsistent)
        let now = cshm_now_ns()
        guard last == 0 || now - last >= Self.patience else { return false }
        return called.compareExchange(
            expected: last, desired: now, ordering: .sequentiallyConsistent
        ).exchanged
    }
}

/// What C waits for, to be asked by any thread.
@safe
internal struct NativeWaitable: Sendable {
    nonisolated(unsafe) let native: cshm_waitable

    var isReady: Bool { unsafe native.is_ready(native.object) != 0 }
}
