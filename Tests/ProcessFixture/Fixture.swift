// SPDX-License-Identifier: Apache-2.0

import Glibc
import SharedState

/// What tests need a program of its own for: its first argument says which part to play.
@main
struct Fixture {
    static func main() throws {
        switch CommandLine.arguments.dropFirst().first {
        case "out-of-memory": try outOfMemory()
        default: exit(64)
        }
    }

    /// A child that takes memory until it is killed for it.
    static func outOfMemory() throws {
        let child = try ChildProcess.start { () in
            let step = 1 << 20
            while true {
                guard let memory = unsafe malloc(step) else { continue }
                unsafe memset(memory, 1, step)
            }
        }
        let status = try child.join(timeout: .seconds(60))
        print(status, child.exitReport?.isOutOfMemory ?? false)
    }
}
