// SPDX-License-Identifier: Apache-2.0

/// A number that every process of the family counts up and down, and whose changes can be waited for.
///
/// Counts by key are a ``ManagedDictionary`` of `Int`, by its `add`.
///
/// - Processes, threads, tasks: safe. Counting takes no lock and never waits.
/// - Death: each change happened or did not.
///
/// The corresponding C header is `cshm/atomic.h`.
public final class ManagedCounter: Sendable, Codable {
    private let number: SharedAtomic<Int>

    /// Makes a counter.
    ///
    /// - Parameters:
    ///   - value: What it begins with.
    ///   - region: Where it lives; `nil` is the family's region.
    /// - Throws: `full`, `system`.
    public init(_ value: Int = 0, in region: Region? = nil) throws(SharedStateError) {
        number = try SharedAtomic(value, in: region)
    }

    /// Makes a counter and gives it a name, by which any program that opens the region finds it.
    ///
    /// - Parameters:
    ///   - name: 1 to 200 bytes.
    ///   - value: What it begins with.
    ///   - region: Where it lives; `nil` is the family's region.
    /// - Throws: `alreadyExists`, `invalidArgument`, `full`, `system`.
    public init(
        creating name: String, _ value: Int = 0, in region: Region?
    ) throws(SharedStateError) {
        number = try SharedAtomic(creating: name, in: region, value)
    }

    /// Opens the counter of that name.
    ///
    /// - Throws: `notFound`, `incompatible` (it is something else).
    public init(opening name: String, in region: Region?) throws(SharedStateError) {
        number = try SharedAtomic(opening: name, in: region)
    }

    /// Opens the counter a sent handle names.
    public init(from decoder: any Decoder) throws {
        number = try SharedAtomic(from: decoder)
    }

    /// Sends the handle; the counter then lives as long as its region, or, if it is sent by queues and
    /// stored in containers only, as long as anybody has it.
    public func encode(to encoder: any Encoder) throws {
        try number.encode(to: encoder)
    }

    /// What it is now.
    public var value: Int { number.load() }

    /// Adds, wrapping around, and wakes who waits.
    ///
    /// - Parameter delta: What is added; it may be negative.
    /// - Returns: The sum.
    @discardableResult
    public func add(_ delta: Int) -> Int {
        let before = number.add(delta)
        number.notifyAll()
        return before &+ delta
    }

    /// Adds 1.
    ///
    /// - Returns: The sum.
    @discardableResult
    public func increment() -> Int { add(1) }

    /// Subtracts 1.
    ///
    /// - Returns: The difference.
    @discardableResult
    public func decrement() -> Int { add(-1) }

    /// Sets it.
    ///
    /// - Returns: What it was before.
    @discardableResult
    public func exchange(_ value: Int) -> Int {
        let before = number.exchange(value)
        number.notifyAll()
        return before
    }

    /// Waits until it is as asked for.
    ///
    /// - Parameters:
    ///   - timeout: The longest wait; `nil` waits without limit.
    ///   - condition: Whether a value will do. What it was for a moment only may be missed.
    /// - Returns: The value.
    /// - Throws: `timedOut`, or what `condition` throws.
    public func wait(
        timeout: Duration? = nil, until condition: (Int) throws -> Bool
    ) throws -> Int {
        let end = timeout.map { ContinuousClock.now + $0 }
        while true {
            let seen = value
            if try condition(seen) { return seen }
            let left = end.map { max(.zero, $0 - ContinuousClock.now) }
            if !number.wait(while: seen, timeout: left) { throw Self.timedOut }
        }
    }

    /// Waits until it is as asked for, without holding a thread.
    ///
    /// - Parameters:
    ///   - timeout: The longest wait; `nil` waits without limit.
    ///   - condition: As for the blocking form.
    /// - Returns: The value.
    /// - Throws: `CancellationError`, and as the blocking form.
    public func wait(
        timeout: Duration? = nil, until condition: @Sendable (Int) throws -> Bool
    ) async throws -> Int {
        let end = timeout.map { ContinuousClock.now + $0 }
        while true {
            let seen = value
            if try condition(seen) { return seen }
            let left = end.map { max(.zero, $0 - ContinuousClock.now) }
            guard try await number.wait(while: seen, timeout: left) else { throw Self.timedOut }
        }
    }

    private static var timedOut: SharedStateError {
        SharedStateError(.timedOut, "the counter was not as asked for in time")
    }
}
