// SPDX-License-Identifier: Apache-2.0

/// What the encoding of an element began for whoever will receive it.
///
/// A handle that is counted while it is on its way, such as a ``Producer``, says here how to take that
/// back. At the end of a departure that is done, unless the element was sent. What has arrived
/// is not to be had back: whoever takes back when the receiver has ended takes what did not arrive.
package final class Departure: Sendable {
    @TaskLocal private static var current: Departure?

    /// Who may receive what is encoded now.
    package enum Receivers: Sendable {
        /// One, once; or whoever does so before the departure ends.
        case one
        /// Nobody knows.
        case many
    }

    private let steps = Mutex<[@Sendable () -> Void]>([])
    private let receivers: Receivers

    private init(to receivers: Receivers) { self.receivers = receivers }

    deinit {
        takeBack()
    }

    /// Runs `body`, in which an element is encoded.
    ///
    /// - Returns: What `body` returns, and what is to be told when that was sent.
    package static func begin<Result>(
        to receivers: Receivers = .one, _ body: () throws -> Result
    ) rethrows -> (result: Result, departure: Departure) {
        let departure = Departure(to: receivers)
        return (try $current.withValue(departure, operation: body), departure)
    }

    /// Whether what is encoded now is received once; outside of departures it is not known.
    static var isToOne: Bool { current?.receivers == .one }

    /// Has `step` run if the element that is being encoded is not sent.
    ///
    /// Where the sender does not ask, what was begun stays. The step is let go of when the departure has
    /// ended, either way: what it has is there until then.
    static func ifNotSent(_ step: @escaping @Sendable () -> Void) {
        current?.steps.withLock { $0.append(step) }
    }

    /// Has this departure, which is another's part, end with the one that is under way.
    func join() {
        Self.ifNotSent { self.takeBack() }
    }

    /// The element was sent: nothing is taken back any more.
    package func isSent() {
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

/// What the decoding of an element knows of its message.
internal enum Delivery {
    /// The message may be delivered again: what it names is to stay.
    @TaskLocal static var mayComeAgain = false
}
