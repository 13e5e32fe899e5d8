// SPDX-License-Identifier: Apache-2.0

internal import ArgumentParser

@main
internal struct Shmbench: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "shmbench",
        abstract: "Measures SharedState beside the alternatives, on this machine.",
        subcommands: [ListCommand.self, RunCommand.self, MachineCommand.self],
        defaultSubcommand: RunCommand.self)
}
