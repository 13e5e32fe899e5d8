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

    @Test func `unreadable names and binary files never stop the rest`() throws {
        let directory = "/tmp/sharedstate-test-\(getpid())"
        unsafe mkdir(directory, 0o700)
        defer { _ = unsafe system("rm -r \(directory)") }
        _ = unsafe system("cd \(directory); echo one two one > a; head -c 100 /dev/zero > b")
        let output = try run([directory])
        #expect(output.status == 0)
        #expect(output.text.contains("6 Pages      1 files, 3 words, top ten: one 2, two 1"))
    }

    @Test func `a top-level variable of main.swift is not initialised in a worker`() throws {
        let output = try run([], program: "TopLevelTrap")
        #expect(output.status == 0)
        #expect(output.text == "[0, 0, 0]\n")
    }

    /// Runs the program built beside this test, with the standard output captured.
    private func run(
        _ arguments: [String], program: String = "quickstart"
    ) throws -> (status: Int32, text: String) {
        var link = [CChar](repeating: 0, count: 4096)
        let length = unsafe readlink("/proc/self/exe", &link, link.count)
        let own = String(decoding: link.prefix(max(0, length)).map(UInt8.init), as: UTF8.self)
        let path = own[..<(own.lastIndex(of: "/") ?? own.endIndex)] + "/\(program)"
        let quoted = arguments.map { "'\($0)'" }.joined(separator: " ")
        guard let pipe = unsafe popen("'\(path)' \(quoted)", "r") else {
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
