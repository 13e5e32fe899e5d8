// SPDX-License-Identifier: Apache-2.0

/// The elements of a ``Queue`` as they come, for a `for` loop that blocks its thread.
///
/// It ends when the stream does: at its end, or by ``Queue/cancel()``. `next()` cannot throw, so
/// anything else that goes wrong, such as an element that cannot be decoded, stops the program; call
/// `get()` in a loop, or iterate over the queue itself with `for try await`, to handle it.
public struct QueueElements<Element: Sendable>: Sequence, IteratorProtocol, Sendable {
    internal let queue: Queue<Element>

    /// Takes the next element, waiting for it; `nil` at the end.
    public mutating func next() -> Element? {
        do {
            return try queue.get()
        } catch let error as SharedStateError where [.finished, .closed].contains(error.code) {
            return nil
        } catch {
            fatalError("an element of a queue would be lost: \(error)")
        }
    }
}

extension Queue {
    /// The elements as they come, until the end, for a `for` loop that blocks.
    ///
    /// Elements are shared out between all who get and iterate.
    public var elements: QueueElements<Element> { QueueElements(queue: self) }
}

extension Queue: AsyncSequence {
    /// Takes elements as they come, holding no thread while it waits.
    public struct AsyncIterator: AsyncIteratorProtocol {
        fileprivate let queue: Queue

        /// Takes the next element, waiting for it; `nil` at the end.
        ///
        /// - Throws: As `get` of ``Queue``, save `finished`.
        public mutating func next() async throws -> Element? {
            do {
                return try await queue.get()
            } catch let error as SharedStateError where error.code == .finished {
                return nil
            }
        }
    }

    /// An iterator that takes; elements are shared out between all who get and iterate.
    public func makeAsyncIterator() -> AsyncIterator {
        AsyncIterator(queue: self)
    }
}
