// SPDX-License-Identifier: Apache-2.0

internal import Foundation

/// The same case with more and more processes: `suite/case/size/NxN`.
internal struct ScalingPlot {
    private let families: [(name: String, rows: [RowResult])]

    /// Nothing, if no case was measured with more than one number of processes.
    init?(_ results: [RowResult]) {
        var families: [(name: String, rows: [RowResult])] = []
        for result in results where Self.processes(result) != nil && result.unit.moreIsBetter {
            let name = String(
                result.name.prefix(upTo: result.name.lastIndex(of: "/") ?? result.name.endIndex))
            if let index = families.firstIndex(where: { $0.name == name }) {
                families[index].rows.append(result)
            } else {
                families.append((name, [result]))
            }
        }
        self.families = families.filter { $0.rows.count > 1 }
        if self.families.isEmpty { return nil }
    }

    var section: String {
        """
        <section>
        <h2>More processes</h2>
        <div class="plots">\(families.map { figure($0.name, $0.rows) }.joined(separator: "\n"))</div>
        </section>
        """
    }

    private static let left = 60.0
    private static let right = 320.0
    private static let bottom = 150.0

    private static func processes(_ result: RowResult) -> Int? {
        let shape = result.name.split(separator: "/").last ?? ""
        let sides = shape.split(separator: "x").compactMap { Int($0) }
        return sides.count == 2 && sides[0] == sides[1] ? sides[0] : nil
    }

    private func figure(_ name: String, _ rows: [RowResult]) -> String {
        let peers = Set(rows.flatMap(\.others.keys)).filter { !$0.hasPrefix("own-") }.sorted()
        let names = ["own"] + peers
        let scale = LogScale(
            rows.flatMap { row in [row.value] + peers.compactMap { row.others[$0]?.median } },
            from: Self.bottom, to: 12)
        let curves = names.enumerated().map { index, series in
            curve(series, rows, scale, index)
        }
        return """
            <figure>
            <figcaption>\(escaped(name)) <small>more is better</small></figcaption>
            <svg viewBox="0 0 330 \(place(Self.bottom + 24 + 16 * Double(names.count)))" role="img" \
            aria-label="\(escaped(name))">\(grid(rows, scale))\(curves.joined())</svg>
            </figure>
            """
    }

    private func across(_ processes: Int, _ rows: [RowResult]) -> Double {
        let most = rows.compactMap(Self.processes).max() ?? 2
        let part = log2(Double(processes)) / Swift.max(1, log2(Double(most)))
        return Self.left + 12 + (Self.right - Self.left - 24) * part
    }

    private func grid(_ rows: [RowResult], _ scale: LogScale) -> String {
        let lines = scale.decades.map { decade in
            let y = place(scale.place(decade))
            return """
                <line class="grid" x1="\(place(Self.left))" x2="\(place(Self.right))" \
                y1="\(y)" y2="\(y)"/>\
                <text class="soft" x="\(place(Self.left - 6))" y="\(y)" text-anchor="end" \
                dominant-baseline="middle">\(Table.figure(decade, .perSecond, digits: 0))</text>
                """
        }
        let ticks = rows.compactMap(Self.processes).map { count in
            """
            <text class="soft" x="\(place(across(count, rows)))" y="\(place(Self.bottom + 16))" \
            text-anchor="middle">\(count) × \(count)</text>
            """
        }
        return (lines + ticks).joined()
    }

    private func curve(
        _ series: String, _ rows: [RowResult], _ scale: LogScale, _ index: Int
    ) -> String {
        let points = rows.compactMap { row -> String? in
            let value = series == "own" ? row.value : row.others[series]?.median
            guard let value, let count = Self.processes(row) else { return nil }
            return "\(place(across(count, rows))),\(place(scale.place(value)))"
        }
        return """
            <polyline class="curve c\(index % 5)" points="\(points.joined(separator: " "))"/>\
            <text class="t\(index % 5)" x="\(place(Self.left))" \
            y="\(place(Self.bottom + 32 + 16 * Double(index)))">\
            \(escaped(series == "own" ? "SharedState" : series))</text>
            """
    }
}
