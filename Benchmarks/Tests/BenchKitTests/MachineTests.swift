// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

@testable import BenchKit

@Suite("Machine")
struct MachineTests {
    private func warnings(
        cpus: Int = 2, siblings: Bool = false, governor: String? = nil, trip: Double? = 100,
        foreign: Double = 0
    ) -> [String] {
        Machine.warnings(
            cpus: cpus, siblings: siblings, governor: governor, trip: trip, foreign: foreign)
    }

    @Test("a machine that is fit is not warned of")
    func fit() {
        #expect(warnings().isEmpty)
        #expect(warnings(governor: "performance").isEmpty)
        #expect(warnings(trip: nil, foreign: Runner.noisy).isEmpty)
    }

    @Test("each thing that speaks against it is warned of, alone")
    func unfit() {
        let cases: [(said: [String], word: String)] = [
            (warnings(cpus: 1), "one CPU"),
            (warnings(siblings: true), "threads of one core"),
            (warnings(governor: "powersave"), "governor powersave"),
            (warnings(governor: "performance, schedutil"), "governor performance, schedutil"),
            (warnings(trip: 34), "ping-pong 34 ns"),
            (warnings(foreign: 0.3), "others take 30 %"),
        ]
        for (said, word) in cases {
            #expect(said.count == 1 && said[0].contains(word), "\(word): \(said)")
        }
    }

    @Test("the governor is that of the CPUs that are measured on")
    func governor() throws {
        try withFolder { folder in
            for (cpu, governor) in ["powersave", "performance", "schedutil"].enumerated() {
                let place = folder.appending(path: "cpu\(cpu)/cpufreq")
                try FileManager.default.createDirectory(
                    at: place, withIntermediateDirectories: true)
                try Data("\(governor)\n".utf8)
                    .write(to: place.appending(path: "scaling_governor"))
            }
            func found(_ cpus: Int32...) -> String? {
                Machine.governor(of: cpus, in: folder.path)
            }
            #expect(found(1, 1) == "performance")
            #expect(found(2, 1) == "performance, schedutil")
            #expect(found(3) == nil)
        }
    }
}
