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
    withoutActuallyEscaping(attempt) { attempt in
        let call = Call(attempt)
        var waitable = unsafe place.waitable(
            asking: { object in
                guard let object = unsafe object else { return 0 }
                return unsafe Unmanaged<Call>.fromOpaque(object).takeUnretainedValue().isOver()
                    ? 1 : 0
            }, of: call)
        let status = unsafe cshm_wait_any(&waitable, 1, deadline)
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

    func isOver() -> Bool {
        answer = attempt()
        return answer != Answer.wouldWait
    }
}
