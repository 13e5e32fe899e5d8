// SPDX-License-Identifier: Apache-2.0

internal import Foundation

/// Another program of this package.
///
/// `swift run shmbench` builds shmbench alone, so another one is built when it is first asked for, as
/// the compiled peers are.
internal enum OwnProgram {
    /// Finds a program beside this one or where the package is built, or builds it there.
    ///
    /// - Parameter name: The product's.
    /// - Returns: Its path.
    /// - Throws: ``MeasurementFailure`` if it is not there and cannot be built.
    static func path(_ name: String) throws -> String {
        let beside = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath()
            .deletingLastPathComponent()
        let built = Place.benchmarks.appending(path: ".build/release")
        let paths = [beside, built].map { $0.appending(path: name).path }
        if let found = paths.first(where: FileManager.default.isExecutableFile) { return found }
        let ended = try Command(
            ["swift", "build", "-c", "release", "--package-path", Place.benchmarks.path]
                + ["--product", name]
        ).run(limit: 600, errors: true)
        guard ended.status == 0, FileManager.default.isExecutableFile(atPath: paths[1]) else {
            throw MeasurementFailure("\(name) cannot be built: \(ended.output.suffix(400))")
        }
        return paths[1]
    }
}
