// SPDX-License-Identifier: Apache-2.0

internal import Foundation

/// Another program, run to its end.
internal struct Command {
    private let words: [String]

    init(_ words: [String]) {
        self.words = words
    }

    /// Runs it.
    ///
    /// - Parameters:
    ///   - limit: Seconds after which it is ended.
    ///   - errors: Whether what it writes to its standard error is returned as well.
    /// - Returns: Its exit status and what it wrote to its standard output.
    /// - Throws: If it cannot be started.
    func run(limit: Double = 60, errors: Bool = false) throws -> (status: Int32, output: String) {
        let process = Process()
        let pipe = Pipe()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = words
        process.standardOutput = pipe
        process.standardError = errors ? pipe : FileHandle.nullDevice
        process.standardInput = FileHandle.nullDevice
        try process.run()
        let timer = DispatchSource.makeTimerSource()
        timer.schedule(deadline: .now() + limit)
        timer.setEventHandler { process.terminate() }
        timer.resume()
        let bytes = pipe.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        timer.cancel()
        return (process.terminationStatus, String(decoding: bytes, as: UTF8.self))
    }
}
