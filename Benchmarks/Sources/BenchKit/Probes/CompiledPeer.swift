// SPDX-License-Identifier: Apache-2.0

internal import CBench
internal import Foundation
internal import Synchronization

/// A peer in C or C++ that is compiled when it is first asked for, against libraries that may not
/// be there, and again when it, what it includes of ours, or the compiler's command has changed.
internal struct CompiledPeer: Sendable {
    internal let source: String
    internal let folder: String
    internal let flags: [String]
    internal let libraries: [String]
    /// A program that it starts.
    internal let program: String?
    internal let package: String

    internal init(
        _ source: String, in folder: String = "Peers", flags: [String] = [],
        libraries: [String] = [], program: String? = nil, package: String? = nil
    ) {
        self.source = source
        self.folder = folder
        self.flags = flags
        self.libraries = libraries
        self.program = program
        self.package = package ?? program ?? "it"
    }

    internal func reasonToSkip() -> String? {
        Self.outcomes.withLock { outcomes in
            if let known = outcomes[source] { return known }
            let reason = build()
            outcomes[source] = .some(reason)
            return reason
        }
    }

    private static let outcomes = Mutex<[String: String?]>([:])

    private func build() -> String? {
        if let program, !isThere(program) {
            return "no \(program) here (make peers installs \(package))"
        }
        guard FileManager.default.fileExists(atPath: file.path) else { return "no \(file.path)" }
        do {
            guard try compile() else {
                return "does not compile here (make peers installs \(package))"
            }
        } catch {
            return "no compiler: \(error)"
        }
        return unsafe bench_load(made.path) == 0 ? nil : "\(made.path) could not be loaded"
    }

    private var file: URL { Place.benchmarks.appending(path: folder).appending(path: source) }
    private var made: URL { Place.built.appending(path: "\(source).so") }

    /// Compiles it, unless what there is is of the same.
    ///
    /// - Returns: Whether it is there now.
    /// - Throws: If there is no compiler.
    internal func compile() throws -> Bool {
        let headers = Place.benchmarks.appending(path: "Sources/CBench/include")
        let compiler = source.hasSuffix(".cpp") ? ["c++", "-std=c++17"] : ["cc", "-std=c17"]
        let command =
            compiler + ["-O2", "-g", "-D_GNU_SOURCE", "-fPIC", "-shared", "-I", headers.path]
            + flags + [file.path] + libraries
        let included = try FileManager.default.contentsOfDirectory(
            at: headers, includingPropertiesForKeys: nil)
        let stamp = Stamp(of: made, from: [file] + included, by: command)
        if stamp.isFresh { return true }
        try FileManager.default.createDirectory(
            at: Place.built, withIntermediateDirectories: true)
        stamp.remove()
        // Whoever runs beside us may have the old one in use, so it is not written over.
        let new = made.path + ".\(getpid())"
        guard try Command(command + ["-o", new]).run().status == 0,
            unsafe rename(new, made.path) == 0
        else { return false }
        try stamp.write()
        return true
    }
}

/// A file beside one that was made, with the command that made it.
internal struct Stamp {
    private let made: URL
    private let sources: [URL]
    private let command: String

    internal init(of made: URL, from sources: [URL], by command: [String]) {
        self.made = made
        self.sources = sources
        self.command = command.joined(separator: "\n")
    }

    /// Whether what was made is newer than all of what it was made from, and made by the same command.
    internal var isFresh: Bool {
        guard let known = try? String(contentsOf: file, encoding: .utf8), known == command,
            let made = Self.date(made)
        else { return false }
        return sources.allSatisfy { source in Self.date(source).map { $0 < made } ?? false }
    }

    /// To be written when it is made whole, and removed before.
    internal func write() throws {
        try command.write(to: file, atomically: true, encoding: .utf8)
    }

    internal func remove() { try? FileManager.default.removeItem(at: file) }

    private var file: URL { URL(fileURLWithPath: made.path + ".command") }

    private static func date(_ file: URL) -> Date? {
        let attributes = try? FileManager.default.attributesOfItem(atPath: file.path)
        return attributes?[.modificationDate] as? Date
    }
}

private func isThere(_ program: String) -> Bool {
    (try? Command(["which", program]).run())?.status == 0
}

/// Where things are.
internal enum Place {
    /// The package's folder, from where this file was compiled, or the environment's word.
    static let benchmarks: URL = {
        if let told = ProcessInfo.processInfo.environment["SHMBENCH_HOME"] {
            return URL(fileURLWithPath: told)
        }
        return URL(fileURLWithPath: #filePath)
            .appending(path: "../../../..").standardizedFileURL
    }()
    /// Compiled peers.
    static let built = benchmarks.appending(path: ".build/peers")
    /// Headers that `make peers` took out of packages without installing these.
    static let extracted = built.appending(path: "usr/include")
}
