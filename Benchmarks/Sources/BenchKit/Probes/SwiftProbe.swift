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

/// A channel of Swift's from this process to a child: messages a second.
///
/// The child counts and reads the clock, from its first message after the warm-up to the last.
internal struct SwiftProbe: Probe {
    /// What is put and got, and how.
    internal enum Way: Sendable {
        /// `put` and `get` of 64 bytes.
        case queue
        /// `put(contentsOf:)` and `get(upTo:)`, 32 times 64 bytes a call.
        case batches
        /// `put` and `get` of an array of 1 MiB.
        case large
        /// `withSlot` and `withNext` of 1 MiB, all of it written and read.
        case inPlace
        /// `put` of a lane and `get` of lanes.
        case lanes
        /// `put` of a publisher and `get` of its one subscriber, lossless.
        case broadcast
    }

    let name: String
    let way: Way

    init(_ name: String, _ way: Way) {
        self.name = name
        self.way = way
    }

    func reasonToSkip(_ settings: Settings) -> String? { nil }

    func measure(_ settings: Settings) throws -> Measurement {
        let figures = try Queue<Double>(capacity: 2)
        let cpu = settings.cpus?.consumer ?? -1
        let span = Duration.seconds(settings.duration * 1.1)
        _ = bench_pin(settings.cpus?.producer ?? -1)
        defer { _ = bench_pin(-1) }
        let child: ChildProcess
        switch way {
        case .queue:
            let queue = try Queue<Line>(capacity: 1024)
            child = try ChildProcess.start(queue, figures, cpu) { queue, figures, cpu in
                _ = bench_pin(cpu)
                try figures.put(try consume { try queue.get() })
            }
            try produce(for: span) { try queue.put($0) }
        case .batches:
            let queue = try Queue<Line>(capacity: 1024)
            child = try ChildProcess.start(queue, figures, cpu) { queue, figures, cpu in
                _ = bench_pin(cpu)
                try figures.put(try consumeBatches(queue))
            }
            try produceBatches(queue, for: span)
        case .large:
            let queue = try Queue<[UInt8]>(capacity: 8)
            child = try ChildProcess.start(queue, figures, cpu) { queue, figures, cpu in
                _ = bench_pin(cpu)
                try figures.put(try consumeLarge(queue))
            }
            try produceLarge(queue, for: span)
        case .inPlace:
            let queue = try Queue<[UInt64]>(capacity: 8)
            child = try ChildProcess.start(queue, figures, cpu) { queue, figures, cpu in
                _ = bench_pin(cpu)
                try figures.put(try consumeInPlace(queue))
            }
            try produceInPlace(queue, for: span)
        case .lanes:
            let lanes = try Lanes<Line>(capacity: 1024)
            child = try ChildProcess.start(lanes, figures, cpu) { lanes, figures, cpu in
                _ = bench_pin(cpu)
                try figures.put(try consume { try lanes.get() })
            }
            let lane = try lanes.lane()
            try produce(for: span) { try lane.put($0) }
        case .broadcast:
            let broadcast = try Broadcast<Line>(capacity: 1024)
            child = try ChildProcess.start(broadcast, figures, cpu) { broadcast, figures, cpu in
                _ = bench_pin(cpu)
                let subscriber = try broadcast.subscriber()
                try figures.put(0)
                try figures.put(try consume { try subscriber.get() })
            }
            _ = try figures.get(timeout: .seconds(10))
            let publisher = try broadcast.publisher()
            try produce(for: span) { try publisher.put($0) }
        }
        let figure = try figures.get(timeout: .seconds(10))
        try child.join(timeout: .seconds(10))
        guard figure > 0 else { throw MeasurementFailure("a message was lost or changed") }
        return Measurement(value: figure)
    }
}

@inline(__always)
private func produce(for span: Duration, _ put: (Line) throws -> Void) throws {
    let clock = ContinuousClock()
    let end = clock.now + span
    var number: UInt64 = 0
    while clock.now < end {
        for _ in 0..<256 {
            try put(Line(number))
            number += 1
        }
    }
    try put(.end)
}

private let warmUp: UInt64 = 2048
/// Of 1 MiB: each slot's memory twice.
private let warmUpOfLarge: UInt64 = 16

/// - Returns: Messages a second; 0 if one was not the next.
@inline(__always)
private func consume(_ get: () throws -> Line) throws -> Double {
    for number in 0..<warmUp where try get().number != number { return 0 }
    let clock = ContinuousClock()
    let start = clock.now
    var next = warmUp
    while true {
        let line = try get()
        if line.number == .max { break }
        guard line.number == next else { return 0 }
        next += 1
    }
    return Double(next - warmUp) / ((clock.now - start) / .seconds(1))
}

private func produceBatches(_ queue: Queue<Line>, for span: Duration) throws {
    let clock = ContinuousClock()
    let end = clock.now + span
    var lines = [Line](repeating: .end, count: 32)
    var number: UInt64 = 0
    while clock.now < end {
        for _ in 0..<16 {
            for n in lines.indices { lines[n].number = number + UInt64(n) }
            try queue.put(contentsOf: lines)
            number += 32
        }
    }
    try queue.put(.end)
}

private func consumeBatches(_ queue: Queue<Line>) throws -> Double {
    let clock = ContinuousClock()
    var start = clock.now
    var next: UInt64 = 0
    while true {
        for line in try queue.get(upTo: 32) {
            if line.number == .max {
                return Double(next - warmUp) / ((clock.now - start) / .seconds(1))
            }
            guard line.number == next else { return 0 }
            next += 1
            if next == warmUp { start = clock.now }
        }
    }
}

private func produceLarge(_ queue: Queue<[UInt8]>, for span: Duration) throws {
    let clock = ContinuousClock()
    let end = clock.now + span
    var message = [UInt8](repeating: 7, count: 1 << 20)
    var number: UInt64 = 0
    while number <= warmUpOfLarge || clock.now < end {
        number += 1
        message[message.count - 1] &+= 1
        try queue.put(message)
    }
    try queue.put([])
}

private func consumeLarge(_ queue: Queue<[UInt8]>) throws -> Double {
    // A byte of the last message, and not all of it: the peers, too, have room for one.
    var last = try queue.get().last
    for _ in 1..<warmUpOfLarge {
        let message = try queue.get()
        guard message.last == last.map({ $0 &+ 1 }) else { return 0 }
        last = message.last
    }
    let clock = ContinuousClock()
    let start = clock.now
    var count = 0
    while true {
        let message = try queue.get()
        if message.isEmpty { break }
        guard message.count == 1 << 20, message.last == last.map({ $0 &+ 1 }) else { return 0 }
        last = message.last
        count += 1
    }
    return Double(count) / ((clock.now - start) / .seconds(1))
}

private let words = (1 << 20) / 8

/// Each message is its number, again and again.
private func produceInPlace(_ queue: Queue<[UInt64]>, for span: Duration) throws {
    let clock = ContinuousClock()
    let end = clock.now + span
    var number: UInt64 = 0
    while number <= warmUpOfLarge || clock.now < end {
        number += 1
        try queue.withSlot(of: words) { $0.update(repeating: number) }
    }
    try queue.withSlot(of: words) { $0.update(repeating: .max) }
}

private func consumeInPlace(_ queue: Queue<[UInt64]>) throws -> Double {
    func next() throws -> (first: UInt64, sum: UInt64) {
        try queue.withNext { message in
            guard message.count == words else { return (0, 0) }
            var sum: UInt64 = 0
            for n in message.indices { sum &+= message[n] }
            return (message[0], sum)
        }
    }
    for number in 1...warmUpOfLarge where try next().first != number { return 0 }
    let clock = ContinuousClock()
    let start = clock.now
    var number = warmUpOfLarge
    while true {
        let (first, sum) = try next()
        if first == .max { break }
        number += 1
        guard first == number, sum == number &* UInt64(words) else { return 0 }
    }
    return Double(number - warmUpOfLarge) / ((clock.now - start) / .seconds(1))
}
