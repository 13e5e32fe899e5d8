// SPDX-License-Identifier: Apache-2.0

/// Rows as a table with their ratios.
internal struct ResultTable {
    private let rows: [RowResult]

    init(_ rows: [RowResult]) {
        self.rows = rows
    }

    var html: String {
        """
        <div class="scroll"><table>
        <thead><tr><th>row</th><th>median</th><th>95 % interval</th><th>min – max</th>\
        <th>ping-pong</th><th>ratio to</th><th>median [95 % interval] (min – max)</th></tr></thead>
        <tbody>\(rows.map(line).joined(separator: "\n"))</tbody>
        </table></div>
        """
    }

    private func line(_ row: RowResult) -> String {
        let ratios = row.ratios.sorted { $0.key < $1.key }
        let names = ratios.map { escaped($0.key) }.joined(separator: "<br>")
        let values = ratios.map { _, ratio in Table.ratio(ratio) }
        let trip = row.pingPong.map { Table.figure($0.median, .nanoseconds) } ?? ""
        return """
            <tr><td>\(escaped(row.name))</td>\
            <td class="number">\(Table.figure(row.value, row.unit))</td>\
            <td class="number">\(Table.span(row.interval, row.unit))</td>\
            <td class="number">\(Table.span(row.min, row.max, row.unit))</td>\
            <td class="number">\(trip)</td><td>\(names)</td>\
            <td class="number">\(values.joined(separator: "<br>"))</td></tr>
            """
    }
}
