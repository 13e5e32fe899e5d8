// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

@testable import BenchKit

@Suite("Page")
struct PageTests {
    private func page() throws -> String {
        let percentiles = [50, 99, 99.9, 100].map {
            Percentile(percentile: $0, nanoseconds: $0 * 9)
        }
        var report = try ReportTests.report([
            ReportTests.result("queue/mpmc/64/1x1", [8e6, 9e6], against: [2e7, 2e7]),
            ReportTests.result("queue/mpmc/64/2x2", [7e6, 9e6], against: [1e7, 2e7]),
            ReportTests.result(
                "ring/latency-100k/64/1x1", [200, 210], .nanoseconds,
                percentiles: ["own": percentiles]),
        ])
        report.warnings = ["others take 30 % of the CPUs"]
        return report.page
    }

    @Test("it is whole: nothing is fetched, and text is escaped")
    func selfContained() throws {
        let page = try page()
        for fetched in ["http:", "https:", "src=", "<script", "@import", "url("] {
            #expect(!page.contains(fetched))
        }
        #expect(page.contains("a&lt;b") && !page.contains("a<b"))
        #expect(page.contains("&quot;&lt;x&gt;&quot;"))
    }

    @Test("it shows every row, the scaling, the warnings and the command")
    func complete() throws {
        let page = try page()
        for part in [
            "queue/mpmc/64/1x1", "queue/mpmc/64/2x2", "ring/latency-100k/64/1x1", "More processes",
            "others take 30 % of the CPUs", "shmbench run", "c: not there", "polyline",
        ] {
            #expect(page.contains(part), "\(part)")
        }
        #expect(!page.contains("\"nan") && !page.contains(",nan") && !page.contains("inf\""))
    }

    @Test("a browser draws it without a complaint", .enabled(if: Browser.name != nil))
    func drawn() throws {
        let blank = try Browser.draw("<!doctype html><title>blank</title>")
        let drawn = try Browser.draw(try page())
        #expect(drawn.complaints.isEmpty)
        #expect(drawn.bytes > 4 * blank.bytes)
    }
}

/// A headless browser, if there is one.
private enum Browser {
    static let name = ["chromium", "chromium-browser", "google-chrome"].first { name in
        (try? Command(["which", name]).run())?.status == 0
    }

    /// Draws a page of 500 by 1500 points.
    ///
    /// - Returns: How many bytes its picture takes, and what stood on the console.
    static func draw(_ page: String) throws -> (bytes: Int, complaints: [String]) {
        let folder = FileManager.default.temporaryDirectory.appending(
            path: "shmbench-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let file = folder.appending(path: "page.html")
        let picture = folder.appending(path: "page.png")
        let log = folder.appending(path: "log")
        try page.write(to: file, atomically: true, encoding: .utf8)
        let command = [
            name ?? "", "--headless=new", "--no-sandbox", "--disable-gpu",
            "--user-data-dir=\(folder.path)/profile", "--enable-logging=stderr",
            "--window-size=500,1500", "--screenshot=\(picture.path)", "file://\(file.path)",
            "2>\(log.path)",
        ].joined(separator: " ")
        _ = try Command(["sh", "-c", command]).run()
        let lines = try String(contentsOf: log, encoding: .utf8).split(separator: "\n")
        return (
            try Data(contentsOf: picture).count,
            lines.filter { $0.contains(":CONSOLE") }.map(String.init)
        )
    }
}
