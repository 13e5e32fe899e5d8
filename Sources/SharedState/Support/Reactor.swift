// SPDX-License-Identifier: Apache-2.0

internal import CShm
internal import Glibc
internal import Synchronization

/// The threads of this process on which tasks wait.
///
/// Use it where a noun's blocking form sleeps in C, for the `async` form of the same name:
///
///     try Task.checkCancellation()
///     if let element = try tryGet() { return element }            // no thread is needed
///     let place = unsafe Reactor.Place { unsafe cshm_queue_items(core.pointer, $0) }
///     let status = try await Reactor.wait(at: place, until: deadline(after: timeout)) { [core] in
///         unsafe cshm_queue_try_take(core.pointer, …)              // keeps the place mapped
///     }
///
/// A task that has to wait leaves its *attempt* here: a call of C that does not wait. A thread sleeps
/// on the parking words of all places that are waited at, and on a bell of its own. When it is woken,
/// at a waiter's deadline, and every 25 ms (for what a killed process did not wake any more), it makes
/// the attempts, and resumes a task when its own has an answer. At one place the attempts are made in
/// the order of their coming: the next one when the one before has an answer; or, at a place for
/// ``Order/anyone``, all of them.
///
/// An attempt and the cancellation of its task exclude each other, so that a task either has its
/// element or was cancelled, never both. Who leaves with nothing wakes another sleeper of its place:
/// the wake that brought the element may have been spent on it.
///
/// A thread serves as many places as one call of C can wait for, so a process has one as a rule. It
/// is started by the first task that waits and ends when none has waited for a while, in which it is
/// not woken by time: a process none of whose tasks waits is woken by nothing.
internal final class Reactor: Sendable {
    /// Who may try when something has happened at a place.
    enum Order: Sendable {
        /// The first that came; the next one once that has succeeded.
        case inTurn
        /// Everybody: they wait for different things.
        case anyone
    }

    /// A parking word, or a mutex's.
    ///
    /// Whoever waits there keeps it mapped, by what its attempt captures.
    @safe
    struct Place: Equatable, Sendable {
        fileprivate nonisolated(unsafe) let park: UnsafeMutablePointer<cshm_park>
        private let isMutex: UInt32
        fileprivate let order: Order

        init(_ park: UnsafeMutablePointer<cshm_park>, _ order: Order = .inTurn) {
            unsafe self.init(park, isMutex: 0, order)
        }

        private init(
            _ park: UnsafeMutablePointer<cshm_park>, isMutex: UInt32, _ order: Order
        ) {
            unsafe self.park = park
            self.isMutex = isMutex
            self.order = order
        }

        /// The place that a function of C, such as `cshm_queue_items()`, fills in.
        init(_ order: Order = .inTurn, _ fill: (UnsafeMutablePointer<cshm_waitable>) -> Void) {
            var waitable = unsafe cshm_waitable()
            unsafe fill(&waitable)
            unsafe self.init(waitable, order)
        }

        init(_ waitable: cshm_waitable, _ order: Order = .inTurn) {
            unsafe self.init(waitable.park, isMutex: waitable.is_mutex, order)
        }

        /// The same parking word, for those who do not wait for their turn.
        var forAnyone: Place { unsafe Place(park, isMutex: isMutex, .anyone) }

        /// Hands a wake on that may have been spent on one who had no use for it.
        func handOn() {
            var waitable = unsafe waitable(asking: nil, of: nil)
            unsafe cshm_hand_on(&waitable)
        }

        /// Wakes everybody who waits there.
        func wakeAll() {
            unsafe cshm_park_wake_all(park)
        }

        /// What C waits for: the answer of `isReady` to `object`, which the caller keeps.
        func waitable(
            asking isReady: (@convention(c) (UnsafeRawPointer?) -> Int32)?,
            of object: AnyObject?
        ) -> cshm_waitable {
            let object = unsafe object.map {
                unsafe UnsafeRawPointer(Unmanaged.passUnretained($0).toOpaque())
            }
            return unsafe cshm_waitable(
                park: park, is_ready: isReady, object: object, is_mutex: isMutex, is_private: 0)
        }

        static func == (a: Self, b: Self) -> Bool {
            unsafe a.park == b.park && a.order == b.order
        }
    }

    /// Makes an attempt until it has another answer than that it would have to wait.
    ///
    /// - Parameters:
    ///   - place: What is woken when the attempt may succeed.
    ///   - deadline: Absolute; the wait ends no earlier.
    ///   - attempt: A call that does not wait, made on a thread of the reactor's, one at a time. It
    ///     may be made at any time, and must keep the place's memory mapped.
    /// - Returns: That answer, or that the deadline has passed.
    /// - Throws: `CancellationError`; then the last attempt had no effect. `system` if there is no
    ///   thread to be had.
    static func wait(
        at place: Place, until deadline: Int64, attempt: @escaping @Sendable () -> Int32
    ) async throws -> Int32 {
        try await wait(at: [(place, attempt)], until: deadline)
    }

    /// As ``wait(at:until:attempt:)``, at several places, each with an attempt of its own; one of them
    /// succeeds.
    ///
    /// With `isNext` it goes before those that wait already.
    static func wait(
        at places: [(Place, @Sendable () -> Int32)], until deadline: Int64, isNext: Bool = false
    ) async throws -> Int32 {
        let wait = Wait()
        let answer = await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                guard wait.begin(continuation) else { return }
                for (place, attempt) in places {
                    add(Waiter(wait, until: deadline, isNext: isNext, attempt), at: place)
                }
            }
        } onCancel: {
            wait.cancel()
        }
        switch answer {
        case .status(let status): return status
        case .cancelled: throw CancellationError()
        case .noThread(let error): throw error
        }
    }

    /// The threads that run; locked before a thread's lines.
    private static let all = Mutex<[Reactor]>([])
    private static let mostLines = Int(CSHM_WAIT_MAX) - 1
    /// How long a thread stays when nobody waits.
    private static let patience: Int64 = 200_000_000

    private let lines = Mutex<[Line]>([])
    private let bell = Bell()

    /// Has the attempts at a place made again, though nothing has happened there.
    static func lookAgain(at place: Place) {
        let reactors = all.withLock { $0 }
        for reactor in reactors where reactor.hasLine(at: place) { reactor.bell.ring() }
    }

    private func hasLine(at place: Place) -> Bool {
        lines.withLock { lines in lines.contains { $0.place == place } }
    }

    private static func add(_ waiter: Waiter, at place: Place) {
        let (reactor, mustStart) = all.withLock { all in
            if let reactor = all.first(where: { $0.join(waiter, at: place) }) {
                return (reactor, false)
            }
            if let reactor = all.first(where: { $0.begin(place, with: waiter) }) {
                return (reactor, false)
            }
            let reactor = Reactor()
            _ = reactor.begin(place, with: waiter)
            all.append(reactor)
            return (reactor, true)
        }
        if mustStart { reactor.start() } else { reactor.bell.ring() }
    }

    /// Has it wait in the line that there is for the place.
    private func join(_ waiter: Waiter, at place: Place) -> Bool {
        lines.withLock { lines in
            guard let line = lines.first(where: { $0.place == place }) else { return false }
            line.add(waiter, bell)
            return true
        }
    }

    /// Makes a line for the place if there is room for one more.
    private func begin(_ place: Place, with waiter: Waiter) -> Bool {
        lines.withLock { lines in
            guard lines.count < Self.mostLines else { return false }
            let line = Line(place)
            line.add(waiter, bell)
            lines.append(line)
            return true
        }
    }

    // MARK: The thread

    private func start() {
        var thread = pthread_t()
        let context = unsafe Unmanaged.passRetained(self)
        let number = unsafe pthread_create(
            &thread, nil,
            { context in
                guard let context = unsafe context else { return nil }
                unsafe Unmanaged<Reactor>.fromOpaque(context).takeRetainedValue().run()
                return nil
            }, context.toOpaque())
        if number == 0 {
            _ = pthread_detach(thread)
        } else {
            unsafe context.release()
            giveUp(SharedStateError(status: -number, "pthread_create", "the reactor"))
        }
    }

    private func giveUp(_ error: SharedStateError) {
        Self.all.withLock { all in all.removeAll { $0 === self } }
        for line in lines.withLock({ $0 }) { line.fail(error) }
    }

    private func run() {
        // Signals belong to the program's own threads.
        var signals = sigset_t()
        unsafe sigfillset(&signals)
        unsafe pthread_sigmask(SIG_BLOCK, &signals, nil)
        nameThread("cshm-reactor")
        while true {
            let mustSweep = bell.quieten()
            let lines = self.lines.withLock { $0 }
            let end = lines.map(\.earliest).min() ?? cshm_now_ns() + Self.patience
            let status = sleep(at: lines, until: end)
            let now = cshm_now_ns()
            for line in lines { line.sweep(now, for: mustSweep) }
            self.lines.withLock { $0.removeAll(where: \.isEmpty) }
            if lines.isEmpty, status == Answer.timedOut, leave() { return }
        }
    }

    /// Sleeps until a line was served, the bell is rung or the time is up.
    private func sleep(at lines: [Line], until deadline: Int64) -> Int32 {
        var waitables = unsafe [bell.waitable]
        for line in lines { unsafe waitables.append(line.waitable) }
        // Those who wait keep their places mapped; some leave during the call, which goes on to use these.
        return withExtendedLifetime((lines, lines.map(\.everybody))) {
            unsafe cshm_wait_any(waitables, UInt32(waitables.count), deadline)
        }
    }

    /// For `top` and debuggers; glibc's function for it is not shown to Swift.
    private func nameThread(_ name: StaticString) {
        let file = unsafe open("/proc/thread-self/comm", O_WRONLY | O_CLOEXEC)
        guard file >= 0 else { return }
        unsafe _ = write(file, name.utf8Start, name.utf8CodeUnitCount)
        close(file)
    }

    private func leave() -> Bool {
        Self.all.withLock { all in
            guard lines.withLock({ $0.isEmpty }) else { return false }
            all.removeAll { $0 === self }
            return true
        }
    }
}

/// The bytes that an attempt took, on their way to the task.
internal final class ReceivedBytes: Sendable {
    let bytes = Mutex<[UInt8]>([])
}

/// What wakes a thread of the reactor's: a new waiter, or one that has left.
@safe
private final class Bell: Sendable {
    private nonisolated(unsafe) let park: UnsafeMutablePointer<cshm_park>
    private let isRung = Atomic(false)
    private let someLeft = Atomic(false)

    init() {
        unsafe park = .allocate(capacity: 1)
        unsafe park.initialize(to: cshm_park())
    }

    deinit {
        unsafe park.deallocate()
    }

    /// - Parameter left: Whether a waiter has left.
    func ring(left: Bool = false) {
        if left { someLeft.store(true, ordering: .sequentiallyConsistent) }
        isRung.store(true, ordering: .sequentiallyConsistent)
        unsafe cshm_park_wake_one(park)
    }

    /// What is rung for from now on counts for the next sleep.
    ///
    /// - Returns: Whether a waiter has left.
    func quieten() -> Bool {
        isRung.store(false, ordering: .sequentiallyConsistent)
        return someLeft.exchange(false, ordering: .sequentiallyConsistent)
    }

    /// For the thread itself, which keeps the bell.
    var waitable: cshm_waitable {
        unsafe cshm_waitable(
            park: park,
            is_ready: { object in
                guard let object = unsafe object else { return 0 }
                let bell = unsafe Unmanaged<Bell>.fromOpaque(object).takeUnretainedValue()
                return bell.isRung.load(ordering: .sequentiallyConsistent) ? 1 : 0
            },
            object: Unmanaged.passUnretained(self).toOpaque(), is_mutex: 0, is_private: 1)
    }
}

/// The tasks that wait at one place, in the order of their coming.
///
/// Any thread adds to it; only the reactor's makes attempts and takes out.
private final class Line: Sendable {
    private struct State {
        var waiters: [Waiter] = []
        /// No waiter's deadline is before it.
        var earliest = Int64.max
    }

    let place: Reactor.Place
    private let state = Mutex(State())

    init(_ place: Reactor.Place) {
        self.place = place
    }

    var isEmpty: Bool { state.withLock { $0.waiters.isEmpty } }
    var earliest: Int64 { state.withLock { $0.earliest } }
    var everybody: [Waiter] { state.withLock { $0.waiters } }

    func add(_ waiter: Waiter, _ bell: Bell) {
        state.withLock { state in
            state.waiters.insert(waiter, at: waiter.isNext ? 0 : state.waiters.count)
            state.earliest = min(state.earliest, waiter.deadline)
        }
        waiter.enter(bell)
    }

    /// Asked by C where it would ask whether the place is ready: has those try who may.
    ///
    /// The object that C is given is not kept by that.
    var waitable: cshm_waitable {
        unsafe place.waitable(
            asking: { object in
                guard let object = unsafe object else { return 0 }
                return unsafe Unmanaged<Line>.fromOpaque(object).takeUnretainedValue().serve()
                    ? 1 : 0
            }, of: self)
    }

    /// - Returns: Whether anybody waits no longer.
    private func serve() -> Bool {
        switch place.order {
        case .inTurn: serveInTurn()
        case .anyone: serveAll()
        }
    }

    private func serveInTurn() -> Bool {
        var hasServed = false
        while let waiter = state.withLock({ $0.waiters.first }), isOver(waiter) {
            remove(waiter)
            hasServed = true
        }
        return hasServed
    }

    /// Almost always the first; but another may have come before it.
    private func remove(_ waiter: Waiter) {
        state.withLock { state in
            guard let index = state.waiters.firstIndex(where: { $0 === waiter }) else { return }
            state.waiters.remove(at: index)
        }
    }

    private func serveAll() -> Bool {
        let over = state.withLock { $0.waiters }.filter(isOver)
        if !over.isEmpty { remove(over) }
        return !over.isEmpty
    }

    private func isOver(_ waiter: Waiter) -> Bool {
        switch waiter.turn() {
        case .waits: return false
        case .isServed: return true
        case .hasLeft:
            passOn()
            return true
        }
    }

    /// Takes those out that have left, or whose time is up.
    func sweep(_ now: Int64, for someLeft: Bool) {
        guard someLeft || earliest <= now else { return }
        let over = state.withLock { $0.waiters }.filter { $0.isOver(at: now) }
        if !over.isEmpty { passOn() }
        remove(over)
    }

    func fail(_ error: SharedStateError) {
        for waiter in state.withLock({ $0.waiters }) { waiter.fail(error) }
    }

    private func remove(_ over: [Waiter]) {
        let over = Set(over.map(ObjectIdentifier.init))
        state.withLock { state in
            state.waiters.removeAll { over.contains(ObjectIdentifier($0)) }
            state.earliest = state.waiters.map(\.deadline).min() ?? .max
        }
    }

    private func passOn() {
        place.handOn()
    }
}

/// A task that waits, in one line or in several.
private final class Wait: Sendable {
    enum Answer: Sendable {
        case status(Int32)
        case cancelled
        case noThread(SharedStateError)
    }

    private enum State: Sendable {
        case new
        case waiting(CheckedContinuation<Answer, Never>)
        case over
    }

    private let state = Mutex(State.new)
    /// Those of the threads that it waits at.
    private let bells = Mutex<[Bell]>([])

    /// The task sleeps from now on.
    ///
    /// - Returns: `false` if it was cancelled before, and is awake again.
    func begin(_ continuation: CheckedContinuation<Answer, Never>) -> Bool {
        let mayWait = state.withLock { state in
            if case .over = state { return false }
            state = .waiting(continuation)
            return true
        }
        if !mayWait { continuation.resume(returning: .cancelled) }
        return mayWait
    }

    /// It is in one more line now, to be rung out of it.
    func enter(_ bell: Bell) {
        bells.withLock { $0.append(bell) }
        let isOver = state.withLock { if case .over = $0 { true } else { false } }
        if isOver { bell.ring(left: true) }
    }

    func cancel() {
        if end({ .cancelled }) != nil { leaveLines() }
    }

    /// Has every thread take it out of its lines.
    func leaveLines() {
        for bell in bells.withLock({ $0 }) { bell.ring(left: true) }
    }

    var isInSeveralLines: Bool { bells.withLock { $0.count > 1 } }

    /// Resumes the task with an answer, if it waits and there is one.
    ///
    /// - Returns: The answer; that it was cancelled, if it waits no longer; `nil` if it does.
    func end(_ answer: () -> Answer?) -> Answer? {
        let ended = state.withLock { state -> (CheckedContinuation<Answer, Never>?, Answer?) in
            switch state {
            case .over: return (nil, .cancelled)
            case .new:
                guard let answer = answer() else { return (nil, nil) }
                state = .over
                return (nil, answer)
            case .waiting(let continuation):
                guard let answer = answer() else { return (nil, nil) }
                state = .over
                return (continuation, answer)
            }
        }
        if let answer = ended.1 { ended.0?.resume(returning: answer) }
        return ended.1
    }
}

/// What a task waits for in one line.
private final class Waiter: Sendable {
    enum Outcome {
        case waits
        /// It has what it waited for.
        case isServed
        /// It waits no longer, and took nothing.
        case hasLeft
    }

    let deadline: Int64
    let isNext: Bool
    private let wait: Wait
    private let attempt: @Sendable () -> Int32

    init(
        _ wait: Wait, until deadline: Int64, isNext: Bool,
        _ attempt: @escaping @Sendable () -> Int32
    ) {
        self.wait = wait
        self.deadline = deadline
        self.isNext = isNext
        self.attempt = attempt
    }

    func enter(_ bell: Bell) {
        wait.enter(bell)
    }

    func fail(_ error: SharedStateError) {
        _ = wait.end { .noThread(error) }
    }

    /// Makes an attempt.
    func turn() -> Outcome {
        let answer = wait.end {
            let status = self.attempt()
            return status == SharedState.Answer.wouldWait ? nil : .status(status)
        }
        switch answer {
        case nil: return .waits
        case .status(let status):
            if wait.isInSeveralLines { wait.leaveLines() }
            return status >= 0 ? .isServed : .hasLeft
        default: return .hasLeft
        }
    }

    /// Ends it if its time is up.
    ///
    /// - Returns: Whether it waits no longer.
    func isOver(at now: Int64) -> Bool {
        wait.end { now < self.deadline ? nil : .status(SharedState.Answer.timedOut) } != nil
    }
}
