// SPDX-License-Identifier: Apache-2.0

internal import CShm

extension Select {
    /// A descriptor that `epoll`, `poll` or an event loop can watch for channels.
    ///
    ///     let bell = try Select.Bell(of: [jobs, news])
    ///     var watched = pollfd(fd: bell.descriptor, events: Int16(POLLIN), revents: 0)
    ///     while poll(&watched, 1, -1) > 0 {
    ///         for channel in try bell.ready() { … }      // take by calls that do not wait
    ///     }
    ///
    /// It is readable from the beginning, and whenever a channel may be ready, until ``ready()`` has
    /// found none. That is also so when a process attaches to a channel's region, leaves it or dies, as
    /// the kernel tells, so that the end of a stream whose producer was killed is heard of.
    ///
    /// - Threads, tasks: safe. Processes: it stays in its own.
    /// - Death: nothing is left of it but a number that the next waker drops.
    ///
    /// The corresponding C header is `cshm/bell.h`.
    @safe
    public final class Bell: Sendable {
        private let sources: [any Waitable]
        private let places: [(source: Readiness, place: Reactor.Place)]
        private let turn = Mutex(())
        private nonisolated(unsafe) let bell: OpaquePointer

        /// Makes a bell for channels.
        ///
        /// - Parameter channels: What is rung for. A child and a descriptor cannot be among them, as they
        ///   can be watched themselves; see ``ChildProcess/descriptor``.
        /// - Throws: `invalidArgument` (one is no channel), `tooManyUsers` (six bells of this process are
        ///   for the same region), `forked`, `system`.
        public init(of channels: [any Waitable]) throws(SharedStateError) {
            sources = channels
            var regions: [Region] = []
            var places: [(source: Readiness, place: Reactor.Place)] = []
            for readiness in channels.map(\.readiness) {
                guard case .place(let place, let region?, _) = readiness.kind else {
                    throw SharedStateError(
                        .invalidArgument,
                        "a bell is for channels; watch a child's or another descriptor itself")
                }
                places.append((readiness, place))
                if !regions.contains(where: { $0 === region }) { regions.append(region) }
            }
            self.places = places
            var made: OpaquePointer?
            try unsafe check(cshm_bell_create(&made), "cshm_bell_create")
            unsafe bell = made.unsafelyUnwrapped
            for region in regions {
                try unsafe check(
                    cshm_bell_watch(bell, region.pointer), "cshm_bell_watch", "a region")
            }
            try unsafe check(cshm_bell_ring(bell), "cshm_bell_ring")
        }

        deinit {
            for (_, place) in places {
                var waitable = unsafe place.waitable(asking: nil, of: nil)
                unsafe cshm_bell_disarm(bell, &waitable)
            }
            unsafe cshm_bell_close(bell)
        }

        /// Readable when ``ready()`` may find something.
        ///
        /// It is this object's, and closed with it.
        public var descriptor: Int32 { unsafe cshm_bell_descriptor(bell) }

        /// The channels that are ready now; takes nothing.
        ///
        /// - Returns: All that are, in their order. If none is, ``descriptor`` is not readable until one
        ///   may be.
        /// - Throws: `tooManyUsers` (15 bells of living processes are for one of them), `system`.
        public func ready() throws(SharedStateError) -> [any Waitable] {
            try turn.withLock { _ throws(SharedStateError) in
                unsafe cshm_bell_clear(bell)
                var found: [any Waitable] = []
                for (number, (source, place)) in places.enumerated() {
                    try arm(place)
                    if source.isReady { found.append(sources[number]) }
                }
                if !found.isEmpty { try unsafe check(cshm_bell_ring(bell), "cshm_bell_ring") }
                return found
            }
        }

        private func arm(_ place: Reactor.Place) throws(SharedStateError) {
            var waitable = unsafe place.waitable(asking: { _ in 0 }, of: nil)
            try unsafe check(cshm_bell_arm(bell, &waitable), "cshm_bell_arm", "a channel")
        }
    }
}
