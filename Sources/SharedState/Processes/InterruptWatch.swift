// SPDX-License-Identifier: Apache-2.0

internal import Glibc

/// What this process does on ^C (SIGINT), as long as somebody wants to be told of it.
///
/// The first one is told to those who have something to cancel; if nobody has, or it is the second, the
/// program goes the way that it would have gone without. The handler posts a semaphore, and a thread does
/// the rest, so that no lock is taken in a handler.
internal final class InterruptWatch: Sendable {
    /// Who is told; says whether it had anything to cancel.
    typealias Listener = @Sendable () -> Bool

    static let shared = InterruptWatch()

    private struct State {
        var last = 0
        var listeners: [Int: Listener] = [:]
        var isInstalled = false
        var hasThread = false
        var isInterrupted = false
        var before = sigaction()
    }

    private let state = Mutex(State())

    /// From now on; where SIGINT is ignored, as in the background of a shell, it stays so.
    func add(_ listener: @escaping Listener) throws(SharedStateError) -> Int {
        try state.withLock { (state) throws(SharedStateError) in
            // First: a handler without it would swallow ^C.
            if !state.hasThread { try startThread() }
            state.hasThread = true
            state.last += 1
            state.listeners[state.last] = listener
            if !state.isInstalled { install(&state) }
            return state.last
        }
    }

    private func startThread() throws(SharedStateError) {
        try Offload.run(takesSignals: false) { [self] in
            while true {
                while unsafe sem_wait(interrupts) != 0 {}
                answer()
            }
        }
    }

    func remove(_ number: Int) {
        state.withLock { state in
            state.listeners[number] = nil
            guard state.listeners.isEmpty, state.isInstalled else { return }
            state.isInstalled = false
            state.isInterrupted = false
            unsafe sigaction(SIGINT, &state.before, nil)
        }
    }

    private func install(_ state: inout State) {
        // Made now: a handler must not be the first to ask for it.
        _ = unsafe interrupts
        var action = sigaction()
        unsafe sigaction(SIGINT, nil, &state.before)
        let before = unsafe state.before.__sigaction_handler.sa_handler
        guard unsafe unsafeBitCast(before, to: Int.self) != unsafeBitCast(SIG_IGN, to: Int.self)
        else {
            return
        }
        unsafe action.__sigaction_handler.sa_handler = { _ in _ = unsafe sem_post(interrupts) }
        action.sa_flags = SA_RESTART
        unsafe sigaction(SIGINT, &action, nil)
        state.isInstalled = true
    }

    private func answer() {
        let (listeners, isFirst) = state.withLock { state in
            defer { state.isInterrupted = true }
            return (Array(state.listeners.values), !state.isInterrupted)
        }
        if isFirst {
            var hadWork = false
            for listener in listeners where listener() { hadWork = true }
            if hadWork { return }
        }
        state.withLock { state in Self.passOn(&state) }
    }

    /// Does what would have been done without: as a rule, ends the process, and with it all workers.
    private static func passOn(_ state: inout State) {
        guard state.isInstalled else { return }
        var current = sigaction()
        unsafe sigaction(SIGINT, &state.before, &current)
        // To this thread, so that it has been handled when this returns.
        var interrupt = sigset_t()
        unsafe sigemptyset(&interrupt)
        unsafe sigaddset(&interrupt, SIGINT)
        unsafe pthread_sigmask(SIG_UNBLOCK, &interrupt, nil)
        raise(SIGINT)
        // The program has a handler of its own, and lives.
        state.isInterrupted = false
        unsafe sigaction(SIGINT, &current, nil)
    }
}

/// Posted by the handler.
private nonisolated(unsafe) let interrupts: UnsafeMutablePointer<sem_t> = {
    let semaphore = UnsafeMutablePointer<sem_t>.allocate(capacity: 1)
    unsafe sem_init(semaphore, 0, 0)
    return unsafe semaphore
}()
