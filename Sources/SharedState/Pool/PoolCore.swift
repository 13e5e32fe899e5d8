// SPDX-License-Identifier: Apache-2.0

internal import CShm
internal import Glibc
internal import Synchronization

/// What a pool is made of: a board (`cshm/board.h`), workers in its seats, and what is on its way.
///
/// Whoever waits for a result drives the pool: takes what is done, buries the dead, posts what there
/// is room for. While nobody waits, and something is on its way, the pool's own thread drives.
@safe
internal final class PoolCore: Sendable {
    /// Deaths without one result between them after which the pool gives up replacing workers.
    static let stormLimit = 16
    /// Posts that single tasks leave to maps.
    static let reserve: UInt32 = 8

    let workerCount: Int
    let region: Region
    nonisolated(unsafe) let board: OpaquePointer
    let place: UInt64
    let orders: PoolWorker.Orders
    let state: Mutex<State>
    /// Ends of workers that are not seen to yet.
    ///
    /// Apart, as it is told of them while a driver, with the other lock held, waits for a new worker
    /// to be forked.
    let exits = Mutex<[Exit]>([])
    let jobs = Atomic<UInt64>(1)
    let catalog = JobCatalog()
    let collector = Collector()

    init(workers: Int, orders: PoolWorker.Orders) throws(SharedStateError) {
        workerCount = workers
        region = try FamilyRegion.shared()
        self.orders = orders
        var place: UInt64 = 0
        var board: OpaquePointer?
        try unsafe check(
            cshm_board_create(region.pointer, UInt32(workers), &place, &board),
            "cshm_board_create")
        unsafe self.board = board.unsafelyUnwrapped
        self.place = place
        state = Mutex(State(seats: Array(repeating: nil, count: workers)))
        do throws(SharedStateError) {
            for seat in 0..<workers {
                try state.withLock { (state) throws(SharedStateError) in
                    try startWorker(in: seat, &state)
                }
            }
        } catch {
            shutDown()
            throw error
        }
    }

    func job(
        _ function: [UInt8], broadcast: [UInt8] = []
    ) throws(SharedStateError) -> Job {
        try Job(
            number: jobs.wrappingAdd(1, ordering: .relaxed).oldValue, function: function,
            broadcast: broadcast, in: region)
    }

    /// Takes no more tasks.
    func close() {
        state.withLock { $0.isClosed = true }
    }

    /// Ends every worker now.
    ///
    /// Tasks that are not done fail with `closed`.
    func shutDown() {
        let ended = state.withLock { state in
            giveUp(&state, SharedStateError(.closed, "the pool was terminated"))
            unsafe cshm_board_close(board)
            defer { for seat in state.seats.indices { state.seats[seat] = nil } }
            return state.seats.compactMap { $0?.child }
        }
        for child in ended { try? Zygote.shared().signal(child, SIGKILL) }
        ring()
        collector.stop()
    }

    deinit {
        // No worker is left: each one's end holds the core until then.
        unsafe cshm_board_destroy(board)
    }

    /// Why the pool gave up, if it did.
    var failure: SharedStateError? { state.withLock { $0.failure } }

    /// Whether no task is on its way.
    var isIdle: Bool { state.withLock { $0.isIdle } }
}
