// SPDX-License-Identifier: Apache-2.0

internal import Glibc
internal import Synchronization

/// Whose turn it is at something that serves one thread at a time.
///
/// It does not wait: two at once is a mistake of the caller's, and told.
internal final class Turn: Sendable {
    private let isTaken = Atomic(false)

    func take() -> Bool { !isTaken.exchange(true, ordering: .acquiring) }
    func giveBack() { isTaken.store(false, ordering: .releasing) }
}

extension SharedStateError {
    /// As ``init(status:_:_:)``, for what only one thread at a time may use.
    internal init(channel status: Int32, _ function: StaticString, _ object: String) {
        guard status == Answer.busy else {
            self.init(status: status, function, object)
            return
        }
        self.init(
            .invalidArgument,
            "another thread or task is using this end of \(object); give each its own")
    }
}
