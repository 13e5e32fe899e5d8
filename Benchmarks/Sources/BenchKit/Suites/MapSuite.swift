// SPDX-License-Identifier: Apache-2.0

extension Suites {
    internal static let map: [Row] = [
        row("get", 8, 1), row("get", 8, 2), row("get", 64, 1), row("get", 64, 2),
        row("set", 8, 1), row("set", 8, 2), row("set", 64, 1), row("set", 64, 2),
        row("mix95", 8, 1), row("mix95", 8, 2), row("mix50", 8, 1), row("mix50", 8, 2),
        keys("get", 8), keys("get", 64), keys("get", 256),
        keys("set", 8), keys("set", 64), keys("set", 256),
    ]

    /// Keys of another length, beside those of 16 bytes.
    private static func keys(_ operation: String, _ length: UInt32) -> Row {
        Row(
            "map/\(operation)-key\(length)/8/1", .perSecond,
            "\(operation) of one of 100,000 keys of \(length) bytes",
            work("map-key\(length)", operation, 8, 1),
            against: [work("map", operation, 8, 1).renamed("own-key16")], isMore: true)
    }

    /// 100,000 keys of 16 bytes, one at random each time.
    private static func row(_ operation: String, _ size: UInt32, _ processes: UInt32) -> Row {
        var peers = [
            work("boost-map", operation, size, processes).with { $0.peer = boost },
            work("lmdb", operation, size, processes).with { $0.peer = lmdb },
        ]
        if operation == "get" || operation == "set", size == 8, processes == 1 {
            peers.append(work("redis", operation, size, 1).with { $0.peer = redis })
        }
        if processes > 1 { peers.append(work("map", operation, size, 1).renamed("own-1")) }
        return Row(
            "map/\(operation)/\(size)/\(processes)", .perSecond,
            "\(about[operation] ?? operation) of one of 100,000 keys, "
                + "\(processes) process\(processes == 1 ? "" : "es")",
            work("map", operation, size, processes), against: peers,
            isMore: operation.hasPrefix("mix") && processes > 1)
    }

    private static func work(
        _ map: String, _ operation: String, _ size: UInt32, _ processes: UInt32
    ) -> ChannelProbe {
        ChannelProbe("\(map)-\(operation)", as: map).with {
            $0.mode = .work
            $0.size = size
            $0.processes = processes
        }
    }

    private static let about = [
        "mix95": "95 gets and 5 sets", "mix50": "50 gets and 50 sets",
    ]
    private static let redis = CompiledPeer("redis.c", program: "redis-server")
    private static let boost = CompiledPeer("boost_map.cpp", package: "libboost-dev")
    private static let lmdb = CompiledPeer(
        "lmdb.c", libraries: ["-llmdb"], package: "liblmdb-dev")
}
