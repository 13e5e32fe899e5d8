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
        let marks = warnings.map { "<p class=\"warning\">\(escaped($0))</p>" }.joined()
        let lines = machine.summary.split(separator: "\n").map { escaped(String($0)) }
        return """
            <h1>SharedState, measured</h1>
            <p>\(lines.joined(separator: "<br>"))</p>
            \(marks)
            <p class="legend">\(Series.own.key) SharedState \(Series.floor.key) floor of the machine
            \(Series.peer.key) others. Bars show medians on a logarithmic scale, their whiskers the
            least and the greatest. A ratio is ours divided by theirs in the same repeat.</p>
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
        return """
            \(list)
            <h2>Again</h2>
            <pre>\(escaped(command))</pre>
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
