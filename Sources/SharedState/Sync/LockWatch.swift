// SPDX-License-Identifier: Apache-2.0

internal import CShm

/// A debugging aid that is off unless asked for: since when locks are held, and reports of locks that
/// are acquired in a circle, before a deadlock has come of it.
///
/// A ``Lock``, a ``RecursiveLock``, a ``ReadWriteLock`` that is written, a ``SharedValue`` or
/// ``SharedArray`` that is changed under its own lock, and the lock of a ``Condition`` are watched; an
/// ``AsyncLock`` is not. Off, it costs nothing that can be measured.
///
/// - Processes: each watches its own threads, and finds circles with those of all others that do. The
///   environment variable `CSHM_WATCH_LOCKS=1` turns it on in a program and all of its workers, with
///   reports on standard error.
/// - Death: what the dead have acquired makes no circle.
///
/// The corresponding C header is `cshm/lockwatch.h`, which says what is a circle and what is none.
public enum LockWatch {
    /// Watches the locks of this process from now on, until its end.
    ///
    /// - Parameter report: Is told of each circle, by the thread that closes it, before that waits. It
    ///   may use locks. `nil` writes to standard error. The last call's counts.
    ///
    /// Thread-safe.
    public static func begin(report: (@Sendable (LockCircle) -> Void)? = nil) {
        reporter.withLock { $0 = report }
        guard report != nil else {
            cshm_lockwatch_begin(nil, nil)
            return
        }
        unsafe cshm_lockwatch_begin(
            { circle, _ in
                guard let circle = unsafe circle else { return }
                LockWatch.reporter.withLock { $0 }?(unsafe LockCircle(circle))
            }, nil)
    }

    /// Whether the locks of this process are watched.
    public static var isOn: Bool { cshm_lockwatch_is_on() != 0 }

    private static let reporter = Mutex<(@Sendable (LockCircle) -> Void)?>(nil)
}

/// Threads of any processes each of which held a lock that another wanted, all the way round.
public struct LockCircle: Sendable, CustomStringConvertible {
    /// A thread that held one lock and wanted the next.
    public struct Wait: Sendable {
        /// Its process.
        public let processIdentifier: Int32
        /// The thread, as the kernel numbers them.
        public let threadIdentifier: Int32
        /// When it first wanted the one while it held the other.
        public let since: SuspendingClock.Instant
        /// What it held.
        public let held: Place
        /// What it wanted, and the next thread held.
        public let wanted: Place
        /// Whether it held the one at the instant of the report.
        public let isHolding: Bool
    }

    /// Where a lock is.
    public struct Place: Hashable, Sendable {
        /// Its name in its region, if it has one.
        public let name: String?
        /// Its offset in its region, in bytes.
        public let offset: UInt64
    }

    /// The threads; the first is the one that is told, and wants what the second held.
    public let waits: [Wait]
    /// All of it in lines, for people.
    public let description: String

    /// Whether each thread held its lock at the instant of the report: then none of them goes on.
    public var isDeadlock: Bool { waits.allSatisfy(\.isHolding) }

    fileprivate init(_ circle: UnsafePointer<cshm_lock_cycle>) {
        let count = unsafe Int(circle.pointee.count)
        waits = unsafe withUnsafePointer(to: circle.pointee.wait) {
            let first = unsafe UnsafeRawPointer($0).assumingMemoryBound(to: cshm_lock_wait.self)
            return (0..<count).map { unsafe Wait(first + $0) }
        }
        let room = 512 * (1 + count)
        description = unsafe String(unsafeUninitializedCapacity: room) { bytes in
            unsafe bytes.withMemoryRebound(to: CChar.self) {
                min(Int(unsafe cshm_lockwatch_print(circle, $0.baseAddress, room)), room - 1)
            }
        }
    }
}

extension LockCircle.Wait {
    fileprivate init(_ wait: UnsafePointer<cshm_lock_wait>) {
        unsafe processIdentifier = wait.pointee.pid
        unsafe threadIdentifier = wait.pointee.thread
        since = instant(ofMonotonic: unsafe wait.pointee.at_ns)
        unsafe isHolding = wait.pointee.is_held != 0
        held = unsafe LockCircle.Place(wait.pointee.held, named: wait.pointee.held_name)
        wanted = unsafe LockCircle.Place(wait.pointee.wanted, named: wait.pointee.wanted_name)
    }
}

extension LockCircle.Place {
    // The name is C's array, which ends in a zero byte.
    fileprivate init<Name>(_ offset: UInt64, named name: Name) {
        self.offset = offset
        let text = unsafe withUnsafeBytes(of: name) {
            unsafe String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
        }
        self.name = text.isEmpty ? nil : text
    }
}
