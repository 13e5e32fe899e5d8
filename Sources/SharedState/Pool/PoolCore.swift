// SPDX-License-Identifier: Apache-2.0

internal import CShm
internal import Glibc
internal import Synchronization

/// A job's bytes in shared memory, freed with its last task.
internal final class Job: Sendable {
    let number: UInt64
    let kind: JobKind
    let region: Region
    let bytes: SharedBytes

    init(_ kind: JobKind, _ number: UInt64, _ content: [UInt8], in region: Region)
        throws(SharedStateError)
    {
        self.kind = kind
        self.number = number
        self.region = region
        self.bytes = try SharedBytes(content, in: region)
    }

    deinit {
        bytes.free(in: region)
    }
}

/// A block of a region, freed with its last user.
internal final class SharedBlock: Sendable {
    let region: Region
    let offset: UInt64

    init(_ size: Int, in region: Region) throws(SharedStateError) {
        let object = try SharedObject.allocate(size, in: region)
        _ = try object.place()
        self.region = region
        self.offset = object.offset
    }

    deinit {
        _ = unsafe cshm_heap_free(region.pointer, offset)
    }
}

/// One worker's rings and words.
///
/// Held by the pool and by who awaits the worker's end: freed when both are done, so never while a
/// worker that was told to end may still store into them.
@safe
private final class WorkerMemory: Sendable {
    let places: WorkerPlaces
    nonisolated(unsafe) let tasks: OpaquePointer
    nonisolated(unsafe) let results: OpaquePointer
    private let running: SharedBlock
    private let doorbell: SharedBlock

    init(_ region: Region, _ doorbell: SharedBlock) throws(SharedStateError) {
        self.doorbell = doorbell
        running = try SharedBlock(128, in: region)
        let (tasks, taskPlace) = unsafe try Self.makeRing(region, capacity: 4)
        unsafe self.tasks = tasks
        try unsafe check(cshm_ring_become_producer(tasks), "cshm_ring_become_producer")
        let (results, resultPlace) = unsafe try Self.makeRing(region, capacity: 8)
        unsafe self.results = results
        try unsafe check(cshm_ring_become_consumer(results), "cshm_ring_become_consumer")
        places = WorkerPlaces(
            tasks: taskPlace, results: resultPlace, running: running.offset,
            doorbell: doorbell.offset)
    }

    deinit {
        unsafe cshm_ring_destroy(tasks)
        unsafe cshm_ring_destroy(results)
    }

    private static func makeRing(
        _ region: Region, capacity: UInt32
    ) throws(SharedStateError) -> (OpaquePointer, UInt64) {
        var place: UInt64 = 0
        var ring: OpaquePointer?
        try unsafe check(
            cshm_ring_create(region.pointer, capacity, 240, &place), "cshm_ring_create")
        try unsafe check(cshm_heap_share(region.pointer, place), "cshm_heap_share")
        try unsafe check(cshm_ring_open(region.pointer, place, &ring), "cshm_ring_open")
        return unsafe (ring.unsafelyUnwrapped, place)
    }
}

/// One message to a worker, and who is told how it went.
internal struct PoolTask: Sendable {
    let job: Job
    let elements: [UInt8]
    let complete: @Sendable (Result<[UInt8], any Error>) -> Void

    func message(_ number: UInt64) -> [UInt8] {
        var writer = ByteWriter(reservingCapacity: elements.count + 40)
        writer.append(fixed: number)
        writer.append(fixed: job.number)
        writer.append(byte: job.kind.rawValue)
        job.bytes.encode(into: &writer)
        writer.append(raw: elements)
        return writer.bytes
    }
}

/// What a pool is made of: workers, their rings, and the tasks on their way.
///
/// No thread of its own: whoever waits for a result drives the pool. A driver drains results,
/// buries the dead, hands out tasks, and parks on the doorbell, which every worker rings after a
/// result and the reactor rings after a death.
@safe
internal final class PoolCore: Sendable {
    @safe
    private struct Worker {
        let memory: WorkerMemory
        var child: SpawnedChild?
        var inFlight: [UInt64] = []
        var completed = 0
    }

    private struct State {
        var workers: [UInt64: Worker] = [:]
        var tasks: [UInt64: PoolTask] = [:]
        var pending: [UInt64] = []
        var pendingHead = 0
        var nextTask: UInt64 = 1
        var nextWorker: UInt64 = 1
        var deathsInARow = 0
        var closed = false
    }

    /// Tasks a worker has at a time: one to run, one to go on with.
    private static let depth = 2
    /// Deaths without one result between them after which the pool gives up replacing workers.
    private static let stormLimit = 16

    let workerCount: Int
    private let region: Region
    private let initializer: [UInt8]
    private let doorbell: SharedBlock
    private nonisolated(unsafe) let bell: UnsafeMutablePointer<cshm_park>
    private let state = Mutex(State())
    private let exits = Mutex<[UInt64: ChildExit]>([:])
    private let jobs = Atomic<UInt64>(1)

    init(workers: Int, initializer: [UInt8]) throws(SharedStateError) {
        workerCount = workers
        region = try FamilyRegion.shared()
        self.initializer = initializer
        doorbell = try SharedBlock(128, in: region)
        guard let bell = unsafe cshm_heap_pointer(region.pointer, doorbell.offset, 128) else {
            throw SharedStateError(.incompatible, "the pool's doorbell is not where it was made")
        }
        unsafe self.bell = bell.assumingMemoryBound(to: cshm_park.self)
        for _ in 0..<workers {
            try state.withLock { (state) throws(SharedStateError) in try startWorker(&state) }
        }
    }

    deinit {
        shutDown()
    }

    func job(_ kind: JobKind, _ content: [UInt8]) throws(SharedStateError) -> Job {
        try Job(
            kind, jobs.wrappingAdd(1, ordering: .relaxed).oldValue, content, in: region)
    }

    // MARK: Submitting and driving

    func submit(_ new: [PoolTask]) throws(SharedStateError) {
        try state.withLock { (state) throws(SharedStateError) in
            guard !state.closed else {
                throw SharedStateError(.closed, "the pool was closed; make a new one")
            }
            for task in new {
                let number = state.nextTask
                state.nextTask += 1
                state.tasks[number] = task
                state.pending.append(number)
            }
            pump(&state)
        }
    }

    /// Drives the pool until `isDone`.
    func drive(until deadline: Int64, _ isDone: () -> Bool) throws(SharedStateError) {
        var patience = 0
        while true {
            state.withLock { pump(&$0) }
            if isDone() { return }
            if patience < 200 {
                patience += 1
                if patience > 100 { sched_yield() }
                continue
            }
            let seen = unsafe cshm_park_prepare(bell)
            state.withLock { pump(&$0) }
            if isDone() { return }
            try unsafe check(cshm_park_wait(bell, seen, deadline), "cshm_park_wait")
        }
    }

    private func pump(_ state: inout State) {
        var others = false
        for id in Array(state.workers.keys) {
            others = drain(id, &state) || others
        }
        for (id, exit) in takeExits() {
            others = drain(id, &state) || others
            bury(id, exit, &state)
            others = true
        }
        dispatch(&state)
        // Another thread's task may have ended: it sleeps on the same doorbell.
        if others { unsafe cshm_park_wake_all(bell) }
    }

    private func takeExits() -> [UInt64: ChildExit] {
        exits.withLock { exits in
            let taken = exits
            exits = [:]
            return taken
        }
    }

    // MARK: Results

    private func drain(_ id: UInt64, _ state: inout State) -> Bool {
        guard let worker = state.workers[id] else { return false }
        var any = false
        while true {
            var data: UnsafeRawPointer?
            var length: UInt64 = 0
            guard unsafe cshm_ring_try_peek(worker.memory.results, &data, &length) == 0 else {
                return any
            }
            any = true
            let message = unsafe UnsafeRawBufferPointer(start: data, count: Int(length))
            unsafe finish(message, id, &state)
            unsafe cshm_ring_release(worker.memory.results)
        }
    }

    private func finish(
        _ message: UnsafeRawBufferPointer, _ id: UInt64, _ state: inout State
    ) {
        var reader = unsafe ByteReader(message)
        guard let number = try? reader.fixed(UInt64.self), let kind = try? reader.byte() else {
            return
        }
        state.workers[id]?.inFlight.removeAll { $0 == number }
        state.deathsInARow = 0
        guard let task = state.tasks.removeValue(forKey: number) else { return }
        if kind == ResultKind.value.rawValue {
            unsafe task.complete(
                .success((try? reader.raw(reader.remaining)).map(Array.init) ?? []))
        } else {
            let text = (try? reader.string()) ?? "its error's text was damaged"
            task.complete(.failure(SharedStateError(.taskFailed, text)))
        }
    }

    // MARK: Tasks

    private func dispatch(_ state: inout State) {
        for wave in 0..<Self.depth {
            for id in Array(state.workers.keys) {
                guard state.pendingHead < state.pending.count else {
                    state.pending.removeAll(keepingCapacity: true)
                    state.pendingHead = 0
                    return
                }
                guard let worker = state.workers[id], worker.child != nil,
                    worker.inFlight.count == wave
                else { continue }
                let number = state.pending[state.pendingHead]
                guard let task = state.tasks[number] else {
                    state.pendingHead += 1
                    continue
                }
                let message = task.message(number)
                let status = unsafe cshm_ring_try_put(
                    worker.memory.tasks, message, UInt64(message.count))
                if status == Answer.wouldWait { continue }
                state.pendingHead += 1
                if status == 0 {
                    state.workers[id]?.inFlight.append(number)
                } else {
                    state.tasks[number] = nil
                    task.complete(
                        .failure(SharedStateError(status: status, "cshm_ring_try_put", "a task")))
                }
            }
        }
    }

    // MARK: Workers

    private func startWorker(_ state: inout State) throws(SharedStateError) {
        let id = state.nextWorker
        state.nextWorker += 1
        let memory = try WorkerMemory(region, doorbell)
        var worker = Worker(memory: memory)
        var request = ByteWriter()
        request.append(byte: WorkerRole.poolWorker.rawValue)
        memory.places.encode(into: &request)
        request.append(prefixed: initializer)
        worker.child = try Zygote.shared().spawn(payload: request.bytes) { [weak self] exit in
            // The worker's memory lives until here, though the pool may be gone.
            withExtendedLifetime(memory) {}
            guard let self else { return }
            self.exits.withLock { $0[id] = exit }
            self.region.reap()
            unsafe cshm_park_wake_all(self.bell)
        }
        state.workers[id] = worker
    }

    /// A worker ended: fails the task it ran, gives its other tasks to others, replaces it.
    private func bury(_ id: UInt64, _ exit: ChildExit, _ state: inout State) {
        guard let worker = state.workers.removeValue(forKey: id) else { return }
        var running: UInt64 = 0
        if let word = unsafe cshm_heap_pointer(region.pointer, worker.memory.places.running, 8) {
            running = unsafe cshm_word_load(word)
        }
        for number in worker.inFlight.reversed() {
            if number == running {
                fail(number, exit, &state)
            } else {
                state.pending.insert(number, at: state.pendingHead)
            }
        }
        guard !state.closed else { return }
        state.deathsInARow += 1
        do throws(SharedStateError) {
            guard state.deathsInARow < Self.stormLimit else {
                throw SharedStateError(
                    .workerDied,
                    "\(state.deathsInARow) workers in a row died without a result, "
                        + "the last of \(cause(exit)); the pool was closed")
            }
            try startWorker(&state)
        } catch {
            if state.workers.isEmpty || state.deathsInARow >= Self.stormLimit {
                close(&state, error)
            }
        }
    }

    private func cause(_ exit: ChildExit) -> String {
        let status = ChildProcess.ExitStatus(waitStatus: exit.status).description
        return exit.killedWithZygote ? "\(status), with the zygote that forked it" : status
    }

    private func fail(_ number: UInt64, _ exit: ChildExit, _ state: inout State) {
        var text = "worker \(exit.pid) died of \(cause(exit)) while it ran the task"
        if exit.status & 0x7f == SIGSEGV {
            text += "; does its closure use a top-level variable of main.swift? "
            text += "Those are not initialised in a worker: use @main, a function, or `with:`"
        }
        state.tasks.removeValue(forKey: number)?.complete(
            .failure(SharedStateError(.workerDied, text)))
    }

    private func close(_ state: inout State, _ error: SharedStateError) {
        state.closed = true
        let tasks = state.tasks
        state.tasks = [:]
        state.pending = []
        state.pendingHead = 0
        for task in tasks.values { task.complete(.failure(error)) }
    }

    /// Ends every worker now.
    ///
    /// Tasks that are not done fail with `closed`.
    func shutDown() {
        let ended = state.withLock { state in
            close(&state, SharedStateError(.closed, "the pool was terminated"))
            defer { state.workers = [:] }
            return Array(state.workers.values)
        }
        for worker in ended {
            if let child = worker.child { try? Zygote.shared().signal(child, SIGKILL) }
        }
        unsafe cshm_park_wake_all(bell)
    }

    /// Drops a job's tasks that no worker has yet.
    func cancel(_ job: Job) {
        state.withLock { state in
            for number in state.pending[state.pendingHead...]
            where state.tasks[number]?.job === job {
                state.tasks[number] = nil
            }
        }
    }

    /// Takes no more tasks.
    func close() {
        state.withLock { $0.closed = true }
    }

    /// Whether no task is on its way.
    var isIdle: Bool { state.withLock { $0.tasks.isEmpty } }

    /// The process ids of the workers.
    var pids: [Int32] { state.withLock { $0.workers.values.compactMap { $0.child?.pid } } }
}
