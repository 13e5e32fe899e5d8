// SPDX-License-Identifier: Apache-2.0

import EarlyThread
import Glibc
import SharedState
import Testing

private let long = Duration.seconds(30)

private struct Refusal: Error, CustomStringConvertible {
    var description: String
}

private func text(_ bytes: [UInt8]) -> String { String(decoding: bytes, as: UTF8.self) }

private func options(_ change: (inout ChildProcess.Options) -> Void) -> ChildProcess.Options {
    var options = ChildProcess.Options()
    change(&options)
    return options
}

private let capturing = options { $0.standardOutput = .captured() }

private func isReadable(_ descriptors: [Int32], within milliseconds: Int32) -> [Bool] {
    var requests = descriptors.map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
    _ = unsafe poll(&requests, nfds_t(requests.count), milliseconds)
    return requests.map { $0.revents != 0 }
}

@Suite("Child process")
struct ChildProcessTests {
    @Test func `it is alive and active until it has ended`() throws {
        let gate = try Queue<Int>()
        let child = try ChildProcess.start(gate) { _ = try $0.get(timeout: long) }
        #expect(child.isAlive && child.exitStatus == nil && child.exitReport == nil)
        #expect(ChildProcess.activeChildren.contains { $0 === child })
        try gate.put(1)
        #expect(try child.join(timeout: long) == .exited(code: 0))
        #expect(!child.isAlive && child.exitStatus?.isSuccess == true)
        #expect(!ChildProcess.activeChildren.contains { $0 === child })
    }

    @Test func `a join that may not wait says so and may be tried again`() throws {
        let child = try ChildProcess.start { () in _ = pause() }
        for timeout in [Duration.zero, .seconds(-1), .milliseconds(5)] {
            #expect(code { try child.join(timeout: timeout) } == .timedOut)
        }
        try child.kill()
        for _ in 0..<3 { #expect(try child.join(timeout: long) == .signalled(SIGKILL)) }
    }

    @Test(arguments: [SIGTERM, SIGKILL, SIGINT, SIGUSR1])
    func `a signal ends it and is its status`(number: Int32) throws {
        let child = try ChildProcess.start { () in while true { pause() } }
        switch number {
        case SIGTERM: try child.terminate()
        case SIGKILL: try child.kill()
        case SIGINT: try child.interrupt()
        default: try child.signal(number)
        }
        #expect(try child.join(timeout: long) == .signalled(number))
    }

    @Test func `what is no signal is refused`() throws {
        let child = try ChildProcess.start { () in _ = pause() }
        for number in [Int32(0), -1, 65] {
            #expect(code { try child.signal(number) } == .invalidArgument)
        }
        try child.kill()
        try child.join(timeout: long)
    }

    @Test func `it is closed once it has ended, and can be asked nothing then`() throws {
        let child = try ChildProcess.start { () in _ = pause() }
        #expect(code { try child.close() } == .invalidArgument)
        try child.kill()
        try child.join(timeout: long)
        try child.close()
        try child.close()
        #expect(child.descriptor == -1)
        #expect(code { try child.kill() } == .closed)
        #expect(code { try child.join(timeout: long) } == .closed)
        #expect(child.exitStatus == .signalled(SIGKILL))
    }

    @Test func `it knows its name, its number and its parent's`() throws {
        let naming = options {
            $0.name = "baker"
            $0.standardOutput = .captured()
        }
        let child = try ChildProcess.start(options: naming) { () in
            let own = ChildProcess.current
            print(own.name, own.pid == getpid(), own.isDaemon)
            let parent = try #require(ChildProcess.parent)
            print(parent.name, parent.pid, parent.isAlive)
            do {
                try parent.join(timeout: .milliseconds(1))
            } catch let error as SharedStateError {
                print(error.code)
            }
        }
        #expect(try child.join(timeout: long).isSuccess)
        #expect(text(child.output) == "baker true false\nmain \(getpid()) true\ntimedOut\n")
        #expect(child.name == "baker")
        #expect(ChildProcess.parent == nil)
        #expect(ChildProcess.current.pid == getpid())
    }

    @Test func `without a name it has a number`() throws {
        let child = try ChildProcess.start { () in }
        #expect(child.name.hasPrefix("child-"))
        #expect(try child.join(timeout: long).isSuccess)
    }

    @Test func `a daemon's children are daemons unless told otherwise`() throws {
        let daemon = options { $0.isDaemon = true }
        let answers = try Queue<Bool>()
        let child = try ChildProcess.start(answers, options: daemon) { answers in
            let inheriting = try ChildProcess.start(answers) {
                try $0.put(ChildProcess.current.isDaemon)
            }
            try inheriting.join(timeout: long)
            var other = ChildProcess.Options()
            other.isDaemon = false
            try ChildProcess.start(answers, options: other) {
                try $0.put(ChildProcess.current.isDaemon)
            }.join(timeout: long)
        }
        #expect(child.isDaemon)
        #expect(try child.join(timeout: long).isSuccess)
        #expect(try answers.get(timeout: long) == true)
        #expect(try answers.get(timeout: long) == false)
    }

    @Test func `children have children, whose messages come in order`() throws {
        let queue = try Queue<Int>()
        let child = try ChildProcess.start(queue, 4) { try descend($0, $1) }
        #expect(try child.join(timeout: long).isSuccess)
        #expect(try (0...4).map { _ in try queue.get(timeout: long) } == [4, 3, 2, 1, 0])
    }

    @Test func `its descriptor is readable when it has ended`() throws {
        let gate = try Queue<Int>()
        let first = try ChildProcess.start { () in _ = pause() }
        let second = try ChildProcess.start(gate) { _ = try $0.get(timeout: long) }
        let both = [first.descriptor, second.descriptor]
        #expect(isReadable(both, within: 0) == [false, false])
        try first.kill()
        #expect(isReadable(both, within: 30_000) == [true, false])
        try gate.put(1)
        try second.join(timeout: long)
        #expect(isReadable(both, within: 30_000) == [true, true])
        #expect(isReadable(both, within: 0) == [true, true])
    }

    @Test func `a hundred end well and a hundred are ended`() throws {
        let working = try (0..<100).map { try ChildProcess.start($0) { exit(Int32($0)) } }
        let statuses = try working.map { try $0.join(timeout: long) }
        #expect(statuses == (0..<100).map { .exited(code: $0) })
        let doomed = try (0..<100).map { _ in
            try ChildProcess.start { () in while true { pause() } }
        }
        for child in doomed { try child.terminate() }
        for child in doomed { #expect(try child.join(timeout: long) == .signalled(SIGTERM)) }
    }

    @Test func `its arguments are let go when it has started`() throws {
        let gate = try Queue<Int>()
        weak var remembered: Cargo?
        let child: ChildProcess
        do {
            let cargo = Cargo(weight: 7)
            remembered = cargo
            child = try ChildProcess.start(gate, cargo) { gate, cargo in
                _ = try gate.get(timeout: long)
                exit(cargo.weight)
            }
        }
        #expect(remembered == nil)
        try gate.put(1)
        #expect(try child.join(timeout: long) == .exited(code: 7))
    }

    @Test func `it has the descriptors that it was given and no others`() throws {
        func count(_ options: ChildProcess.Options) throws -> Int {
            let child = try ChildProcess.start(options: options) { () in
                print(openDescriptors().count, ChildProcess.descriptors.count)
            }
            #expect(try child.join(timeout: long).isSuccess)
            let numbers = text(child.output).split(whereSeparator: \.isWhitespace).map { Int($0) }
            #expect(numbers.last == options.descriptors.count)
            return try #require(numbers.first ?? nil)
        }
        let alone = try count(capturing)
        let gate = try Queue<Int>()
        let others = try (0..<5).map { _ in
            try ChildProcess.start(gate, options: capturing) { _ = try $0.get(timeout: long) }
        }
        let leak = unsafe open("/dev/null", O_RDONLY)
        defer { close(leak) }
        #expect(try count(capturing) == alone)
        let given = options {
            $0.standardOutput = .captured()
            $0.descriptors = [leak, leak]
        }
        #expect(try count(given) == alone + 2)
        for _ in others { try gate.put(1) }
        for other in others { try other.join(timeout: long) }
    }

    @Test func `what it is given is the same open file`() throws {
        var ends: [Int32] = [0, 0]
        unsafe pipe(&ends)
        defer { for end in ends { close(end) } }
        let child = try ChildProcess.start(
            options: options { $0.descriptors = [ends[1]] }
        ) { () in
            let end = try #require(ChildProcess.descriptors.first)
            _ = unsafe write(end, "hello", 5)
        }
        #expect(try child.join(timeout: long).isSuccess)
        var room = [UInt8](repeating: 0, count: 16)
        let count = unsafe read(ends[0], &room, room.count)
        #expect(text(Array(room.prefix(max(0, count)))) == "hello")
    }

    @Test func `it ends with its closure, whatever other threads it has`() throws {
        let child = try ChildProcess.start { () in
            var thread = pthread_t()
            unsafe pthread_create(&thread, nil, { _ in while true { pause() } }, nil)
        }
        #expect(try child.join(timeout: long) == .exited(code: 0))
    }

    @Test func `what it throws is its text, and code 1`() throws {
        let child = try ChildProcess.start(
            "salt", options: options { $0.standardError = .captured() }
        ) { throw Refusal(description: "no \($0)") }
        #expect(try child.join(timeout: long) == .exited(code: 1))
        #expect(child.exitReport?.errorText == "no salt")
        #expect(text(child.errorOutput) == "no salt\n")
        #expect(child.exitReport?.lastLines == ["no salt"])
    }

    @Test func `a long text of an error is cut between two characters`() throws {
        let child = try ChildProcess.start(
            "ä", options: options { $0.standardError = .discarded }
        ) { throw Refusal(description: "." + String(repeating: $0, count: 5000)) }
        #expect(try child.join(timeout: long) == .exited(code: 1))
        let text = try #require(child.exitReport?.errorText)
        #expect(text.utf8.count == 3999 && text.allSatisfy { $0 == "ä" || $0 == "." })
    }

    @Test func `it may end early with a code of its own, and handlers run`() throws {
        let early = try ChildProcess.start(options: capturing) { () in
            atexit { print("handled") }
            print("early", terminator: " ")
            exit(42)
        }
        #expect(try early.join(timeout: long) == .exited(code: 42))
        #expect(text(early.output) == "early handled\n")
        let late = try ChildProcess.start(options: capturing) { () in
            atexit { print("handled") }
            print("late", terminator: " ")
        }
        #expect(try late.join(timeout: long) == .exited(code: 0))
        #expect(text(late.output) == "late handled\n")
    }

    @Test func `a crash says by its last lines what it was`() throws {
        let child = try ChildProcess.start(
            options: options { $0.standardError = .captured(limit: 2000) }
        ) { () in fatalError("the oven is cold") }
        guard case .signalled(let number) = try child.join(timeout: long) else {
            Issue.record("it did not crash")
            return
        }
        #expect([SIGILL, SIGTRAP].contains(number))
        let lines = try #require(child.exitReport).lastLines.joined(separator: "\n")
        #expect(lines.contains("the oven is cold"))
    }

    @Test func `of a region that it cannot open it says so`() throws {
        let private_ = try Queue<Int>(in: Region(capacity: 1 << 20))
        let child = try ChildProcess.start(
            private_, options: options { $0.standardError = .discarded }
        ) { try $0.put(1) }
        #expect(try child.join(timeout: long) == .exited(code: 1))
        #expect(child.exitReport?.errorText?.contains("open it first") == true)
    }

    @Test func `a captured stream has all, or the last of it`() throws {
        let flood = options {
            $0.standardOutput = .captured(limit: 10)
            $0.standardError = .captured()
        }
        let child = try ChildProcess.start(options: flood) { () in
            // More than two pipes hold: nobody reads but the library.
            for number in 0..<100_000 { print(number) }
            let line = [UInt8](repeating: UInt8(ascii: "e"), count: 1000)
            for _ in 0..<200 { _ = unsafe write(2, line, line.count) }
        }
        #expect(try child.join(timeout: long).isSuccess)
        #expect(text(child.output) == "998\n99999\n")
        #expect(child.errorOutput.count == 200_000)
    }

    @Test func `input is bytes, nothing, or a descriptor`() throws {
        func read(_ input: ChildProcess.Input) throws -> String {
            let child = try ChildProcess.start(
                options: options {
                    $0.standardInput = input
                    $0.standardOutput = .captured()
                }
            ) { () in
                while let line = readLine() { print("<\(line)>", terminator: "") }
            }
            #expect(try child.join(timeout: long).isSuccess)
            return text(child.output)
        }
        #expect(try read(.bytes(Array("one\ntwo".utf8))) == "<one><two>")
        #expect(try read(.discarded) == "")
        let file = unsafe open("/proc/self/comm", O_RDONLY)
        defer { close(file) }
        #expect(try read(.descriptor(file)).hasPrefix("<"))
        #expect(code { _ = try read(.descriptor(9999)) } == .invalidArgument)
    }

    @Test func `output goes to a descriptor, or nowhere`() throws {
        var ends: [Int32] = [0, 0]
        unsafe pipe(&ends)
        defer { close(ends[0]) }
        let child = try ChildProcess.start(
            options: options {
                $0.standardOutput = .descriptor(ends[1])
                $0.standardError = .discarded
            }
        ) { () in
            print("here")
            _ = unsafe write(2, "gone", 4)
        }
        close(ends[1])
        #expect(try child.join(timeout: long).isSuccess)
        var room = [UInt8](repeating: 0, count: 64)
        let count = unsafe read(ends[0], &room, room.count)
        #expect(text(Array(room.prefix(max(0, count)))) == "here\n")
        // The end: the child had the last copy of the other one.
        #expect(unsafe read(ends[0], &room, room.count) == 0)
        #expect(child.output.isEmpty && child.errorOutput.isEmpty)
    }

    @Test func `it has another environment and directory`() throws {
        unsafe setenv("SHAREDSTATE_LATE", "here", 1)
        let elsewhere = options {
            $0.environment = ["FLAVOUR": "mint", "PATH": nil]
            $0.workingDirectory = "/proc/self"
            $0.standardOutput = .captured()
        }
        let child = try ChildProcess.start(options: elsewhere) { () in
            func value(_ name: String) -> String {
                unsafe getenv(name).map { unsafe String(cString: $0) } ?? "none"
            }
            print(value("FLAVOUR"), value("PATH"))
            // A grandchild has what its parent has.
            var options = ChildProcess.Options()
            options.standardOutput = .captured()
            let grandchild = try ChildProcess.start(options: options) { () in
                print(unsafe String(cString: getenv("FLAVOUR")))
            }
            try grandchild.join(timeout: long)
            print(String(decoding: grandchild.output, as: UTF8.self), terminator: "")
            print(unsafe access("status", F_OK))
        }
        #expect(try child.join(timeout: long).isSuccess)
        #expect(text(child.output) == "mint none\nmint\n0\n")
        #expect(
            code {
                _ = try ChildProcess.start(
                    options: options { $0.workingDirectory = "/proc/self/none" }
                ) { () in }
            } == .notFound)
        for name in ["", "A=B", "A\0"] {
            #expect(
                code {
                    _ = try ChildProcess.start(
                        options: options { $0.environment = [name: "x"] }
                    ) { () in }
                } == .invalidArgument)
        }
    }

    @Test func `it runs on the CPUs and as nicely as it was told`() throws {
        let modest = options {
            $0.cpus = [0]
            $0.niceness = 3
            $0.standardOutput = .captured()
        }
        let before = nice(0)
        let child = try ChildProcess.start(options: modest) { () in
            print(nice(0))
            let status = Status.own
            print(status["Cpus_allowed_list"] ?? "")
        }
        #expect(try child.join(timeout: long).isSuccess)
        #expect(text(child.output) == "\(before + 3)\n0\n")
        let nowhere = options { $0.cpus = [4000] }
        #expect(code { _ = try ChildProcess.start(options: nowhere) { () in } } == .invalidArgument)
        let nobody = options { $0.cpus = [] }
        #expect(code { _ = try ChildProcess.start(options: nobody) { () in } } == .invalidArgument)
    }

    @Test func `tasks wait for it, in time, and may be cancelled`() async throws {
        let child = try ChildProcess.start { () in _ = pause() }
        let refused = await #expect(throws: SharedStateError.self) {
            try await child.join(timeout: .milliseconds(5))
        }
        #expect(refused?.code == .timedOut)
        let waiting = Task { try await child.join(timeout: long) }
        waiting.cancel()
        await #expect(throws: CancellationError.self) { try await waiting.value }
        let others = (0..<10).map { _ in Task { try await child.join(timeout: long) } }
        try child.kill()
        for other in others { #expect(try await other.value == .signalled(SIGKILL)) }
        #expect(try await child.join(timeout: long) == .signalled(SIGKILL))
    }

    @Test func `its closure may wait, on the main actor too, and throw`() async throws {
        let queue = try Queue<Int>()
        let child = try ChildProcess.start(queue, 20, options: capturing) { queue, number in
            try await Task.sleep(for: .milliseconds(1))
            let half = await MainActor.run { number / 2 }
            try await queue.put(half + 1)
            print("waited")
        }
        #expect(try await child.join(timeout: long) == .exited(code: 0))
        #expect(try await queue.get(timeout: long) == 11)
        #expect(text(child.output) == "waited\n")
        let refusing = try ChildProcess.start(
            "pepper", options: options { $0.standardError = .discarded }
        ) { what in
            await Task.yield()
            throw Refusal(description: "no \(what)")
        }
        #expect(try await refusing.join(timeout: long) == .exited(code: 1))
        #expect(refusing.exitReport?.errorText == "no pepper")
        let captured = Int(getpid())
        #expect(
            code {
                _ = try ChildProcess.start(1) { number in
                    await Task.yield()
                    return number + captured
                }
            } == .capturesValues)
    }

    @Test func `a signal to the thread that waits does not end the wait`() throws {
        signal(SIGUSR2) { _ in }
        let gate = try Queue<Int>()
        let child = try ChildProcess.start(gate, pthread_self()) { gate, _ in
            for _ in 0..<5 {
                usleep(2000)
                kill(ChildProcess.parent?.pid ?? 0, SIGUSR2)
            }
            _ = gate
            exit(9)
        }
        #expect(try child.join(timeout: long) == .exited(code: 9))
    }

    @Test func `a preload is there in later children, and its error is an error`() async {
        // In a process of its own: what is preloaded stays.
        await #expect(processExitsWith: .success) {
            let refused = #expect(throws: SharedStateError.self) {
                try ChildProcess.preload { throw Refusal(description: "not today") }
            }
            #expect(refused?.code == .taskFailed)
            #expect(refused?.description.contains("not today") == true)
            try ChildProcess.preload { preloaded.load() }
            for _ in 0..<2 {
                let child = try ChildProcess.start { () in
                    exit(preloaded.isLoaded && preloaded.pid == getppid() ? 0 : 1)
                }
                #expect(try await child.join(timeout: .seconds(30)) == .exited(code: 0))
                // Another zygote has it, too.
                let zygote = ProcessTree.below(getpid()).first { $0.parent == getpid() }
                kill(zygote?.pid ?? 0, SIGKILL)
                try await eventually { ProcessTree.entry(of: zygote?.pid ?? 0) == nil }
            }
        }
    }
}

/// What a preload makes.
private final class Preloaded: Sendable {
    private nonisolated(unsafe) var maker: pid_t = 0

    func load() { unsafe maker = getpid() }
    var isLoaded: Bool { unsafe maker != 0 }
    var pid: pid_t { unsafe maker }
}
private let preloaded = Preloaded()

/// An argument that is an object here and another one there.
private final class Cargo: Codable, Sendable {
    let weight: Int32
    init(weight: Int32) { self.weight = weight }
}

private func descend(_ queue: Queue<Int>, _ depth: Int) throws {
    try queue.put(depth)
    guard depth > 0 else { return }
    let child = try ChildProcess.start(queue, depth - 1) { try descend($0, $1) }
    guard try child.join(timeout: long).isSuccess else { exit(1) }
}

/// The numbers of this process's open descriptors.
func openDescriptors() -> [Int32] { (0..<1024).filter { fcntl($0, F_GETFD) >= 0 } }

/// What the kernel says of this process.
enum Status {
    static var own: [String: String] {
        let file = unsafe open("/proc/thread-self/status", O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { return [:] }
        defer { close(file) }
        var bytes = [UInt8](repeating: 0, count: 8192)
        let length = unsafe read(file, &bytes, bytes.count)
        let lines = String(decoding: bytes.prefix(max(0, length)), as: UTF8.self)
            .split(separator: "\n")
        return Dictionary(
            lines.compactMap { line in
                line.firstIndex(of: ":").map { colon in
                    (String(line[..<colon]), line[line.index(after: colon)...].trimmed)
                }
            }, uniquingKeysWith: { first, _ in first })
    }
}

extension Substring {
    fileprivate var trimmed: String {
        String(drop { $0.isWhitespace }.reversed().drop { $0.isWhitespace }.reversed())
    }
}
