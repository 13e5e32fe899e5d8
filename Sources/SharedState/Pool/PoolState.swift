// SPDX-License-Identifier: Apache-2.0

/// What a pool knows under its lock.
extension PoolCore {
    struct Worker {
        let number: UInt32
        /// `nil` while it is being started.
        var handle: WorkerHandle?
    }

    /// A seat that a worker is being started for.
    struct Opening: Sendable {
        let seat: Int
        let number: UInt32
    }

    struct Pending {
        let task: SingleTask
        let input: ByteWriter
    }

    struct Exit {
        let seat: Int
        let number: UInt32
        let exit: ChildExit
    }

    struct State {
        var seats: [Worker?]
        var live: [PostedBatch] = []
        /// Single tasks that are posted.
        var singles = 0
        /// Batches whose tasks have a deadline.
        var limited = 0
        var pending: [Fifo<Pending>] = [Fifo(), Fifo(), Fifo()]
        var nextNumber: UInt32 = 1
        /// Maps under way.
        var runs = 0
        /// Threads that drive.
        var drivers = 0
        var deathsInARow = 0
        var failure: SharedStateError?
        var isClosed = false
        /// Workers that there are to be.
        var target: Int
        /// Workers that are asked to leave and have not answered.
        var leaving = 0
        /// Workers without a seat that were told to end, or will be, and whose end was not told yet.
        var ending: Set<UInt32> = []
        /// There are fewer workers than there are to be when there is work.
        var isShort = false
        var pids: [UInt32: Int32] = [:]
    }
}

extension PoolCore.State {
    /// Whether single tasks are on their way.
    var hasWork: Bool { singles > 0 || pending.contains { !$0.isEmpty } }

    static let closed = SharedStateError(.closed, "the pool was closed; make a new one")

    var isIdle: Bool { runs == 0 && !hasWork }

    var liveCount: Int { seats.count { $0 != nil } }

    func checkOpen() throws(SharedStateError) {
        if let failure { throw failure }
        if isClosed { throw Self.closed }
    }
}
