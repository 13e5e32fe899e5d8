// SPDX-License-Identifier: Apache-2.0

internal import ArgumentParser
internal import BenchKit

internal struct CompareCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "compare", abstract: "Says what became of each row between two runs.",
        discussion: """
            Both files are of `run --format json`. Exits with 1 if a row became worse by more than
            the threshold, at 95 % confidence.

            Examples:
              shmbench compare before.json after.json
              shmbench compare before.json after.json --ratios-to vyukov-ring --threshold 5
            """)

    @Argument(help: "The earlier run.", completion: .file(extensions: ["json"]))
    var before: String

    @Argument(help: "The later run.", completion: .file(extensions: ["json"]))
    var after: String

    @Option(name: .long, help: "Percent by which a row may become worse.")
    var threshold = 10.0

    @Option(name: .long, help: "Compare the ratios to this peer or floor, not the figures.")
    var ratiosTo: String?

    func run() throws {
        let comparison = Comparison(
            try Report(contentsOf: before), try Report(contentsOf: after), ratiosTo: ratiosTo)
        guard !comparison.changes.isEmpty else {
            throw ValidationError("the two runs have no row in common")
        }
        for change in comparison.changes {
            print(Table.line(change, isRatio: ratiosTo != nil))
        }
        for name in comparison.unmatched { print("only in one: \(name)") }
        let worse = comparison.changes.filter { $0.isWorse(than: threshold / 100) }
        guard worse.isEmpty else {
            print("worse by more than \(threshold) %: \(worse.map(\.name).joined(separator: ", "))")
            throw ExitCode(1)
        }
    }
}
