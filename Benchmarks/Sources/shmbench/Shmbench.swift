// SPDX-License-Identifier: Apache-2.0

internal import ArgumentParser

@main
internal struct Shmbench: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "shmbench",
        abstract: "Measures SharedState beside the alternatives, on this machine.",
        subcommands: [
            RunCommand.self, ListCommand.self, CompareCommand.self, RenderCommand.self,
            CountCommand.self, PeersCommand.self, MachineCommand.self,
        ],
        defaultSubcommand: RunCommand.self)
}
