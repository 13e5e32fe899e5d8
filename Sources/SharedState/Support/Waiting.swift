// SPDX-License-Identifier: Apache-2.0

internal import CShm

/// Makes an attempt until it has another answer than that it would have to wait; holds the thread.
///
/// - Parameters:
///   - place: What is woken when the attempt may succeed.
///   - deadline: Absolute; the wait ends no earlier.
///   - attempt: A call that does not wait.
/// - Returns: That answer, or that the deadline has passed.
internal func blockingWait(
    at place: Reactor.Place, until deadline: Int64, attempt: () -> Int32
) -> Int32 {
    blockingWait(at: [place], until: deadline, attempt: attempt)
}

/// As ``blockingWait(at:until:attempt:)-(Reactor.Place,_,_)``, at up to 128 places.
internal func blockingWait(
    at places: [Reactor.Place], until deadline: Int64, attempt: () -> Int32
) -> Int32 {
    withoutActuallyEscaping(attempt) { attempt in
        let call = Call(attempt)
        // The attempt is made once in each round, at the first place; the others are slept at.
        let waitables = unsafe places.enumerated().map { number, place in
            number == 0
                ? unsafe place.waitable(asking: Call.isOver, of: call)
                : unsafe place.waitable(asking: { _ in 0 }, of: call)
        }
        let status = unsafe cshm_wait_any(waitables, UInt32(waitables.count), deadline)
        return status < 0 ? status : call.answer
    }
}

/// An attempt, as an object that C asks.
private final class Call {
    private(set) var answer = Answer.wouldWait
    private let attempt: () -> Int32

    init(_ attempt: @escaping () -> Int32) {
        self.attempt = attempt
    }

    static let isOver: @convention(c) (UnsafeRawPointer?) -> Int32 = { object in
        guard let object = unsafe object else { return 0 }
        let call = unsafe Unmanaged<Call>.fromOpaque(object).takeUnretainedValue()
        call.answer = call.attempt()
        return call.answer == Answer.wouldWait ? 0 : 1
    }
}
