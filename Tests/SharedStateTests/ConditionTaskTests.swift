// SPDX-License-Identifier: Apache-2.0

import Glibc
import SharedState
import Testing

private let long = Duration.seconds(30)

/// From now on this process can start no thread: none has room for its stack.
private func refuseThreads() {
    typealias SetDefault = @convention(c) (UnsafePointer<pthread_attr_t>) -> Int32
    // glibc's function for it is not shown to Swift.
    let symbol = unsafe dlsym(nil, "pthread_setattr_default_np")
    let setDefault = unsafe unsafeBitCast(symbol, to: SetDefault.self)
    var attributes = pthread_attr_t()
    unsafe pthread_attr_init(&attributes)
    unsafe pthread_attr_setstacksize(&attributes, 1 << 60)
    let status = unsafe setDefault(&attributes)
    guard status == 0 else { exit(4) }
}

/// How tasks wait for a condition.
@Suite("Condition, for tasks", .serialized)
struct ConditionTaskTests {
    @Test func `a task for which no thread can be had is told so, and does not wait`() throws {
        let child = try ChildProcess.start {
            let condition = try Condition()
            Task {
                refuseThreads()
                let answer = await code {
                    try await condition.withLock(timeout: .seconds(10)) { _ in
                        false
                    } _: { _ in
                    }
                }
                exit(answer == .system && condition.waiting == 0 ? 0 : 3)
            }
            while true { pause() }
        }
        #expect(try child.join(timeout: long) == .exited(code: 0))
    }
}
