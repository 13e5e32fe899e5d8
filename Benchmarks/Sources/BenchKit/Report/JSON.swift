// SPDX-License-Identifier: Apache-2.0

internal import Foundation

extension Report {
    /// Reads a report that ``json()`` wrote.
    ///
    /// - Parameter path: Of the file.
    /// - Throws: If it cannot be read, or is none.
    public init(contentsOf path: String) throws {
        let bytes = try Data(contentsOf: URL(fileURLWithPath: path))
        self = try JSONDecoder().decode(Report.self, from: bytes)
    }

    /// The report as JSON, its keys in order.
    public func json() throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        return String(decoding: try encoder.encode(self), as: UTF8.self)
    }
}
