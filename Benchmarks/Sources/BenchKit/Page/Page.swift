// SPDX-License-Identifier: Apache-2.0

extension Report {
    /// The report as one self-contained page: no network, no script, light and dark, phone and desk.
    public var page: String {
        """
        <!doctype html>
        <html lang="en">
        <head>
        <meta charset="utf-8">
        <meta name="viewport" content="width=device-width, initial-scale=1">
        <title>SharedState: measured</title>
        <link rel="icon" href="data:,">
        <style>\(PageStyle.sheet)</style>
        </head>
        <body>
        <main>
        \(header)
        \(suites.map(section).joined(separator: "\n"))
        \(ScalingPlot(results)?.section ?? "")
        \(footer)
        </main>
        </body>
        </html>
        """
    }

    private var header: String {
        let lines = machine.summary.split(separator: "\n").map { escaped(String($0)) }
        let marks = warnings.map { "<p class=\"warning\">\(escaped($0))</p>" }.joined()
        return """
            <h1>SharedState, measured</h1>
            <p>\(lines.joined(separator: "<br>"))</p>
            \(marks)
            <p class="legend">\(Series.own.key) SharedState \(Series.floor.key) floor of the machine
            \(Series.peer.key) others. Bars show medians on a logarithmic scale, their whiskers the
            least and the greatest, the thick part of these the median's 95 % interval. A ratio is ours divided by theirs in the same repeat.</p>
            """
    }

    private var suites: [String] {
        var seen: [String] = []
        for result in results where !seen.contains(result.suite) { seen.append(result.suite) }
        return seen
    }

    private func section(_ suite: String) -> String {
        let rows = results.filter { $0.suite == suite }
        let plots = rows.map { row in
            row.percentiles.isEmpty ? BarPlot(row).figure : PercentilePlot(row).figure
        }
        return """
            <section>
            <h2>\(escaped(suite))</h2>
            <div class="plots">\(plots.joined(separator: "\n"))</div>
            \(ResultTable(rows).html)
            </section>
            """
    }

    private var footer: String {
        let left = skipped.sorted { $0.key < $1.key }.map { "\($0.key): \($0.value)" }
        let peers = Set(results.flatMap { $0.skipped.map { "\($0.key): \($0.value)" } }).sorted()
        let items = (left + peers).map { "<li>\(escaped($0))</li>" }.joined()
        let list = items.isEmpty ? "" : "<h2>Left out</h2><ul>\(items)</ul>"
        let facts = machine.facts.map { name, value in
            "<tr><th>\(escaped(name))</th><td class=\"text\">\(escaped(value))</td></tr>"
        }.joined()
        return """
            \(list)
            <h2>The machine</h2>
            <div class="scroll"><table><tbody>\(facts)</tbody></table></div>
            <h2>The commands</h2>
            <pre>\(escaped(Self.commands(command)))</pre>
            """
    }
}

extension Report {
    /// What was run, and what else there is to run.
    fileprivate static func commands(_ command: String) -> String {
        """
        # measured this
        \(command)
        # more peers; more sizes and shapes; whether this machine is fit; what changed
        make peers
        swift run -c release --package-path Benchmarks shmbench run --all --html report.html
        swift run -c release --package-path Benchmarks shmbench machine
        swift run -c release --package-path Benchmarks shmbench compare before.json after.json
        """
    }
}

extension RowResult {
    internal var suite: String { String(name.prefix { $0 != "/" }) }
}

/// Whose figure it is.
internal enum Series: String {
    case own, peer, floor

    /// Sorts a name of ``RowResult/others`` into its kind.
    static func of(_ name: String) -> Series {
        if Suites.floorNames.contains(name) { return .floor }
        return Suites.isPeer(name) ? .peer : .own
    }

    /// A spot of its colour.
    var key: String { "<span class=\"key \(rawValue)\"></span>" }
}

/// Text as HTML shows it.
internal func escaped(_ text: String) -> String {
    var result = ""
    for character in text {
        switch character {
        case "&": result += "&amp;"
        case "<": result += "&lt;"
        case ">": result += "&gt;"
        case "\"": result += "&quot;"
        default: result.append(character)
        }
    }
    return result
}

/// A number for SVG.
internal func place(_ value: Double) -> String {
    "\((value * 10).rounded() / 10)"
}
