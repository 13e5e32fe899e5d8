// SPDX-License-Identifier: Apache-2.0

import SharedState
import Testing

private let long = Duration.seconds(60)

@Suite("Watching managed containers", .timeLimit(.minutes(2)))
struct ManagedChangesTests {
    private struct Settings: Codable, Equatable, Sendable { var width = 80 }

    /// Waits for one change, which a child makes when it is waited for or before.
    private func expectChange<Element: Sendable>(
        _ changes: ManagedChanges<Element>, by start: () throws -> ChildProcess
    ) async throws -> Element? {
        var iterator = changes.makeAsyncIterator()
        let child = try start()
        let element = try await iterator.next()
        #expect(try await child.join(timeout: long) == .exited(code: 0))
        return element
    }

    @Test func `every kind of container tells of its changes`() async throws {
        let dictionary = try ManagedDictionary<String, Int>()
        let any: Void? = try await expectChange(dictionary.changes) {
            try ChildProcess.start(dictionary) { try $0.set(1, forKey: "a") }
        }
        #expect(any != nil)
        let second = try await expectChange(dictionary.changes(forKey: "b")) {
            try ChildProcess.start(dictionary) { dictionary in
                try dictionary.set(1, forKey: "a")
                try dictionary.set(2, forKey: "b")
            }
        }
        #expect(second == .some(2))
        let removed = try await expectChange(dictionary.changes(forKey: "b")) {
            try ChildProcess.start(dictionary) { _ = try $0.removeValue(forKey: "b") }
        }
        #expect(removed == .some(nil))
        let array = try ManagedArray<Int>()
        let appended: Void? = try await expectChange(array.changes) {
            try ChildProcess.start(array) { try $0.append(1) }
        }
        #expect(appended != nil)
        let set = try ManagedSet<Int>()
        let inserted: Void? = try await expectChange(set.changes) {
            try ChildProcess.start(set) { _ = try $0.insert(1) }
        }
        #expect(inserted != nil)
        let value = try ManagedValue("old")
        let new = try await expectChange(value.changes) {
            try ChildProcess.start(value) { try $0.set("new") }
        }
        #expect(new == "new")
        let namespace = try ManagedNamespace(Settings())
        let settings = try await expectChange(namespace.changes) {
            try ChildProcess.start(namespace) { try $0.set(\.width, 120) }
        }
        #expect(settings == Settings(width: 120))
    }

    @Test func `who reads slowly misses changes, but never the last`() async throws {
        let dictionary = try ManagedDictionary<String, Int>()
        let child = try ChildProcess.start(dictionary) { dictionary in
            for n in 1...2000 { try dictionary.set(n, forKey: "n") }
        }
        var last = 0
        for try await value in try dictionary.changes(forKey: "n") {
            let value = try #require(value)
            #expect(value >= last)
            last = value
            if value == 2000 { break }
            // The last one may come while nobody waits.
            try await Task.sleep(for: .milliseconds(1))
            if try dictionary["n"] == 2000 { break }
        }
        #expect(try await child.join(timeout: long) == .exited(code: 0))
    }

    @Test func `of a condition that failed nothing is told`() async throws {
        let dictionary = try ManagedDictionary(["a": 1])
        let value = try ManagedValue(1)
        let begun = Count()
        let tasks = [
            Task {
                var changes = dictionary.changes.makeAsyncIterator()
                begun.add()
                _ = try await changes.next()
            },
            Task {
                var changes = value.changes.makeAsyncIterator()
                begun.add()
                _ = try await changes.next()
            },
        ]
        try await eventually { begun.value == tasks.count }
        #expect(try !dictionary.compareExchange("a", expected: 2, desired: 3))
        #expect(try !dictionary.insert(3, forKey: "a"))
        #expect(try !value.compareExchange(expected: 2, desired: 3))
        #expect(throws: CancellationError.self) {
            try value.update { value in
                value = 3
                throw CancellationError()
            }
        }
        // Who was told of a change has ended by then, and not by this.
        try await Task.sleep(for: .milliseconds(30))
        for task in tasks {
            task.cancel()
            await #expect(throws: CancellationError.self) { try await task.value }
        }
        #expect(try value.compareExchange(expected: 1, desired: 3) && value.value == 3)
        #expect(
            try dictionary.compareExchange("a", expected: 1, desired: nil) && dictionary.isEmpty)
    }

    @Test func `a task that is cancelled stops watching`() async throws {
        let dictionary = try ManagedDictionary<String, Int>()
        let array = try ManagedArray<Int>()
        let begun = Count()
        let tasks = [
            Task {
                begun.add()
                for try await _ in dictionary.changes {}
            },
            Task {
                begun.add()
                for try await _ in try dictionary.changes(forKey: "a") {}
            },
            Task {
                begun.add()
                for try await _ in array.changes {}
            },
            Task {
                begun.add()
                _ = try await dictionary.value(forKey: "a")
            },
        ]
        try await eventually { begun.value == tasks.count }
        for task in tasks { task.cancel() }
        for task in tasks {
            await #expect(throws: CancellationError.self) { try await task.value }
        }
        // Nobody is left behind who would take a wake.
        var changes = dictionary.changes.makeAsyncIterator()
        try dictionary.set(1, forKey: "a")
        #expect(try await changes.next() != nil)
    }

    @Test func `a thread waits for a key, and no longer than it said`() throws {
        let dictionary = try ManagedDictionary<String, [String]>()
        let child = try ChildProcess.start(dictionary) { dictionary in
            try dictionary.set(["other"], forKey: "other")
            try dictionary.set(["there"], forKey: "key")
        }
        #expect(try dictionary.value(forKey: "key", timeout: long) == ["there"])
        #expect(try child.join(timeout: long) == .exited(code: 0))
        let began = ContinuousClock.now
        #expect(
            code { _ = try dictionary.value(forKey: "none", timeout: .milliseconds(30)) }
                == .timedOut)
        #expect(ContinuousClock.now - began >= .milliseconds(30))
    }
}
