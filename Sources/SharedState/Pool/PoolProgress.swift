// SPDX-License-Identifier: Apache-2.0

internal import CShm

/// How far a map is: given to `map`, read anywhere.
///
///     let progress = PoolProgress()
///     async let sizes = pool.map(files, progress: progress) { try size(of: $0) }
///     for await counts in progress { print(counts.completed, counts.remaining ?? .zero) }
///
/// Or, on a terminal: `pool.map(files, progress: .bar()) { … }`.
///
/// - Threads, tasks: safe; any number may go through it, each of which sees the latest counts and not
///   all that there were. It ends with its map. One that is used for several maps, one after the
///   other, begins again with each.
public final class PoolProgress: AsyncSequence, Sendable {
    /// What is done, and how fast.
    public struct Counts: Hashable, Sendable {
        /// Elements that have a result.
        public let completed: Int
        /// Elements that there are; `nil` where the sequence does not know.
        public let total: Int?
        /// Time since the map began.
        public let elapsed: Duration

        /// From 0 to 1; `nil` where the number of elements is not known.
        public var fraction: Double? {
            total.map { $0 == 0 ? 1 : Double(completed) / Double($0) }
        }

        /// Elements a second, since the map began.
        public var rate: Double {
            let seconds = elapsed / .seconds(1)
            return seconds > 0 ? Double(completed) / seconds : 0
        }

        /// How long the rest takes at that rate; `nil` where nothing is known.
        public var remaining: Duration? {
            guard let total, completed > 0 else { return nil }
            return elapsed * (Double(total - completed) / Double(completed))
        }
    }

    /// The latest counts.
    public typealias Element = Counts

    private typealias Sleeper = CheckedContinuation<Void, Never>

    private struct State {
        var counts = Counts(completed: 0, total: nil, elapsed: .zero)
        /// How often there were new ones.
        var version: UInt64 = 0
        var began: Int64?
        var isOver = false
        var lastSleeper: UInt64 = 0
        var sleepers: [UInt64: Sleeper] = [:]
        /// Those that are not to sleep any more, before they did.
        var cancelled: Set<UInt64> = []

        mutating func takeSleepers() -> [Sleeper] {
            defer { sleepers = [:] }
            return Array(sleepers.values)
        }
    }

    private let state = Mutex(State())
    private let show: (@Sendable (Counts) -> Void)?
    private let clear: (@Sendable () -> Void)?

    /// To be gone through.
    public init() {
        show = nil
        clear = nil
    }

    /// To be told of.
    ///
    /// - Parameter body: Called with the counts whenever some results were taken, by the thread that
    ///   gathers them; it should not wait.
    public init(_ body: @escaping @Sendable (Counts) -> Void) {
        show = body
        clear = nil
    }

    private init(_ bar: TerminalBar) {
        show = { bar.show($0) }
        clear = { bar.clear() }
    }

    /// A bar with rate and remaining time on a line of the terminal, gone at the end.
    ///
    /// - Parameters:
    ///   - title: What stands before it.
    ///   - descriptor: Where it is written; nothing is, if that is no terminal.
    /// - Returns: A progress to give to `map`.
    public static func bar(_ title: String = "", on descriptor: Int32 = 2) -> PoolProgress {
        PoolProgress(TerminalBar(title, descriptor))
    }

    /// The latest counts.
    public var counts: Counts { state.withLock { $0.counts } }

    // MARK: What a map tells

    @usableFromInline
    internal func begin(total: Int?) {
        update { state in
            state.began = cshm_now_ns()
            state.isOver = false
            state.counts = Counts(completed: 0, total: total, elapsed: .zero)
        }
    }

    @usableFromInline
    internal func report(_ completed: Int) {
        update { state in
            let total = state.counts.total.map { Swift.max($0, completed) }
            let elapsed = Duration.nanoseconds(cshm_now_ns() - (state.began ?? cshm_now_ns()))
            state.counts = Counts(completed: completed, total: total, elapsed: elapsed)
        }
    }

    @usableFromInline
    internal func end() {
        clear?()
        let sleepers = state.withLock { state in
            state.isOver = true
            return state.takeSleepers()
        }
        for sleeper in sleepers { sleeper.resume() }
    }

    private func update(_ change: (inout State) -> Void) {
        let (counts, sleepers) = state.withLock { state in
            change(&state)
            state.version += 1
            return (state.counts, state.takeSleepers())
        }
        show?(counts)
        for sleeper in sleepers { sleeper.resume() }
    }

    // MARK: Going through it

    /// Gives the counts as they change.
    public struct AsyncIterator: AsyncIteratorProtocol {
        fileprivate let progress: PoolProgress
        fileprivate var seen: UInt64 = 0

        /// The latest counts, when they are others than last time.
        ///
        /// - Returns: `nil` when the map has ended, or this task was cancelled.
        public mutating func next() async -> Counts? {
            while !Task.isCancelled {
                let (counts, version, isOver) = progress.state.withLock {
                    ($0.counts, $0.version, $0.isOver)
                }
                if version != seen {
                    seen = version
                    return counts
                }
                if isOver { return nil }
                await progress.sleep(after: seen)
            }
            return nil
        }
    }

    /// Begins with the counts that there are.
    public func makeAsyncIterator() -> AsyncIterator { AsyncIterator(progress: self) }

    private func sleep(after seen: UInt64) async {
        let number = state.withLock { state in
            state.lastSleeper += 1
            return state.lastSleeper
        }
        await withTaskCancellationHandler {
            await withCheckedContinuation { sleeper in
                let isNews = state.withLock { state in
                    if state.cancelled.contains(number) || state.isOver || state.version != seen {
                        return true
                    }
                    state.sleepers[number] = sleeper
                    return false
                }
                if isNews { sleeper.resume() }
            }
        } onCancel: {
            let sleeper = state.withLock { state in
                state.cancelled.insert(number)
                return state.sleepers.removeValue(forKey: number)
            }
            sleeper?.resume()
        }
        state.withLock { _ = $0.cancelled.remove(number) }
    }
}
