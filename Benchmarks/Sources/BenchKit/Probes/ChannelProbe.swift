// SPDX-License-Identifier: Apache-2.0

internal import CBench

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
    }

    var name: String
    internal var channel: String
    internal var mode = Mode.stream
    internal var size: UInt32 = 64
    internal var processes: UInt32 = 1
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

    func reasonToSkip() -> String? {
        if let peer, let reason = peer.reasonToSkip() { return reason }
        return unsafe bench_has(channel) ? nil : "no channel \(channel)"
    }

    func measure(_ settings: Settings) throws -> Double {
        var figure = bench_figure()
        let status = unsafe channel.withCString { name in
            let cpus = cpus(settings)
            var plan = unsafe bench_plan(
                channel: name, mode: kernelMode, producers: processes, consumers: processes,
                size: size, batch: batch, capacity: capacity, producer_cpu: cpus.producer,
                consumer_cpu: cpus.consumer, duration_ns: settings.durationInNanoseconds)
            return unsafe bench_measure(&plan, &figure)
        }
        guard status == 0 else {
            throw MeasurementFailure("\(name): \(explain(status))")
        }
        return figure.value
    }

    private var kernelMode: bench_mode {
        switch mode {
        case .stream: BENCH_STREAM
        case .roundTrip: BENCH_ROUND_TRIP
        case .parkedRoundTrip: BENCH_PARKED_ROUND_TRIP
        }
    }

    private func cpus(_ settings: Settings) -> (producer: Int32, consumer: Int32) {
        guard let cpus = settings.cpus else { return (-1, -1) }
        return switch placement {
        case .apart: processes == 1 ? cpus : (-1, -1)
        case .together: (cpus.producer, cpus.producer)
        case .free: (-1, -1)
        }
    }
}

/// What a status of the kernel's loops means.
internal func explain(_ status: Int32) -> String {
    switch status {
    case -5: "a message was lost, doubled or changed, or a process failed"
    case -110: "did not come to an end, and was killed"
    case -2: "no such channel"
    case -22: "a plan out of range"
    default: "error \(-status)"
    }
}
