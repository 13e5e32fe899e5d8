// SPDX-License-Identifier: Apache-2.0

internal import ArgumentParser
internal import BenchKit

internal struct RunCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "run", abstract: "Measures rows and prints them.",
        discussion: """
            Examples:
              shmbench run --filter queue/mpmc
              shmbench run --filter ring/spsc/64 --repeat 9 --duration 0.3
              shmbench run --format json > after.json
            """)

    internal enum Format: String, ExpressibleByArgument, CaseIterable {
        case table, json, tsv, markdown
    }

    @Option(name: .long, parsing: .upToNextOption, help: "Parts of names; all rows without it.")
    var filter: [String] = []

    @Option(
        name: .long, parsing: .upToNextOption, help: "Parts of peers' names; all peers without it.")
    var peers: [String] = []

    @Option(name: .customLong("repeat"), help: "How often each figure is measured.")
    var repeats = 5

    @Option(name: .long, help: "Seconds that each measurement counts for.")
    var duration = 0.1

    @Option(
        name: .long,
        help: "CPUs of one producer and one consumer: auto, none, or two numbers as 0,1.")
    var pin = Pin.auto

    @Option(name: .long, help: "What a side does between two tries.")
    var wait = Settings.Wait.hybrid

    @Option(name: .long, help: "How to print.")
    var format = Format.table

    func validate() throws {
        guard (1...1000).contains(repeats) else {
            throw ValidationError("--repeat takes 1 to 1000")
        }
        guard (0.001...60).contains(duration) else {
            throw ValidationError("--duration takes 0.001 to 60 seconds")
        }
    }

    func run() throws {
        let rows = Suites.matching(filter)
        guard !rows.isEmpty else { throw ValidationError("no row's name contains that") }
        let settings = Settings(
            repeats: repeats, duration: duration, cpus: pin.cpus, wait: wait)
        let runner = Runner(settings, peers: peers)
        let command = CommandLine.arguments.joined(separator: " ")
        var report = Report(machine: .current(settings), command: command)
        if format == .table { begin(report) }
        for row in rows {
            do {
                let result = try runner.run(row)
                report.results.append(result)
                if format == .table { print(Table.line(result)) }
            } catch let failure as MeasurementFailure {
                report.skipped[row.name] = failure.description
                if format == .table { print("\(row.name): \(failure)") }
            }
        }
        switch format {
        case .table: end(report)
        case .json: print(try report.json())
        case .tsv: print(report.tsv)
        case .markdown: print(report.markdown)
        }
    }

    private func begin(_ report: Report) {
        print(report.machine.summary)
        for warning in report.warnings { print("warning: \(warning)") }
        print("\n" + Table.heading)
    }

    private func end(_ report: Report) {
        var skipped: [String: String] = [:]
        for result in report.results { skipped.merge(result.skipped) { first, _ in first } }
        for (peer, reason) in skipped.sorted(by: { $0.key < $1.key }) {
            print("skipped \(peer): \(reason)")
        }
    }
}
