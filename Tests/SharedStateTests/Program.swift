// SPDX-License-Identifier: Apache-2.0

import Glibc

/// A run of a program that the package builds beside this test bundle.
///
/// What it prints goes to files, so that nothing it leaves running can keep the reader waiting.
final class Program {
    struct Output {
        /// The exit code, or minus the signal that ended it.
        var status: Int32
        var out: String
        /// What it wrote to the standard error stream, or to the terminal.
        var err: String
    }

    struct Failure: Error {
        var call: String
        var code: Int32
    }

    /// It ended before it printed what was waited for.
    struct EndedEarly: Error {
        var awaited: String
        var output: Output
    }

    /// `POSIX_SPAWN_SETSID`, which the headers show to C only.
    private static let newSession: Int16 = 0x80

    let pid: pid_t
    private let out: Int32
    private let err: Int32
    private let terminal: Terminal?
    private var status: Int32?

    // Starts a program at the head of a session of its own. A launcher is a command, with arguments,
    // that is to run it. With columns it has a terminal of that width for input and errors.
    init(
        _ name: String, _ arguments: [String] = [], launcher: [String] = [], columns: UInt16? = nil
    ) throws {
        let command = launcher + [try Self.path(of: name)] + arguments
        out = try Self.unnamedFile()
        err = try Self.unnamedFile()
        terminal = try columns.map { try Terminal(columns: $0) }

        var actions = unsafe posix_spawn_file_actions_t()
        unsafe posix_spawn_file_actions_init(&actions)
        defer { unsafe posix_spawn_file_actions_destroy(&actions) }
        // The first terminal that a session's head opens is the session's: ^C reaches it.
        let input = terminal?.name ?? "/dev/null"
        unsafe posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, input, O_RDWR, 0)
        unsafe posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO)
        unsafe posix_spawn_file_actions_adddup2(
            &actions, terminal == nil ? err : STDIN_FILENO, STDERR_FILENO)

        var attributes = posix_spawnattr_t()
        unsafe posix_spawnattr_init(&attributes)
        defer { unsafe posix_spawnattr_destroy(&attributes) }
        // What this process ignores, or this thread blocks, the program would, too.
        var signals = sigset_t()
        unsafe sigemptyset(&signals)
        unsafe posix_spawnattr_setsigmask(&attributes, &signals)
        unsafe sigfillset(&signals)
        unsafe posix_spawnattr_setsigdefault(&attributes, &signals)
        let flags = Self.newSession | Int16(POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK)
        unsafe posix_spawnattr_setflags(&attributes, flags)

        var strings = unsafe command.map { unsafe strdup($0) }
        unsafe strings.append(nil)
        defer { unsafe strings.forEach { unsafe free($0) } }
        var child: pid_t = 0
        let code = unsafe posix_spawnp(&child, command[0], &actions, &attributes, strings, environ)
        guard code == 0 else { throw Failure(call: "posix_spawn \(command[0])", code: code) }
        pid = child
    }

    /// Leaves no zombie: Swift Testing's own wait for exit tests sees nothing else while there is one.
    deinit {
        if status == nil {
            kill(pid, SIGKILL)
            _ = waitpid(pid, nil, 0)
        }
        close(out)
        close(err)
    }

    /// Runs a program to its end.
    static func run(
        _ name: String, _ arguments: [String] = [], launcher: [String] = [], columns: UInt16? = nil
    ) async throws -> Output {
        try await Program(name, arguments, launcher: launcher, columns: columns).finish()
    }

    /// Waits for the end without holding a thread of the concurrency pool.
    func finish() async throws -> Output {
        while try !hasEnded() {
            // A cancelled test still has a child to reap.
            try? await Task.sleep(for: .milliseconds(5))
            if Task.isCancelled { kill(pid, SIGTERM) }
        }
        return try output()
    }

    /// What it has printed so far.
    func printed() throws -> String { try Self.contents(of: out) }

    /// Waits until it, or a process of its, has printed a line that begins so.
    func lines(untilPrinted beginning: String) async throws -> [Substring] {
        while true {
            let isLast = try hasEnded()
            let lines = try printed().split(separator: "\n")
            if lines.contains(where: { $0.hasPrefix(beginning) }) { return lines }
            if isLast { throw EndedEarly(awaited: beginning, output: try output()) }
            try await Task.sleep(for: .milliseconds(2))
        }
    }

    /// Reaps it if it has ended.
    private func hasEnded() throws -> Bool {
        terminal?.drain()
        guard status == nil else { return true }
        var status: Int32 = 0
        let ended = unsafe waitpid(pid, &status, WNOHANG)
        if ended == pid { self.status = status }
        guard ended >= 0 || errno == EINTR else { throw Failure(call: "waitpid", code: errno) }
        return ended == pid
    }

    private func output() throws -> Output {
        let status = self.status ?? 0
        let signal = status & 0x7f
        return Output(
            status: signal == 0 ? (status >> 8) & 0xff : -signal,
            out: try Self.contents(of: out), err: try terminal?.text ?? Self.contents(of: err))
    }

    /// Types at its terminal.
    func type(_ text: String) { terminal?.type(text) }

    private static func unnamedFile() throws -> Int32 {
        var name = Array("/tmp/sharedstate-test-XXXXXX".utf8CString)
        let file = unsafe mkstemp(&name)
        guard file >= 0 else { throw Failure(call: "mkstemp", code: errno) }
        unsafe unlink(&name)
        _ = fcntl(file, F_SETFD, FD_CLOEXEC)
        return file
    }

    private static func contents(of file: Int32) throws -> String {
        var bytes: [UInt8] = []
        var room = [UInt8](repeating: 0, count: 65536)
        while true {
            let count = unsafe pread(file, &room, room.count, off_t(bytes.count))
            guard count >= 0 else { throw Failure(call: "pread", code: errno) }
            if count == 0 { break }
            bytes += room[..<count]
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    private static func path(of name: String) throws -> String {
        var buffer = [CChar](repeating: 0, count: Int(PATH_MAX))
        let length = unsafe readlink("/proc/self/exe", &buffer, buffer.count)
        guard length > 0 else { throw Failure(call: "readlink", code: errno) }
        let own = String(decoding: buffer[..<length].map(UInt8.init(bitPattern:)), as: UTF8.self)
        return own[...(own.lastIndex(of: "/") ?? own.startIndex)] + name
    }
}

/// The near end of a pseudo-terminal.
private final class Terminal {
    let name: String
    private(set) var text = ""
    private let descriptor: Int32

    init(columns: UInt16) throws {
        var near: Int32 = 0
        var far: Int32 = 0
        var name = [CChar](repeating: 0, count: Int(PATH_MAX))
        var size = winsize(ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0)
        guard unsafe openpty(&near, &far, &name, nil, &size) == 0 else {
            throw Program.Failure(call: "openpty", code: errno)
        }
        close(far)
        _ = fcntl(near, F_SETFD, FD_CLOEXEC)
        _ = fcntl(near, F_SETFL, O_NONBLOCK)
        descriptor = near
        let bytes = name.prefix { $0 != 0 }.map(UInt8.init(bitPattern:))
        self.name = String(decoding: bytes, as: UTF8.self)
    }

    deinit { close(descriptor) }

    /// Reads what has arrived; ASCII, as it comes in pieces.
    func drain() {
        var room = [UInt8](repeating: 0, count: 4096)
        while true {
            let count = unsafe read(descriptor, &room, room.count)
            if count <= 0 { break }
            text += String(decoding: room[..<count], as: UTF8.self)
        }
    }

    func type(_ text: String) {
        let bytes = Array(text.utf8)
        _ = unsafe write(descriptor, bytes, bytes.count)
    }
}
