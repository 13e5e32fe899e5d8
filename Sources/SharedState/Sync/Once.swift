// SPDX-License-Identifier: Apache-2.0

internal import CShm

/// Something that is done once, by whichever process of the family comes first.
///
///     try once.run { _ in try buildIndex() }      // in every process that needs the index
///
/// - Processes: safe; send it to a worker like any value. Threads, tasks: safe. Running it from
///   within its own body waits for ever.
/// - Death: if the process that runs it dies, one that waits, or the next that comes, runs it, and is
///   told so. One that is stopped is alive: the others wait.
///
/// The corresponding C header is `cshm/once.h`.
@safe
public final class Once: Sendable, Codable {
    /// How a body came to be run.
    @frozen
    public enum Attempt: Sendable {
        /// Nobody died in it.
        case first
        /// Another process died in the middle of it: what it made may be half done.
        case afterDeath
    }

    private let object: SharedObject
    private nonisolated(unsafe) let once: UnsafeMutablePointer<cshm_once>
    private static var size: Int { MemoryLayout<cshm_once>.size }

    private init(_ object: SharedObject) throws(SharedStateError) {
        self.object = object
        unsafe once = try object.address(size: Self.size).assumingMemoryBound(to: cshm_once.self)
        try unsafe check(cshm_once_is_done(once), "cshm_once_is_done")
    }

    /// Makes one that is not done.
    ///
    /// - Parameter region: Where it lives; `nil` is the family's region.
    /// - Throws: `full`, `system`.
    public convenience init(in region: Region? = nil) throws(SharedStateError) {
        try self.init(Self.make(in: region, named: nil))
    }

    /// Makes one with a name, by which any program that opens the region finds it.
    ///
    /// - Parameters:
    ///   - name: 1 to 200 bytes.
    ///   - region: Where it lives; `nil` is the family's region.
    /// - Throws: `alreadyExists`, `invalidArgument`, `full`, `system`.
    public convenience init(creating name: String, in region: Region?) throws(SharedStateError) {
        try self.init(Self.make(in: region, named: name))
    }

    /// Opens the one of that name.
    ///
    /// - Throws: `notFound`, `incompatible` (it is something else).
    public convenience init(opening name: String, in region: Region?) throws(SharedStateError) {
        try self.init(SharedObject(opening: name, in: region, kind: CSHM_KIND_ONCE))
    }

    /// Opens the one a sent handle names.
    public convenience init(from decoder: any Decoder) throws {
        let place = try ObjectPlace(from: decoder)
        try self.init(SharedObject(arriving: place))
    }

    /// Sends the handle; it then lives as long as its region, or, if it is sent by queues and
    /// stored in containers only, as long as anybody has it.
    public func encode(to encoder: any Encoder) throws {
        try object.place().encode(to: encoder)
    }

    deinit {
        object.freeUnlessSent()
    }

    private static func make(
        in region: Region?, named name: String?
    ) throws(SharedStateError) -> SharedObject {
        try unsafe SharedObject.make(size, in: region, named: name, kind: CSHM_KIND_ONCE) {
            unsafe cshm_once_init($0.assumingMemoryBound(to: cshm_once.self))
        }
    }

    /// Whether it is done.
    public var isDone: Bool { unsafe cshm_once_is_done(once) == 1 }

    /// Runs `body`, unless it is done; waits if another runs it now.
    ///
    /// - Parameters:
    ///   - timeout: The longest wait for another; `nil` waits without limit.
    ///   - body: What is to be done. If it throws, it is not done: the next one runs it.
    /// - Returns: Whether it was this call that ran it.
    /// - Throws: `timedOut`, `incompatible`, or what `body` throws.
    @discardableResult
    public func run(
        timeout: Duration? = nil, _ body: (Attempt) throws -> Void
    ) throws -> Bool {
        let until = deadline(after: timeout)
        let status = try unsafe check(
            cshm_once_begin_until(object.region.pointer, once, until), "cshm_once_begin_until")
        guard let attempt = Attempt(status) else { return false }
        return try finish(attempt, body)
    }

    /// Runs `body`, unless it is done; waits if another runs it now, without holding a thread.
    ///
    /// - Parameters:
    ///   - timeout: The longest wait for another; `nil` waits without limit.
    ///   - isolation: The caller's actor, on which `body` runs.
    ///   - body: What is to be done. If it throws, it is not done: the next one runs it.
    /// - Returns: Whether it was this call that ran it.
    /// - Throws: As the blocking form, and `CancellationError`; then this call did not run it.
    @discardableResult
    public func run(
        timeout: Duration? = nil, isolation: isolated (any Actor)? = #isolation,
        _ body: (Attempt) async throws -> Void
    ) async throws -> Bool {
        guard let attempt = try await begin(deadline(after: timeout)) else { return false }
        do {
            try await body(attempt)
        } catch {
            end(done: false)
            throw error
        }
        end(done: true)
        return true
    }

    /// As the other `async` form, for a body that does not `await`.
    @discardableResult
    public func run(
        timeout: Duration? = nil, isolation: isolated (any Actor)? = #isolation,
        _ body: (Attempt) throws -> Void
    ) async throws -> Bool {
        guard let attempt = try await begin(deadline(after: timeout)) else { return false }
        return try finish(attempt, body)
    }

    private func begin(_ until: Int64) async throws -> Attempt? {
        try Task.checkCancellation()
        let attempt: @Sendable () -> Int32 = { [self] in
            unsafe cshm_once_try_begin(object.region.pointer, once)
        }
        var status = attempt()
        if status == Answer.wouldWait {
            let place = unsafe Reactor.Place { unsafe cshm_once_waitable(once, $0) }
            status = try await Reactor.wait(at: place, until: until, attempt: attempt)
        }
        return Attempt(try check(status, "cshm_once_try_begin"))
    }

    private func finish(_ attempt: Attempt, _ body: (Attempt) throws -> Void) throws -> Bool {
        do {
            try body(attempt)
        } catch {
            end(done: false)
            throw error
        }
        end(done: true)
        return true
    }

    private func end(done: Bool) {
        _ = unsafe cshm_once_end(object.region.pointer, once, done ? 1 : 0)
    }
}

extension Once.Attempt {
    /// `nil` if there is nothing left to do.
    fileprivate init?(_ status: Int32) {
        switch status {
        case Int32(CSHM_ONCE_RUN): self = .first
        case Int32(CSHM_ONCE_RUN_AGAIN): self = .afterDeath
        default: return nil
        }
    }
}
