// SPDX-License-Identifier: Apache-2.0

internal import CShm

/// So many things that must be done, by any processes of the family, before those who wait go on.
///
/// It is used once; to meet again and again use ``Barrier``, which also tells of deaths: a latch does
/// not know who is to count, so give it a time-out where that process may die.
///
/// - Processes: safe; send it to a worker like any value. Threads, tasks: safe.
///
/// The corresponding C header is `cshm/latch.h`.
@safe
public final class Latch: Sendable, Codable {
    private let object: SharedObject
    private nonisolated(unsafe) let latch: UnsafeMutablePointer<cshm_latch>
    private static var size: Int { MemoryLayout<cshm_latch>.size }

    private init(_ object: SharedObject) throws(SharedStateError) {
        self.object = object
        unsafe latch = try object.address(size: Self.size)
            .assumingMemoryBound(to: cshm_latch.self)
        try unsafe check(cshm_latch_count(latch), "cshm_latch_count")
    }

    /// Makes a latch.
    ///
    /// - Parameters:
    ///   - count: How many things are to be done, 0 to 2,147,483,647.
    ///   - region: Where it lives; `nil` is the family's region.
    /// - Throws: `invalidArgument`, `full`, `system`.
    public convenience init(count: Int, in region: Region? = nil) throws(SharedStateError) {
        try self.init(Self.make(count, in: region, named: nil))
    }

    /// Makes a latch with a name, by which any program that opens the region finds it.
    ///
    /// - Parameters:
    ///   - name: 1 to 200 bytes.
    ///   - region: Where it lives; `nil` is the family's region.
    ///   - count: As for ``init(count:in:)``.
    /// - Throws: `alreadyExists`, `invalidArgument`, `full`, `system`.
    public convenience init(
        creating name: String, in region: Region?, count: Int
    ) throws(SharedStateError) {
        try self.init(Self.make(count, in: region, named: name))
    }

    /// Opens the latch of that name.
    ///
    /// - Throws: `notFound`, `incompatible` (not a latch).
    public convenience init(opening name: String, in region: Region?) throws(SharedStateError) {
        try self.init(SharedObject(opening: name, in: region, kind: CSHM_KIND_LATCH))
    }

    /// Opens the latch a sent handle names.
    public convenience init(from decoder: any Decoder) throws {
        let place = try ObjectPlace(from: decoder)
        try self.init(SharedObject(arriving: place))
    }

    /// Sends the handle; the latch then lives as long as its region, or, if it is sent by queues and
    /// stored in containers only, as long as anybody has it.
    public func encode(to encoder: any Encoder) throws {
        try object.place().encode(to: encoder)
    }

    deinit {
        object.freeUnlessSent()
    }

    private static func make(
        _ count: Int, in region: Region?, named name: String?
    ) throws(SharedStateError) -> SharedObject {
        guard (0...Int(Int32.max)).contains(count) else {
            throw SharedStateError(
                .invalidArgument, "a latch counts from 0 to 2147483647, not \(count)")
        }
        return try unsafe SharedObject.make(size, in: region, named: name, kind: CSHM_KIND_LATCH) {
            _ = unsafe cshm_latch_init($0.assumingMemoryBound(to: cshm_latch.self), UInt32(count))
        }
    }

    /// What is left to be done.
    public var count: Int { max(0, Int(unsafe cshm_latch_count(latch))) }

    /// Says that some of it is done; at 0 everybody goes on, now and later.
    ///
    /// - Parameter count: How much, at least 0; more than is left counts as all.
    /// - Returns: What is left.
    @discardableResult
    public func countDown(by count: Int = 1) -> Int {
        let count = UInt32(clamping: count)
        return max(0, Int(unsafe cshm_latch_count_down(latch, count)))
    }

    /// Waits until nothing is left.
    ///
    /// - Parameter timeout: The longest wait; `nil` waits without limit.
    /// - Returns: `true`, or `false` if the time-out passed first.
    /// - Throws: `incompatible` (damaged bytes).
    @discardableResult
    public func wait(timeout: Duration? = nil) throws(SharedStateError) -> Bool {
        let status = unsafe cshm_latch_wait_until(latch, deadline(after: timeout))
        return try hasPassed(status, "cshm_latch_wait_until")
    }

    /// Waits until nothing is left, without holding a thread.
    ///
    /// - Parameter timeout: The longest wait; `nil` waits without limit.
    /// - Returns: As the blocking form.
    /// - Throws: As the blocking form, and `CancellationError`.
    @discardableResult
    public func wait(timeout: Duration? = nil) async throws -> Bool {
        try Task.checkCancellation()
        let place = unsafe Reactor.Place(.anyone) { unsafe cshm_latch_waitable(latch, $0) }
        let attempt: @Sendable () -> Int32 = { [self] in
            let left = unsafe cshm_latch_count(latch)
            return left > 0 ? Answer.wouldWait : left
        }
        var status = attempt()
        if status == Answer.wouldWait {
            status = try await Reactor.wait(
                at: place, until: deadline(after: timeout), attempt: attempt)
        }
        return try hasPassed(status, "cshm_latch_count")
    }
}
