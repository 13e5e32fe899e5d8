// SPDX-License-Identifier: Apache-2.0

internal import Glibc

/// The children of this process that run, and what its end means for them.
internal enum ActiveChildren {
    private struct State {
        var children: [UInt64: ChildProcess] = [:]
        var owner: pid_t = 0
    }
    private static let state = Mutex(State())

    static var all: [ChildProcess] {
        state.withLock { $0.children }.sorted { $0.key < $1.key }.map(\.value).filter(\.isAlive)
    }

    static func add(_ child: ChildProcess, _ id: UInt64) {
        let isFirst = state.withLock { state in
            state.children[id] = child
            defer { state.owner = getpid() }
            return state.owner == 0
        }
        if isFirst {
            unsafe on_exit({ status, _ in ActiveChildren.waitBeforeExit(status) }, nil)
        }
    }

    static func remove(_ id: UInt64) {
        // Its end of life is outside of the lock.
        let child = state.withLock { $0.children.removeValue(forKey: id) }
        withExtendedLifetime(child) {}
    }

    /// Who ends with success waits for what it started.
    ///
    /// Who fails takes it along: nobody would give such children what they may be waiting for.
    private static func waitBeforeExit(_ status: Int32) {
        let children = state.withLock { state in
            status == 0 && state.owner == getpid() ? Array(state.children.values) : []
        }
        for child in children where !child.isDaemon { _ = try? child.join() }
    }
}
