// SPDX-License-Identifier: Apache-2.0

/// What the encoding of an element began for whoever will receive it.
///
/// A handle that is counted while it is on its way, such as a ``Producer``, says here how to take that
/// back. At the end of a departure that is done, unless the element was sent. What has arrived
/// is not to be had back: whoever takes back when the receiver has ended takes what did not arrive.
internal final class Departure: Sendable {
    @TaskLocal private static var current: Departure?

    private let steps = Mutex<[@Sendable () -> Void]>([])

    deinit {
        takeBack()
    }

    /// Runs `body`, in which an element is encoded.
    ///
    /// - Returns: What `body` returns, and what is to be told when that was sent.
    static func begin<Result>(
        _ body: () throws -> Result
    ) rethrows -> (result: Result, departure: Departure) {
        let departure = Departure()
        return (try $current.withValue(departure, operation: body), departure)
    }

    /// Has `step` run if the element that is being encoded is not sent.
    ///
    /// Where the sender does not ask, what was begun stays.
    static func ifNotSent(_ step: @escaping @Sendable () -> Void) {
        current?.steps.withLock { $0.append(step) }
    }

    /// Has this departure, which is another's part, end with the one that is under way.
    func join() {
        Self.ifNotSent { self.takeBack() }
    }

    /// The element was sent: nothing is taken back any more.
    func isSent() {
        _ = takeSteps()
    }

    /// Takes back what was begun and has not arrived.
    func takeBack() {
        for step in takeSteps() { step() }
    }

    private func takeSteps() -> [@Sendable () -> Void] {
        steps.withLock { steps in
            defer { steps = [] }
            return steps
        }
    }
}
