// SPDX-License-Identifier: Apache-2.0

internal import CBench
internal import SharedState

/// 64 bytes, whose first 8 are the message's number.
internal struct Line: Sendable {
    var number: UInt64
    private var rest: (UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64) =
        (0, 0, 0, 0, 0, 0, 0)

    init(_ number: UInt64) {
        self.number = number
    }

    /// The last of a stream.
    static let end = Line(.max)
}

/// `Queue<Element>` from this process to a child, by `put` and `get`: messages a second.
///
/// The child counts and reads the clock, from its first message after the warm-up to the last.
internal struct SwiftQueueProbe: Probe {
    let name = "swift-queue"

    func reasonToSkip(_ settings: Settings) -> String? { nil }

    func measure(_ settings: Settings) throws -> Measurement {
        let queue = try Queue<Line>(capacity: 1024)
        let figures = try Queue<Double>(capacity: 2)
        let child = try ChildProcess.start(queue, figures, settings.cpus?.consumer ?? -1) {
            queue, figures, cpu in
            _ = bench_pin(cpu)
            try figures.put(try Self.consume(queue))
        }
        _ = bench_pin(settings.cpus?.producer ?? -1)
        defer { _ = bench_pin(-1) }
        try Self.produce(queue, for: .seconds(settings.duration * 1.1))
        let figure = try figures.get(timeout: .seconds(10))
        try child.join(timeout: .seconds(10))
        guard figure > 0 else { throw MeasurementFailure("a message was lost or changed") }
        return Measurement(value: figure)
    }

    private static func produce(_ queue: Queue<Line>, for span: Duration) throws {
        let clock = ContinuousClock()
        let end = clock.now + span
        var number: UInt64 = 0
        while clock.now < end {
            for _ in 0..<256 {
                try queue.put(Line(number))
                number += 1
            }
        }
        try queue.put(.end)
    }

    /// - Returns: Messages a second; 0 if one was not the next.
    private static func consume(_ queue: Queue<Line>) throws -> Double {
        let warmUp: UInt64 = 2048
        for number in 0..<warmUp where try queue.get().number != number { return 0 }
        let clock = ContinuousClock()
        let start = clock.now
        var next = warmUp
        while true {
            let line = try queue.get()
            if line.number == .max { break }
            guard line.number == next else { return 0 }
            next += 1
        }
        return Double(next - warmUp) / ((clock.now - start) / .seconds(1))
    }
}
