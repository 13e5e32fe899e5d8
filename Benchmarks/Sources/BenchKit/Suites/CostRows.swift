// SPDX-License-Identifier: Apache-2.0

extension Suites {
    /// The rows of the README's table, in its order.
    public static let cost: [Row] = {
        let rows = Dictionary(all.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
        return costNames.compactMap { rows[$0] }
    }()

    internal static let costNames = [
        "ring/spsc/8/1x1", "ring/spsc/64/1x1", "ring/batch-32/8/1x1", "ring/batch-32/64/1x1",
        "ring/roundtrip/64/1x1", "ring/default-roundtrip/64/1x1", "ring/default-stream/64/1x1",
        "ring/one-cpu-roundtrip/64/1x1", "ring/parked-roundtrip/64/1x1",
        "queue/mpmc/64/1x1", "queue/mpmc/64/2x2", "queue/mpmc/64/4x4",
        "queue/mpmc-batch32/64/1x1", "queue/mpmc-batch32/64/2x2", "queue/mpmc-blocking/64/1x1",
        "queue/mpmc-blocking/64/2x2", "queue/default-stream/64/1x1",
        "queue/default-roundtrip/64/1x1", "queue/parked-roundtrip/64/1x1",
        "queue/one-cpu-roundtrip/64/1x1", "messages/in-place/64/1x1",
        "messages/in-place/1048576/1x1", "messages/in-place/67108864/1x1",
        "messages/copied/1048576/1x1", "messages/blocking/64/1x1", "swift-queue/put-get/64/1x1",
        "swift-queue/batch32/64/1x1", "swift-queue/put-get/1048576/1x1",
        "swift-queue/in-place/1048576/1x1",
        "sync/lock/uncontended/1", "swift-lock/lock/uncontended/1",
        "sync/semaphore/uncontended/1", "sync/rwlock/read/1", "sync/event/test/1",
        "sync/lock/contended/2", "sync/lock/contended/8", "sync/condition/roundtrip/2",
        "sync/condition/hot-roundtrip/2", "sync/event/roundtrip/2", "sync/event/hot-roundtrip/2",
        "sync/barrier/wait/2", "sync/barrier/wait/8", "sync/lock/dead-holder/64",
        "sync/rwlock/dead-holder/64", "sync/condition/dead-woken/64", "sync/barrier/dead-holder/64",
        "pool/map-chunk1/8/2", "pool/map-auto/8/2", "pool/apply/8/1", "pool/apply-asleep/8/1",
        "pool/start-fresh/0/2", "process/start-join/0/1", "pool/argument/100000000/1",
        "pool/argument-lent/100000000/1", "pool/result/100000000/1",
        "pool/result-lent/100000000/1", "pool/death-notice/67108864/1", "idle/cpu/0/pool",
        "idle/wake-ups/0/pool",
        "map/get/8/1", "map/get/8/2", "map/get/64/1", "map/get/64/2",
        "map/set/8/1", "map/set/8/2", "map/set/64/1", "map/set/64/2", "map/mix95/8/1",
        "swift-map/get/8/1", "swift-map/set/8/1", "swift-map/get-text/16/1",
        "swift-map/set-text/16/1", "swift-map/add/8/2", "swift-map/counter-add/8/2",
        "memory/map-entry/64/1", "memory/map-replaced/64/1",
    ]
}
