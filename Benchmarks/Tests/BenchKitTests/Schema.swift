// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

@testable import BenchKit

/// The keys of a report's JSON: those that there are, and those that the README has.
enum Schema {
    /// The members of these have names of peers or rows.
    private static let named: Set = [
        "ratios", "ratio_values", "others", "percentiles", "samples", "skipped",
    ]

    /// Each key that a JSON text has, and what its values are.
    static func written(_ json: String) throws -> [String: String] {
        var kinds: [String: String] = [:]
        walk(try JSONSerialization.jsonObject(with: Data(json.utf8)), "", &kinds)
        return kinds
    }

    private static func walk(_ value: Any, _ path: String, _ kinds: inout [String: String]) {
        switch value {
        case let object as [String: Any]:
            let isNamed = named.contains(String(path.split(separator: ".").last ?? ""))
            for (key, member) in object {
                walk(member, (path.isEmpty ? "" : path + ".") + (isNamed ? "*" : key), &kinds)
            }
        case let list as [Any]: for element in list { walk(element, path + "[]", &kinds) }
        case is String: kinds[path] = "string"
        case let number as NSNumber:
            kinds[path] = unsafe String(cString: number.objCType) == "c" ? "boolean" : "number"
        default: kinds[path] = "null"
        }
    }

    /// The README's table: each key, what it is, and whether it may be absent.
    static func documented() throws -> [String: (kind: String, mayBeAbsent: Bool)] {
        let readme = Place.benchmarks.appending(path: "README.md")
        let text = try String(contentsOf: readme, encoding: .utf8)
        let section = try #require(text.split(separator: "## JSON").last)
        var keys: [String: (kind: String, mayBeAbsent: Bool)] = [:]
        for line in section.split(separator: "\n") where line.hasPrefix("| `") {
            let cells = line.split(separator: "|").map { $0.trimmingCharacters(in: .whitespaces) }
            for (index, word) in cells[0].split(separator: "`").enumerated() where index % 2 == 0 {
                keys[String(word)] = (cells[1], cells[2].contains("absent"))
            }
        }
        return keys
    }
}
