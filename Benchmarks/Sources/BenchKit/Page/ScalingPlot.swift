// SPDX-License-Identifier: Apache-2.0

internal import Foundation

/// The same case with more and more processes: `suite/case/size/NxN`, `Nx1`, `1xN` or `N`.
internal struct ScalingPlot {
    /// Which side grows.
    private enum Growth: String, CaseIterable {
        case both = "N×N"
        case producers = "N×1"
        case consumers = "1×N"
        case processes = "N"

        /// How many there are of what grows, if a row is of this kind; `1x1` is of three.
        func count(_ result: RowResult) -> Int? {
            let shape = result.name.split(separator: "/").last ?? ""
            let sides = shape.split(separator: "x", omittingEmptySubsequences: false).map {
                Int($0)
            }
            guard let first = sides[0], let second = sides[sides.count - 1], sides.count < 3 else {
                return nil
            }
            return switch self {
            case .both: sides.count == 2 && first == second ? first : nil
            case .producers: sides.count == 2 && second == 1 ? first : nil
            case .consumers: sides.count == 2 && first == 1 ? second : nil
            case .processes: sides.count == 1 ? first : nil
            }
        }
    }

    private struct Family {
        let name: String
        let growth: Growth
        /// What grows, and the row.
        var rows: [(count: Int, result: RowResult)]
    }

    private let families: [Family]

    /// Nothing, if no case was measured with more than one number of processes.
    init?(_ results: [RowResult]) {
        var families: [Family] = []
        for result in results where result.unit.moreIsBetter {
            let name = result.name.split(separator: "/").dropLast().joined(separator: "/")
            for growth in Growth.allCases {
                guard let count = growth.count(result) else { continue }
                let known = families.firstIndex { $0.name == name && $0.growth == growth }
                if let known {
                    families[known].rows.append((count, result))
                } else {
                    families.append(Family(name: name, growth: growth, rows: [(count, result)]))
                }
            }
        }
        self.families = families.filter { $0.rows.count > 1 }
        if self.families.isEmpty { return nil }
    }

    var section: String {
        """
        <section>
        <h2>More processes</h2>
        <div class="plots">\(families.map(figure).joined(separator: "\n"))</div>
        </section>
        """
    }

    private static let left = 60.0
    private static let right = 320.0
    private static let bottom = 150.0

    private func figure(_ family: Family) -> String {
        let peers = Set(family.rows.flatMap(\.result.others.keys)).filter { peer in
            !peer.hasPrefix("own-") && family.rows.count { $0.result.others[peer] != nil } > 1
        }
        let names = ["own"] + peers.sorted()
        let scale = LogScale(
            names.flatMap { Self.points(family, $0).map(\.value) }, from: Self.bottom, to: 12)
        let curves = names.enumerated().map { index, series in
            curve(series, family, scale, index)
        }
        let title = escaped("\(family.name)/\(family.growth.rawValue)")
        return """
            <figure>
            <figcaption>\(title) <small>more is better</small></figcaption>
            <svg viewBox="0 0 330 \(place(Self.bottom + 24 + 16 * Double(names.count)))" role="img" \
            aria-label="\(title)">\(grid(family, scale))\(curves.joined())</svg>
            </figure>
            """
    }

    private static func points(
        _ family: Family, _ series: String
    ) -> [(count: Int, value: Double)] {
        family.rows.compactMap { count, row in
            let value = series == "own" ? row.value : row.others[series]?.median
            return value.map { (count, $0) }
        }
    }

    private func across(_ count: Int, _ family: Family) -> Double {
        let most = family.rows.map(\.count).max() ?? 2
        let part = log2(Double(count)) / Swift.max(1, log2(Double(most)))
        return Self.left + 12 + (Self.right - Self.left - 24) * part
    }

    private func grid(_ family: Family, _ scale: LogScale) -> String {
        let lines = scale.decades.map { decade in
            let y = place(scale.place(decade))
            return """
                <line class="grid" x1="\(place(Self.left))" x2="\(place(Self.right))" \
                y1="\(y)" y2="\(y)"/>\
                <text class="soft" x="\(place(Self.left - 6))" y="\(y)" text-anchor="end" \
                dominant-baseline="middle">\(Table.figure(decade, .perSecond, digits: 0))</text>
                """
        }
        let ticks = family.rows.map { count, _ in
            """
            <text class="soft" x="\(place(across(count, family)))" y="\(place(Self.bottom + 16))" \
            text-anchor="middle">\(family.growth.rawValue.replacing("N", with: "\(count)"))</text>
            """
        }
        return (lines + ticks).joined()
    }

    private func curve(
        _ series: String, _ family: Family, _ scale: LogScale, _ index: Int
    ) -> String {
        let points = Self.points(family, series).map { count, value in
            "\(place(across(count, family))),\(place(scale.place(value)))"
        }
        return """
            <polyline class="curve c\(index % 5)" points="\(points.joined(separator: " "))"/>\
            <text class="t\(index % 5)" x="\(place(Self.left))" \
            y="\(place(Self.bottom + 32 + 16 * Double(index)))">\
            \(escaped(series == "own" ? "SharedState" : series))</text>
            """
    }
}
