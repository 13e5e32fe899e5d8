// SPDX-License-Identifier: Apache-2.0

internal import CShm

/// What the encoding of an element began for whoever will receive it.
///
/// A handle that is counted while it is on its way, such as a ``Producer``, says here how to take that
/// back. At the end of a departure that is done, unless the element was sent. What has arrived
/// is not to be had back: whoever takes back when the receiver has ended takes what did not arrive.
///
/// An element whose bytes say what they hold (`cshm/anchor.h`) is told here, too, which objects these are.
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
    /// Where the element will be, if its bytes say what they hold.
    private let region: RegionIdentity?
    /// With their objects, so that these are there until the departure ends.
    private let held = Mutex<[(anchor: cshm_anchor, object: SharedObject)]>([])

    private init(to receivers: Receivers, _ region: RegionIdentity?) {
        self.receivers = receivers
        self.region = region
    }

    deinit {
        takeBack()
    }

    /// Runs `body`, in which an element is encoded.
    ///
    /// - Returns: What `body` returns, and what is to be told when that was sent.
    package static func begin<Result>(
        to receivers: Receivers = .one, _ body: () throws -> Result
    ) rethrows -> (result: Result, departure: Departure) {
        let departure = Departure(to: receivers, nil)
        return (try $current.withValue(departure, operation: body), departure)
    }

    /// As ``begin(to:_:)``, for an element that is to be in that region and whose bytes say what they hold.
    static func begin(
        to receivers: Receivers, in region: Region, _ body: () throws -> Void
    ) rethrows -> Departure {
        let departure = Departure(to: receivers, region.identity)
        try $current.withValue(departure, operation: body)
        return departure
    }

    /// Whether what is encoded now can hold what lives there.
    static func holds(in region: Region) -> Bool { current?.region == region.identity }

    /// Has what is encoded now hold an object.
    static func hold(_ anchor: cshm_anchor, of object: SharedObject) {
        current?.held.withLock { $0.append((anchor, object)) }
    }

    /// What the element holds.
    var anchors: [cshm_anchor] { held.withLock { $0.map(\.anchor) } }

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
