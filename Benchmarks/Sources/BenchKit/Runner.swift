// SPDX-License-Identifier: Apache-2.0

/// Measures rows: in each repeat the ping-pong, the row and its peers, one after the other, so that
/// a ratio compares figures of the same moment.
public struct Runner {
    private let settings: Settings

    /// Makes a runner.
    public init(_ settings: Settings) {
        self.settings = settings
    }

    /// Measures one row.
    ///
    /// - Parameter row: Which.
    /// - Returns: Its figures.
    /// - Throws: ``MeasurementFailure`` if the row itself gave none.
    public func run(_ row: Row) throws -> RowResult {
        if let reason = row.subject.reasonToSkip() { throw MeasurementFailure(reason) }
        var skipped: [String: String] = [:]
        for peer in row.peers { skipped[peer.name] = peer.reasonToSkip() }
        var samples = Samples()
        let before = CPUTimes.now()
        for turn in 0..<settings.repeats {
            try repeatOnce(row, turn, &samples, &skipped)
        }
        let foreign = CPUTimes.foreignShare(from: before, to: .now())
        guard let own = Summary(samples.own) else { throw MeasurementFailure("no figure") }
        return RowResult(
            name: row.name, value: own.median, min: own.min, max: own.max, unit: row.unit,
            repeats: samples.own.count, ratios: samples.ratios.compactMapValues { Summary($0) },
            others: samples.others.compactMapValues { Summary($0) },
            pingPong: Summary(samples.pingPong), foreign: foreign, skipped: skipped)
    }

    private struct Samples {
        var own: [Double] = []
        var pingPong: [Double] = []
        var others: [String: [Double]] = [:]
        var ratios: [String: [Double]] = [:]
    }

    private func repeatOnce(
        _ row: Row, _ turn: Int, _ samples: inout Samples, _ skipped: inout [String: String]
    ) throws {
        samples.pingPong.append(try placement())
        var mine: Double?
        var figures: [String: Double] = [:]
        // The order turns round, so that nobody always runs first, in the others' warm caches.
        for probe in order(row, turn) {
            guard let probe else {
                mine = try row.subject.measure(settings)
                continue
            }
            guard skipped[probe.name] == nil else { continue }
            do {
                figures[probe.name] = try probe.measure(settings)
            } catch {
                skipped[probe.name] = "\(error)"
            }
        }
        guard let mine else { return }
        samples.own.append(mine)
        for (name, figure) in figures {
            samples.others[name, default: []].append(figure)
            samples.ratios[name, default: []].append(mine / figure)
        }
    }

    /// The peers and, as `nil`, the row's own probe.
    private func order(_ row: Row, _ turn: Int) -> [(any Probe)?] {
        let all: [(any Probe)?] = [nil] + row.peers
        let first = turn % all.count
        return Array(all[first...] + all[..<first])
    }

    /// Nanoseconds of a short ping-pong: tells how far apart the host has put the CPUs just now.
    private func placement() throws -> Double {
        var short = settings
        short.duration = 0.01
        return try pingPong.measure(short)
    }
}

extension Runner {
    /// The part of the CPUs' time in others' hands from which on a figure is doubtful.
    internal static let noisy = 0.12
}
