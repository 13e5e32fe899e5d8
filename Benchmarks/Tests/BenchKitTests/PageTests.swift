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

    @Test("floors, peers and our own other faces have colours of their own")
    func colours() {
        #expect(["futex", "cas-pair", "fork"].allSatisfy { Series.of($0) == .floor })
        #expect(["pipe", "python-queue"].allSatisfy { Series.of($0) == .peer })
        #expect(["own-2x2", "c-queue"].allSatisfy { Series.of($0) == .own })
    }

    @Test("it shows every row, the scaling, the warnings and the command")
    func complete() throws {
        let page = try page()
        for part in [
            "queue/mpmc/64/1x1", "queue/mpmc/64/2x2", "ring/latency-100k/64/1x1", "More processes",
            "others take 30 % of the CPUs", "shmbench run", "c: not there", "polyline",
            "rect class=\"own\"", "rect class=\"peer\"", "rect class=\"interval\"",
            "line class=\"whisker\"",
        ] {
            #expect(page.contains(part), "\(part)")
        }
        #expect(!page.contains("\"nan") && !page.contains(",nan") && !page.contains("inf\""))
    }

    @Test("what grows may be both sides, either, or processes without sides")
    func scaling() throws {
        let shapes = ["a/64/1x1", "a/64/2x2", "a/64/4x1", "a/64/1x4", "b/8/1", "b/8/8", "c/8/2"]
        let rates = try shapes.map { try ReportTests.result("s/\($0)", [1e6], against: [2e6]) }
        let times = try ["t/8/1", "t/8/2"].map {
            try ReportTests.result("s/\($0)", [9], .nanoseconds)
        }
        let section = try #require(ScalingPlot(rates + times)).section
        for family in ["s/a/64/N×N", "s/a/64/N×1", "s/a/64/1×N", "s/b/8/N"] {
            #expect(section.contains("<figcaption>\(family) <"), "\(family)")
        }
        #expect(section.split(separator: "<figure>").count == 5)
        for tick in [">2×2<", ">4×1<", ">1×4<", ">8<"] {
            #expect(section.contains(tick), "\(tick)")
        }
        #expect(ScalingPlot(Array(rates.suffix(1))) == nil)
    }

    @Test("a browser draws it without a complaint", .enabled(if: Browser.name != nil))
    func drawn() throws {
        let blank = try Browser.draw("<!doctype html><title>blank</title>")
        let drawn = try Browser.draw(try page())
        #expect(drawn.complaints.isEmpty)
        #expect(drawn.bytes > 4 * blank.bytes)
    }

    @Test("in dark mode it is another picture", .enabled(if: Browser.name != nil))
    func dark() throws {
        let page = try page()
        let light = try Browser.draw(page)
        let dark = try Browser.draw(page, isDark: true)
        #expect(dark.complaints.isEmpty)
        #expect(dark.picture != light.picture)
    }

    @Test("a phone need not scroll it sideways", .enabled(if: Browser.name != nil))
    func phone() throws {
        let width = 360
        #expect(try Browser.width(of: try page(), within: width) <= width)
        let wide = "<!doctype html><div style='width:900px'>wide</div>"
        #expect(try Browser.width(of: wide, within: width) >= 900)
    }
}

/// A headless browser, if there is one.
private enum Browser {
    static let name = ["chromium", "chromium-browser", "google-chrome"].first { name in
        (try? Command(["which", name]).run())?.status == 0
    }

    /// Draws a page of 500 by 1500 points.
    ///
    /// - Returns: Its picture, how many bytes that takes, and what stood on the console.
    static func draw(
        _ page: String, isDark: Bool = false
    ) throws -> (picture: Data, bytes: Int, complaints: [String]) {
        try withFolder { folder in
            let picture = folder.appending(path: "page.png")
            let scheme = isDark ? ["--blink-settings=preferredColorScheme=0"] : []
            let said = try run(
                page, in: folder,
                scheme + ["--window-size=500,1500", "--screenshot=\(picture.path)"])
            let bytes = try Data(contentsOf: picture)
            return (bytes, bytes.count, said.complaints)
        }
    }

    /// How wide a page is within a frame of that width: more, if it has to be scrolled.
    static func width(of page: String, within width: Int) throws -> Int {
        let quoted = page.replacingOccurrences(of: "&", with: "&amp;")
            .replacingOccurrences(of: "\"", with: "&quot;")
        let frame = """
            <!doctype html><title>0</title><iframe width="\(width)" height="800" style="border:0"
            srcdoc="\(quoted)" onload="document.title =
            this.contentDocument.documentElement.scrollWidth"></iframe>
            """
        let drawn = try withFolder { try run(frame, in: $0, ["--dump-dom"]).output }
        let title = drawn.split(separator: "<title>").dropFirst().first?.split(separator: "<").first
        return try #require(title.flatMap { Int($0) })
    }

    private static func run(
        _ page: String, in folder: URL, _ words: [String]
    ) throws -> (output: String, complaints: [String]) {
        let file = folder.appending(path: "page.html")
        let log = folder.appending(path: "log")
        try page.write(to: file, atomically: true, encoding: .utf8)
        let command =
            ([
                name ?? "", "--headless=new", "--no-sandbox", "--disable-gpu",
                "--user-data-dir=\(folder.path)/profile", "--enable-logging=stderr",
            ] + words + ["file://\(file.path)", "2>\(log.path)"]).joined(separator: " ")
        let output = try Command(["sh", "-c", command]).run(limit: 120).output
        let lines = try String(contentsOf: log, encoding: .utf8).split(separator: "\n")
        return (output, lines.filter { $0.contains(":CONSOLE") }.map(String.init))
    }
}
