// SPDX-License-Identifier: Apache-2.0

import Glibc
import SharedState
import Synchronization
import Testing

/// What a pool has told, in order.
private final class Told: Sendable {
    private let events = Synchronization.Mutex<[PoolEvent]>([])

    var all: [PoolEvent] { events.withLock { $0 } }

    var options: Pool.Options {
        var options = Pool.Options()
        options.onEvent = { event in self.events.withLock { $0.append(event) } }
        return options
    }

    /// Waits until it was told something of the kind.
    func expect(_ isIt: (PoolEvent) -> Bool) throws {
        try eventually { all.contains(where: isIt) }
    }
}

private struct Unfit: Error {}

@Suite("What a pool tells", .serialized)
struct PoolEventTests {
    @Test func `workers that come, die and go are told`() throws {
        let told = Told()
        let pool = try Pool(workers: 1, options: told.options)
        let pid = try pool.apply { getpid() }
        try told.expect { if case .began(1, pid) = $0 { !$0.isFailure } else { false } }
        #expect(throws: SharedStateError.self) { try pool.apply { () -> Int in abort() } }
        try told.expect {
            guard case .ended(1, let report?) = $0 else { return false }
            return report.status == .signalled(SIGABRT) && report.pid == pid && $0.isFailure
                && $0.description.hasPrefix("worker 1, process \(pid), ended: SIGABRT")
        }
        _ = try pool.apply { 0 }
        pool.close()
        try pool.join(timeout: .seconds(20))
        try told.expect {
            if case .ended(2, let report?) = $0 { report.status.isSuccess } else { false }
        }
        #expect(told.all.count == 4)
    }

    @Test(arguments: [false, true])
    func `signals to a worker that goes on are told`(isTerminated: Bool) throws {
        let told = Told()
        var options = told.options
        options.grace = .milliseconds(1)
        let pool = try Pool(workers: 1, options: options)
        let began = try Queue<Int>()
        let endless = try pool.submit(began) { began -> Int in
            signal(SIGTERM, SIG_IGN)
            try began.put(1)
            while true { pause() }
        }
        _ = try began.get(timeout: .seconds(20))
        if isTerminated { pool.terminate() } else { endless.cancel() }
        for number in [SIGTERM, SIGKILL] {
            try told.expect {
                if case .signalled(1, _, number) = $0 { $0.isFailure } else { false }
            }
        }
    }

    @Test(arguments: [Pool.Mode.processes, .inline])
    func `why a pool gave up is told`(mode: Pool.Mode) throws {
        let told = Told()
        let pool = try Pool(
            mode, workers: 1, options: told.options,
            initializer: { () throws -> Int in throw Unfit() })
        #expect(throws: SharedStateError.self) { try pool.apply { 0 } }
        try told.expect {
            if case .closed(let error) = $0 { error.code == .workerDied } else { false }
        }
    }
}
