// SPDX-License-Identifier: Apache-2.0

import Glibc
import Testing

/// The C tests, each as a case of one test, so that `swift test` runs everything.
@Suite("The C library", .serialized)
struct CSuiteTests {
    @Test(arguments: try await CTestProgram.names())
    func `passes its own test`(name: String) async throws {
        let result = try await CTestProgram.run([name])
        #expect(result.status == 0, "\(result.output)")
    }
}

/// The executable `CShmTests`, which the package builds beside the test bundle.
private enum CTestProgram {
    struct Result {
        /// The exit status, or minus the signal that ended the program.
        var status: Int32
        var output: String
    }

    struct Failure: Error {
        var call: String
        var code: Int32
    }

    static func names() async throws -> [String] {
        let list = try await run(["--list"])
        guard list.status == 0 else { throw Failure(call: list.output, code: list.status) }
        return list.output.split(separator: "\n").map(String.init)
    }

    /// Runs the program to its end without holding a thread of the concurrency pool.
    static func run(_ arguments: [String]) async throws -> Result {
        // A file, not a pipe: nothing the program leaves running can keep the reader waiting.
        let file = try unnamedFile()
        defer { close(file) }

        let child = try spawn(path: try path(), arguments: arguments, output: file)
        var status: Int32 = 0
        while true {
            let ended = unsafe waitpid(child, &status, WNOHANG)
            if ended == child { break }
            guard ended == 0 || errno == EINTR else {
                throw Failure(call: "waitpid", code: errno)
            }
            // A cancelled test still has a child to reap.
            try? await Task.sleep(for: .milliseconds(5))
            if Task.isCancelled { kill(child, SIGTERM) }
        }
        let signal = status & 0x7f
        return Result(
            status: signal == 0 ? (status >> 8) & 0xff : -signal, output: try contents(of: file))
    }

    private static func unnamedFile() throws -> Int32 {
        var name = Array("/tmp/c-test-XXXXXX".utf8CString)
        let file = unsafe mkstemp(&name)
        guard file >= 0 else { throw Failure(call: "mkstemp", code: errno) }
        unsafe unlink(&name)
        _ = fcntl(file, F_SETFD, FD_CLOEXEC)
        return file
    }

    private static func path() throws -> String {
        var buffer = [CChar](repeating: 0, count: Int(PATH_MAX))
        let length = unsafe readlink("/proc/self/exe", &buffer, buffer.count)
        guard length > 0 else { throw Failure(call: "readlink", code: errno) }
        let executable = String(
            decoding: buffer[..<length].map(UInt8.init(bitPattern:)), as: UTF8.self)
        guard let slash = executable.lastIndex(of: "/") else {
            throw Failure(call: "readlink", code: ENOENT)
        }
        return executable[...slash] + "CShmTests"
    }

    private static func spawn(path: String, arguments: [String], output: Int32) throws -> pid_t {
        var actions = unsafe posix_spawn_file_actions_t()
        unsafe posix_spawn_file_actions_init(&actions)
        defer { unsafe posix_spawn_file_actions_destroy(&actions) }
        unsafe posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO)
        unsafe posix_spawn_file_actions_adddup2(&actions, output, STDERR_FILENO)

        var strings = unsafe ([path] + arguments).map { unsafe strdup($0) }
        unsafe strings.append(nil)
        defer { unsafe strings.forEach { unsafe free($0) } }

        var child: pid_t = 0
        let code = unsafe posix_spawn(&child, path, &actions, nil, strings, environ)
        guard code == 0 else { throw Failure(call: "posix_spawn \(path)", code: code) }
        return child
    }

    private static func contents(of file: Int32) throws -> String {
        let end = lseek(file, 0, SEEK_END)
        guard end >= 0 else { throw Failure(call: "lseek", code: errno) }
        var bytes = [UInt8](repeating: 0, count: Int(end))
        let length = unsafe pread(file, &bytes, bytes.count, 0)
        guard length >= 0 else { throw Failure(call: "pread", code: errno) }
        return String(decoding: bytes[..<length], as: UTF8.self)
    }
}
