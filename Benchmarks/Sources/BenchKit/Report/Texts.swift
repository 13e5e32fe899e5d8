// SPDX-License-Identifier: Apache-2.0

extension Report {
    /// One line for each figure: row, channel, value, min, max, unit, ratio, its min and max.
    public var tsv: String {
        var lines = ["name\tchannel\tvalue\tmin\tmax\tunit\tratio\tratio_min\tratio_max"]
        for result in results {
            lines.append(
                "\(result.name)\town\t\(result.value)\t\(result.min)\t\(result.max)"
                    + "\t\(result.unit.rawValue)\t\t\t")
            for (name, other) in result.others.sorted(by: { $0.key < $1.key }) {
                let ratio = result.ratios[name]
                let ratios = [ratio?.median, ratio?.min, ratio?.max]
                    .map { $0.map { "\($0)" } ?? "" }.joined(separator: "\t")
                lines.append(
                    "\(result.name)\t\(name)\t\(other.median)\t\(other.min)\t\(other.max)"
                        + "\t\(result.unit.rawValue)\t\(ratios)")
            }
        }
        return lines.joined(separator: "\n")
    }

    /// A table for a README, with the command and the machine below.
    public var markdown: String {
        var lines = [
            "| row | median | min – max | ratio to | in the same repeat |",
            "|---|---:|---:|---|---:|",
        ]
        for result in results {
            let ratios = result.ratios.sorted { $0.key < $1.key }
            let names = ratios.map(\.key).joined(separator: "<br>")
            let values = ratios.map { _, ratio in
                "\(Table.digits(ratio.median)) (\(Table.digits(ratio.min)) – \(Table.digits(ratio.max)))"
            }
            lines.append(
                "| `\(result.name)` | \(Table.figure(result.value, result.unit)) "
                    + "| \(Table.figure(result.min, result.unit)) – "
                    + "\(Table.figure(result.max, result.unit)) | \(names) "
                    + "| \(values.joined(separator: "<br>")) |")
        }
        lines += ["", machine.summary.split(separator: "\n").joined(separator: "; ") + "."]
        lines += warnings.map { "Warning: \($0)." }
        lines.append("`\(command)`")
        return lines.joined(separator: "\n")
    }
}
