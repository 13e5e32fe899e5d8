// SPDX-License-Identifier: Apache-2.0

internal import CBench
internal import Foundation
internal import Synchronization

/// A peer in C or C++ that is compiled when it is first asked for, against libraries that may not
/// be there.
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
        let sources = Place.benchmarks.appending(path: folder)
        let headers = Place.benchmarks.appending(path: "Sources/CBench/include")
        let made = Place.built.appending(path: "\(source).so")
        let file = sources.appending(path: source)
        guard FileManager.default.fileExists(atPath: file.path) else {
            return "no \(file.path)"
        }
        do {
            try FileManager.default.createDirectory(
                at: Place.built, withIntermediateDirectories: true)
            let compiler = source.hasSuffix(".cpp") ? ["c++", "-std=c++17"] : ["cc", "-std=c17"]
            let output = try Command(
                compiler + [
                    "-O2", "-g", "-D_GNU_SOURCE", "-fPIC", "-shared", "-I", headers.path,
                ] + flags + [file.path, "-o", made.path] + libraries
            ).run()
            guard output.status == 0 else {
                return "does not compile here (make peers installs \(package))"
            }
        } catch {
            return "no compiler: \(error)"
        }
        return unsafe bench_load(made.path) == 0 ? nil : "\(made.path) could not be loaded"
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
