// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

@testable import BenchKit

/// The built program, as people run it.
@Suite("Program", .serialized)
struct ProgramTests {
    /// A short row.
    private static let row = "ring/roundtrip/64/1x1"
    private static let short = ["--filter", row, "--peers", "none", "--repeat", "2", "--duration"]

    private func run(_ words: [String]) throws -> (status: Int32, output: String) {
        try Command([OwnProgram.path("shmbench")] + words).run(limit: 120, errors: true)
    }

    @Test("compare exits with 1 when a row became worse than the threshold allows, else with 0")
    func compare() throws {
        try withFolder { folder in
            let before = folder.appending(path: "before.json").path
            let after = folder.appending(path: "after.json").path
            for (path, rate) in [(before, 100.0), (after, 80)] {
                let result = try ReportTests.result("a/b/8/1x1", [rate, rate, rate])
                try ReportTests.report([result]).json()
                    .write(toFile: path, atomically: true, encoding: .utf8)
            }
            let worse = try run(["compare", before, after])
            #expect(worse.status == 1)
            #expect(worse.output.contains("worse by more than 10.0 %: a/b/8/1x1"))
            #expect(try run(["compare", before, after, "--threshold", "30"]).status == 0)
            #expect(try run(["compare", after, before]).status == 0)
            #expect(try run(["compare", before, before]).status == 0)
        }
    }

    @Test("Ctrl-C prints the rows that are done, and exits with 130")
    func interrupted() throws {
        let process = Process()
        let pipe = Pipe()
        process.executableURL = URL(fileURLWithPath: try OwnProgram.path("shmbench"))
        process.arguments = [
            "run", "--filter", "floor/", "ring/", "--peers", "none", "--repeat", "4",
            "--duration", "0.02",
        ]
        process.standardOutput = pipe
        process.standardError = FileHandle.nullDevice
        try process.run()
        var output = ""
        while !output.contains("\nfloor/ping-pong/8/1x1") {
            let more = pipe.fileHandleForReading.availableData
            try #require(!more.isEmpty)
            output += String(decoding: more, as: UTF8.self)
        }
        interrupt(process)
        output += String(decoding: pipe.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        process.waitUntilExit()
        #expect(process.terminationReason == .exit)
        #expect(process.terminationStatus == 130)
        #expect(!output.contains("\nring/one-cpu-roundtrip/64/1x1"))
    }

    @Test("Ctrl-C writes what is done into the files that were asked for")
    func interruptedFiles() throws {
        try withFolder { folder in
            let json = folder.appending(path: "report.json").path
            let html = folder.appending(path: "report.html").path
            let process = Process()
            process.executableURL = URL(fileURLWithPath: try OwnProgram.path("shmbench"))
            process.arguments = [
                "run", "--filter", "floor/", "ring/", "--peers", "none", "--repeat", "2",
                "--duration", "0.2", "--format", "json", "--output", json, "--html", html,
            ]
            process.standardOutput = FileHandle.nullDevice
            var terminal = try Terminal()
            try terminal.start(process)
            // The bar alone tells that the first row is done.
            let isThere = terminal.read(until: " 1/")
            try #require(isThere)
            interrupt(process)
            _ = terminal.read()
            process.waitUntilExit()
            #expect(process.terminationReason == .exit)
            #expect(process.terminationStatus == 130)
            let report = try Report(contentsOf: json)
            #expect(report.results.first?.name == "floor/ping-pong/8/1x1")
            #expect(!report.results.contains { $0.name.hasPrefix("ring/") })
            let page = try String(contentsOfFile: html, encoding: .utf8)
            #expect(page.contains("floor/ping-pong/8/1x1") && page.hasSuffix("</html>\n"))
        }
    }

    @Test("on a terminal a bar shows how far it is and is gone at the end; elsewhere there is none")
    func progress() throws {
        let words = ["run"] + Self.short + ["0.02", "--format", "json"]
        let process = Process()
        process.executableURL = URL(fileURLWithPath: try OwnProgram.path("shmbench"))
        process.arguments = words
        process.standardOutput = FileHandle.nullDevice
        var terminal = try Terminal()
        try terminal.start(process)
        _ = terminal.read()
        process.waitUntilExit()
        #expect(process.terminationStatus == 0)
        #expect(terminal.text.contains("░ 0/1 \(Self.row)"))
        #expect(terminal.text.hasSuffix("\r\u{1b}[K"))
        // Both outputs are a pipe.
        let piped = try run(words)
        #expect(piped.status == 0)
        #expect(piped.output.hasPrefix("{"))
        #expect(!piped.output.contains("\u{1b}") && !piped.output.contains("░"))
    }

    @Test(
        "completions are printed, and a shell that is here understands them",
        arguments: ["bash", "zsh", "fish"])
    func completions(_ shell: String) throws {
        let said = try run(["--generate-completion-script", shell])
        #expect(said.status == 0)
        for word in ["shmbench", "compare", "--peers", "--duration"].map({
            shell == "fish" ? $0.replacing("--", with: "") : $0
        }) {
            #expect(said.output.contains(word), "\(word)")
        }
        guard try Command(["which", shell]).run().status == 0 else { return }
        try withFolder { folder in
            let file = folder.appending(path: "completions").path
            try said.output.write(toFile: file, atomically: true, encoding: .utf8)
            #expect(try Command([shell, "-n", file]).run().status == 0)
        }
    }

    @Test(
        "--pin binds both sides to the CPUs that it names",
        .enabled(if: Machine.firstTwoCPUs != nil))
    func pinned() throws {
        let cpu = try #require(Machine.firstTwoCPUs).consumer
        let process = Process()
        process.executableURL = URL(fileURLWithPath: try OwnProgram.path("shmbench"))
        process.arguments =
            ["run"] + Self.short + ["1", "--wait", "park", "--pin", "\(cpu),\(cpu)"]
        process.standardOutput = FileHandle.nullDevice
        process.standardError = FileHandle.nullDevice
        try process.run()
        var both = false
        while !both, process.isRunning {
            let bound = try children(of: process.processIdentifier).map(allowedCPUs)
            both = bound.count == 2 && bound.allSatisfy { $0 == "\(cpu)" }
        }
        #expect(both)
        kill(process.processIdentifier, SIGKILL)
        process.waitUntilExit()
    }

    @Test(
        "what cannot be understood is refused with exit status 64",
        arguments: [
            ["run", "--pin", "0"], ["run", "--pin", "x,y"], ["run", "--repeat", "0"],
            ["run", "--duration", "100"], ["run", "--filter", "no such row"],
            ["run", "--peers", "nobody"], ["run", "--cost", "--all"],
        ])
    func refused(_ words: [String]) throws {
        let said = try run(words)
        #expect(said.status == 64)
        #expect(said.output.contains("Error: "))
    }

    @Test("--output and --html write the report there, and nothing to the standard output")
    func output() throws {
        try withFolder { folder in
            let json = folder.appending(path: "report.json").path
            let html = folder.appending(path: "report.html").path
            let said = try run(
                ["run"] + Self.short + [
                    "0.05", "--format", "json", "--output", json, "--html", html,
                ])
            #expect(said.status == 0)
            #expect(said.output.isEmpty)
            let report = try Report(contentsOf: json)
            #expect(report.results.map(\.name) == [Self.row])
            let page = try String(contentsOfFile: html, encoding: .utf8)
            #expect(page.hasPrefix("<!doctype html>") && page.contains(Self.row))
            let table = try run(["render", json, "--format", "table"])
            #expect(table.output.contains(Self.row))
        }
    }

    @Test("floors stay without peers; names choose among the others")
    func chosen() throws {
        let none = try run(["run"] + Self.short + ["0.02"])
        #expect(none.output.contains("ping-pong ") && !none.output.contains("cached-index-ring"))
        let named = try run(
            [
                "run", "--filter", Self.row, "--repeat", "1", "--duration", "0.02", "--peers",
                "cached",
            ])
        #expect(named.output.contains("cached-index-ring"))
    }

    @Test("machine says what there is to know, and so does the page")
    func machine() throws {
        let said = try run(["machine"])
        #expect(said.status == 0)
        for name in [
            "processor: ", "CPUs: ", "threads of one core: ", "frequency governor: ", "ping-pong: ",
            "clock: ", "memory: ", "/dev/shm: ", "kernel: Linux ", "kernel has: ",
            "compiler: Swift ",
        ] {
            #expect(said.output.contains("\n" + name) || said.output.hasPrefix(name), "\(name)")
        }
        let page = ReportTests.report([]).page
        for (name, value) in Machine.current(Settings(), watch: 0.05).facts
        where name != "ping-pong" {
            #expect(page.contains("<th>\(escaped(name))</th>"), "\(name)")
            #expect(page.contains(escaped(value)), "\(value)")
        }
    }

    @Test(
        "every command's help has examples",
        arguments: [
            [], ["run"], ["list"], ["compare"], ["render"], ["count"], ["peers"], ["machine"],
        ])
    func help(_ command: [String]) throws {
        let said = try run(command + ["--help"])
        #expect(said.status == 0)
        #expect(said.output.contains("Examples:"))
    }

    @Test("what a measured program leaves behind is waited for, and the run ends")
    func orphans() throws {
        let said = try run([
            "run", "--filter", "pool/start-fresh/0/2", "--peers", "none", "--repeat", "2",
            "--format",
            "tsv",
        ])
        #expect(said.status == 0)
        #expect(said.output.contains("pool/start-fresh/0/2\town\t"))
    }

    @Test("run exits with 2 when a row gave no figure, and says why")
    func noFigure() throws {
        // What only tries cannot be measured asleep.
        let row = "messages/in-place/64/1x1"
        let said = try run(["run", "--filter", row, "--peers", "none", "--wait", "park"])
        #expect(said.status == 2)
        #expect(said.output.contains("\(row): does not block"))
    }

    @Test("count --strict exits with 1 where something cannot be counted, without it with 0")
    func strict() throws {
        // Without a PATH there is neither strip nor valgrind.
        func count(_ words: [String]) throws -> (status: Int32, output: String) {
            let program = try OwnProgram.path("shmbench")
            let rest = ["count", "--filter", "control/allocation"] + words
            return try Command(["PATH=/nowhere", program] + rest).run(limit: 60)
        }
        let lenient = try count([])
        #expect(lenient.status == 0)
        let strict = try count(["--strict"])
        #expect(strict.status == 1)
        #expect(strict.output.contains("control/allocation: instructions not counted: no strip"))
    }

    @Test("list says which rows are rates and which are times")
    func list() throws {
        let said = try run(["list", "--filter", Self.row, "queue/mpmc/64/1x1"])
        #expect(said.output.contains("\(Self.row)\ttime in ns"))
        #expect(said.output.contains("queue/mpmc/64/1x1\trate in /s"))
    }
}

/// As a terminal does: all in its group.
private func interrupt(_ process: Process) {
    let pid = process.processIdentifier
    kill(getpgid(pid) == pid ? -pid : pid, SIGINT)
}

private func children(of pid: Int32) throws -> [Int32] {
    try FileManager.default.contentsOfDirectory(atPath: "/proc").compactMap(Int32.init)
        .filter { child in
            let text = try? String(contentsOfFile: "/proc/\(child)/stat", encoding: .utf8)
            let words = text?.split(separator: ")").last?.split(separator: " ") ?? []
            return words.count > 1 && Int32(words[1]) == pid
        }
}

private func allowedCPUs(of pid: Int32) -> String {
    let text = (try? String(contentsOfFile: "/proc/\(pid)/status", encoding: .utf8)) ?? ""
    let line = text.split(separator: "\n").first { $0.hasPrefix("Cpus_allowed_list:") }
    return line.map { String($0.split(separator: "\t").last ?? "") } ?? ""
}
