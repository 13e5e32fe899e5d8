// SPDX-License-Identifier: Apache-2.0

import Dispatch

/// Threads for the tasks of a test that measures itself by others' progress.
///
/// Those of Swift's concurrency are as many as CPUs, and tests that block hold them for as long as
/// they wait: a task that has just been handed a lock could not run until one of them is done.
final class OwnThreads: TaskExecutor {
    static let shared = OwnThreads()

    private let queue = DispatchQueue(label: "tests", attributes: .concurrent)

    func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        queue.async { unsafe job.runSynchronously(on: self.asUnownedTaskExecutor()) }
    }
}
