// SPDX-License-Identifier: Apache-2.0

/// Work as a value: what a closure would capture are its stored properties.
///
///     struct Resize: PoolTask, Codable {
///         var path: String
///         var width: Int
///         func run() throws -> Int { … }
///     }
///     let sizes = try pool.map(paths.map { Resize(path: $0, width: 640) })
///
/// It crosses as any value does: plain bits as they are, everything else if it is `Codable`. Generic types can be tasks, too.
public protocol PoolTask: Sendable {
    /// What it gives.
    associatedtype Output: Sendable

    /// Does the work, in a worker.
    ///
    /// - Returns: The result.
    /// - Throws: Whatever it likes; it arrives as `taskFailed`.
    func run() async throws -> Output
}

/// What can be asked for of a task, or of each of a map's.
public struct TaskOptions: Sendable, Hashable {
    /// What is begun first.
    public var urgency: TaskUrgency
    /// How often it is run again that throws or whose worker dies.
    public var retries: Int
    /// How long it may run; then it fails with `timedOut`, within some 25 ms.
    ///
    /// `Task.isCancelled` tells it so. If it goes on all the same, its worker is ended, and replaced;
    /// see ``Pool/Options/grace``. An element of a map has its outcome when it has ended.
    public var deadline: Duration?

    /// Neither urgent nor retried, as long as it takes.
    public init(
        urgency: TaskUrgency = .normal, retries: Int = 0, deadline: Duration? = nil
    ) {
        self.urgency = urgency
        self.retries = retries
        self.deadline = deadline
    }

    /// Nanoseconds.
    internal var limit: Int64? {
        deadline.map { max(1, nanoseconds($0)) }
    }

    internal func checked() throws(SharedStateError) -> TaskOptions {
        guard (0...255).contains(retries) else {
            throw SharedStateError(.invalidArgument, "a task is retried 0 to 255 times")
        }
        return self
    }
}

/// The order in which tasks are begun.
public enum TaskUrgency: UInt32, Sendable, Comparable, CaseIterable {
    /// Before all others.
    case high = 0
    /// As most.
    case normal = 1
    /// When there is nothing else to do.
    case low = 2

    /// What is begun first is greater.
    public static func < (left: TaskUrgency, right: TaskUrgency) -> Bool {
        left.rawValue > right.rawValue
    }
}
