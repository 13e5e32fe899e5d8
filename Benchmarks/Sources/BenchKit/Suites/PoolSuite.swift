// SPDX-License-Identifier: Apache-2.0

extension Suites {
    internal static let pool: [Row] = [
        Row(
            "pool/map-chunk1/8/2", .perSecond, "Pool.map, one element a task, two workers",
            PoolProbe.map(chunk: 1, elements: 2000), against: [python("map", "1", "2000")]),
        Row(
            "pool/map-auto/8/2", .perSecond, "Pool.map, automatic chunks, two workers",
            PoolProbe.map(chunk: nil, elements: 200_000), against: [python("map", "0", "200000")]),
        Row(
            "pool/apply/8/1", .nanoseconds, "Pool.apply, one worker", PoolProbe.apply,
            against: [python("apply")]),
        Row(
            "pool/start/0/2", .nanoseconds, "Pool of two until its first result", PoolProbe.start,
            against: [python("start", as: "python-pool-fork")]),
        Row(
            "process/start-join/0/1", .nanoseconds, "ChildProcess.start and join",
            PoolProbe.process, against: [python("process", as: "python-process-fork")]),
    ]

    private static func python(
        _ mode: String..., as name: String = "python-pool"
    ) -> PythonProbe {
        PythonProbe(name: name, script: "mp_pool.py", arguments: mode)
    }
}
