// SPDX-License-Identifier: Apache-2.0

internal import ArgumentParser
internal import BenchKit

internal struct MachineCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "machine", abstract: "Describes this machine and what speaks against it.",
        discussion: """
            Takes about a second, in which it looks for noisy neighbours.

            Examples:
              shmbench machine
              shmbench machine --pin 2,3
            """)

    @Option(
        name: .long,
        help: "CPUs that would be measured on: auto, none, or two numbers as 0,1.")
    var pin = Pin.auto

    func run() {
        let machine = Machine.current(Settings(cpus: pin.cpus))
        for (name, value) in machine.facts { print("\(name): \(value)") }
        for warning in machine.warnings { print("warning: \(warning)") }
    }
}
