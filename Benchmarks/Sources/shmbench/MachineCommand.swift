// SPDX-License-Identifier: Apache-2.0

internal import ArgumentParser
internal import BenchKit

internal struct MachineCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "machine", abstract: "Describes this machine and what speaks against it.")

    func run() {
        let machine = Machine.current(Settings(cpus: Machine.firstTwoCPUs))
        print(machine.summary)
        print("threads of one core: \(machine.siblings ? "yes" : "no"), ", terminator: "")
        print("frequency governor: \(machine.governor ?? "not shown")")
        print("kernel has: \(machine.features.joined(separator: ", "))")
        for warning in machine.warnings { print("warning: \(warning)") }
    }
}
