// SPDX-License-Identifier: Apache-2.0

internal import CBench
internal import Histogram

/// A channel between forked processes, measured by the loops in C.
internal struct ChannelProbe: Probe {
    /// Where the processes run.
    internal enum Placement: Sendable {
        /// Producer and consumer on the two CPUs of the settings.
        case apart
        /// Both on the first of them.
        case together
        /// Wherever the kernel puts them.
        case free
    }

    /// What is measured.
    internal enum Mode: Sendable {
        /// Messages a second.
        case stream
        /// Nanoseconds there and back.
        case roundTrip
        /// Nanoseconds there and back with both sides asleep before each message.
        case parkedRoundTrip
        /// Nanoseconds one way, one message due each so many nanoseconds.
        case paced(interval: UInt64)
        /// Operations a second of all processes together.
        case work
    }

    var name: String
    internal var channel: String
    internal var mode = Mode.stream
    internal var size: UInt32 = 64
    /// On either side.
    internal var processes: UInt32 = 1
    /// On the side that takes, if there are others.
    internal var consumers: UInt32?
    internal var batch: UInt32 = 1
    internal var capacity: UInt32 = 1024
    internal var placement = Placement.apart
    internal var peer: CompiledPeer?

    internal init(_ channel: String, as name: String? = nil) {
        self.channel = channel
        self.name = name ?? channel
    }

    /// A copy with changes.
    internal func with(_ change: (inout ChannelProbe) -> Void) -> ChannelProbe {
        var copy = self
        change(&copy)
        return copy
    }

    var isExternal: Bool { peer != nil }

    func reasonToSkip(_ settings: Settings) -> String? {
        if let peer, let reason = peer.reasonToSkip() { return reason }
        guard let channel = channel(settings) else { return "does not block" }
        return unsafe bench_has(channel) ? nil : "no channel \(channel)"
    }

    func measure(_ settings: Settings) throws -> Measurement {
        guard let channel = channel(settings) else {
            throw MeasurementFailure("\(name): does not block")
        }
        var figure = bench_figure()
        var times = isPaced ? [UInt64](repeating: 0, count: Self.mostTimes) : []
        let status = unsafe times.withUnsafeMutableBufferPointer { times in
            unsafe channel.withCString { channel in
                var plan = unsafe plan(settings, channel, times)
                return unsafe bench_measure(&plan, &figure)
            }
        }
        guard status == 0 else {
            throw MeasurementFailure("\(name): \(explain(status))")
        }
        guard isPaced else { return Measurement(value: figure.value) }
        return Measurement(
            value: figure.value, times: histogram(times.prefix(Int(figure.samples))))
    }

    private static let mostTimes = 1 << 20

    private var isPaced: Bool { interval != 0 }

    /// The channel that waits as the settings want, if there is one.
    private func channel(_ settings: Settings) -> String? {
        guard settings.wait == .park else { return channel }
        return switch channel {
        case "ring", "queue", "lanes", "broadcast": channel + "-waiting"
        case "cached-index-ring", "cached-index-ring-lent", "ring-in-place", "vyukov-ring",
            "vyukov-padded", "ck-ring", "rte-ring", "boost-lockfree-ring", "boost-lockfree-queue":
            nil
        default: channel
        }
    }

    private func plan(
        _ settings: Settings, _ channel: UnsafePointer<CChar>,
        _ times: UnsafeMutableBufferPointer<UInt64>
    ) -> bench_plan {
        let cpus = cpus(settings)
        return unsafe bench_plan(
            channel: channel, mode: kernelMode, producers: processes,
            consumers: kernelMode == BENCH_WORK ? 0 : consumers ?? processes,
            size: size, batch: batch, capacity: capacity, producer_cpu: cpus.producer,
            consumer_cpu: cpus.consumer, wait: settings.wait == .spin ? BENCH_SPIN : BENCH_HYBRID,
            duration_ns: duration(settings), interval_ns: interval,
            samples: times.baseAddress, sample_capacity: UInt64(times.count))
    }

    /// Nanoseconds to measure for: paced, at least so long that all repeats together give the time that a
    /// 99.99th percentile wants to lie beyond it.
    internal func duration(_ settings: Settings) -> UInt64 {
        let times = (Settings.leastPaced + UInt64(settings.repeats) - 1) / UInt64(settings.repeats)
        return max(settings.durationInNanoseconds, times * interval)
    }

    private var interval: UInt64 {
        if case .paced(let interval) = mode { interval } else { 0 }
    }

    private var kernelMode: bench_mode {
        switch mode {
        case .stream: BENCH_STREAM
        case .roundTrip: BENCH_ROUND_TRIP
        case .parkedRoundTrip: BENCH_PARKED_ROUND_TRIP
        case .paced: BENCH_PACED
        case .work: BENCH_WORK
        }
    }

    private func cpus(_ settings: Settings) -> (producer: Int32, consumer: Int32) {
        guard let cpus = settings.cpus else { return (-1, -1) }
        return switch placement {
        case .apart: processes == 1 && consumers ?? 1 == 1 ? cpus : (-1, -1)
        case .together: (cpus.producer, cpus.producer)
        case .free: (-1, -1)
        }
    }
}

/// Times up to ten seconds, to three digits.
internal func histogram(_ times: some Collection<UInt64>) -> Histogram<UInt64> {
    var histogram = Histogram<UInt64>(
        highestTrackableValue: 10_000_000_000, numberOfSignificantValueDigits: .three)
    for time in times { histogram.record(min(time, 10_000_000_000)) }
    return histogram
}

/// What a status of the kernel's loops means.
internal func explain(_ status: Int32) -> String {
    switch status {
    case -5: "a message was lost, doubled or changed, or a process failed"
    case -61: "nothing arrived in that time"
    case -110: "did not come to an end, and was killed"
    case -2: "no such channel"
    case -4: "interrupted"
    case -22: "not possible with this size or shape"
    default: "error \(-status)"
    }
}
