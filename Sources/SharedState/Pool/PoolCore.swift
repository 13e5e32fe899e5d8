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

    let options: Pool.Options
    /// What workers say of themselves.
    let crew: Crew
    let region: Region
    nonisolated(unsafe) let board: OpaquePointer
    let place: UInt64
    let orders: PoolWorker.Orders
    let state: Mutex<State>
    /// Ends of workers that are not seen to yet.
    ///
    /// Apart, as the thread that listens to the zygote is not to wait for a driver.
    let exits = Mutex<[Exit]>([])
    let jobs = Atomic<UInt64>(1)
    private let workers: Atomic<Int>
    let catalog = JobCatalog()
    let directs = DirectCatalog()
    let collector = Collector()
    /// Bounds what is submitted.
    let intake: Intake
    /// Threads that bring outcomes, for whom others wait.
    let heralds = Mutex<[pthread_t]>([])
    /// By which ^C is heard of.
    let listener = Mutex<Int?>(nil)

    init(
        workers: Int, orders: PoolWorker.Orders, options: Pool.Options
    ) throws(SharedStateError) {
        let seats = max(workers, options.maxWorkers ?? 0)
        self.workers = Atomic(workers)
        region = try FamilyRegion.shared()
        self.orders = orders
        self.options = options
        intake = Intake(options.limits(workers: workers, seats: seats, in: region))
        // It loads its libraries while this process goes on.
        if !orders.isInline { _ = try Zygote.shared() }
        crew = try Crew(seats: seats, in: region)
        var place: UInt64 = 0
        var board: OpaquePointer?
        try unsafe check(
            cshm_board_create(region.pointer, UInt32(seats), &place, &board),
            "cshm_board_create")
        unsafe self.board = board.unsafelyUnwrapped
        self.place = place
        state = Mutex(State(seats: Array(repeating: nil, count: seats), target: workers))
        do throws(SharedStateError) {
            try start(state.withLock { openSeats(&$0) })
            try listenForInterrupts()
        } catch {
            shutDown()
            throw error
        }
    }

    /// Workers that there are to be.
    var workerCount: Int {
        get { workers.load(ordering: .relaxed) }
        set { workers.store(newValue, ordering: .relaxed) }
    }

    func job(
        _ function: [UInt8], broadcast: TaskInput? = nil
    ) throws(SharedStateError) -> Job {
        try Job(
            number: jobs.wrappingAdd(1, ordering: .relaxed).oldValue, function: function,
            broadcast: broadcast, in: region)
    }

    deinit {
        // No worker is left: each one's end holds the core until then.
        unsafe cshm_board_destroy(board)
    }

    /// Why the pool gave up, if it did.
    var failure: SharedStateError? { state.withLock { $0.failure } }
}
