// SPDX-License-Identifier: Apache-2.0

import Glibc
import SharedState

/// Program 6: worker processes read every text file below a directory and count words in one
/// managed dictionary, with an atomic update for each word.
enum Pages {
    /// What a worker says of one file.
    struct Page: Codable, Sendable {
        var words = 0
        var problem: String?
    }

    static func run(below directory: String) throws -> Bool {
        let files = try find(below: directory)
        guard !files.isEmpty else {
            report("quickstart: there is no file below \(directory)")
            return false
        }
        let started = ContinuousClock.now
        let pool = try Pool()
        let words = try Manager().dictionary(String.self, Int.self)
        let pages = try counted(files, into: words, by: pool)
        let elapsed = ContinuousClock.now - started
        for page in pages {
            if let problem = page.problem { report("quickstart: \(problem)") }
        }
        let all = try words.snapshot()
        let total = pages.reduce(0) { $0 + $1.words }
        let verified = all == alone(files)
        let top = all.sorted { ($1.value, $0.key) < ($0.value, $1.key) }.prefix(10)
            .map { "\($0.key) \($0.value)" }.joined(separator: ", ")
        print(
            "6 Pages      \(pages.count { $0.problem == nil }) files, \(total) words, "
                + "top ten: \(top)   (\(pool.workerCount) workers, \(seconds(elapsed)) s) "
                + (verified ? "verified" : "WRONG"))
        return verified
    }

    /// Every file, in the pool's workers, with a progress bar that is gone at the end.
    private static func counted(
        _ files: [String], into words: ManagedDictionary<String, Int>, by pool: Pool
    ) throws -> [Page] {
        try pool.map(files, with: words, chunkSize: 2, progress: .bar()) { file, words in
            try count(file, into: words)
        }
    }

    /// In a worker: one file's words into the dictionary.
    @Sendable static func count(
        _ file: String, into words: ManagedDictionary<String, Int>
    ) throws -> Page {
        var page = Page()
        switch read(file) {
        case .failure(let problem): page.problem = problem.text
        case .success(let text):
            for word in split(text) {
                try words.update(word, default: 0) { $0 += 1 }
                page.words += 1
            }
        }
        return page
    }

    /// The same count in this process alone.
    static func alone(_ files: [String]) -> [String: Int] {
        var words: [String: Int] = [:]
        for file in files {
            if case .success(let text) = read(file) {
                for word in split(text) { words[word, default: 0] += 1 }
            }
        }
        return words
    }

    /// Words: runs of ASCII letters, in lower case.
    static func split(_ text: [UInt8]) -> [String] {
        text.map { (65...90).contains($0) ? $0 + 32 : $0 }
            .split { !(97...122).contains($0) }
            .map { String(decoding: $0, as: UTF8.self) }
    }

    static func read(_ file: String) -> Result<[UInt8], Problem> {
        let descriptor = unsafe open(file, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else {
            return .failure(Problem(text: unsafe "\(file): \(String(cString: strerror(errno)))"))
        }
        defer { close(descriptor) }
        var bytes: [UInt8] = []
        var room = [UInt8](repeating: 0, count: 65536)
        while true {
            let count = unsafe Glibc.read(descriptor, &room, room.count)
            guard count >= 0 else {
                return .failure(
                    Problem(text: unsafe "\(file): \(String(cString: strerror(errno)))"))
            }
            if count == 0 { break }
            bytes += room[..<count]
        }
        if bytes.contains(0) { return .failure(Problem(text: "\(file): a binary file, left out")) }
        return .success(bytes)
    }

    /// Every regular file below a directory, hidden ones left out.
    static func find(below directory: String) throws -> [String] {
        guard let stream = unsafe opendir(directory) else {
            throw Problem(text: unsafe "\(directory): \(String(cString: strerror(errno)))")
        }
        defer { unsafe closedir(stream) }
        var files: [String] = []
        while let entry = unsafe readdir(stream) {
            let name = unsafe withUnsafePointer(to: &entry.pointee.d_name) {
                unsafe $0.withMemoryRebound(to: CChar.self, capacity: 256) {
                    unsafe String(cString: $0)
                }
            }
            if name.hasPrefix(".") { continue }
            let path = "\(directory)/\(name)"
            var status = stat()
            guard unsafe lstat(path, &status) == 0 else { continue }
            switch status.st_mode & S_IFMT {
            case S_IFDIR:
                do {
                    files += try find(below: path)
                } catch {
                    report("quickstart: \(error)")
                }
            case S_IFREG: files.append(path)
            default: break
            }
        }
        return files.sorted()
    }

    static func seconds(_ duration: Duration) -> String {
        let parts = duration.components
        let hundredths = parts.seconds * 100 + parts.attoseconds / 10_000_000_000_000_000
        return "\(hundredths / 100).\(hundredths % 100 < 10 ? "0" : "")\(hundredths % 100)"
    }
}
