// SPDX-License-Identifier: Apache-2.0

import Synchronization
import Testing

@testable import BenchKit

/// Gives one figure after the other, and notes who was asked when.
private final class Script: Probe {
    let name: String
    private let figures: Mutex<[Double]>
    private let log: Log
    private let reason: String?

    init(_ name: String, _ figures: [Double], _ log: Log, skip reason: String? = nil) {
        self.name = name
        self.figures = Mutex(figures)
        self.log = log
        self.reason = reason
    }

    func reasonToSkip(_ settings: Settings) -> String? { reason }

    func measure(_ settings: Settings) throws -> Measurement {
        log.note(name)
        let next = figures.withLock { $0.isEmpty ? nil : $0.removeFirst() }
        guard let next else { throw MeasurementFailure("\(name) is out of figures") }
        return Measurement(value: next)
    }
}

private final class Log: Sendable {
    private let names = Mutex<[String]>([])

    var all: [String] { names.withLock { $0 } }

    func note(_ name: String) { names.withLock { $0.append(name) } }
}

/// Gives no figure in less than a second, and notes for how long it was asked.
private final class Durations: Probe {
    let name = "placement"
    private let noted = Mutex<[Double]>([])

    var asked: [Double] { noted.withLock { $0 } }

    func reasonToSkip(_ settings: Settings) -> String? { nil }

    func measure(_ settings: Settings) throws -> Measurement {
        noted.withLock { $0.append(settings.duration) }
        guard settings.duration >= 1 else { throw MeasurementFailure("nothing arrived") }
        return Measurement(value: 100)
    }
}

@Suite("Runner")
struct RunnerTests {
    private let log = Log()
    /// Steady, so that no repeat is measured again.
    private func runner(repeats: Int, peers: PeerChoice = .all) -> Runner {
        Runner(
            Settings(repeats: repeats), peers: peers,
            placement: Script("placement", Array(repeating: 100, count: 100), Log()))
    }

    @Test("where the CPUs are is asked for longer before a row goes without a figure")
    func busy() throws {
        let durations = Durations()
        let runner = Runner(Settings(repeats: 1), placement: durations)
        let row = Row("a/b/8/1x1", .perSecond, "", Script("own", [10], log))
        #expect(try runner.run(row).pingPong?.median == 100)
        #expect(durations.asked == [0.01, 0.1, 1, 0.01, 0.1, 1])
    }

    @Test("a ratio divides figures of the same repeat")
    func ratios() throws {
        let row = Row(
            "a/b/8/1x1", .perSecond, "", Script("own", [10, 40, 90], log),
            against: [Script("peer", [20, 20, 30], log)])
        let result = try runner(repeats: 3).run(row)
        #expect(result.value == 40)
        #expect(result.ratioValues["peer"] == [0.5, 2, 3])
        #expect(result.ratios["peer"]?.median == 2)
        #expect(result.others["peer"]?.median == 20)
        #expect(result.repeats == 3)
    }

    @Test("floor and peer ratio are the median ratios to the first floor and the first real peer")
    func firsts() throws {
        let row = Row(
            "a/b/8/1x1", .perSecond, "", Script("own", [10, 40, 90], log),
            against: [
                Script("pipe", [], log, skip: "not here"), Script("own-2x2", [1, 1, 1], log),
                Script("vyukov-ring", [20, 20, 30], log), Script("futex", [5, 10, 10], log),
                Script("unix-socket", [1, 1, 1], log), Script("ping-pong", [1, 1, 1], log),
            ])
        let result = try runner(repeats: 3).run(row)
        #expect(result.peerRatio == 2)
        #expect(result.floorRatio == 4)
        let alone = Row(
            "a/b/8/1x1", .perSecond, "", Script("own", [1], log),
            against: [Script("own-2x2", [1], log)])
        let none = try runner(repeats: 1).run(alone)
        #expect(none.peerRatio == nil && none.floorRatio == nil)
    }

    @Test("each repeat measures everybody, and begins with another")
    func order() throws {
        let row = Row(
            "a/b/8/1x1", .perSecond, "", Script("own", [1, 1], log),
            against: [Script("first", [1, 1], log), Script("second", [1, 1], log)])
        _ = try runner(repeats: 2).run(row)
        #expect(log.all == ["own", "first", "second", "first", "second", "own"])
    }

    @Test("a peer that is not there is skipped with its reason")
    func absent() throws {
        let row = Row(
            "a/b/8/1x1", .perSecond, "", Script("own", [1], log),
            against: [Script("peer", [1], log, skip: "not installed")])
        let result = try runner(repeats: 1).run(row)
        #expect(result.skipped == ["peer": "not installed"])
        #expect(result.ratios.isEmpty)
    }

    @Test("a peer that fails keeps the figures that it gave, and says why there are no more")
    func failing() throws {
        let row = Row(
            "a/b/8/1x1", .perSecond, "", Script("own", [6, 6], log),
            against: [Script("peer", [3], log)])
        let result = try runner(repeats: 2).run(row)
        #expect(result.ratioValues["peer"] == [2])
        #expect(result.skipped["peer"] == "peer is out of figures")
    }

    @Test("a row that gives no figure fails")
    func noFigure() {
        let row = Row("a/b/8/1x1", .perSecond, "", Script("own", [], log))
        #expect(throws: MeasurementFailure.self) { try runner(repeats: 1).run(row) }
    }

    @Test("peers are chosen by parts of their names")
    func chosen() throws {
        let row = Row(
            "a/b/8/1x1", .perSecond, "", Script("own", [1], log),
            against: [Script("vyukov", [1], log), Script("pipe", [1], log)])
        let result = try runner(repeats: 1, peers: .named(["vyu"])).run(row)
        #expect(Set(result.ratios.keys) == ["vyukov"])
    }

    @Test(
        "a repeat during which the host moved the CPUs is measured again, and its figures dropped")
    func moved() throws {
        let row = Row("a/b/8/1x1", .perSecond, "", Script("own", [1, 2], log))
        let placement = Script("placement", [100, 400, 400, 390], Log())
        let result = try Runner(Settings(repeats: 1), placement: placement).run(row)
        #expect(result.values == [2])
        #expect(result.moved == 0)
        #expect(result.pingPong?.median == 400)
    }

    @Test("the third try counts, and is marked")
    func movedThrice() throws {
        let row = Row("a/b/8/1x1", .perSecond, "", Script("own", [1, 2, 3], log))
        let placement = Script("placement", [100, 400, 100, 400, 100, 400], Log())
        let result = try Runner(Settings(repeats: 1), placement: placement).run(row)
        #expect(result.values == [3])
        #expect(result.moved == 1)
    }
}
