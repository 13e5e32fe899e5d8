// SPDX-License-Identifier: Apache-2.0

internal import CWorkerEntry
internal import Glibc
internal import Synchronization

/// The descriptors of one wait.
internal final class WatchedDescriptors: Sendable {
    let requests: [pollfd]
    private let bell = Doorbell()
    private let hasRung = Atomic(false)
    /// Why they cannot be listened to, as the kernel says.
    private let refusal = Atomic<Int32>(0)

    init(_ requests: [pollfd]) {
        self.requests = requests
    }

    /// What is woken when one of them may be ready.
    var place: Reactor.Place { bell.place }

    /// - Throws: `system` (no thread, or no descriptor for it, is to be had).
    func begin() throws(SharedStateError) {
        try DescriptorWatch.shared.add(self)
    }

    func end() {
        DescriptorWatch.shared.remove(self)
    }

    /// None of them was ready: has them listened to again, if they are not.
    ///
    /// - Returns: That it would have to wait, or why it cannot.
    func goOn() -> Int32 {
        let refusal = refusal.load(ordering: .sequentiallyConsistent)
        if refusal != 0 { return refusal }
        guard hasRung.exchange(false, ordering: .sequentiallyConsistent) else {
            return Answer.wouldWait
        }
        do throws(SharedStateError) {
            try begin()
            return Answer.wouldWait
        } catch {
            return -error.errno
        }
    }

    /// They are listened to no more: one may be ready, or none can be asked.
    fileprivate func ring(_ status: Int32) {
        refusal.store(status, ordering: .sequentiallyConsistent)
        hasRung.store(true, ordering: .sequentiallyConsistent)
        bell.ring()
    }
}

/// The thread of this process that sleeps on descriptors, for those who wait for other things, too.
///
/// It rings once for each wait, when one of its descriptors may be ready, and then listens to these no
/// more until it is told to. The first wait starts it, and it ends when none has been there for a while.
internal final class DescriptorWatch: Sendable {
    static let shared = DescriptorWatch()

    private struct State {
        var waits: [WatchedDescriptors] = []
        var isRunning = false
        /// The two ends of a pipe, by which it is told to look at `waits` again.
        var alarm: [Int32] = []
        var isRung = false
    }

    /// How long the thread stays when nobody waits, in milliseconds.
    private static let patience: Int32 = 200

    private let state = Mutex(State())

    /// - Throws: `system`.
    func add(_ wait: WatchedDescriptors) throws(SharedStateError) {
        try state.withLock { (state) throws(SharedStateError) in
            if state.waits.contains(where: { $0 === wait }) { return }
            try start(&state)
            state.waits.append(wait)
            ring(&state)
        }
    }

    /// Its descriptors may be closed then: the kernel is asked of them for an instant more at most.
    func remove(_ wait: WatchedDescriptors) {
        state.withLock { state in
            guard let index = state.waits.firstIndex(where: { $0 === wait }) else { return }
            state.waits.remove(at: index)
            ring(&state)
        }
    }

    private func ring(_ state: inout State) {
        guard !state.isRung else { return }
        state.isRung = true
        var byte: UInt8 = 0
        _ = unsafe write(state.alarm[1], &byte, 1)
    }

    private func start(_ state: inout State) throws(SharedStateError) {
        if state.isRunning { return }
        if state.alarm.isEmpty {
            var ends: [Int32] = [-1, -1]
            try unsafe check(cworker_make_pipe(&ends), "pipe", "the wait for descriptors")
            state.alarm = ends
        }
        var thread = pthread_t()
        let number = unsafe pthread_create(
            &thread, nil,
            { _ in
                DescriptorWatch.shared.run()
                return nil
            }, nil)
        guard number == 0 else {
            throw SharedStateError(status: -number, "pthread_create", "the wait for descriptors")
        }
        _ = pthread_detach(thread)
        state.isRunning = true
    }

    // MARK: The thread

    private func run() {
        // Signals belong to the program's own threads.
        var signals = sigset_t()
        unsafe sigfillset(&signals)
        unsafe pthread_sigmask(SIG_BLOCK, &signals, nil)
        unsafe cworker_set_name("cshm-poll")
        while listen() || !leave() {}
    }

    /// Sleeps until something has happened.
    ///
    /// - Returns: Whether anybody waited.
    private func listen() -> Bool {
        let (waits, alarm) = state.withLock { ($0.waits, $0.alarm[0]) }
        var requests = [pollfd(fd: alarm, events: Int16(POLLIN), revents: 0)]
        for wait in waits { requests += wait.requests }
        let pause = waits.isEmpty ? Self.patience : -1
        let count = unsafe poll(&requests, nfds_t(requests.count), pause)
        // Refused if they are more than this process may open.
        let status = count < 0 ? -errno : 0
        if count != 0 { hush() }
        var next = 1
        for wait in waits {
            let own = requests[next..<next + wait.requests.count]
            next += wait.requests.count
            if own.contains(where: { $0.revents != 0 }) || status < 0 { finish(wait, status) }
        }
        return count != 0 || !waits.isEmpty
    }

    private func hush() {
        state.withLock { state in
            guard state.isRung else { return }
            var byte: UInt8 = 0
            _ = unsafe read(state.alarm[0], &byte, 1)
            state.isRung = false
        }
    }

    private func finish(_ wait: WatchedDescriptors, _ status: Int32) {
        state.withLock { $0.waits.removeAll { $0 === wait } }
        wait.ring(status)
    }

    private func leave() -> Bool {
        state.withLock { state in
            guard state.waits.isEmpty else { return false }
            state.isRunning = false
            return true
        }
    }
}
