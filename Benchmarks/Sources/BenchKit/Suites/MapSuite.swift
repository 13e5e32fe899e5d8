// SPDX-License-Identifier: Apache-2.0

extension Suites {
    internal static let map: [Row] = [
        row("get", 8, 1), row("get", 8, 2), row("get", 64, 1),
        row("set", 8, 1), row("set", 8, 2), row("set", 64, 1),
    ]

    /// 100,000 keys of 16 bytes, one at random each time.
    private static func row(_ operation: String, _ size: UInt32, _ processes: UInt32) -> Row {
        var peers = [
            work("boost-map", operation, size, processes).with { $0.peer = boost },
            work("lmdb", operation, size, processes).with { $0.peer = lmdb },
        ]
        if processes > 1 { peers.append(work("map", operation, size, 1).renamed("own-1")) }
        return Row(
            "map/\(operation)/\(size)/\(processes)", .perSecond,
            "\(operation) of one of 100,000 keys, \(processes) process\(processes == 1 ? "" : "es")",
            work("map", operation, size, processes), against: peers)
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

    private static let boost = CompiledPeer("boost_map.cpp", package: "libboost-dev")
    private static let lmdb = CompiledPeer(
        "lmdb.c", libraries: ["-llmdb"], package: "liblmdb-dev")
}
