// SPDX-License-Identifier: Apache-2.0

internal import CShm

/// Several things that one thread or task waits for at once.
///
/// Channels and children are slept at where all sleep who wait for them; descriptors, however many,
/// are listened to by a ``DescriptorWatch``, which wakes a place of its own.
internal struct Together: Sendable {
    private let sources: [Readiness]
    private let places: [Reactor.Place]
    private let watched: WatchedDescriptors?

    /// - Throws: `invalidArgument` (there are none, or too many).
    init(_ sources: [Readiness]) throws(SharedStateError) {
        self.sources = sources
        places = sources.compactMap(\.place)
        let count = sources.count - places.count
        watched = count == 0 ? nil : WatchedDescriptors(sources.compactMap(\.request))
        guard !sources.isEmpty, places.count + (count == 0 ? 0 : 1) <= Int(CSHM_WAIT_MAX) else {
            throw SharedStateError(
                .invalidArgument,
                "wait for 1 to \(CSHM_WAIT_MAX) channels and children, of which all descriptors "
                    + "together count as one, not for \(sources.count)")
        }
    }

    /// Makes an attempt until it has another answer than that it would have to wait; holds the thread.
    ///
    /// - Parameters:
    ///   - deadline: Absolute; the wait ends no earlier.
    ///   - attempt: A call that does not wait, for all of them.
    /// - Returns: That answer, or that the deadline has passed.
    /// - Throws: `system`.
    func wait(
        until deadline: Int64, attempt: () -> Int32
    ) throws(SharedStateError) -> Int32 {
        try watched?.begin()
        defer { watched?.end() }
        let status = blockingWait(at: places + (watched.map { [$0.place] } ?? []), until: deadline)
        {
            let status = attempt()
            return status == Answer.wouldWait ? watched?.goOn() ?? status : status
        }
        handOn()
        return status
    }

    /// As the blocking form, without holding a thread.
    ///
    /// - Parameters:
    ///   - deadline: Absolute; the wait ends no earlier.
    ///   - attempt: A call that does not wait, for one of them, made on a thread of the library's.
    /// - Returns: The first answer of one, or that the deadline has passed.
    /// - Throws: `CancellationError`, `system`.
    func wait(
        until deadline: Int64, attempt: @escaping @Sendable (_ index: Int) -> Int32
    ) async throws -> Int32 {
        try watched?.begin()
        defer { watched?.end() }
        let status = try await Reactor.wait(at: waits(attempt), until: deadline)
        handOn()
        return status
    }

    private func waits(
        _ attempt: @escaping @Sendable (_ index: Int) -> Int32
    ) -> [(Reactor.Place, @Sendable () -> Int32)] {
        var waits: [(Reactor.Place, @Sendable () -> Int32)] = []
        var descriptors: [Int] = []
        for (index, source) in sources.enumerated() {
            if let place = source.place {
                waits.append((place, { attempt(index) }))
            } else {
                descriptors.append(index)
            }
        }
        guard let watched else { return waits }
        let attemptAtDescriptors = { @Sendable [descriptors] in
            for index in descriptors {
                let status = attempt(index)
                if status != Answer.wouldWait { return status }
            }
            return watched.goOn()
        }
        return waits + [(watched.place, attemptAtDescriptors)]
    }

    /// What it was woken for may be of use to others, who sleep: it took nothing, or not there.
    private func handOn() {
        for place in places { place.handOn() }
    }
}
