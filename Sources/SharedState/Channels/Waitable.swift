// SPDX-License-Identifier: Apache-2.0

internal import CShm
internal import Glibc

/// What can be waited for together with other things, by ``Select/ready(of:timeout:)-(_,_)``.
///
/// ``Queue``, ``JoinableQueue``, ``Lanes``, ``Subscriber``, ``PipeReceiver`` and ``PipeEnd`` are, which
/// are ready when a call that waits for the next element would return, be it with an element or an
/// error, the end among these; ``ChildProcess``, which is when it has ended; ``SharedDescriptor`` and
/// ``Select/Descriptor``. A type of the user's own has the readiness of one that it is made of.
///
/// To wait for ``Lanes``, or for an end of a ``SharedPipe``, is to use it, as `tryGet` or `poll` does.
public protocol Waitable: AnyObject, Sendable {
    /// Where one waits for it, and whether it is ready.
    var readiness: Readiness { get }
}

/// Where one waits for something, and whether it is ready; of use to this library only.
public struct Readiness: Sendable {
    internal enum Kind: Sendable {
        /// The place that is woken, the region that it is in, and the question, which keeps both.
        case place(Reactor.Place, Region?, isReady: @Sendable () -> Bool)
        /// A descriptor, and the events of `poll`.
        case descriptor(Int32, Int16)
    }

    internal let kind: Kind

    /// A call that does not wait is made to see whether one that does would return.
    internal init(
        _ place: Reactor.Place, in region: Region?, attempt: @escaping @Sendable () -> Int32
    ) {
        kind = .place(place.forAnyone, region) { attempt() != Answer.wouldWait }
    }

    internal init(_ descriptor: Int32, _ events: Int32) {
        kind = .descriptor(descriptor, Int16(events))
    }

    internal var place: Reactor.Place? {
        if case .place(let place, _, _) = kind { place } else { nil }
    }

    /// What to ask the kernel of a descriptor.
    internal var request: pollfd? {
        guard case .descriptor(let number, let events) = kind else { return nil }
        return pollfd(fd: number, events: events, revents: 0)
    }

    internal var isReady: Bool {
        switch kind {
        case .place(_, _, let isReady): isReady()
        case .descriptor: (try? Self.ready(of: [self]))?.isEmpty != true
        }
    }

    /// The numbers of those that are ready now.
    ///
    /// - Throws: `invalidArgument` (a descriptor is not open), `system`.
    internal static func ready(of sources: [Readiness]) throws(SharedStateError) -> [Int] {
        var events = try answers(to: sources.compactMap(\.request)).makeIterator()
        return sources.indices.filter { index in
            switch sources[index].kind {
            case .place(_, _, let isReady): isReady()
            case .descriptor: events.next() != 0
            }
        }
    }

    /// What the kernel says of each descriptor now; 0 if nothing.
    private static func answers(to requests: [pollfd]) throws(SharedStateError) -> [Int16] {
        if requests.isEmpty { return [] }
        var requests = requests
        while unsafe Glibc.poll(&requests, nfds_t(requests.count), 0) < 0 {
            guard errno == EINTR else {
                throw SharedStateError(status: -errno, "poll", "\(requests.count) descriptors")
            }
        }
        if let closed = requests.first(where: { $0.revents & Int16(POLLNVAL) != 0 }) {
            throw SharedStateError(.invalidArgument, "descriptor \(closed.fd) is not open")
        }
        return requests.map(\.revents)
    }
}

/// A channel that can be waited for together with others, by ``Select``.
///
/// ``Queue``, ``Lanes``, ``Subscriber`` and ``PipeReceiver`` are.
public protocol Selectable<Element>: Waitable {
    /// What the channel gives.
    associatedtype Element: Sendable

    /// Takes the next element if there is one now.
    ///
    /// - Returns: The element, or `nil` if there is none and the stream goes on.
    func tryNext() throws -> Element?
}

// MARK: What is

extension Queue: Selectable {
    /// As ``tryGet()``.
    public func tryNext() throws -> Element? { try tryGet() }

    /// Where those wait who get.
    public var readiness: Readiness {
        Readiness(core.items, in: core.object.region) { [core] in core.tryLook() }
    }
}

extension JoinableQueue: Waitable {
    /// That of ``queue``.
    public var readiness: Readiness { queue.readiness }
}

extension Lanes: Selectable {
    /// As ``tryGet()``.
    public func tryNext() throws -> Element? { try tryGet() }

    /// Where the consumer waits.
    public var readiness: Readiness {
        Readiness(core.items, in: core.object.region) { [core] in core.tryLook() }
    }
}

extension Subscriber: Selectable {
    /// As ``tryGet()``.
    public func tryNext() throws -> Element? { try tryGet() }

    /// Where it waits.
    public var readiness: Readiness {
        Readiness(core.items, in: core.region) { [core] in core.tryLook() }
    }
}

extension PipeReceiver: Selectable {
    /// As ``tryReceive()``.
    public func tryNext() throws -> Element? { try tryReceive() }

    /// Where it waits.
    public var readiness: Readiness {
        Readiness(core.ring.items, in: core.ring.object.region) { [core] in core.tryLook() }
    }
}

extension PipeEnd: Waitable {
    /// That of ``receiver``.
    public var readiness: Readiness { receiver.readiness }
}

extension SharedDescriptor: Waitable {
    /// Ready when reading would not wait.
    public var readiness: Readiness { Readiness(number, POLLIN) }
}

extension ChildProcess: Waitable {
    /// Ready when ``exitStatus`` is there.
    public var readiness: Readiness { exit.readiness }
}
