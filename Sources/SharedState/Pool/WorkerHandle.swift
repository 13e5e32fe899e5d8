// SPDX-License-Identifier: Apache-2.0

internal import Glibc

/// Where a worker runs, as its pool has it.
internal enum WorkerHandle: Sendable {
    case process(SpawnedChild)
    /// Of this process.
    case thread

    var pid: Int32 {
        switch self {
        case .process(let child): child.pid
        case .thread: getpid()
        }
    }

    /// Sends a signal to a process; a thread gets none.
    func signal(_ number: Int32) {
        if case .process(let child) = self { Zygote.signal(child, number) }
    }

    /// Starts a thread that is a worker with these orders.
    ///
    /// - Parameters:
    ///   - request: What a process would be sent.
    ///   - onEnd: Called by the thread as its last, with the error that it ended by.
    /// - Returns: Where it runs.
    /// - Throws: `system`.
    static func startThread(
        _ request: [UInt8], onEnd: @escaping @Sendable ((any Error)?) -> Void
    ) throws(SharedStateError) -> WorkerHandle {
        try Offload.run {
            do {
                try unsafe request.withUnsafeBytes { bytes in
                    var reader = unsafe ByteReader(bytes)
                    _ = try reader.byte()  // the role
                    try PoolWorker.run(&reader)
                }
                onEnd(nil)
            } catch {
                onEnd(error)
            }
        }
        return .thread
    }
}
