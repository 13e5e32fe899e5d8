// SPDX-License-Identifier: Apache-2.0

internal import CShm
internal import Glibc

extension Select {
    /// Those that are ready, waiting until one is; takes nothing from any.
    ///
    /// What is ready may be taken by another process before this one comes to it: take it by a call that
    /// does not wait, such as `tryGet`. An element that was seen and not taken leaves its channel ready,
    /// for all who wait.
    ///
    /// - Parameters:
    ///   - sources: What to wait for: any number of descriptors, and up to 128 others, or 127 beside
    ///     descriptors.
    ///   - timeout: The longest wait; one that is not positive only looks, `nil` waits without limit.
    /// - Returns: All that are ready, in their order; none if the time was up.
    /// - Throws: `invalidArgument` (there are none, or too many; a descriptor is not open), `system`.
    public static func ready(
        of sources: [any Waitable], timeout: Duration? = nil
    ) throws(SharedStateError) -> [any Waitable] {
        try numbers(of: sources.map(\.readiness), until: deadline(after: timeout)).map {
            sources[$0]
        }
    }

    /// As the form for sources of different kinds.
    public static func ready<Source: Waitable>(
        of sources: [Source], timeout: Duration? = nil
    ) throws(SharedStateError) -> [Source] {
        try numbers(of: sources.map(\.readiness), until: deadline(after: timeout)).map {
            sources[$0]
        }
    }

    /// As the blocking form, without holding a thread.
    ///
    /// - Throws: As that, and `CancellationError`.
    public static func ready(
        of sources: [any Waitable], timeout: Duration? = nil
    ) async throws -> [any Waitable] {
        try await numbers(of: sources.map(\.readiness), until: deadline(after: timeout)).map {
            sources[$0]
        }
    }

    /// As the blocking form, without holding a thread.
    ///
    /// - Throws: As that, and `CancellationError`.
    public static func ready<Source: Waitable>(
        of sources: [Source], timeout: Duration? = nil
    ) async throws -> [Source] {
        try await numbers(of: sources.map(\.readiness), until: deadline(after: timeout)).map {
            sources[$0]
        }
    }

    private static func numbers(
        of sources: [Readiness], until deadline: Int64
    ) throws(SharedStateError) -> [Int] {
        let together = try Together(sources)
        var found = Result { () throws(SharedStateError) in try Readiness.ready(of: sources) }
        func isFound() -> Bool { (try? found.get().isEmpty) != true }
        if isFound() || deadline <= cshm_now_ns() { return try found.get() }
        let status = try together.wait(until: deadline) {
            found = Result { () throws(SharedStateError) in try Readiness.ready(of: sources) }
            return isFound() ? 0 : Answer.wouldWait
        }
        if status != Answer.timedOut { try check(status, "Select.ready", "descriptors") }
        return try found.get()
    }

    private static func numbers(
        of sources: [Readiness], until deadline: Int64
    ) async throws -> [Int] {
        let together = try Together(sources)
        try Task.checkCancellation()
        while true {
            let found = try Readiness.ready(of: sources)
            if !found.isEmpty || deadline <= cshm_now_ns() { return found }
            let status = try await together.wait(until: deadline) {
                sources[$0].isReady ? 0 : Answer.wouldWait
            }
            if status != Answer.timedOut { try check(status, "Select.ready", "descriptors") }
        }
    }

    /// A file descriptor of this process's, among what is waited for: of a socket, a terminal, another
    /// event loop.
    ///
    /// It stays the caller's, who keeps it open as long as somebody waits for it. Its end and its errors
    /// count as ready, and so does a file on a disk always, as `poll` says.
    public final class Descriptor: Waitable {
        /// What makes a descriptor ready.
        public enum Event: Hashable, Sendable {
            /// Reading, or accepting, would not wait.
            case readable
            /// Writing would not wait.
            case writable
        }

        /// The descriptor.
        public let number: Int32
        /// What makes it ready.
        public let event: Event

        /// Names a descriptor.
        public init(_ number: Int32, _ event: Event = .readable) {
            self.number = number
            self.event = event
        }

        /// Ready when its event is there.
        public var readiness: Readiness {
            Readiness(number, event == .readable ? POLLIN : POLLOUT)
        }
    }
}
