// SPDX-License-Identifier: Apache-2.0

internal import ArgumentParser

@main
internal struct Shmbench: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "shmbench",
        abstract: "Measures SharedState beside the alternatives, on this machine.",
        discussion: """
            Without a subcommand it runs: the default table, in less than three minutes.

            Examples:
              shmbench
              shmbench machine
              shmbench run --filter queue/mpmc --html report.html
              shmbench run --all --peers all --format json --output after.json
              shmbench compare before.json after.json
              shmbench --generate-completion-script bash > ~/.local/share/bash-completion/completions/shmbench
            """,
        subcommands: [
            RunCommand.self, ListCommand.self, CompareCommand.self, RenderCommand.self,
            CountCommand.self, PeersCommand.self, MachineCommand.self,
        ],
        defaultSubcommand: RunCommand.self)
}
