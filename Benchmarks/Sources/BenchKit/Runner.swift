// SPDX-License-Identifier: Apache-2.0

internal import CBench
internal import Histogram

/// Measures rows: in each repeat the ping-pong, the row and its peers, one after the other, so that
/// a ratio compares figures of the same moment.
public struct Runner {
    private let settings: Settings
    private let peers: PeerChoice
    private let placementProbe: any Probe

    /// Makes a runner.
    ///
    /// - Parameters:
    ///   - settings: How to measure.
    ///   - peers: Which of the rows' peers to measure.
    public init(_ settings: Settings, peers: PeerChoice = .all) {
        self.init(settings, peers: peers, placement: pingPong)
    }

    internal init(_ settings: Settings, peers: PeerChoice = .all, placement: any Probe) {
        self.settings = settings
        self.peers = peers
        self.placementProbe = placement
    }

    /// Measures one row.
    ///
    /// - Parameter row: Which.
    /// - Returns: Its figures.
    /// - Throws: ``MeasurementFailure`` if the row itself gave none.
    public func run(_ row: Row) throws -> RowResult {
        if let reason = row.subject.reasonToSkip(settings) { throw MeasurementFailure(reason) }
        var skipped: [String: String] = [:]
        let chosen = row.peers.filter(peers.includes)
        for peer in chosen { skipped[peer.name] = peer.reasonToSkip(settings) }
        var samples = Samples()
        let before = CPUTimes.now()
        for turn in 0..<settings.repeats {
            try repeatOnce(row, chosen, turn, &samples, &skipped)
        }
        let foreign = CPUTimes.foreignShare(from: before, to: .now())
        guard let own = Summary(samples.own) else { throw MeasurementFailure("no figure") }
        return RowResult(
            name: row.name, value: own.median, min: own.min, max: own.max, interval: own.interval,
            unit: row.unit, repeats: samples.own.count,
            ratios: samples.ratios.compactMapValues { Summary($0) }, values: samples.own,
            ratioValues: samples.ratios, others: samples.others.compactMapValues { Summary($0) },
            floorRatio: samples.median(
                ofFirst: chosen.filter { Suites.floorNames.contains($0.name) }),
            peerRatio: samples.median(ofFirst: chosen.filter { Suites.isPeer($0.name) }),
            percentiles: samples.times.mapValues(Percentile.all),
            samples: samples.times.mapValues { Int($0.totalCount) },
            pingPong: Summary(samples.pingPong), pingPongValues: samples.pingPong,
            moved: samples.moved, foreign: foreign, skipped: skipped)
    }

    /// One repeat; once more, twice at most, if the host moved the CPUs meanwhile.
    private func repeatOnce(
        _ row: Row, _ peers: [any Probe], _ turn: Int, _ samples: inout Samples,
        _ skipped: inout [String: String]
    ) throws {
        for attempt in 0...2 {
            let before = try placement()
            let figures = try measureAll([row.subject] + peers, from: turn, &skipped)
            let after = try placement()
            let moved = max(before, after) > 1.5 * min(before, after)
            if moved, attempt < 2 { continue }
            samples.moved += moved ? 1 : 0
            samples.pingPong.append(before)
            samples.add(figures, peers.map(\.name))
            return
        }
    }

    /// Measures the row's own probe, which is the first, and its peers, beginning with another in
    /// each turn, so that nobody always runs first.
    private func measureAll(
        _ probes: [any Probe], from turn: Int, _ skipped: inout [String: String]
    ) throws -> [Measurement?] {
        var figures = [Measurement?](repeating: nil, count: probes.count)
        for step in probes.indices {
            let index = (turn + step) % probes.count
            let probe = probes[index]
            if index == 0 {
                figures[index] = try probe.measure(settings)
            } else if skipped[probe.name] == nil {
                do {
                    figures[index] = try probe.measure(settings)
                } catch {
                    if Interrupt.happened { throw error }
                    skipped[probe.name] = "\(error)"
                }
            }
        }
        return figures
    }

    /// Nanoseconds of a short ping-pong: tells how far apart the host has put the CPUs just now.
    ///
    /// In so short a time a busy machine may not let both sides run: then it is a longer one.
    private func placement() throws -> Double {
        var short = settings
        for duration in [0.01, 0.1] where !Interrupt.happened {
            short.duration = duration
            if let figure = try? placementProbe.measure(short).value { return figure }
        }
        if Interrupt.happened { throw MeasurementFailure("interrupted") }
        short.duration = 1
        return try placementProbe.measure(short).value
    }
}

/// Who comes first on a CPU.
public enum Priority {
    /// Asks for more of the CPUs than others get, for everything that is measured from now on.
    public static func raise() { bench_raise_priority() }
}

/// Ctrl-C.
public enum Interrupt {
    /// From now on it ends the measurement, not the program.
    public static func `catch`() { bench_catch_interrupt() }

    /// Whether it was pressed.
    public static var happened: Bool { bench_interrupted() }
}

extension Runner {
    /// The part of the CPUs' time in others' hands from which on a figure is doubtful.
    internal static let noisy = 0.12
}

/// What the repeats of one row gave so far.
private struct Samples {
    var own: [Double] = []
    var pingPong: [Double] = []
    var moved = 0
    var others: [String: [Double]] = [:]
    var ratios: [String: [Double]] = [:]
    var times: [String: Histogram<UInt64>] = [:]

    /// Adds the figures of one repeat: our own, and those of the peers in their order.
    mutating func add(_ figures: [Measurement?], _ peers: [String]) {
        guard let mine = figures.first ?? nil else { return }
        own.append(mine.value)
        add(mine.times, of: "own")
        for (name, other) in zip(peers, figures.dropFirst()) {
            guard let other else { continue }
            others[name, default: []].append(other.value)
            if other.value > 0 { ratios[name, default: []].append(mine.value / other.value) }
            add(other.times, of: name)
        }
    }

    /// The ratio to the first of some peers that has one.
    func median(ofFirst peers: [any Probe]) -> Double? {
        peers.lazy.compactMap { ratios[$0.name] }.first.map(Statistics.median)
    }

    private mutating func add(_ more: Histogram<UInt64>?, of name: String) {
        guard let more else { return }
        guard var known = times[name] else {
            times[name] = more
            return
        }
        known.add(more)
        times[name] = known
    }
}
