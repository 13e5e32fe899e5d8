// SPDX-License-Identifier: Apache-2.0

/// The library's other objects, found by name or made.
///
/// With a name, what is found is what somebody made first: what else is said of it counts only if it
/// is made. Without one it is made, and lives as its own initialiser says.
extension Manager {
    // MARK: Channels

    /// A queue.
    ///
    /// - Parameters:
    ///   - name: What it is found by, or made; `nil` makes one without a name. And so below.
    ///   - element: What it carries.
    ///   - capacity: Elements, if it is made.
    /// - Returns: The queue.
    /// - Throws: As `Queue.init`, and `incompatible` (that name is another's). And so below.
    public func queue<Element: Sendable>(
        _ name: String? = nil, of element: Element.Type = Element.self, capacity: Int = 1024
    ) throws -> Queue<Element> {
        try find(
            name, new: { try Queue(capacity: capacity, in: region) },
            create: { try Queue(creating: $0, in: region, capacity: capacity) },
            open: { try Queue(opening: $0, in: region) })
    }

    /// A queue whose user can wait until all is dealt with.
    ///
    /// - Throws: As ``queue(_:of:capacity:)``.
    public func joinableQueue<Element: Sendable>(
        _ name: String? = nil, of element: Element.Type = Element.self, capacity: Int = 1024
    ) throws -> JoinableQueue<Element> {
        try find(
            name, new: { try JoinableQueue(capacity: capacity, in: region) },
            create: { try JoinableQueue(creating: $0, in: region, capacity: capacity) },
            open: { try JoinableQueue(opening: $0, in: region) })
    }

    /// Every element to every subscriber.
    ///
    /// - Throws: As `Broadcast.init`, and `incompatible`.
    public func broadcast<Element: Sendable>(
        _ name: String? = nil, of element: Element.Type = Element.self, capacity: Int = 1024
    ) throws -> Broadcast<Element> {
        try find(
            name, new: { try Broadcast(capacity: capacity, in: region) },
            create: { try Broadcast(creating: $0, in: region, capacity: capacity) },
            open: { try Broadcast(opening: $0, in: region) })
    }

    /// Many producers, one consumer.
    ///
    /// - Throws: As `Lanes.init`, and `incompatible`.
    public func lanes<Element: Sendable>(
        _ name: String? = nil, of element: Element.Type = Element.self, capacity: Int = 256
    ) throws -> Lanes<Element> {
        try find(
            name, new: { try Lanes(capacity: capacity, in: region) },
            create: { try Lanes(creating: $0, in: region, capacity: capacity) },
            open: { try Lanes(opening: $0, in: region) })
    }

    // MARK: Locks

    /// A lock.
    ///
    /// - Throws: As `Lock.init`, and `incompatible`.
    public func lock(_ name: String? = nil) throws -> Lock {
        try find(
            name, new: { try Lock(in: region) }, create: { try Lock(creating: $0, in: region) },
            open: { try Lock(opening: $0, in: region) })
    }

    /// A lock that its holder may acquire again.
    ///
    /// - Throws: As `RecursiveLock.init`, and `incompatible`.
    public func recursiveLock(_ name: String? = nil) throws -> RecursiveLock {
        try find(
            name, new: { try RecursiveLock(in: region) },
            create: { try RecursiveLock(creating: $0, in: region) },
            open: { try RecursiveLock(opening: $0, in: region) })
    }

    /// A lock for many readers or one writer.
    ///
    /// - Throws: As `ReadWriteLock.init`, and `incompatible`.
    public func readWriteLock(_ name: String? = nil) throws -> ReadWriteLock {
        try find(
            name, new: { try ReadWriteLock(in: region) },
            create: { try ReadWriteLock(creating: $0, in: region) },
            open: { try ReadWriteLock(opening: $0, in: region) })
    }

    /// A lock for bodies that await.
    ///
    /// - Throws: As `AsyncLock.init`, and `incompatible`.
    public func asyncLock(_ name: String? = nil) throws -> AsyncLock {
        try find(
            name, new: { try AsyncLock(in: region) },
            create: { try AsyncLock(creating: $0, in: region) },
            open: { try AsyncLock(opening: $0, in: region) })
    }

    /// A count that nobody owns, without a bound.
    ///
    /// - Throws: As `SharedSemaphore.init`, and `incompatible`.
    public func semaphore(_ name: String? = nil, value: Int) throws -> SharedSemaphore {
        try find(
            name, new: { try SharedSemaphore(value: value, in: region) },
            create: { try SharedSemaphore(creating: $0, in: region, value: value) },
            open: { try SharedSemaphore(opening: $0, in: region) })
    }

    /// A count that nobody owns and that never exceeds what it began with.
    ///
    /// - Throws: As `BoundedSemaphore.init`, and `incompatible`.
    public func boundedSemaphore(_ name: String? = nil, value: Int) throws -> BoundedSemaphore {
        try find(
            name, new: { try BoundedSemaphore(value: value, in: region) },
            create: { try BoundedSemaphore(creating: $0, in: region, value: value) },
            open: { try BoundedSemaphore(opening: $0, in: region) })
    }

    /// Permits, which come back from the dead.
    ///
    /// - Throws: As `PermitPool.init`, and `incompatible`.
    public func permits(_ name: String? = nil, count: Int) throws -> PermitPool {
        try find(
            name, new: { try PermitPool(permits: count, in: region) },
            create: { try PermitPool(creating: $0, in: region, permits: count) },
            open: { try PermitPool(opening: $0, in: region) })
    }

    // MARK: Signals

    /// A condition with a lock of its own, whose name is the same with `.lock` behind it.
    ///
    /// - Throws: As `Condition.init`, and `incompatible`.
    public func condition(_ name: String? = nil) throws -> Condition {
        try find(
            name, new: { try Condition(in: region) },
            create: {
                // The lock first, found or made: who dies between the two hinders nobody.
                let condition = try Condition(try lock($0 + ".lock"), in: region)
                try condition.setName($0, besideItsLock: ())
                return condition
            },
            open: { try Condition(opening: $0, in: region) })
    }

    /// A fact to wait for.
    ///
    /// - Throws: As `Event.init`, and `incompatible`.
    public func event(_ name: String? = nil, automatic: Bool = false) throws -> Event {
        try find(
            name, new: { try Event(automatic: automatic, in: region) },
            create: { try Event(creating: $0, in: region, automatic: automatic) },
            open: { try Event(opening: $0, in: region) })
    }

    /// Parties that wait for each other.
    ///
    /// - Throws: As `Barrier.init`, and `incompatible`.
    public func barrier(_ name: String? = nil, parties: Int) throws -> Barrier {
        try find(
            name, new: { try Barrier(parties: parties, in: region) },
            create: { try Barrier(creating: $0, in: region, parties: parties) },
            open: { try Barrier(opening: $0, in: region) })
    }

    /// So many things that must be done.
    ///
    /// - Throws: As `Latch.init`, and `incompatible`.
    public func latch(_ name: String? = nil, count: Int) throws -> Latch {
        try find(
            name, new: { try Latch(count: count, in: region) },
            create: { try Latch(creating: $0, in: region, count: count) },
            open: { try Latch(opening: $0, in: region) })
    }

    /// What is done once.
    ///
    /// - Throws: As `Once.init`, and `incompatible`.
    public func once(_ name: String? = nil) throws -> Once {
        try find(
            name, new: { try Once(in: region) }, create: { try Once(creating: $0, in: region) },
            open: { try Once(opening: $0, in: region) })
    }

    // MARK: Values of plain bits

    /// A number that is counted up and down.
    ///
    /// - Throws: As `ManagedCounter.init`, and `incompatible`.
    public func counter(_ name: String? = nil, _ value: Int = 0) throws -> ManagedCounter {
        try find(
            name, new: { try ManagedCounter(value, in: region) },
            create: { try ManagedCounter(creating: $0, value, in: region) },
            open: { try ManagedCounter(opening: $0, in: region) })
    }

    /// A number that is changed in one step, in C11's orders.
    ///
    /// - Throws: As `SharedAtomic.init`, and `incompatible`.
    public func atomic<Value: SharedAtomicValue>(
        _ name: String? = nil, _ value: Value
    ) throws -> SharedAtomic<Value> {
        try find(
            name, new: { try SharedAtomic(value, in: region) },
            create: { try SharedAtomic(creating: $0, in: region, value) },
            open: { try SharedAtomic(opening: $0, in: region) })
    }

    /// A value of plain bits, which is faster than ``value(_:_:)``.
    ///
    /// - Throws: As `SharedValue.init`, and `incompatible`.
    public func sharedValue<Value: BitwiseCopyable & Sendable>(
        _ name: String? = nil, _ value: Value
    ) throws -> SharedValue<Value> {
        try find(
            name, new: { try SharedValue(value, in: region) },
            create: { try SharedValue(creating: $0, in: region, value) },
            open: { try SharedValue(opening: $0, in: region) })
    }

    /// A shared value of plain bits, without a name.
    ///
    /// - Throws: As `SharedValue.init`.
    public func value<Value: BitwiseCopyable & Sendable>(
        _ value: Value
    ) throws(SharedStateError) -> SharedValue<Value> {
        try SharedValue(value, in: region)
    }

    /// An array of a fixed number of elements of plain bits, zeroes at first.
    ///
    /// - Throws: As `SharedArray.init`, and `incompatible`.
    public func sharedArray<Element: BitwiseCopyable & Sendable>(
        _ name: String? = nil, of element: Element.Type = Element.self, count: Int
    ) throws -> SharedArray<Element> {
        try find(
            name, new: { try SharedArray(count: count, in: region) },
            create: { try SharedArray(creating: $0, in: region, count: count) },
            open: { try SharedArray(opening: $0, in: region) })
    }
}
