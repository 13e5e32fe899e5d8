// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

@testable import BenchKit

@Suite("Revision")
struct RevisionTests {
    @Test("a program older than its checkout's commit says so, and so do changed files")
    func text() throws {
        try withFolder { folder in
            func git(_ words: String...) throws {
                let author = ["-c", "user.name=a", "-c", "user.email=a@b"]
                let ended = try Command(["git", "-C", folder.path] + author + words).run()
                try #require(ended.status == 0)
            }
            let file = folder.appending(path: "file")
            let before = Date(timeIntervalSinceNow: -60)
            let after = Date(timeIntervalSinceNow: 60)
            #expect(Revision(of: folder, built: after) == nil)
            try git("init", "-q")
            try Data("a".utf8).write(to: file)
            try git("add", "file")
            try git("commit", "-q", "-m", "first")
            let fresh = try #require(Revision(of: folder, built: after))
            #expect(fresh.text == fresh.commit)
            #expect(fresh.text.allSatisfy(\.isHexDigit) && fresh.text.count >= 4)
            let stale = try #require(Revision(of: folder, built: before))
            #expect(stale.text == "\(fresh.commit), built before it")
            try Data("b".utf8).write(to: file)
            #expect(Revision(of: folder, built: after)?.text == "\(fresh.commit), changed")
        }
    }

    @Test("a checkout of an older commit is newer than what was built before it")
    func older() throws {
        try withFolder { folder in
            let script = """
                git init -q && export GIT_COMMITTER_DATE="2020-01-01T00:00:00Z" &&
                git -c user.name=a -c user.email=a@b commit -q --allow-empty -m old &&
                unset GIT_COMMITTER_DATE &&
                git -c user.name=a -c user.email=a@b commit -q --allow-empty -m new &&
                git -c user.name=a -c user.email=a@b checkout -q HEAD~1
                """
            let ended = try Command(["sh", "-c", "cd '\(folder.path)' && \(script)"]).run()
            try #require(ended.status == 0)
            let built = Date(timeIntervalSinceNow: -60)
            #expect(Revision(of: folder, built: built)?.text.hasSuffix(", built before it") == true)
        }
    }
}
