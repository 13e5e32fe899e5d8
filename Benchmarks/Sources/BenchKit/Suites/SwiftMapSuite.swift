// SPDX-License-Identifier: Apache-2.0

extension Suites {
    internal static let swiftMap: [Row] = [
        row("get", "one of 100,000 keys, ManagedDictionary", .get),
        row("set", "one of 100,000 keys, ManagedDictionary", .set),
        wide("get", .get), wide("set", .set),
        byTwo("get", .get), byTwo("set", .set),
        row("update", "one of 100,000 keys changed in place, ManagedDictionary", .update),
        Row(
            "swift-map/get-text/16/1", .perSecond, "one of 10,000 String keys and values",
            SwiftMapProbe(.getText),
            against: [PythonProbe("python-manager", "mp_manager.py", "get-text")]),
        Row(
            "swift-map/set-text/16/1", .perSecond, "one of 10,000 String keys gets another value",
            SwiftMapProbe(.setText),
            against: [PythonProbe("python-manager", "mp_manager.py", "set-text")]),
        Row(
            "swift-map/add/8/2", .perSecond, "one key is added to by two processes",
            SwiftMapProbe(.addByTwo), against: [bareAdd]),
        Row(
            "swift-map/counter-add/8/2", .perSecond,
            "a ManagedCounter is incremented by two processes",
            SwiftMapProbe(.incrementByTwo), against: [bareAdd]),
    ]

    private static func wide(_ name: String, _ operation: SwiftMapProbe.Operation) -> Row {
        Row(
            "swift-map/\(name)/64/1", .perSecond, "the same, with values of 64 bytes",
            SwiftMapProbe(operation, size: 64),
            against: [SwiftMapProbe(operation, of: .dictionary, size: 64)], isMore: true)
    }

    private static func byTwo(_ name: String, _ operation: SwiftMapProbe.Operation) -> Row {
        Row(
            "swift-map/\(name)/8/2", .perSecond, "the same, by two processes",
            SwiftMapProbe(operation, processes: 2),
            against: [SwiftMapProbe(operation, as: "own-1")], isMore: true)
    }

    /// Two processes and one number.
    private static let bareAdd = ChannelProbe("atomic-add").with {
        $0.mode = .work
        $0.processes = 2
        $0.size = 8
    }

    private static func row(
        _ name: String, _ what: String, _ operation: SwiftMapProbe.Operation
    ) -> Row {
        Row(
            "swift-map/\(name)/8/1", .perSecond, what, SwiftMapProbe(operation),
            against: [
                SwiftMapProbe(operation, of: .dictionary),
                PythonProbe("python-manager", "mp_manager.py", name),
            ])
    }
}
