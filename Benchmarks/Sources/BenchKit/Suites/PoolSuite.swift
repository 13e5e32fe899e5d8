// SPDX-License-Identifier: Apache-2.0

extension Suites {
    internal static let pool: [Row] = [
        Row(
            "pool/map-chunk1/8/2", .perSecond,
            "Pool.map of squares, one element a task, two workers",
            PoolProbe.map(chunk: 1, elements: 2000),
            against: [
                python("map", "1", "2000"), TaskProbe.taskGroup, TaskProbe.dispatch, ringPool,
                executor("concurrent.futures", "map", "1", "1000"),
                executor("loky", "map", "1", "1000"),
            ]),
        Row(
            "pool/map-auto/8/2", .perSecond,
            "Pool.map of a million squares, automatic chunks, two workers",
            PoolProbe.map(chunk: nil, elements: 1_000_000),
            against: [python("map", "0", "1000000"), TaskProbe.taskGroup]),
        Row(
            "pool/apply/8/1", .nanoseconds, "Pool.apply, one worker", PoolProbe.apply,
            against: [
                python("apply"), executor("concurrent.futures", "apply"), executor("loky", "apply"),
            ]),
        Row(
            "pool/apply-asleep/8/1", .nanoseconds, "Pool.apply, one worker that has fallen asleep",
            PoolProbe.applyAsleep, against: [python("apply-asleep")]),
        Row(
            "pool/argument/100000000/1", .bytesPerSecond, "100 MB as an argument of Pool.apply",
            PoolProbe.argument(bytes: 100_000_000),
            against: [
                FunctionProbe.memoryCopy(100_000_000), FunctionProbe.memoryCopyTwice(100_000_000),
                python("argument", "100000000"),
            ]),
        Row(
            "pool/argument-lent/100000000/1", .bytesPerSecond,
            "100 MB that a worker reads in place, a byte of each page",
            PoolProbe.lentArgument(bytes: 100_000_000),
            against: [FunctionProbe.memoryCopy(100_000_000), python("argument", "100000000")]),
        Row(
            "pool/result/100000000/1", .bytesPerSecond, "100 MB as its result",
            PoolProbe.result(bytes: 100_000_000),
            against: [
                FunctionProbe.memoryCopy(100_000_000), FunctionProbe.memoryCopyTwice(100_000_000),
                python("result", "100000000"),
            ]),
        Row(
            "pool/result-lent/100000000/1", .bytesPerSecond,
            "100 MB of a worker's that are read in place, a byte of each page",
            PoolProbe.lentResult(bytes: 100_000_000),
            against: [FunctionProbe.memoryCopy(100_000_000), python("result", "100000000")]),
        Row(
            "pool/death-notice/67108864/1", .nanoseconds,
            "from a worker's death, with 64 MiB resident, to its task's error",
            PoolProbe.death(resident: 64 << 20)),
        Row(
            "pool/start/0/2", .nanoseconds, "Pool of two until its first result", PoolProbe.start,
            against: [python("start", as: "python-pool-fork")]),
        Row(
            "process/start-join/0/1", .nanoseconds, "ChildProcess.start and join",
            PoolProbe.process,
            against: [
                python("process", as: "python-process-fork"), FunctionProbe.fork,
                FunctionProbe.spawn,
            ]),
    ]

    private static func python(
        _ mode: String..., as name: String = "python-pool"
    ) -> PythonProbe {
        PythonProbe(name: name, script: "mp_pool.py", arguments: mode)
    }

    private static func executor(_ module: String, _ arguments: String...) -> PythonProbe {
        PythonProbe(
            name: module, script: "executor.py", arguments: [module] + arguments, module: module)
    }

    /// Two workers in C on two Vyukov rings.
    private static let ringPool = ChannelProbe("c-pool").with {
        $0.mode = .work
        $0.processes = 3
        $0.size = 8
    }
}
