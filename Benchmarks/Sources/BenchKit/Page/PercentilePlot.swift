// SPDX-License-Identifier: Apache-2.0

internal import Foundation

/// How long it took at most, against how often: the nines run to the right.
internal struct PercentilePlot {
    private let row: RowResult
    private let scale: LogScale

    init(_ row: RowResult) {
        self.row = row
        self.scale = LogScale(
            row.percentiles.values.flatMap { $0.map(\.nanoseconds) }, from: Self.bottom, to: 12)
    }

    private static let left = 52.0
    private static let right = 320.0
    private static let bottom = 190.0
    private static let ticks = [50, 90, 99, 99.9, 99.99]

    var figure: String {
        let names = row.percentiles.keys.sorted { first, second in
            (first == "own" ? 0 : 1, first) < (second == "own" ? 0 : 1, second)
        }
        let curves = names.enumerated().map { index, name in
            curve(name, row.percentiles[name] ?? [], index % 5)
        }
        return """
            <figure>
            <figcaption>\(escaped(row.name)) <small>less is better</small></figcaption>
            <svg viewBox="0 0 330 \(place(Self.bottom + 24 + 16 * Double(names.count)))" role="img" \
            aria-label="\(escaped(row.name))">\(grid)\(curves.joined())</svg>
            </figure>
            """
    }

    /// Where the share that took longer is a tenth, a hundredth and so on, at equal distances.
    private func across(_ percentile: Double) -> Double {
        let nines = percentile >= 100 ? 5 : -log10(1 - percentile / 100)
        let part = (nines - 0.3) / (4.3 - 0.3)
        return Self.left + (Self.right - Self.left) * min(1, max(0, part))
    }

    private var grid: String {
        let rows = scale.decades.map { decade in
            let y = place(scale.place(decade))
            return """
                <line class="grid" x1="\(place(Self.left))" x2="\(place(Self.right))" \
                y1="\(y)" y2="\(y)"/>\
                <text class="soft" x="\(place(Self.left - 6))" y="\(y)" text-anchor="end" \
                dominant-baseline="middle">\(Table.figure(decade, .nanoseconds, digits: 0))</text>
                """
        }
        let columns = Self.ticks.map { tick in
            """
            <text class="soft" x="\(place(across(tick)))" y="\(place(Self.bottom + 16))" \
            text-anchor="middle">p\(Table.short(tick))</text>
            """
        }
        return (rows + columns).joined()
    }

    private func curve(_ name: String, _ percentiles: [Percentile], _ colour: Int) -> String {
        let points = percentiles.filter { $0.percentile < 100 }.map { entry in
            "\(place(across(entry.percentile))),\(place(scale.place(entry.nanoseconds)))"
        }
        let line = Self.bottom + 32 + 16 * Double(index(of: name))
        return """
            <polyline class="curve c\(colour)" points="\(points.joined(separator: " "))"/>\
            <text class="t\(colour)" x="\(place(Self.left))" y="\(place(line))">\
            \(escaped(name == "own" ? "SharedState" : name))\
            <tspan class="soft"> \(row.samples[name] ?? 0) times</tspan></text>
            """
    }

    private func index(of name: String) -> Int {
        guard name != "own" else { return 0 }
        return row.percentiles.keys.filter { $0 != "own" && $0 < name }.count
            + (row.percentiles["own"] == nil ? 0 : 1)
    }
}
