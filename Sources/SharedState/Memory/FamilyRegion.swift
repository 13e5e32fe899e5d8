// SPDX-License-Identifier: Apache-2.0

internal import CShm
internal import CWorkerEntry

/// The default region of this process and of every worker below it: made on first use, mapped by
/// the zygote, joined by each worker.
internal enum FamilyRegion {
    @safe
    private struct State {
        var region: Region?
        /// What the zygote mapped and this process, its child, has not joined yet.
        nonisolated(unsafe) var inherited: OpaquePointer?
    }
    private static let state = Mutex(State())

    static func shared() throws(SharedStateError) -> Region {
        try state.withLock { (state) throws(SharedStateError) -> Region in
            if let region = state.region { return region }
            guard cworker_is_zygote() == 0 else {
                throw SharedStateError(
                    .invalidArgument, "a preload must not use what is shared between processes")
            }
            let region: Region
            if let inherited = unsafe state.inherited {
                region = try unsafe Region(joining: inherited)
            } else {
                region = try Region()
            }
            state.region = region
            return region
        }
    }

    /// Makes it, with room for so many bytes, before anything uses it: for tests in which it is full.
    static func make(capacity: Int) throws(SharedStateError) {
        let region = try Region(capacity: capacity)
        state.withLock { $0.region = region }
    }

    static func isShared(_ region: Region) -> Bool {
        state.withLock { $0.region === region }
    }

    /// The descriptor that a zygote is given.
    static func shareDescriptor() throws(SharedStateError) -> Int32 {
        unsafe cshm_region_descriptor(try shared().pointer)
    }

    /// In the zygote: maps without joining, so that its children inherit the mapping.
    static func map(descriptor: Int32) throws(SharedStateError) {
        var mapped: OpaquePointer?
        try unsafe check(cshm_region_map(descriptor, &mapped), "cshm_region_map")
        nonisolated(unsafe) let pointer = unsafe mapped
        state.withLock { unsafe $0.inherited = pointer }
    }
}
