// SPDX-License-Identifier: Apache-2.0

import Glibc
import SharedState
import Testing

private let long = Duration.seconds(30)

/// Not to be sent.
private final class Connection {
    var uses = 0
    let name: String

    init(_ name: String) { self.name = name }
}

private struct Unfit: Error {}

private func failure<T>(_ body: () throws -> T) -> SharedStateError? {
    do {
        _ = try body()
    } catch {
        return error as? SharedStateError
    }
    return nil
}

/// A file that workers find by a variable in their environment, and append lines to.
private final class Notes {
    let path: String

    init() throws {
        var name = Array("/tmp/sharedstate-notes-XXXXXX".utf8CString)
        let file = unsafe mkstemp(&name)
        guard file >= 0 else { throw Program.Failure(call: "mkstemp", code: errno) }
        close(file)
        path = String(decoding: name.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    deinit { _ = unsafe unlink(path) }

    var options: Pool.Options {
        var options = Pool.Options()
        options.process.environment = ["SHAREDSTATE_NOTES": path]
        return options
    }

    var lines: [String] { Self.lines(of: path) }

    private static func lines(of path: String) -> [String] {
        guard let file = unsafe fopen(path, "r") else { return [] }
        defer { unsafe fclose(file) }
        var room = [CChar](repeating: 0, count: 4096)
        let count = unsafe fread(&room, 1, room.count, file)
        let text = String(decoding: room[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self)
        return text.split(separator: "\n").map(String.init)
    }

    /// Those of a worker's file.
    static var written: [String] {
        unsafe getenv("SHAREDSTATE_NOTES").map { lines(of: unsafe String(cString: $0)) } ?? []
    }

    @Sendable static func write(_ line: String) {
        guard let path = unsafe getenv("SHAREDSTATE_NOTES") else { return }
        let file = unsafe open(path, O_WRONLY | O_APPEND)
        let bytes = Array((line + "\n").utf8)
        _ = unsafe Glibc.write(file, bytes, bytes.count)
        close(file)
    }
}

@Suite("Workers' state", .serialized)
struct PoolStateTests {
    @Test(arguments: [Pool.Mode.processes, .inline]) func `tasks change their worker's state`(
        mode: Pool.Mode
    ) async throws {
        let pool = try Pool(mode, workers: 1, initializer: { Connection("first") })
        func blocking() throws {
            let uses = try pool.map(0..<5, state: Connection.self, chunkSize: 2) { connection, n in
                connection.uses += 1
                return connection.uses * 10 + n
            }
            #expect(uses == [10, 21, 32, 43, 54])
            let text = try pool.apply("!", 2, state: Connection.self) { connection, mark, times in
                connection.name + String(repeating: mark, count: times)
            }
            #expect(text == "first!!")
            let next = try pool.imap(["a"], state: Connection.self) { $0.name + $1 }.next()
            #expect(try next?.get() == "firsta")
        }
        try blocking()
        let later = try await pool.map([1, 2], state: Connection.self) { $0.uses + $1 }
        #expect(later == [6, 7])
        #expect(try await pool.apply(state: Connection.self) { $0.uses } == 5)
    }

    @Test(arguments: [Pool.Mode.processes, .inline])
    func `tasks that await have their worker's state meanwhile`(mode: Pool.Mode) async throws {
        let pool = try Pool(mode, workers: 1, initializer: { Connection("first") })
        let uses = try await pool.map(0..<4, state: Connection.self, chunkSize: 3) {
            connection, n in
            let before = connection.uses
            await Task.yield()
            connection.uses = before + 1
            return connection.uses * 10 + n
        }
        #expect(uses == [10, 21, 32, 43])
        let text = try await pool.apply("!", 2, state: Connection.self) { connection, mark, times in
            await Task.yield()
            connection.uses += 1
            return connection.name + String(repeating: mark, count: times)
        }
        #expect(text == "first!!")
        let texts = try pool.imap(["a", "b"], state: Connection.self) { connection, text in
            await Task.yield()
            guard text == "a" else { throw Unfit() }
            return connection.name + text
        }
        #expect(texts.elements.map { try? $0.get() } == ["firsta", nil])
        let future = try await pool.submit(state: Connection.self) { connection in
            await Task.yield()
            return connection.uses
        }
        #expect(try await future.value() == 5)
        // Cancelled, what the body awaits ends, and the state stays.
        let began = try Queue<Int>()
        let endless = try await pool.submit(began, state: Connection.self) { connection, began in
            connection.uses = -1
            try await began.put(1)
            try await Task.sleep(for: .seconds(1000))
        }
        _ = try await began.get()
        #expect(endless.cancel())
        #expect(try await pool.apply(state: Connection.self) { $0.uses } == -1)
        let other = failure {
            try pool.submit(state: Int.self) {
                await Task.yield(); return $0
            }
        }
        #expect(other?.code == .invalidArgument)
    }

    @Test func `a state that the initializer does not make is refused at once`() throws {
        let pool = try Pool(workers: 1, initializer: { 7 })
        #expect(try pool.map([1], state: Int.self) { $0 + $1 } == [8])
        let other = failure { try pool.map([1], state: String.self) { $0 + "\($1)" } }
        #expect(other?.code == .invalidArgument)
        #expect(other?.description.contains("makes a Int") == true)
        let without = try Pool(workers: 1)
        let none = failure { try without.submit(1, state: Int.self) { $0 + $1 } }
        #expect(none?.code == .invalidArgument)
        #expect(none?.description.contains("is missing") == true)
    }

    @Test func `a worker in the place of a dead one makes a state of its own`() throws {
        let pool = try Pool(workers: 1, initializer: { [Int]() })
        let counts = try pool.map([1, 2], state: [Int].self) { list, n in
            list.append(n)
            return list.count
        }
        #expect(counts == [1, 2])
        let died = failure {
            try pool.apply(state: [Int].self) { (list: inout [Int]) in
                list.append(3)
                kill(getpid(), SIGKILL)
            }
        }
        #expect(died?.code == .workerDied)
        #expect(try pool.apply(state: [Int].self) { $0.count } == 0)
    }

    @Test(arguments: [Pool.Mode.processes, .inline])
    func `an initializer that throws is the pool's error`(mode: Pool.Mode) throws {
        let pool = try Pool(mode, workers: 2, initializer: { () throws -> Int in throw Unfit() })
        let error = failure { try pool.map(0..<4, state: Int.self) { $0 + $1 } }
        #expect(error?.code == .workerDied)
        #expect(error?.description.contains("Unfit") == true, "\(String(describing: error))")
        #expect(failure { try pool.submit(1) { $0 } }?.code == .workerDied)
    }

    @Test(arguments: [false, true])
    func `where no worker can take another's place, each task is told soon`(
        isClosed: Bool
    ) throws {
        let notes = try Notes()
        // The first can be begun, and no other.
        let pool = try Pool(workers: 1, maxTasksPerWorker: 2, options: notes.options) {
            Notes.write("begun")
            guard Notes.written.count == 1 else { throw Unfit() }
        }
        let futures = try (0..<6).map { try pool.submit($0) { $0 } }
        if isClosed { pool.close() }
        for (n, future) in futures.enumerated() {
            if n < 2 {
                #expect(try future.value(timeout: long) == n)
            } else {
                let error = failure { try future.value(timeout: long) }
                #expect(error?.code == .workerDied)
                #expect(error?.description.contains("Unfit") == true)
            }
        }
        #expect(failure { try pool.submit(1) { $0 } } != nil)
        #expect(pool.workerPIDs.isEmpty)
    }

    @Test func `exit hooks run when workers are replaced, and at the end`() throws {
        let notes = try Notes()
        let pool = try Pool(
            workers: 1, maxTasksPerWorker: 2, options: notes.options, initializer: { 0 },
            exitHook: { Notes.write("left after \($0)") })
        for _ in 0..<5 { _ = try pool.apply(state: Int.self) { (uses: inout Int) in uses += 1 } }
        pool.close()
        try pool.join(timeout: long)
        #expect(notes.lines == ["left after 2", "left after 2", "left after 1"])
        #expect(pool.workerPIDs.isEmpty)
    }

    @Test(arguments: [Pool.Mode.processes, .inline])
    func `initializers and exit hooks may await`(mode: Pool.Mode) async throws {
        let notes = try Notes()
        if mode == .inline { unsafe setenv("SHAREDSTATE_NOTES", notes.path, 1) }
        defer { if mode == .inline { unsafe unsetenv("SHAREDSTATE_NOTES") } }
        let pool = try Pool(
            mode, workers: 1, maxTasksPerWorker: 2, options: notes.options,
            initializer: {
                await Task.yield()
                return Connection(await MainActor.run { "awaited" })
            },
            exitHook: { connection in
                try await Task.sleep(for: .milliseconds(1))
                Notes.write("\(connection.name) \(connection.uses)")
            })
        for uses in [1, 2, 1] {
            let seen = try await pool.apply(state: Connection.self) { connection in
                connection.uses += 1
                return connection.uses
            }
            #expect(seen == uses)
        }
        pool.close()
        try await pool.join(timeout: long)
        #expect(notes.lines == ["awaited 2", "awaited 1"])
        // One that awaits beside one that does not; and one that throws.
        let other = try Pool(
            mode, workers: 1, options: notes.options,
            initializer: { try await Task.sleep(for: .milliseconds(1)) },
            exitHook: { _ in Notes.write("over") })
        #expect(try await other.apply { 1 } == 1)
        other.close()
        try await other.join(timeout: long)
        #expect(notes.lines.last == "over")
        let failing = try Pool(
            mode, workers: 1,
            initializer: { () async throws -> Int in
                await Task.yield()
                throw Unfit()
            })
        let error = await #expect(throws: SharedStateError.self) {
            try await failing.apply(1) { $0 }
        }
        #expect(error?.code == .workerDied)
        #expect(error?.description.contains("Unfit") == true, "\(String(describing: error))")
    }

    @Test func `exit hooks of threads run as well`() throws {
        let notes = try Notes()
        unsafe setenv("SHAREDSTATE_NOTES", notes.path, 1)
        defer { unsafe unsetenv("SHAREDSTATE_NOTES") }
        let pool = try Pool(
            .inline, maxTasksPerWorker: 2, initializer: { 0 },
            exitHook: { Notes.write("left after \($0)") })
        for _ in 0..<3 { _ = try pool.apply(state: Int.self) { (uses: inout Int) in uses += 1 } }
        pool.close()
        try pool.join(timeout: long)
        #expect(notes.lines == ["left after 2", "left after 1"])
    }

    @Test func `workers that wait leave by their exit hook when the pool is terminated`() throws {
        let notes = try Notes()
        var options = notes.options
        options.grace = .seconds(30)
        let pool = try Pool(
            workers: 2, options: options, initializer: { 0 },
            exitHook: { Notes.write("left after \($0)") })
        // Both have begun: who has not has nothing to leave by.
        var begun: Set<pid_t> = []
        while begun.count < 2 {
            begun = Set(
                try pool.map(0..<2, chunkSize: 1) { _ in
                    usleep(1000)
                    return getpid()
                })
        }
        // Who has the result may end the pool at once: its worker is not at work any more.
        _ = try pool.apply(state: Int.self) { (uses: inout Int) in uses += 1 }
        pool.terminate()
        let end = ContinuousClock.now + .seconds(60)
        while notes.lines.count < 2, ContinuousClock.now < end { usleep(1000) }
        #expect(Set(notes.lines) == ["left after 0", "left after 1"])
    }
}
