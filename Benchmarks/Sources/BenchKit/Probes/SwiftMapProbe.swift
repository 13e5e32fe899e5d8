// SPDX-License-Identifier: Apache-2.0

internal import Glibc
internal import SharedState

/// A key of 16 bytes.
internal struct Key16: Hashable, Sendable {
    var high: UInt64
    var low: UInt64

    init(_ number: Int) {
        high = UInt64(number) &* 0x9e37_79b9_7f4a_7c15
        low = UInt64(number)
    }
}

/// A value of 64 bytes.
internal struct Value64: BitwiseCopyable, Equatable, Sendable {
    private let low: SIMD4<UInt64>
    private let high: SIMD4<UInt64>

    init(_ number: Int) {
        low = SIMD4(repeating: UInt64(number))
        high = low
    }
}

/// `ManagedDictionary`, or Swift's own in one process: operations a second on keys at random.
internal struct SwiftMapProbe: Probe {
    internal enum Operation: Sendable {
        case get
        case set
        case update
        case getText
        case setText
        case addByTwo
        case incrementByTwo
    }

    internal enum Subject: Sendable {
        case managed
        case dictionary
    }

    private let operation: Operation
    private let subject: Subject
    private let size: Int
    private let processes: Int
    internal let name: String
    private static let keys = 100_000

    internal init(
        _ operation: Operation, of subject: Subject = .managed, as name: String? = nil,
        size: Int = 8, processes: Int = 1
    ) {
        self.operation = operation
        self.subject = subject
        self.size = size
        self.processes = processes
        self.name = name ?? Self.name(of: operation, subject)
    }

    private static func name(of operation: Operation, _ subject: Subject) -> String {
        switch (operation, subject) {
        case (.incrementByTwo, _): "managed-counter"
        case (_, .managed): "managed-dictionary"
        case (_, .dictionary): "swift-dictionary"
        }
    }

    func reasonToSkip(_ settings: Settings) -> String? { nil }

    func measure(_ settings: Settings) throws -> Measurement {
        switch (operation, subject) {
        case (.getText, _): Measurement(value: try Self.texts(settings))
        case (.setText, _): Measurement(value: try Self.newTexts(settings))
        case (.addByTwo, _): Measurement(value: try Self.adds(settings))
        case (.incrementByTwo, _): Measurement(value: try Self.increments(settings))
        case (_, .managed) where processes == 2:
            Measurement(value: try managedByTwo(settings))
        case (_, .managed) where size == 64:
            Measurement(value: try managed(settings, Value64.init))
        case (_, .managed): Measurement(value: try managed(settings) { $0 })
        case (_, .dictionary) where size == 64:
            Measurement(value: try plain(settings, Value64.init))
        case (_, .dictionary): Measurement(value: try plain(settings) { $0 })
        }
    }

    @inline(__always)
    private func managed<Value: Equatable & Sendable>(
        _ settings: Settings, _ value: (Int) -> Value
    ) throws -> Double {
        let dictionary = try ManagedDictionary<Key16, Value>()
        for number in 0..<Self.keys { try dictionary.set(value(number), forKey: Key16(number)) }
        return switch operation {
        case .set:
            try Self.rate(settings) { number in
                try dictionary.set(value(number), forKey: Key16(number))
            }
        case .update:
            try Self.rate(settings) { number in
                try dictionary.update(Key16(number), default: value(0)) { $0 = value(number) }
            }
        default:
            try Self.rate(settings) { number in
                guard try dictionary[Key16(number)] == value(number) else {
                    throw MeasurementFailure("a wrong value")
                }
            }
        }
    }

    private func managedByTwo(_ settings: Settings) throws -> Double {
        let dictionary = try ManagedDictionary<Key16, Int>()
        for number in 0..<Self.keys { try dictionary.set(number, forKey: Key16(number)) }
        let sets = operation == .set
        return try Self.byTwo { rates, start in
            try ChildProcess.start(dictionary, rates, start, settings.duration, sets) {
                dictionary, rates, start, duration, sets in
                try start.wait()
                let rate = try SwiftMapProbe.rate(for: duration, from: UInt64(getpid())) { number in
                    if sets {
                        try dictionary.set(number, forKey: Key16(number))
                    } else if try dictionary[Key16(number)] != number {
                        throw MeasurementFailure("a wrong value")
                    }
                }
                try rates.put(rate)
            }
        }
    }

    @inline(__always)
    private func plain<Value: Equatable>(
        _ settings: Settings, _ value: (Int) -> Value
    ) throws -> Double {
        var dictionary: [Key16: Value] = [:]
        for number in 0..<Self.keys { dictionary[Key16(number)] = value(number) }
        return switch operation {
        case .set:
            try Self.rate(settings) { number in dictionary[Key16(number)] = value(number) }
        case .update:
            try Self.rate(settings) { number in
                dictionary[Key16(number), default: value(0)] = value(number)
            }
        default:
            try Self.rate(settings) { number in
                guard dictionary[Key16(number)] == value(number) else {
                    throw MeasurementFailure("a wrong value")
                }
            }
        }
    }

    private static func texts(_ settings: Settings) throws -> Double {
        let dictionary = try ManagedDictionary<String, String>()
        let texts = (0..<10_000).map { "text number \($0)" }
        for text in texts { try dictionary.set(text, forKey: text) }
        return try rate(settings) { number in
            let text = texts[number % texts.count]
            guard try dictionary[text] == text else { throw MeasurementFailure("a wrong value") }
        }
    }

    private static func newTexts(_ settings: Settings) throws -> Double {
        let dictionary = try ManagedDictionary<String, String>()
        let texts = (0..<10_000).map { "text number \($0)" }
        for text in texts { try dictionary.set(text, forKey: text) }
        let value = try rate(settings) { number in
            try dictionary.set(
                texts[(number + 1) % texts.count], forKey: texts[number % texts.count])
        }
        guard dictionary.count == texts.count else {
            throw MeasurementFailure("a key is missing")
        }
        return value
    }

    private static func adds(_ settings: Settings) throws -> Double {
        let counts = try ManagedDictionary<Int, Int>()
        return try byTwo { rates, start in
            try ChildProcess.start(counts, rates, start, settings.duration) {
                counts, rates, start, duration in
                try start.wait()
                try rates.put(try Rate.measure(for: duration) { try counts.add(1, forKey: 0) })
            }
        }
    }

    private static func increments(_ settings: Settings) throws -> Double {
        let counter = try ManagedCounter()
        return try byTwo { rates, start in
            try ChildProcess.start(counter, rates, start, settings.duration) {
                counter, rates, start, duration in
                try start.wait()
                try rates.put(try Rate.measure(for: duration) { counter.increment() })
            }
        }
    }

    /// Operations a second of two children together, each of which puts its own.
    private static func byTwo(
        _ begin: (Queue<Double>, Barrier) throws -> ChildProcess
    ) throws -> Double {
        let rates = try Queue<Double>(capacity: 2)
        let start = try Barrier(parties: 2)
        let children = try (0..<2).map { _ in try begin(rates, start) }
        for child in children { try child.join(timeout: .seconds(30)) }
        return try rates.get(timeout: .seconds(1)) + rates.get(timeout: .seconds(1))
    }

    /// How often a second something is done with one of the numbers at random.
    @inline(__always)
    private static func rate(
        _ settings: Settings, _ once: (Int) throws -> Void
    ) throws -> Double {
        try rate(for: settings.duration, from: 0, once)
    }

    @inline(__always)
    private static func rate(
        for seconds: Double, from seed: UInt64, _ once: (Int) throws -> Void
    ) throws -> Double {
        var state = 88_172_645_463_325_252 ^ seed
        return try Rate.measure(for: seconds) {
            state ^= state << 13
            state ^= state >> 7
            state ^= state << 17
            try once(Int(state % UInt64(keys)))
        }
    }
}
