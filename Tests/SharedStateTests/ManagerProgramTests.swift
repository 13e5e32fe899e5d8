// SPDX-License-Identifier: Apache-2.0

import Glibc
import Ledger
import SharedState
import Testing

private let long = Duration.seconds(60)

/// A manager's containers, as another program has them: `Fixture.usesStock(in:)`.
@Suite("Managers of several programs", .timeLimit(.minutes(2)))
struct ManagerProgramTests {
    @Test func `another program finds all of it by name, and its death leaves all`() async throws {
        let name = "sharedstate.test.stock.\(getpid())"
        try await withManager(named: name, capacity: 8 << 20) { manager in
            let stock = try manager.dictionary("stock", String.self, Int.self)
            try stock.set(40, forKey: "screws")
            try manager.array("log", of: String.self).append("begun")
            try manager.set("bins", of: [Int].self).insert([1, 2])
            let shelf = try manager.namespace("shelf", Shelf(width: 80, label: "left"))
            let title = try manager.value("title", "old")
            let sold = try manager.counter("sold", 1)

            let program = try Program("ProcessFixture", ["uses-stock", name])
            _ = try await program.lines(untilPrinted: "ready")
            #expect(try stock.frozen() == ["screws": 36, "nuts": 7])
            #expect(try manager.array("log", of: String.self).snapshot() == ["begun", "sold 4"])
            #expect(try manager.set("bins", of: [Int].self).frozen() == [[1, 2], [3]])
            #expect(try shelf.width == 120 && shelf.label == "left")
            #expect(try title.value == "new")
            #expect(sold.value == 5)
            let orders = try manager.queue("orders", of: String.self)
            #expect(try await orders.get(timeout: long) == "more nuts")
            // What it made first is found here, too, with what is nested in it.
            let notes = try manager.dictionary("notes", String.self, ManagedArray<String>.self)
            let note = try #require(try notes["nuts"])
            #expect(try note.snapshot() == ["rusty"])
            // It waits for an answer, by what it was told last.
            try note.append("thrown away")
            _ = try await program.lines(untilPrinted: "read thrown away")
            kill(program.pid, SIGKILL)
            #expect(try await program.finish().status == -SIGKILL)
            #expect(try note.snapshot() == ["rusty", "thrown away"])
            try stock.set(1, forKey: "nuts")
            #expect(
                try Set(manager.names()) == [
                    "stock", "log", "bins", "shelf", "title", "sold", "orders", "notes",
                ])
        }
        #expect(code { _ = try Manager(opening: name) } == .notFound)
    }

    @Test func `a name is given to one manager after the other, at once`() throws {
        let name = "sharedstate.test.again.\(getpid())"
        for round in 0..<5 {
            try withManager(named: name, capacity: 2 << 20) { manager in
                #expect(code { _ = try Manager(creating: name) } == .alreadyExists)
                #expect(try manager.names().isEmpty)
                try manager.dictionary("n", String.self, Int.self).set(round, forKey: "n")
                let found = try Manager(named: name)
                #expect(try found.dictionary("n", String.self, Int.self)["n"] == round)
            }
            #expect(code { try Manager.remove(name) } == .notFound)
        }
        struct Refusal: Error {}
        #expect(throws: Refusal.self) {
            try withManager(named: name, capacity: 2 << 20) { _ in throw Refusal() }
        }
        #expect(code { _ = try Manager(opening: name) } == .notFound)
    }

    @Test func `capacities and names without sense are refused`() throws {
        for capacity in [0, -1, 1 << 50] {
            #expect(code { _ = try Manager(creating: "x", capacity: capacity) } == .invalidArgument)
        }
        for name in ["", "a/b", ".hidden", String(repeating: "x", count: 300)] {
            #expect(code { _ = try Manager(creating: name) } == .invalidArgument)
        }
        let manager = try Manager(in: Region(capacity: 2 << 20))
        for name in ["", String(repeating: "x", count: 201)] {
            #expect(code { _ = try manager.counter(name) } == .invalidArgument)
            #expect(code { _ = try manager.array(name, of: Int.self) } == .invalidArgument)
        }
        _ = try manager.counter(String(repeating: "x", count: 200))
    }
}
