// SPDX-License-Identifier: Apache-2.0

internal import CShm

/// Elements of plain bits, structs of C included, that every process of the family reads and writes
/// in place.
///
///     let samples = try SharedArray<Double>(count: 1_000_000)      // zeroes
///     samples[7] = 0.5
///     try samples.withLock { span in                                // several, as one step
///         for n in span.indices { span[n] *= 2 }
///     }
///
/// - Processes, threads: safe. ``withLock(timeout:_:)`` has the array for itself among those that use
///   it. Everything else takes no lock: an element of up to 8 bytes is then the old one or the new one
///   for everybody, a larger one may be read half written; and two who change the same element
///   overwrite each other.
/// - Tasks: acquiring the lock may suspend, the body cannot `await`.
/// - Death: a process killed in `withLock` leaves elements half changed. The next one repairs them, in
///   ``withLock(timeout:repair:_:)``; if it has no `repair` it throws `notRepaired`, and everybody after
///   it `notRecoverable`.
///
/// The corresponding C header is `cshm/array.h`.
@safe
public final class SharedArray<Element: BitwiseCopyable & Sendable>: Sendable, Codable {
    @usableFromInline internal nonisolated(unsafe) let elements: UnsafeMutablePointer<Element>
    /// How many elements there are.
    public let count: Int
    private let object: SharedObject
    /// Its own, at the array's head; the end of the one is the end of the other.
    private let lock: Lock
    /// What the elements are, if that is not told by their Swift type.
    private let customTag: UInt64?

    private init(_ object: SharedObject, _ customTag: UInt64?) throws(SharedStateError) {
        var array = unsafe cshm_array()
        var type = try sharedType(Element.self, customTag)
        try unsafe check(
            cshm_array_open(object.region.pointer, object.offset, &type, &array),
            "cshm_array_open", "SharedArray<\(Element.self)>")
        unsafe elements = array.elements.assumingMemoryBound(to: Element.self)
        count = unsafe Int(array.count)
        lock = unsafe Lock(inside: object, at: array.mutex)
        self.object = object
        self.customTag = customTag
    }

    // MARK: Making one

    /// Makes an array of zeroes.
    ///
    /// - Parameters:
    ///   - count: How many elements, at least 0.
    ///   - region: Where it lives; `nil` is the family's region.
    /// - Throws: `invalidArgument`, `full`, `cannotCross` (pointers and the like mean nothing
    ///   elsewhere), `system`.
    public convenience init(count: Int, in region: Region? = nil) throws(SharedStateError) {
        let made = try Self.make(count, nil, in: region)
        try self.init(SharedObject(made.region, made.offset, sent: false), nil)
    }

    /// Makes an array of some elements.
    ///
    /// - Parameters:
    ///   - elements: What it holds at first.
    ///   - region: Where it lives; `nil` is the family's region.
    /// - Throws: As ``init(count:in:)``.
    public convenience init(
        _ elements: some Collection<Element>, in region: Region? = nil
    ) throws(SharedStateError) {
        try self.init(count: elements.count, in: region)
        copy(from: elements)
    }

    /// Makes an array of zeroes and gives it a name, by which any program that opens the region finds
    /// it.
    ///
    /// The array then lives as long as its region. C finds it by `cshm_directory_find`.
    ///
    /// - Parameters:
    ///   - name: 1 to 200 bytes.
    ///   - region: Where it lives; `nil` is the family's region.
    ///   - count: How many elements, at least 0.
    ///   - type: What the elements are, for programs in which they have another Swift type or none:
    ///     C says `cshm_type_tag` of the same text. `nil` takes the Swift type's name and layout.
    /// - Throws: `alreadyExists`, and as ``init(count:in:)``.
    public convenience init(
        creating name: String, in region: Region?, count: Int, type: String? = nil
    ) throws(SharedStateError) {
        let tag = type.map { unsafe cshm_type_tag($0) }
        let made = try Self.make(count, tag, in: region)
        let object = try SharedObject(
            made.region, made.offset, named: name, kind: CSHM_KIND_ARRAY,
            tag: tag ?? typeTag(Element.self))
        try self.init(object, tag)
    }

    /// Opens the array of that name.
    ///
    /// - Parameters:
    ///   - name: The name it was made with.
    ///   - region: Where it lives; `nil` is the family's region.
    ///   - type: As it was made with.
    /// - Throws: `notFound`, `incompatible` (not an array of elements of that type, size and
    ///   alignment).
    public convenience init(
        opening name: String, in region: Region?, type: String? = nil
    ) throws(SharedStateError) {
        let object = try SharedObject(opening: name, in: region, kind: CSHM_KIND_ARRAY)
        try self.init(object, type.map { unsafe cshm_type_tag($0) })
    }

    /// Opens the array a sent handle names.
    public convenience init(from decoder: any Decoder) throws {
        let handle = try TypedHandle(from: decoder)
        let object = try SharedObject(arriving: handle.place)
        try self.init(object, handle.tag)
    }

    /// Sends the handle; the array then lives as long as its region, or, if it is sent by queues and
    /// stored in containers only, as long as anybody has it.
    public func encode(to encoder: any Encoder) throws {
        try TypedHandle(place: object.place(), tag: customTag).encode(to: encoder)
    }

    private static func make(
        _ count: Int, _ tag: UInt64?, in region: Region?
    ) throws(SharedStateError) -> (region: Region, offset: UInt64) {
        guard count >= 0 else {
            throw SharedStateError(.invalidArgument, "an array cannot have \(count) elements")
        }
        _ = try TransferPlan<Element>.plan(for: Element.self)
        var type = try sharedType(Element.self, tag)
        let region = try Region.orFamily(region)
        var offset: UInt64 = 0
        try unsafe check(
            cshm_array_create(region.pointer, &type, UInt64(count), &offset), "cshm_array_create")
        return (region, offset)
    }

    // MARK: Elements, unlocked

    /// The positions of the elements.
    public var indices: Range<Int> { 0..<count }

    /// An element; a position outside the array stops the program.
    @inlinable
    public subscript(position: Int) -> Element {
        get {
            precondition(position >= 0 && position < count, "a position outside the array")
            return unsafe elements[position]
        }
        set {
            precondition(position >= 0 && position < count, "a position outside the array")
            unsafe elements[position] = newValue
        }
    }

    /// Some elements, copied out; and in, as many as there are positions.
    public subscript(positions: Range<Int>) -> [Element] {
        get { withSpan { span in positions.map { span[$0] } } }
        set {
            precondition(newValue.count == positions.count, "as many elements as positions")
            copy(from: newValue, to: positions.lowerBound)
        }
    }

    /// Copies elements in.
    ///
    /// - Parameters:
    ///   - source: What to copy; it must fit.
    ///   - start: The position of the first.
    public func copy(from source: some Collection<Element>, to start: Int = 0) {
        precondition(
            start >= 0 && start <= count && source.count <= count - start,
            "elements outside the array")
        var position = start
        for element in source {
            unsafe elements[position] = element
            position += 1
        }
    }

    /// All elements, copied out.
    public func snapshot() -> [Element] {
        withSpan { span in indices.map { span[$0] } }
    }

    /// Runs `body` with the elements in place, to be read, and no lock.
    ///
    /// - Returns: What `body` returns.
    /// - Throws: What `body` throws.
    public func withSpan<Result, Failure: Error>(
        _ body: (Span<Element>) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        let buffer = unsafe UnsafeBufferPointer(start: elements, count: count)
        return try withExtendedLifetimeOf(self) { () throws(Failure) -> Result in
            try body(unsafe buffer.span)
        }
    }

    /// Runs `body` with the elements in place, to be changed, and no lock.
    ///
    /// - Returns: What `body` returns.
    /// - Throws: What `body` throws.
    public func withMutableSpan<Result, Failure: Error>(
        _ body: (inout MutableSpan<Element>) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        let buffer = unsafe UnsafeMutableBufferPointer(start: elements, count: count)
        return try withExtendedLifetimeOf(self) { () throws(Failure) -> Result in
            var span = unsafe buffer.mutableSpan
            return try body(&span)
        }
    }

    // MARK: Locked

    /// Runs `body` with the elements in place, to be changed, while holding the array's lock.
    ///
    /// - Parameters:
    ///   - timeout: The longest wait for the lock; `nil` waits without limit.
    ///   - body: What to do.
    /// - Returns: What `body` returns.
    /// - Throws: `timedOut`, `deadlock`; `notRepaired` if the last holder died in it, as the elements may
    ///   be half changed and this form has no `repair` (where any elements will do, give an empty one);
    ///   `notRecoverable` after that; in which cases `body` did not run. Or what `body` throws.
    public func withLock<Result>(
        timeout: Duration? = nil, _ body: (inout MutableSpan<Element>) throws -> Result
    ) throws -> Result {
        try withLock(timeout: timeout, repair: Self.cannotRepair, body)
    }

    /// Runs `body` with the elements in place, to be changed, while holding the array's lock, after
    /// `repair` if the last holder died in it.
    ///
    /// - Parameters:
    ///   - timeout: The longest wait for the lock; `nil` waits without limit.
    ///   - repair: Makes elements that belong together whole again. If it throws, the array's lock
    ///     throws `notRecoverable` for everybody from then on.
    ///   - body: What to do.
    /// - Returns: What `body` returns.
    /// - Throws: `timedOut`, `deadlock`, `notRecoverable` (a holder died, and its elements were not
    ///   repaired), or what `repair` or `body` throws.
    public func withLock<Result>(
        timeout: Duration? = nil, repair: (inout MutableSpan<Element>) throws -> Void,
        _ body: (inout MutableSpan<Element>) throws -> Result
    ) throws -> Result {
        try lock.withLock(timeout: timeout) { holder in
            try use(holder, repair, body)
        }
    }

    /// Runs `body` with the elements in place, to be changed, while holding the array's lock, which it
    /// acquires without holding a thread.
    ///
    /// - Parameters:
    ///   - timeout: The longest wait for the lock; `nil` waits without limit.
    ///   - isolation: Where `body` runs: where the caller does.
    ///   - body: What to do. It cannot `await`.
    /// - Returns: What `body` returns.
    /// - Throws: As the blocking form, and `CancellationError`, if `body` did not run.
    public func withLock<Result>(
        timeout: Duration? = nil, isolation: isolated (any Actor)? = #isolation,
        _ body: (inout MutableSpan<Element>) throws -> Result
    ) async throws -> Result {
        try await withLock(
            timeout: timeout, isolation: isolation, repair: Self.cannotRepair, body)
    }

    /// Runs `body` after `repair`, if the last holder died in it, but acquires the array's lock without
    /// holding a thread.
    ///
    /// - Parameters:
    ///   - timeout: The longest wait for the lock; `nil` waits without limit.
    ///   - isolation: Where both run: where the caller does.
    ///   - repair: As in the blocking form. It cannot `await`.
    ///   - body: What to do. It cannot `await`.
    /// - Returns: What `body` returns.
    /// - Throws: As the blocking form, and `CancellationError`, if neither ran.
    public func withLock<Result>(
        timeout: Duration? = nil, isolation: isolated (any Actor)? = #isolation,
        repair: (inout MutableSpan<Element>) throws -> Void,
        _ body: (inout MutableSpan<Element>) throws -> Result
    ) async throws -> Result {
        try await lock.withLock(timeout: timeout, isolation: isolation) { holder in
            try use(holder, repair, body)
        }
    }

    /// What repairs where nothing was given for it: the lock is then of no use to anybody.
    private static func cannotRepair(_ span: inout MutableSpan<Element>) throws(SharedStateError) {
        throw SharedStateError(
            .notRepaired,
            "a holder of the array's lock died, its elements may be half changed, and `withLock` was "
                + "given no `repair`: make the array anew")
    }

    private func use<Result>(
        _ holder: borrowing Lock.Holder, _ repair: (inout MutableSpan<Element>) throws -> Void,
        _ body: (inout MutableSpan<Element>) throws -> Result
    ) throws -> Result {
        if holder.inheritedFromDead {
            try withMutableSpan(repair)
            holder.markRepaired()
        }
        return try withMutableSpan(body)
    }
}

extension SharedArray: Sequence {
    /// The elements in order, each as it is when it is reached.
    public struct Iterator: IteratorProtocol {
        private let array: SharedArray
        private var position = 0

        fileprivate init(_ array: SharedArray) {
            self.array = array
        }

        /// The next element.
        public mutating func next() -> Element? {
            guard position < array.count else { return nil }
            defer { position += 1 }
            return array[position]
        }
    }

    /// An iteration from the first element on, without a lock.
    public func makeIterator() -> Iterator { Iterator(self) }

    /// The number of elements.
    public var underestimatedCount: Int { count }
}

/// As the standard library's, for a body that throws one type of error.
private func withExtendedLifetimeOf<Result, Failure: Error>(
    _ object: AnyObject, _ body: () throws(Failure) -> Result
) throws(Failure) -> Result {
    defer { withExtendedLifetime(object) {} }
    return try body()
}
