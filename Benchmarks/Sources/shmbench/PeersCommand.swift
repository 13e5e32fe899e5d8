// SPDX-License-Identifier: Apache-2.0

internal import ArgumentParser
internal import BenchKit

internal struct PeersCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "peers", abstract: "Says which peers are here, and installs the others.",
        discussion: """
            --install runs Peers/install: Debian's packages, as root, and Python's in a virtual
            environment below Benchmarks/.build.

            Examples:
              shmbench peers
              shmbench peers --install
            """)

    @Flag(name: .long, help: "Install what is missing, first.")
    var install = false

    func run() throws {
        if install {
            let status = try Peers.install()
            if status != 0 { print("not everything could be installed") }
        }
        let sink = try Sink(nil)
        Peers.look(Settings(cpus: Machine.firstTwoCPUs)) { name, reason in
            sink.write("\(name)\t\(reason ?? "here")")
        }
    }
}
