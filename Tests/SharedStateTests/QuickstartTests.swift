// SPDX-License-Identifier: Apache-2.0

import Glibc
import Testing

@Suite("Quickstart", .serialized)
struct QuickstartTests {
    @Test func `prints the six right lines`() throws {
        let output = try run(["Sources"])
        #expect(output.status == 0)
        for line in [
            "1 Lock       counter 40000   (4 processes x 10000 increments, 0 lost)",
            "2 Pool       [0, 1, 4, 9, 16, 25, 36, 49, 64, 81]",
            "3 Queue      49",
            "4 Manager    [\"key1\": \"value1\"]",
            "5 Executor   8",
        ] {
            #expect(output.text.contains(line))
        }
        #expect(output.text.contains("verified"))
    }

    @Test func `a missing directory is a clear message and a failure`() throws {
        let output = try run(["/nonexistent"])
        #expect(output.status != 0)
    }

    /// Runs the program built beside this test, with the standard output captured.
    private func run(_ arguments: [String]) throws -> (status: Int32, text: String) {
        var path = [CChar](repeating: 0, count: 4096)
        let length = unsafe readlink("/proc/self/exe", &path, path.count)
        let own = String(decoding: path.prefix(max(0, length)).map(UInt8.init), as: UTF8.self)
        let program = own[..<(own.lastIndex(of: "/") ?? own.endIndex)] + "/quickstart"
        let quoted = arguments.map { "'\($0)'" }.joined(separator: " ")
        guard let pipe = unsafe popen("'\(program)' \(quoted)", "r") else {
            return (-1, "popen failed")
        }
        var text: [UInt8] = []
        while true {
            let byte = unsafe fgetc(pipe)
            guard byte >= 0 else { break }
            text.append(UInt8(byte))
        }
        return (unsafe pclose(pipe), String(decoding: text, as: UTF8.self))
    }
}
