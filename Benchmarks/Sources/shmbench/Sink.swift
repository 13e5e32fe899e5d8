// SPDX-License-Identifier: Apache-2.0

internal import ArgumentParser
internal import Glibc

/// How figures are printed.
internal enum Format: String, ExpressibleByArgument, CaseIterable {
    case table, json, tsv, markdown
}

/// Where text goes: a file, or the standard output.
internal struct Sink {
    private let descriptor: Int32

    /// Text for people who watch.
    static let standardError = Sink(descriptor: STDERR_FILENO)

    init(_ path: String?) throws {
        guard let path else {
            self.descriptor = STDOUT_FILENO
            return
        }
        self.descriptor = unsafe open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
        guard descriptor >= 0 else { throw ValidationError("cannot write \(path)") }
    }

    private init(descriptor: Int32) {
        self.descriptor = descriptor
    }

    /// Writes a line.
    func write(_ line: String) {
        put(line + "\n")
    }

    /// Writes text, all of it unless the other end is gone.
    func put(_ text: String) {
        var rest = Array(text.utf8)[...]
        while !rest.isEmpty {
            let written = unsafe rest.withUnsafeBytes { bytes in
                unsafe Glibc.write(descriptor, bytes.baseAddress, bytes.count)
            }
            if written < 0, errno != EINTR { return }
            rest = rest.dropFirst(max(0, written))
        }
    }
}
