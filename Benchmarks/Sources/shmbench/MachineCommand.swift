// SPDX-License-Identifier: Apache-2.0

internal import ArgumentParser
internal import BenchKit

internal struct MachineCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "machine", abstract: "Describes this machine and what speaks against it.")

    func run() {
        print(Machine.current(Settings(cpus: (0, 1))).summary)
    }
}
