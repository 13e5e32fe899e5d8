// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import BenchKit

/// Real measurements between real processes, short ones.
@Suite("Measure", .serialized)
struct MeasureTests {
    private let settings = Settings(duration: 0.02)

    @Test(
        "every channel that is built in moves messages and checks them",
        arguments: [
            "ring", "ring-waiting", "queue", "queue-waiting", "cached-index-ring", "vyukov-ring",
            "vyukov-padded", "robust-mutex-ring", "pipe",
        ])
    func streams(_ channel: String) throws {
        #expect(try ChannelProbe(channel).measure(settings).value > 0)
    }

    @Test("round trips take time", arguments: ["ring-waiting", "queue-waiting", "futex", "pipe"])
    func trips(_ channel: String) throws {
        let probe = ChannelProbe(channel).with { $0.mode = .parkedRoundTrip }
        #expect(try probe.measure(settings).value > 0)
    }

    @Test("many to many is summed up and compared")
    func many() throws {
        let probe = ChannelProbe("queue").with { $0.processes = 3 }
        #expect(try probe.measure(settings).value > 0)
    }

    @Test("a paced stream gives its single times")
    func paced() throws {
        let probe = ChannelProbe("queue-waiting").with { $0.mode = .paced(interval: 100_000) }
        let measured = try probe.measure(Settings(duration: 0.2))
        let times = try #require(measured.times)
        #expect(times.totalCount > 0)
        #expect(Double(times.valueAtPercentile(100)) >= measured.value * 0.99)
    }

    @Test("a channel that loses a message gives no figure")
    func lossy() throws {
        let probe = ChannelProbe("lossy")
            .from(CompiledPeer("lossy.c", in: "Tests/BenchKitTests/Peers", package: "gcc"))
        #expect(probe.reasonToSkip(settings) == nil)
        #expect { try probe.measure(settings) } throws: { error in
            "\(error)".contains("a message was lost")
        }
    }

    @Test("what is not there is skipped, and says so")
    func absent() {
        let reason = ChannelProbe("nobody").reasonToSkip(settings)
        #expect(reason == "no channel nobody")
        let peer = CompiledPeer("nobody.c", package: "libnobody-dev")
        #expect(
            ChannelProbe("nobody").from(peer).reasonToSkip(settings)?.contains("nobody.c") == true)
    }

    @Test("what only tries is left out when everybody is to sleep")
    func parking() {
        let parking = Settings(wait: .park)
        #expect(ChannelProbe("vyukov-ring").reasonToSkip(parking) == "does not block")
        #expect(ChannelProbe("queue").reasonToSkip(parking) == nil)
    }
}
