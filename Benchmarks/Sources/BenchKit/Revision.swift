// SPDX-License-Identifier: Apache-2.0

internal import Foundation

/// What this program was built from, as far as its checkout tells: that may have moved since.
internal struct Revision {
    /// Of the checkout; `, changed` behind it if files are.
    let commit: String
    /// When the checkout came to that commit.
    let since: Date
    /// When the program was built.
    let built: Date

    /// `nil` where git knows none.
    static var ofThisProgram: Revision? {
        let attributes = try? FileManager.default.attributesOfItem(
            atPath: URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath().path)
        guard let built = attributes?[.modificationDate] as? Date else { return nil }
        return Revision(of: Place.benchmarks, built: built)
    }

    /// Asks git; `nil` where it knows none.
    init?(of folder: URL, built: Date) {
        func ask(_ words: String...) -> String? {
            let answer = try? Command(["git", "-C", folder.path] + words).run()
            guard let answer, answer.status == 0 else { return nil }
            return answer.output.trimmingCharacters(in: .whitespacesAndNewlines)
        }
        guard let commit = ask("describe", "--always", "--dirty=, changed"),
            let made = ask("log", "-1", "--format=%ct").flatMap(Double.init)
        else { return nil }
        // As "HEAD@{1796038000}"; a checkout of an older commit is newer than this.
        let moved = ask("log", "-g", "-1", "--format=%gd", "--date=unix")?
            .split { $0 == "{" || $0 == "}" }.dropFirst().first.flatMap { Double($0) }
        self.commit = commit
        self.since = Date(timeIntervalSince1970: max(made, moved ?? 0))
        self.built = built
    }

    /// As people read it.
    var text: String { built < since ? "\(commit), built before it" : commit }
}
