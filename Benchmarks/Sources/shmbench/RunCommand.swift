// SPDX-License-Identifier: Apache-2.0

internal import ArgumentParser
internal import BenchKit

internal struct RunCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "run", abstract: "Measures rows and prints them.",
        discussion: """
            Without --filter it measures the default table: the rows that answer a question each,
            beside floors and the peers that need nothing installed. That takes less than three
            minutes. The README's table, --cost --peers all, takes ten. A row that is asked for takes
            one to three seconds, and as many more for each peer in Python.

            Exits with 2 if a row gave no figure, with 130 after Ctrl-C.

            Examples:
              shmbench run --filter queue/mpmc
              shmbench run --filter ring/spsc/64 --repeat 9 --duration 0.3
              shmbench run --format json > after.json
            """)

    @Option(
        name: .long, parsing: .upToNextOption, help: "Parts of names; the default rows without it.")
    var filter: [String] = []

    @Flag(name: .long, help: "Every row, not only one for each question.")
    var all = false

    @Flag(name: .long, help: "The rows of the README's table.")
    var cost = false

    @Option(
        name: .long, parsing: .upToNextOption,
        help: """
            auto, all (that are here), built-in (this program's, the kernel's and Swift's), none, or \
            parts of names. Floors are always measured. auto is built-in in the default table, and \
            all where rows are asked for.
            """)
    var peers: [String] = []

    @Option(name: .customLong("repeat"), help: "How often each figure is measured.")
    var repeats = 5

    @Option(
        name: .long,
        help: """
            Seconds that each measurement counts for; without it 0.05 in the default table, and 0.1 \
            where rows are asked for.
            """)
    var duration: Double?

    @Option(
        name: .long,
        help: "CPUs of one producer and one consumer: auto, none, or two numbers as 0,1.")
    var pin = Pin.auto

    @Option(name: .long, help: "What a side does between two tries.")
    var wait = Settings.Wait.hybrid

    @Option(name: .long, help: "How to print.")
    var format = Format.table

    @Option(
        name: .long, help: "Write a page with plots, too.",
        completion: .file(extensions: ["html"]))
    var html: String?

    @Option(name: .long, help: "Write there and not to the standard output.", completion: .file())
    var output: String?

    private var isDefaultTable: Bool { filter.isEmpty && !all && !cost }

    func validate() throws {
        guard (1...1000).contains(repeats) else {
            throw ValidationError("--repeat takes 1 to 1000")
        }
        guard !cost || (filter.isEmpty && !all) else {
            throw ValidationError("--cost names its rows itself")
        }
        guard (0.001...60).contains(duration ?? 0.1) else {
            throw ValidationError("--duration takes 0.001 to 60 seconds")
        }
    }

    func run() throws {
        let choice = PeerChoice(peers, isDefaultTable: isDefaultTable)
        if case .named(let parts) = choice, let part = parts.first(where: { !Peers.has($0) }) {
            throw ValidationError("no peer's name contains \(part): see 'shmbench peers'")
        }
        let rows = cost ? Suites.cost : Suites.matching(filter, all: all)
        guard !rows.isEmpty else { throw ValidationError("no row's name contains that") }
        let settings = Settings(
            repeats: repeats, duration: duration ?? (isDefaultTable ? 0.05 : 0.1), cpus: pin.cpus,
            wait: wait)
        let sink = try Sink(output)
        let showing = format == .table ? sink : nil
        Interrupt.catch()
        Priority.raise()
        let report = measure(rows, settings, choice, showing)
        switch format {
        case .table:
            sink.write(Table.footer(report))
            if choice == .builtIn {
                sink.write("more peers: --peers all; 'make peers' installs what they need")
            }
        case .json: sink.write(try report.json())
        case .tsv: sink.write(report.tsv)
        case .markdown: sink.write(report.markdown)
        }
        if let html { try Sink(html).write(report.page) }
        if Interrupt.happened { throw ExitCode(130) }
        if !report.skipped.isEmpty { throw ExitCode(2) }
    }

    /// Measures row after row until all are done or Ctrl-C, and shows each when it is done.
    private func measure(
        _ rows: [Row], _ settings: Settings, _ peers: PeerChoice, _ sink: Sink?
    ) -> Report {
        let runner = Runner(settings, peers: peers)
        let progress = Progress(of: rows.count)
        var report = Report(
            machine: .current(settings), command: CommandLine.arguments.joined(separator: " "))
        sink?.write(Table.header(report))
        for (done, row) in rows.enumerated() where !Interrupt.happened {
            progress.show(done, row.name)
            do {
                let result = try runner.run(row)
                report.add(result)
                progress.clear()
                sink?.write(Table.line(result))
            } catch {
                report.skipped[row.name] = "\(error)"
                progress.clear()
                sink?.write("\(row.name): \(error)")
            }
        }
        return report
    }
}
