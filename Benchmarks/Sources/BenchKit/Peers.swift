// SPDX-License-Identifier: Apache-2.0

internal import Foundation

/// What rows are compared with.
public enum Peers {
    /// Looks for every peer and floor once, in the order of names, which may take the time to compile it.
    ///
    /// - Parameters:
    ///   - settings: How it would be measured.
    ///   - tell: Is told each name, and why it has to be skipped here, if it has to, as soon as
    ///     that is known.
    public static func look(_ settings: Settings, _ tell: (String, String?) -> Void) {
        var found: [String: any Probe] = [:]
        for peer in Suites.all.flatMap(\.peers) where found[peer.name] == nil {
            found[peer.name] = peer
        }
        for (name, peer) in found.sorted(by: { $0.key < $1.key }) {
            tell(name, peer.reasonToSkip(settings))
        }
    }

    /// Whether a peer's or floor's name contains something.
    public static func has(_ part: String) -> Bool {
        Suites.all.flatMap(\.peerNames).contains { $0.contains(part) }
    }

    /// Installs what optional peers need.
    ///
    /// - Returns: The script's exit status: 0 if everything is there now.
    /// - Throws: If it cannot be started.
    public static func install() throws -> Int32 {
        let process = Process()
        process.executableURL = Place.benchmarks.appending(path: "Peers/install")
        try process.run()
        process.waitUntilExit()
        return process.terminationStatus
    }
}

/// Which peers stand beside a row; floors, and our own other faces, always do.
public enum PeerChoice: Equatable, Sendable {
    /// Every one that is here.
    case all
    /// Those that come with this program, with the kernel and with Swift.
    case builtIn
    /// None.
    case none
    /// Those whose names contain one of these.
    case named([String])

    /// Understands the words of `--peers`.
    ///
    /// - Parameters:
    ///   - words: `auto`, `all`, `built-in`, `none`, or parts of names; nothing is `auto`.
    ///   - isDefaultTable: Whether nobody asked for certain rows: then `auto` is ``builtIn``, so
    ///     that the table is there in minutes; else it is ``all``.
    public init(_ words: [String], isDefaultTable: Bool) {
        switch words {
        case [], ["auto"]: self = isDefaultTable ? .builtIn : .all
        case ["all"]: self = .all
        case ["built-in"]: self = .builtIn
        case ["none"]: self = .none
        default: self = .named(words)
        }
    }

    internal func includes(_ probe: any Probe) -> Bool {
        guard Suites.isPeer(probe.name) else { return true }
        return switch self {
        case .all: true
        case .builtIn: !probe.isExternal
        case .none: false
        case .named(let parts): parts.contains { probe.name.contains($0) }
        }
    }
}
