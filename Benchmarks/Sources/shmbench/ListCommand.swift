// SPDX-License-Identifier: Apache-2.0

internal import ArgumentParser
internal import BenchKit

internal struct ListCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "list", abstract: "Names the rows, their units and their peers.",
        discussion: """
            A name is suite/case/size/shape; after it stand what kind of figure it is, in which unit, and
            what it is compared with.

            Examples:
              shmbench list
              shmbench list --filter queue/mpmc map/
            """)

    @Option(name: .long, parsing: .upToNextOption, help: "Parts of names; all rows without it.")
    var filter: [String] = []

    func run() {
        for row in Suites.matching(filter, all: true) {
            let peers = row.peerNames.isEmpty ? "" : " [\(row.peerNames.joined(separator: ", "))]"
            let asked = row.isMore ? " (only if asked for)" : ""
            print(
                "\(row.name)\t\(row.unit.kind) in \(row.unit.rawValue)\t\(row.about)\(asked)\(peers)"
            )
        }
    }
}
