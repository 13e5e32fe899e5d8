// SPDX-License-Identifier: Apache-2.0

internal import Glibc

/// A bell of this process that remembers how often it was rung, for threads that wait: each
/// ring lets one go on.
@safe
package final class PrivateBell: Sendable {
    private nonisolated(unsafe) let semaphore: UnsafeMutablePointer<sem_t>

    package init() {
        unsafe semaphore = .allocate(capacity: 1)
        unsafe sem_init(semaphore, 0, 0)
    }

    deinit {
        unsafe sem_destroy(semaphore)
        unsafe semaphore.deallocate()
    }

    package func ring() {
        unsafe sem_post(semaphore)
    }

    package func wait() {
        while unsafe sem_wait(semaphore) != 0 {}
    }
}
