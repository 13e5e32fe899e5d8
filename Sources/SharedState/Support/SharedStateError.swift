// SPDX-License-Identifier: Apache-2.0

internal import Glibc

/// Why an operation failed.
///
/// Every error this module itself throws is of this type. What a correct program meets on a good
/// day, such as an empty queue or an absent key, is a return value and not an error.
public struct SharedStateError: Error, Hashable, Sendable, CustomStringConvertible {
    /// What to branch on.
    @nonexhaustive
    public enum Code: Hashable, Sendable, CaseIterable {
        /// An argument was outside its documented range (`EINVAL`).
        case invalidArgument
        /// No region or object of that name exists (`ENOENT`).
        case notFound
        /// The name is taken (`EEXIST`).
        case alreadyExists
        /// The deadline passed first (`ETIMEDOUT`).
        case timedOut
        /// The region, or the file system behind it, is full (`ENOSPC`).
        case full
        /// An element is larger than its container takes (`EMSGSIZE`).
        case tooLarge
        /// The calling thread holds the lock already (`EDEADLK`).
        case deadlock
        /// The calling thread does not hold the lock (`EPERM`).
        case notHolder
        /// A holder died and nobody declared the data repaired (`ENOTRECOVERABLE`).
        case notRecoverable
        /// A writer died and nobody has repaired the data yet: acquire for writing (`EOWNERDEAD`); or
        /// a holder of a ``SharedArray``'s lock did, and its `withLock` was called without `repair`.
        case notRepaired
        /// A count would exceed its bound (`EOVERFLOW`).
        case overflow
        /// The shared bytes belong to another build, another type, or are damaged (`EPROTO`).
        case incompatible
        /// All entries of a bounded table are in use by live processes (`EUSERS`).
        case tooManyUsers
        /// A party of the barrier is missing: one timed out, died or gave up.
        case broken
        /// What is to be closed is still used by this process (`EBUSY`).
        case inUse
        /// The object was cancelled or closed, or the pool shut down (`ECANCELED`).
        case closed
        /// ^C came, and the pool was told to cancel its work then.
        case interrupted
        /// The stream has ended: nothing more is put, and all that was is delivered (`EPIPE`).
        case finished
        /// This process was made by a `fork()` the library did not see (`ECHILD`).
        case forked
        /// The program cannot start workers: it was not linked, or not started, as one that can.
        case cannotHostWorkers
        /// The closure captures values, and captures cannot cross to another process.
        case capturesValues
        /// Values of this type cannot cross to another process.
        case cannotCross
        /// The process that ran the task died; its signal or exit code is in the description.
        case workerDied
        /// The process that hosts the distributed actor died, or hosts no more.
        case hostDied
        /// The task threw; the text of its error is in the description.
        case taskFailed
        /// The kernel refused for a reason this module does not interpret.
        case system
    }

    /// What to branch on.
    public let code: Code
    /// The positive `errno` value behind ``code``, or 0 where there is none.
    public let errno: Int32
    /// What happened, to which object, and what to do about it, for people.
    public let description: String
    /// Of `taskFailed` and `workerDied`: which task it was, where it ran, and what it threw.
    public var task: TaskFailure? { details?.task }
    /// Of `tooLarge`, where a caller's buffer is too small for a message: the message's bytes.
    public var byteCount: Int? { details?.byteCount }

    /// Boxed, so that the error stays small.
    private let details: Details?

    private final class Details: Hashable, Sendable {
        let task: TaskFailure?
        let byteCount: Int?

        init(_ task: TaskFailure?, _ byteCount: Int?) {
            self.task = task
            self.byteCount = byteCount
        }

        static func == (left: Details, right: Details) -> Bool {
            left.task == right.task && left.byteCount == right.byteCount
        }

        func hash(into hasher: inout Hasher) {
            hasher.combine(task)
            hasher.combine(byteCount)
        }
    }

    package init(
        _ code: Code, _ description: String, errno: Int32 = 0, task: TaskFailure? = nil
    ) {
        self.code = code
        self.errno = errno
        self.description = description
        details = task.map { Details($0, nil) }
    }

    /// A message of so many bytes, which stays, is too long for the caller's buffer.
    internal init(messageOf byteCount: Int, tooLongFor room: Int, _ object: String) {
        code = .tooLarge
        errno = EMSGSIZE
        description =
            "the next message of \(object) has \(byteCount) bytes, and the buffer \(room); "
            + "it is still the next one: receive it into a larger buffer"
        details = Details(nil, byteCount)
    }

    /// Wraps a negative return value of a C function.
    internal init(status: Int32, _ function: StaticString, _ object: String) {
        let number = -status
        self.init(Self.code(for: number), Self.text(number, function, object), errno: number)
    }

    private static func code(for number: Int32) -> Code {
        switch number {
        case EINVAL: .invalidArgument
        case ENOENT: .notFound
        case EEXIST: .alreadyExists
        case ETIMEDOUT: .timedOut
        case ENOSPC: .full
        case EMSGSIZE: .tooLarge
        case EDEADLK: .deadlock
        case EPERM: .notHolder
        case ENOTRECOVERABLE: .notRecoverable
        case EOWNERDEAD: .notRepaired
        case EOVERFLOW: .overflow
        case EPROTO: .incompatible
        case EUSERS: .tooManyUsers
        case ECANCELED: .closed
        case EPIPE: .finished
        case ECHILD: .forked
        default: .system
        }
    }

    private static func text(
        _ number: Int32, _ function: StaticString, _ object: String
    ) -> String {
        let subject = object.isEmpty ? "" : " of \(object)"
        return "\(explanation(number)) [\(function)\(subject), errno \(number)]"
    }

    /// What the errno means here, and what to do about it.
    private static func explanation(_ number: Int32) -> String {
        switch number {
        case EINVAL: "an argument is outside its documented range"
        case ENOENT: "there is none of that name; create it first"
        case EEXIST: "the name is taken; open it, or remove it first"
        case ETIMEDOUT: "the time-out passed first"
        case ENOSPC:
            "shared memory has no room for it: free what is there, use less at a time, or make the "
                + "region, or /dev/shm, larger"
        case EMSGSIZE: "the element is larger than the container's limit"
        case EDEADLK: "this thread holds the lock already; use a recursive lock or release it first"
        case EPERM: "this thread does not hold the lock"
        case ENOTRECOVERABLE: "a holder died and the data was released without being repaired"
        case EOWNERDEAD: "a writer died writing; acquire the lock for writing and repair the data"
        case EOVERFLOW: "the count would exceed its bound"
        case EPROTO:
            "the shared bytes are another type's, or another build's with another layout, or damaged: "
                + "build all programs with the same definition, or make the object anew"
        case EUSERS: "every entry of the table is taken by a live process"
        case ECANCELED: "it was cancelled or closed"
        case EPIPE: "the stream has ended: nothing more is put, and all that was is delivered"
        case ECHILD: "this process was forked without the library; use ChildProcess or Pool"
        case EXDEV: "it belongs to another PID namespace"
        case EBADMSG: "the descriptor is not a shared-memory region"
        default: unsafe String(cString: strerror(number))
        }
    }
}

/// Turns a C status into a value or an error; the only place that does.
@discardableResult
internal func check(
    _ status: Int32, _ function: StaticString, _ object: @autoclosure () -> String = ""
) throws(SharedStateError) -> Int32 {
    guard status < 0 else { return status }
    throw SharedStateError(status: status, function, object())
}

/// The statuses of C functions that are an answer and not an error.
internal enum Answer {
    /// It would have to wait.
    static let wouldWait: Int32 = -EAGAIN
    /// There is none of that name, or no more.
    static let absent: Int32 = -ENOENT
    /// It is there already.
    static let exists: Int32 = -EEXIST
    /// The caller's room is too small; the size needed was written.
    static let tooLarge: Int32 = -EMSGSIZE
    /// What was walked has been replaced: begin again.
    static let stale: Int32 = -ESTALE
    /// The shared bytes are not what they should be.
    static let damaged: Int32 = -EPROTO
    /// The stream has ended.
    static let finished: Int32 = -EPIPE
    /// The deadline has passed.
    static let timedOut: Int32 = -ETIMEDOUT
    /// It was cancelled, or broken.
    static let cancelled: Int32 = -ECANCELED
    /// The calling thread has it.
    static let deadlock: Int32 = -EDEADLK
    /// Another thread is using it.
    static let busy: Int32 = -EBUSY
    /// Nobody has the box open.
    static let noBox: Int32 = -ECONNREFUSED
    /// The lock is held, and its last holder died with it.
    static let inherited: Int32 = 1
}
