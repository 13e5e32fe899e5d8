// SPDX-License-Identifier: Apache-2.0

internal import Glibc

/// A thread that runs what it is given, one after the other, and sleeps without any time-out when
/// there is nothing.
///
/// It is started by the first piece of work and ends when it is stopped.
@safe
internal final class Collector: Sendable {
    private struct State {
        var work: [@Sendable () -> Void] = []
        var turn: (@Sendable () -> Void)?
        var isRunning = false
        var isStopped = false
    }

    private let state = Mutex(State())
    private let doorbell = PrivateBell()

    /// Runs `turn` once, unless it waits for its turn already.
    func wake(_ turn: @escaping @Sendable () -> Void) {
        enqueue { if $0.turn == nil { $0.turn = turn } }
    }

    func add(_ work: @escaping @Sendable () -> Void) {
        enqueue { $0.work.append(work) }
    }

    private func enqueue(_ change: (inout State) -> Void) {
        let mustStart = state.withLock { state in
            change(&state)
            defer { state.isRunning = true }
            return !state.isRunning
        }
        if mustStart { start() } else { doorbell.ring() }
    }

    /// It ends when it has done what it was given.
    func stop() {
        state.withLock { $0.isStopped = true }
        doorbell.ring()
    }

    private func start() {
        var thread = pthread_t()
        let context = unsafe Unmanaged.passRetained(self)
        let number = unsafe pthread_create(
            &thread, nil,
            { context in
                guard let context = unsafe context else { return nil }
                // Signals belong to the program's own threads.
                var all = sigset_t()
                unsafe sigfillset(&all)
                unsafe pthread_sigmask(SIG_BLOCK, &all, nil)
                unsafe Unmanaged<Collector>.fromOpaque(context).takeRetainedValue().run()
                return nil
            }, context.toOpaque())
        if number == 0 {
            _ = pthread_detach(thread)
        } else {
            unsafe context.release()
            state.withLock { $0.isRunning = false }
        }
    }

    private func run() {
        while true {
            let (work, turn, isOver) = state.withLock { state in
                let taken = (state.work, state.turn, state.isStopped)
                state.work = []
                state.turn = nil
                if taken.0.isEmpty, taken.1 == nil, taken.2 { state.isRunning = false }
                return taken
            }
            for piece in work { piece() }
            turn?()
            guard work.isEmpty, turn == nil else { continue }
            if isOver { return }
            doorbell.wait()
        }
    }
}
