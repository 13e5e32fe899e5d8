// SPDX-License-Identifier: Apache-2.0

internal import Glibc
internal import SharedState

/// The threads that carry calls out for others.
///
/// Who calls waits in another process, which knows nothing of what this one's tasks are at: they may
/// hold all threads for tasks for as long as they like. So calls have threads of their own, as many as
/// there are processors; and one more, up to a limit, each time that no call has got on for 20 ms
/// although some wait, as a function that blocks holds its thread.
internal final class CallThreads: TaskExecutor {
    static let shared = CallThreads()

    private struct State {
        var jobs = Fifo<UnownedJob>()
        var threads = 0
        /// Those that are asleep and not rung for.
        var idle = 0
        /// Since when there are jobs of which none was begun, if that was so at the last look.
        var stalled: ContinuousClock.Instant?
    }

    private let state = Mutex(State())
    private let bell = PrivateBell()
    private let usual = max(2, sysconf(Int32(_SC_NPROCESSORS_ONLN)))
    private static let most = 64

    /// What is to be done for a job that was added.
    private enum Need { case nothing, ring, start }

    func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        let need = state.withLock { state -> Need in
            state.jobs.append(job)
            if state.idle > 0 {
                state.idle -= 1
                return .ring
            }
            guard state.threads < usual else { return .nothing }
            state.threads += 1
            return .start
        }
        switch need {
        case .nothing: break
        case .ring: bell.ring()
        case .start: start()
        }
    }

    /// Adds a thread if none gets on; to be called every now and then while calls may come.
    func look() {
        let mustStart = state.withLock { state -> Bool in
            guard !state.jobs.isEmpty, state.idle == 0 else {
                state.stalled = nil
                return false
            }
            let now = ContinuousClock.now
            let since = state.stalled ?? now
            state.stalled = since
            guard now - since >= .milliseconds(20), state.threads < Self.most else { return false }
            state.stalled = now
            state.threads += 1
            return true
        }
        if mustStart { start() }
    }

    /// Where there is no thread to be had, the next look tries again.
    private func start() {
        var thread = pthread_t()
        let context = unsafe Unmanaged.passUnretained(self)
        let number = unsafe pthread_create(
            &thread, nil,
            { context in
                guard let context = unsafe context else { return nil }
                unsafe Unmanaged<CallThreads>.fromOpaque(context).takeUnretainedValue().run()
                return nil
            }, context.toOpaque())
        guard number == 0 else {
            state.withLock { $0.threads -= 1 }
            return
        }
        pthread_detach(thread)
    }

    private func run() {
        // Signals belong to the program's own threads.
        var signals = sigset_t()
        unsafe sigfillset(&signals)
        unsafe pthread_sigmask(SIG_BLOCK, &signals, nil)
        while let job = next() {
            unsafe job.runSynchronously(on: asUnownedTaskExecutor())
        }
    }

    /// The next job, which it waits for.
    ///
    /// - Returns: `nil` if there are threads enough without this one.
    private func next() -> UnownedJob? {
        while true {
            let (job, isOver) = state.withLock { state -> (UnownedJob?, Bool) in
                if let job = state.jobs.first {
                    state.jobs.removeFirst()
                    state.stalled = nil
                    return (job, false)
                }
                if state.threads > usual {
                    state.threads -= 1
                    return (nil, true)
                }
                state.idle += 1
                return (nil, false)
            }
            if job != nil || isOver { return job }
            bell.wait()
        }
    }
}
