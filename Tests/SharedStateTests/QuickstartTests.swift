// SPDX-License-Identifier: Apache-2.0

import Glibc
import Testing

@Suite("Quickstart", .serialized, .timeLimit(.minutes(2)))
struct QuickstartTests {
    @Test func `prints the six right lines`() async throws {
        let output = try await Program.run("quickstart", ["Sources"])
        #expect(output.status == 0)
        for line in [
            "1 Lock       counter 40000   (4 processes x 10000 increments, 0 lost)\n",
            "2 Pool       [0, 1, 4, 9, 16, 25, 36, 49, 64, 81]\n",
            "3 Queue      49\n",
            "4 Manager    [\"key1\": \"value1\"]\n",
            "5 Executor   8\n",
            " s) verified\n",
        ] {
            #expect(output.out.contains(line))
        }
        for cost in ["worker start", "queue round trip", "pool task", "dictionary get"] {
            #expect(output.out.contains("\n  \(cost) "))
        }
        #expect(output.err == "")
    }

    @Test func `a missing directory is a clear message and a failure`() async throws {
        let output = try await Program.run("quickstart", ["/nonexistent"])
        #expect(output.status == 1)
        #expect(output.err == "quickstart: /nonexistent: No such file or directory\n")
    }

    @Test func `a directory without files is a clear message and a failure`() async throws {
        let folder = try Folder()
        let output = try await Program.run("quickstart", [folder.path])
        #expect(output.status == 1)
        #expect(output.err == "quickstart: there is no file below \(folder.path)\n")
    }

    @Test func `what cannot be read is said and never stops the rest`() async throws {
        let folder = try Folder()
        try folder.write("one two one", to: "words")
        try folder.write("one\0two", to: "binary")
        try folder.write("one", to: "closed", mode: 0)
        unsafe mkdir(folder.path + "/locked", 0)
        // To root everything is readable, unless it gives the power to override modes away.
        let launcher =
            geteuid() == 0 ? ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"] : []
        let output = try await Program.run("quickstart", [folder.path], launcher: launcher)
        #expect(output.status == 0)
        #expect(output.out.contains("6 Pages      1 files, 3 words, top ten: one 2, two 1"))
        #expect(
            output.err.split(separator: "\n").sorted() == [
                "quickstart: \(folder.path)/binary: a binary file, left out",
                "quickstart: \(folder.path)/closed: Permission denied",
                "quickstart: \(folder.path)/locked: Permission denied",
            ])
    }

    @Test(arguments: [100, 24] as [UInt16])
    func `a terminal has a progress bar that fits and is gone at the end`(
        columns: UInt16
    ) async throws {
        let output = try await Program.run("quickstart", ["Sources"], columns: columns)
        #expect(output.status == 0)
        let states = output.err.split(separator: "\r")
        #expect(states.count > 2)
        for state in states.dropLast() {
            #expect(state.hasPrefix("[#") || state.hasPrefix("[."))
            #expect(state.utf8.count < Int(columns))
        }
        #expect(states.last == "\u{1b}[K")
    }

    @Test func `a top-level variable of main.swift is not initialised in a worker`() async throws {
        let output = try await Program.run("TopLevelTrap")
        #expect(output.status == 0)
        #expect(output.out == "[0, 0, 0]\n")
        #expect(output.err == "")
    }
}

/// A folder of its own, gone at the end.
private final class Folder {
    let path: String

    init() throws {
        var name = Array("/tmp/sharedstate-test-XXXXXX".utf8CString)
        guard let made = unsafe mkdtemp(&name) else {
            throw Program.Failure(call: "mkdtemp", code: errno)
        }
        path = unsafe String(cString: made)
    }

    func write(_ text: String, to name: String, mode: mode_t = 0o600) throws {
        let file = unsafe open("\(path)/\(name)", O_WRONLY | O_CREAT | O_EXCL, mode)
        let bytes = Array(text.utf8)
        guard file >= 0, unsafe Glibc.write(file, bytes, bytes.count) == bytes.count else {
            throw Program.Failure(call: "write \(name)", code: errno)
        }
        close(file)
    }

    deinit { _ = unsafe system("chmod -R u+rwx '\(path)'; rm -r '\(path)'") }
}
