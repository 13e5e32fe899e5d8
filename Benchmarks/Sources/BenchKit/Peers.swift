// SPDX-License-Identifier: Apache-2.0

internal import Foundation

/// What rows are compared with.
public enum Peers {
    /// Every peer and floor once, by name, and why it has to be skipped here, if it has to.
    ///
    /// - Parameter settings: How it would be measured.
    /// - Returns: Names and reasons, in the order of names.
    public static func all(_ settings: Settings) -> [(name: String, reason: String?)] {
        var found: [String: any Probe] = [:]
        for peer in Suites.all.flatMap(\.peers) where found[peer.name] == nil {
            found[peer.name] = peer
        }
        return found.sorted { $0.key < $1.key }.map { name, peer in
            (name, peer.reasonToSkip(settings))
        }
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
