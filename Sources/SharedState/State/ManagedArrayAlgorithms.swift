// SPDX-License-Identifier: Apache-2.0

extension ManagedArray {
    /// Adds elements after the last, all at once.
    public static func += (array: ManagedArray, elements: some Sequence<Element>) throws {
        try array.append(contentsOf: elements)
    }

    /// Repeats the elements so often, all at once.
    ///
    /// - Parameters:
    ///   - array: The array.
    ///   - times: 0 removes all.
    /// - Throws: As `ManagedArray.update(_:)`.
    public static func *= (array: ManagedArray, times: Int) throws {
        try array.update { elements in
            elements = (0..<max(times, 0)).flatMap { _ in elements }
        }
    }

    /// The elements, and others after them, as an array of this process.
    public static func + (array: ManagedArray, elements: some Sequence<Element>) throws -> [Element]
    {
        try array.snapshot() + elements
    }

    /// Another array with the same elements, in the same region.
    public func copy() throws -> ManagedArray {
        try ManagedArray(snapshot(), in: core.object.region)
    }

    /// Exchanges two elements, all at once.
    public func swapAt(_ i: Int, _ j: Int) throws {
        try core.withLock {
            let (a, b) = (try self[i], try self[j])
            let range = min(i, j)..<max(i, j) + 1
            guard range.count > 1 else { return }
            var elements = try self[range]
            elements[i - range.lowerBound] = b
            elements[j - range.lowerBound] = a
            try replaceSubrange(range, with: elements)
        }
    }

    /// Reverses the order of the elements, all at once.
    public func reverse() throws {
        try update { $0.reverse() }
    }

    /// Sorts the elements, all at once.
    ///
    /// - Parameter areInIncreasingOrder: As for an array of Swift's.
    /// - Throws: As `ManagedArray.update(_:)`.
    public func sort(by areInIncreasingOrder: (Element, Element) throws -> Bool) throws {
        try update { try $0.sort(by: areInIncreasingOrder) }
    }

    /// Removes the elements for which `shouldBeRemoved` is true, all at once.
    public func removeAll(where shouldBeRemoved: (Element) throws -> Bool) throws {
        try update { try $0.removeAll(where: shouldBeRemoved) }
    }

    /// The first index of an element for which `predicate` is true, as in ``snapshot()``.
    public func firstIndex(where predicate: (Element) throws -> Bool) throws -> Int? {
        try snapshot().firstIndex(where: predicate)
    }
}

extension ManagedArray where Element: Comparable {
    /// Sorts the elements, all at once.
    public func sort() throws {
        try update { $0.sort() }
    }
}

extension ManagedArray where Element: Equatable {
    /// The first index of an element, as in ``snapshot()``; `nil` if it is not there.
    public func firstIndex(of element: Element) throws -> Int? {
        try snapshot().firstIndex(of: element)
    }

    /// Whether an element is there, as in ``snapshot()``.
    public func contains(_ element: Element) throws -> Bool {
        try snapshot().contains(element)
    }

    /// How often an element is there, as in ``snapshot()``.
    public func count(of element: Element) throws -> Int {
        try snapshot().count { $0 == element }
    }

    /// Removes the first of the elements that are equal to one, in one step.
    ///
    /// - Returns: Whether there was one.
    @discardableResult
    public func remove(_ element: Element) throws -> Bool {
        try core.withLock {
            guard let index = try firstIndex(of: element) else { return false }
            try removeSubrange(index..<index + 1)
            return true
        }
    }
}

extension ManagedArray {
    /// Reads an element of plain bits where it lies; writers wait meanwhile.
    ///
    /// - Parameters:
    ///   - index: Which.
    ///   - body: Reads it; it must not change this array.
    /// - Returns: What `body` returns.
    /// - Throws: `invalidArgument` (there are not that many), `incompatible`, or what `body` throws.
    public func withElement<Item: BitwiseCopyable, Result>(
        at index: Int, _ body: (Span<Item>) throws -> Result
    ) throws -> Result where Element == [Item] {
        guard index >= 0 else { throw Self.noElement(at: index) }
        return try core.withLock {
            try unsafe core.withPeek(at: index) { bytes in
                guard codec.isPlainArray, let start = bytes.baseAddress,
                    UInt(bitPattern: start) % UInt(MemoryLayout<Item>.alignment) == 0,
                    bytes.count % MemoryLayout<Item>.stride == 0
                else {
                    let copy = try unsafe codec.decodeStored(bytes)
                    return try body(copy.span)
                }
                return unsafe try body(bytes.bindMemory(to: Item.self).span)
            }
        }
    }
}
