// SPDX-License-Identifier: Apache-2.0

extension Suites {
    internal static let process: [Row] = [
        Row(
            "pool/start-fresh/0/2", .nanoseconds,
            "Pool of two until its first result, the first thing that a program does",
            StartProbe(),
            against: [
                PythonProbe(
                    name: "python-pool-fork", script: "mp_pool.py", arguments: ["start-fresh"])
            ]),
        Row(
            "process/death-notice/0/1", .nanoseconds,
            "from a kill of a child to the end of join", DeathProbe(resident: 0)),
        Row(
            "process/death-notice/67108864/1", .nanoseconds,
            "the same, of a child with 64 MiB resident", DeathProbe(resident: 64 << 20)),
    ]
}
