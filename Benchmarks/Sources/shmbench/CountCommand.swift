// SPDX-License-Identifier: Apache-2.0

internal import ArgumentParser
internal import BenchKit

internal struct CountCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "count",
        abstract: "Counts allocations, system calls and instructions of single operations.",
        discussion: """
            These do not depend on the machine's noise. Each is at most what counts.json allows, or
            the exit status is 1. Instructions are counted by valgrind, where it is installed. What
            cannot be counted here exceeds nothing, unless --strict is given.

            Examples:
              shmbench count
              shmbench count --strict
              shmbench count --filter queue
            """)

    @Option(name: .long, parsing: .upToNextOption, help: "Parts of names; all without it.")
    var filter: [String] = []

    @Flag(name: .long, help: "Exit with 1 as well if something cannot be counted here.")
    var strict = false

    func run() throws {
        let counter = try Counter()
        let limits = try Counter.limits()
        let names = try counter.names().filter { name in
            filter.isEmpty || filter.contains { name.contains($0) }
        }
        guard !names.isEmpty else { throw ValidationError("no operation's name contains that") }
        print(Table.countHeading)
        var excess: [String] = []
        for name in names {
            let count = try counter.count(name)
            print(Table.line(count))
            guard let limit = limits[name] else {
                excess.append("\(name) has no limits in counts.json")
                continue
            }
            excess += count.excess(over: limit) + (strict ? count.uncounted : [])
        }
        guard excess.isEmpty else {
            print(excess.joined(separator: "\n"))
            throw ExitCode(1)
        }
    }
}
