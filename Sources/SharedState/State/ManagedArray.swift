// SPDX-License-Identifier: Apache-2.0

internal import CShm

/// An array in shared memory that every process of the family reads and changes in place.
///
/// Appending, removing at either end, and setting an element cost the same at any length. Inserting,
/// removing and replacing in the middle copy a word for each element. Each call is one step: others
/// see all of it or nothing, also those that change many elements. Reading takes no lock, and a slice
/// is of one instant.
///
/// An element that is itself a handle, such as a `ManagedDictionary`, is live: what one process does
/// to it, all see; how long it lives, ``Manager`` says. One that is not is a copy: change it by
/// ``update(at:_:)``.
///
/// An index that is out of range throws `invalidArgument`: with other processes about, no check before
/// a call can rule it out.
///
/// - Processes, threads: safe. Reads take no lock. Tasks: writes may block the thread.
/// - Death: a writer killed at any instruction has done all of its call or nothing. A *stopped* writer
///   holds up other writers.
///
/// The corresponding C header is `cshm/list.h`.
@safe
public final class ManagedArray<Element: Sendable>: Sendable, Codable {
    internal let core: ListCore
    internal let codec: MessageCodec<Element>

    // MARK: Making one

    private init(
        _ object: SharedObject, _ codec: MessageCodec<Element>
    ) throws(SharedStateError) {
        core = try ListCore(object, tag: Self.tag, of: ManagedArray.self)
        self.codec = codec
    }

    internal static var tag: UInt64 { typeTag(Element.self) }

    /// Makes an empty array.
    ///
    /// - Parameter region: Where it lives; `nil` is the family's region.
    /// - Throws: `cannotCross`, `full`, `system`.
    public convenience init(in region: Region? = nil) throws(SharedStateError) {
        let codec = try MessageCodec<Element>()
        try self.init(
            try ListCore.make(tag: Self.tag, holds: codec.mayNameHandles, in: region), codec)
    }

    /// Makes an array with elements.
    ///
    /// - Throws: As ``init(in:)``, or what encoding throws.
    public convenience init(
        _ elements: some Sequence<Element>, in region: Region? = nil
    ) throws {
        try self.init(in: region)
        try append(contentsOf: elements)
    }

    /// Makes an empty array and gives it a name.
    ///
    /// Any program that opens the region finds it by that. It lives as long as its region.
    ///
    /// - Parameters:
    ///   - name: 1 to 200 bytes.
    ///   - region: Where it lives; `nil` is the family's region.
    /// - Throws: `alreadyExists`, `cannotCross`, `full`, `system`.
    public convenience init(creating name: String, in region: Region?) throws(SharedStateError) {
        let codec = try MessageCodec<Element>()
        try self.init(
            try ListCore.make(named: name, tag: Self.tag, holds: codec.mayNameHandles, in: region),
            codec)
    }

    /// Opens the array of that name.
    ///
    /// - Throws: `notFound`, `incompatible` (not an array of such elements), `cannotCross`.
    public convenience init(opening name: String, in region: Region?) throws(SharedStateError) {
        let codec = try MessageCodec<Element>()
        try self.init(try SharedObject(opening: name, in: region, kind: CSHM_KIND_LIST), codec)
    }

    /// Opens the array a sent handle names.
    public convenience init(from decoder: any Decoder) throws {
        let place = try ObjectPlace(from: decoder)
        let codec = try MessageCodec<Element>()
        try self.init(SharedObject(arriving: place), codec)
    }

    /// Sends the handle; the array then lives as long as its region, or, if it is sent by queues and
    /// stored in containers only, as long as anybody has it.
    public func encode(to encoder: any Encoder) throws {
        try core.object.place(endedAs: CSHM_KIND_LIST).encode(to: encoder)
    }

    // MARK: Looking

    /// Elements in it, at some instant of the call.
    public var count: Int { core.count }

    /// Whether it has none.
    public var isEmpty: Bool { count == 0 }

    /// An element.
    ///
    /// - Throws: `invalidArgument` (there are not that many), `incompatible`, or what decoding throws.
    public subscript(index: Int) -> Element {
        get throws {
            guard let element = try element(at: index) else {
                throw Self.noElement(at: index)
            }
            return element
        }
    }

    /// Elements as they were together at one instant.
    ///
    /// - Throws: `invalidArgument` (there are not that many), `incompatible`, or what decoding throws.
    public subscript(range: some RangeExpression<Int>) -> [Element] {
        get throws {
            let range = range.relative(to: 0..<count)
            let elements = try slice(from: range.lowerBound, count: range.count)
            guard elements.count == range.count else {
                throw Self.noElement(at: range.upperBound - 1)
            }
            return elements
        }
    }

    /// The first element; `nil` if there is none.
    public var first: Element? { get throws { try element(at: 0) } }

    /// The last element, at some instant of the call; `nil` if there is none.
    public var last: Element? {
        get throws {
            while true {
                let count = count
                if count == 0 { return nil }
                if let last = try element(at: count - 1), self.count == count { return last }
            }
        }
    }

    /// All elements, as they were together at one instant.
    ///
    /// - Throws: `incompatible`, or what decoding throws.
    public func snapshot() throws -> [Element] {
        try slice(from: 0, count: .max)
    }

    internal func element(at index: Int) throws -> Element? {
        guard index >= 0 else { return nil }
        func read() throws -> Element? {
            try unsafe core.withCopy(
                "cshm_list_get",
                by: { unsafe cshm_list_get(core.pointer, UInt64(index), $0, $1, &$2) }
            ) { try unsafe codec.decodeStored($0) }
        }
        return try HandleEnded.readingAgain(read) { try core.withLockHeld(read) }
    }

    private func slice(from: Int, count: Int) throws -> [Element] {
        guard from >= 0 else { throw Self.noElement(at: from) }
        func read() throws -> [Element] {
            try unsafe core.slice(from: from, count: count) { try unsafe codec.decodeStored($0) }
        }
        return try HandleEnded.readingAgain(read) { try core.withLockHeld(read) }
    }

    internal static func noElement(at index: Int) -> SharedStateError {
        SharedStateError(.invalidArgument, "\(Self.self) has no element at \(index)")
    }

    // MARK: One element

    /// Sets an element.
    ///
    /// - Throws: `invalidArgument` (there are not that many), `full`, `incompatible`, or what encoding
    ///   throws. Nothing has changed then; and so below.
    public func set(_ element: Element, at index: Int) throws {
        guard index >= 0 else { throw Self.noElement(at: index) }
        try unsafe codec.withStored(of: element, in: core.object.region) { bytes in
            _ = try unsafe core.confirm(
                cshm_list_set(
                    core.pointer, UInt64(index), bytes.baseAddress, UInt64(bytes.count)),
                "cshm_list_set")
        }
    }

    /// Adds an element after the last.
    public func append(_ element: Element) throws {
        try unsafe codec.withStored(of: element, in: core.object.region) { bytes in
            _ = try unsafe core.confirm(
                cshm_list_push_back(core.pointer, bytes.baseAddress, UInt64(bytes.count)),
                "cshm_list_push_back")
        }
    }

    /// Adds an element before the first.
    public func prepend(_ element: Element) throws {
        try unsafe codec.withStored(of: element, in: core.object.region) { bytes in
            _ = try unsafe core.confirm(
                cshm_list_push_front(core.pointer, bytes.baseAddress, UInt64(bytes.count)),
                "cshm_list_push_front")
        }
    }

    /// Removes the last element.
    ///
    /// - Returns: It; `nil` if there is none.
    public func popLast() throws -> Element? {
        if codec.mayNameHandles {
            return try unsafe popHolding(at: { count - 1 }, cshm_list_pop_back)
        }
        return try unsafe core.withCopy(
            "cshm_list_pop_back", by: { unsafe cshm_list_pop_back(core.pointer, $0, $1, &$2) }
        ) { try unsafe codec.decode($0) }
    }

    /// Removes the first element.
    ///
    /// - Returns: It; `nil` if there is none.
    public func popFirst() throws -> Element? {
        if codec.mayNameHandles { return try unsafe popHolding(at: { 0 }, cshm_list_pop_front) }
        return try unsafe core.withCopy(
            "cshm_list_pop_front", by: { unsafe cshm_list_pop_front(core.pointer, $0, $1, &$2) }
        ) { try unsafe codec.decode($0) }
    }

    /// What an element holds, this process has before the array lets it go.
    private func popHolding(
        at index: () -> Int,
        _ pop: (OpaquePointer?, UnsafeMutableRawPointer?, UInt64, UnsafeMutablePointer<UInt64>?) ->
            Int32
    ) throws -> Element? {
        try core.withLockHeld {
            guard count > 0 else { return nil }
            let element = try unsafe core.withPeek(at: index()) { bytes in
                try unsafe codec.decodeStored(bytes)
            }
            _ = try unsafe core.withCopy(
                "cshm_list_pop", by: { unsafe pop(core.pointer, $0, $1, &$2) }
            ) { _ in }
            return element
        }
    }

    /// Inserts an element before the one at an index, or at the end.
    public func insert(_ element: Element, at index: Int) throws {
        try replaceSubrange(index..<index, with: CollectionOfOne(element))
    }

    /// Removes an element.
    ///
    /// - Returns: It.
    @discardableResult
    public func remove(at index: Int) throws -> Element {
        try core.withLock {
            let element = try self[index]
            try core.splice(from: index, count: 1, [])
            return element
        }
    }

    /// Reads, changes and writes one element in one step: no other process comes between.
    ///
    /// - Parameters:
    ///   - index: Which.
    ///   - body: Changes the element. If it throws, nothing changes.
    /// - Returns: What `body` returns.
    /// - Throws: `invalidArgument` (there are not that many), `deadlock` (from within another `update`
    ///   of this array), `full`, or what `body`, encoding or decoding throw.
    @discardableResult
    public func update<Result>(
        at index: Int, _ body: (inout Element) throws -> Result
    ) throws -> Result {
        try core.withLock {
            var element = try self[index]
            let result = try body(&element)
            try set(element, at: index)
            return result
        }
    }

    // MARK: Many elements

    /// Adds elements after the last, all at once.
    public func append(contentsOf elements: some Sequence<Element>) throws {
        try withBytes(of: elements) { values in
            try core.withLock { try core.splice(from: count, count: 0, values) }
        }
    }

    /// Inserts elements before the one at an index, or at the end, all at once.
    public func insert(contentsOf elements: some Sequence<Element>, at index: Int) throws {
        try replaceSubrange(index..<index, with: elements)
    }

    /// Puts elements in the place of others, all at once.
    public func replaceSubrange(
        _ range: some RangeExpression<Int>, with elements: some Sequence<Element>
    ) throws {
        let range = range.relative(to: 0..<count)
        guard range.lowerBound >= 0 else { throw Self.noElement(at: range.lowerBound) }
        try withBytes(of: elements) {
            try core.splice(from: range.lowerBound, count: range.count, $0)
        }
    }

    /// Removes elements, all at once.
    public func removeSubrange(_ range: some RangeExpression<Int>) throws {
        try replaceSubrange(range, with: EmptyCollection())
    }

    /// Removes all elements.
    public func removeAll() throws {
        try core.withLock { try core.splice(from: 0, count: count, []) }
    }

    /// Reads, changes and writes all elements in one step: no other process comes between.
    ///
    /// - Parameter body: Changes them, as an array. If it throws, nothing changes.
    /// - Returns: What `body` returns.
    /// - Throws: As ``update(at:_:)``.
    @discardableResult
    public func update<Result>(_ body: (inout [Element]) throws -> Result) throws -> Result {
        try core.withLock {
            var elements = try snapshot()
            let before = elements.count
            let result = try body(&elements)
            try withBytes(of: elements) { try core.splice(from: 0, count: before, $0) }
            return result
        }
    }

    /// What the elements hold is there while `body` stores them.
    private func withBytes(
        of elements: some Sequence<Element>, _ body: ([[UInt8]]) throws -> Void
    ) throws {
        let stored = try elements.map { try codec.stored($0, in: core.object.region) }
        try body(stored.map(\.bytes))
        for element in stored { element.isStored() }
    }
}
