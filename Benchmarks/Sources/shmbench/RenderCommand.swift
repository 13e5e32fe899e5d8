// SPDX-License-Identifier: Apache-2.0

internal import ArgumentParser
internal import BenchKit
internal import Foundation

internal struct RenderCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "render", abstract: "Prints a saved run again, in another form.",
        discussion: """
            Examples:
              shmbench render after.json --format markdown
              shmbench render after.json --html report.html
              shmbench render cost.json --into README.md
            """)

    @Argument(help: "A file of `run --format json`.", completion: .file(extensions: ["json"]))
    var report: String

    @Option(name: .long, help: "How to print; nothing is printed without it.")
    var format: Format?

    @Option(
        name: .long, help: "Write a page with plots.", completion: .file(extensions: ["html"]))
    var html: String?

    @Option(
        name: .long, help: "Write the table between the marks of this file.", completion: .file())
    var into: String?

    func run() throws {
        let report = try Report(contentsOf: report)
        if let into {
            let text = try CostTable.put(
                report, into: String(contentsOfFile: into, encoding: .utf8))
            try Data(text.utf8).write(to: URL(fileURLWithPath: into), options: .atomic)
        }
        if let html { try Sink(html).write(report.page) }
        guard let format else { return }
        let sink = try Sink(nil)
        switch format {
        case .table:
            sink.write(Table.header(report))
            for result in report.results { sink.write(Table.line(result)) }
            sink.write(Table.footer(report))
        case .json: sink.write(try report.json())
        case .tsv: sink.write(report.tsv)
        case .markdown: sink.write(report.markdown)
        }
    }
}
