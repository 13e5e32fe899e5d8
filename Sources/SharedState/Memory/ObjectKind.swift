// SPDX-License-Identifier: Apache-2.0

internal import CShm

extension cshm_kind {
    /// - Throws: `incompatible`, with what the name belongs to, if that is of another kind.
    func check(_ entry: cshm_directory_entry, named name: String) throws(SharedStateError) {
        guard entry.kind != rawValue else { return }
        let other = cshm_kind(rawValue: entry.kind)
        throw SharedStateError(
            .incompatible, "\(name) is the name of \(other.noun), and not of \(noun)")
    }

    /// For people.
    private var noun: String {
        switch self {
        case CSHM_KIND_BLOCK: "a block of memory"
        case CSHM_KIND_MUTEX: "a lock"
        case CSHM_KIND_RING: "a ring"
        case CSHM_KIND_QUEUE: "a queue"
        case CSHM_KIND_MAP: "a map"
        case CSHM_KIND_BROADCAST: "a broadcast"
        case CSHM_KIND_LIST: "a list"
        case CSHM_KIND_LANES: "a queue with lanes"
        case CSHM_KIND_SEMAPHORE: "a semaphore"
        case CSHM_KIND_PERMITS: "a pool of permits"
        case CSHM_KIND_RWLOCK: "a reader-writer lock"
        case CSHM_KIND_BATON: "a lock of tasks"
        case CSHM_KIND_CONDITION: "a condition"
        case CSHM_KIND_EVENT: "an event"
        case CSHM_KIND_BARRIER: "a barrier"
        case CSHM_KIND_LATCH: "a latch"
        case CSHM_KIND_ONCE: "a once"
        case CSHM_KIND_VALUE: "a value"
        case CSHM_KIND_ATOMIC: "an atomic"
        case CSHM_KIND_ARRAY: "an array"
        default: "an object of kind \(rawValue)"
        }
    }
}
