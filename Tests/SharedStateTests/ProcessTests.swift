// SPDX-License-Identifier: Apache-2.0

import Glibc
import SharedState
import Testing

/// What a Python user writes first: a global that a worker initialises on first use.
private let lazyFactor = 3

private struct Point: Codable, Sendable, Equatable {
    var x: Int
    var name: String
}

private struct Refusal: Error {
    var number: Int
}

private struct Grid: BitwiseCopyable {
    var name: Int8
    var cells: InlineArray<2, InlineArray<3, Int32>>
}

private struct Named: Sendable {
    var name: String
}

private struct Addressed: Sendable {
    var id: ObjectIdentifier?
}

private enum Choice: Sendable {
    case nothing
    case object(Int8, ObjectIdentifier)
}

@Suite("Processes", .serialized)
struct ProcessTests {
    @Test func `a child process's result comes back through a queue`() throws {
        let queue = try Queue<Int>()
        let child = try ChildProcess.start(queue, 7) { queue, n in try queue.put(n * n) }
        #expect(try child.join(timeout: .seconds(60)) == .exited(code: 0))
        #expect(try queue.get(timeout: .seconds(10)) == 49)
    }

    @Test func `a child that throws exits with code 1`() throws {
        let child = try ChildProcess.start(1) { throw Refusal(number: $0) }
        #expect(try child.join(timeout: .seconds(20)) == .exited(code: 1))
    }

    @Test func `a killed child is reported with its signal`() throws {
        let never = try Queue<Int>()
        let child = try ChildProcess.start(never) { _ = try $0.get() }
        #expect(child.isAlive)
        #expect(code { try child.join(timeout: .milliseconds(20)) } == .timedOut)
        try child.kill()
        #expect(try child.join(timeout: .seconds(20)) == .signalled(SIGKILL))
    }

    @Test func `a pool maps in order`() throws {
        let pool = try Pool(workers: 3)
        #expect(try pool.map(0..<1000) { $0 * $0 } == (0..<1000).map { $0 * $0 })
        #expect(try pool.map(0..<7, chunkSize: 1) { "\($0)" } == (0..<7).map { "\($0)" })
        #expect(try pool.map([Int]()) { $0 } == [])
    }

    @Test func `private types, tuples and strings cross`() throws {
        let pool = try Pool(workers: 2)
        let points = try pool.map([1, 2]) { Point(x: $0, name: "p\($0)") }
        #expect(points == [Point(x: 1, name: "p1"), Point(x: 2, name: "p2")])
        let named = try pool.map(["a", "b"].enumerated()) { "\($0.offset)\($0.element)" }
        #expect(named == ["0a", "1b"])
        #expect(try pool.apply(2, "x") { String(repeating: $1, count: $0) } == "xx")
        #expect(try pool.map(0..<3) { $0 * lazyFactor } == [0, 3, 6])
    }

    @Test func `a broadcast reaches every call`() throws {
        let pool = try Pool(workers: 2)
        let sums = try pool.map(0..<4, with: [10, 20]) { $0 + $1.reduce(0, +) }
        #expect(sums == [30, 31, 32, 33])
    }

    @Test func `large arguments and results cross`() throws {
        let pool = try Pool(workers: 2)
        let block = [UInt8](repeating: 7, count: 3_000_000)
        let back = try pool.map([block, block], chunkSize: 1) { $0 + [8] }
        #expect(back.map(\.count) == [3_000_001, 3_000_001])
        #expect(back[1].last == 8)
    }

    @Test func `a thrown error's text comes back and the pool goes on`() throws {
        let pool = try Pool(workers: 2)
        do {
            _ = try pool.map(0..<4, chunkSize: 1) { n -> Int in
                if n == 2 { throw Refusal(number: n) }
                return n
            }
            Issue.record("map did not throw")
        } catch let error as SharedStateError {
            #expect(error.code == .taskFailed)
            #expect(error.description.contains("Refusal(number: 2)"))
        }
        #expect(try pool.map(0..<4) { $0 } == [0, 1, 2, 3])
    }

    @Test func `a killed worker fails exactly its task, by the signal's name`() throws {
        let pool = try Pool(workers: 2)
        let futures = try (0..<6).map { n in
            try pool.submit(n) { n in
                if n == 3 { kill(getpid(), SIGKILL) }
                return n
            }
        }
        for (n, future) in futures.enumerated() {
            do {
                #expect(try future.value(timeout: .seconds(30)) == n)
                #expect(n != 3)
            } catch let error as SharedStateError {
                #expect(n == 3)
                #expect(error.code == .workerDied)
                #expect(error.description.contains("SIGKILL"))
            }
        }
        #expect(try pool.map(0..<4) { $0 } == [0, 1, 2, 3])
    }

    @Test func `a closure that captures is refused before anything runs`() throws {
        let pool = try Pool(workers: 1)
        let local = Int(getpid())
        #expect(code { _ = try pool.map(0..<3) { $0 + local } } == .capturesValues)
        #expect(try pool.map(0..<3) { $0 } == [0, 1, 2])
    }

    @Test func `fixed arrays cross, and have their count and element in their type`() throws {
        let pool = try Pool(workers: 1)
        let row = Grid(name: 3, cells: [[1, 2, 3], [4, 5, 6]])
        let turned = try pool.apply(row, InlineArray<3, Int8>(repeating: 2)) { row, factors in
            var row = row
            for n in row.cells.indices {
                for m in factors.indices { row.cells[n][m] *= Int32(factors[m]) }
            }
            return row
        }
        #expect(turned.name == 3)
        #expect(turned.cells[1][2] == 12)
        let sums = try pool.map([row, turned], chunkSize: 1) { grid in
            InlineArray<0, Int>(repeating: 0).count + Int(grid.cells[0][0] + grid.cells[1][0])
        }
        #expect(sums == [5, 10])
        let names = try pool.apply(["a", "b"] as InlineArray<2, String>) { names in
            [names[1], names[0] + names[1]] as InlineArray<2, String>
        }
        #expect(names[0] + names[1] == "bab")
        let queue = try Queue<Grid>(capacity: 2)
        try queue.put(turned)
        #expect(try queue.get().cells[0][1] == 4)
        let name = "sharedstate.test.fixed.\(getpid())"
        let region = try Region(creating: name)
        defer { try? Region.remove(name) }
        try Queue<InlineArray<3, UInt8>>(creating: "three", in: region).put([1, 2, 3])
        #expect(try Queue<InlineArray<3, UInt8>>(opening: "three", in: region).get()[2] == 3)
        #expect(
            code { _ = try Queue<InlineArray<4, UInt8>>(opening: "three", in: region) }
                == .incompatible)
        #expect(
            code { _ = try Queue<InlineArray<3, Int8>>(opening: "three", in: region) }
                == .incompatible)
    }

    @Test func `what cannot cross is refused by name, and told what to do`() throws {
        let pool = try Pool(workers: 1)
        func refusal<T: Sendable>(_: T.Type) -> String {
            do {
                _ = try Queue<T>(capacity: 1)
            } catch  where error.code == .cannotCross {
                return error.description
            } catch {}
            return "it was not refused"
        }
        #expect(code { _ = try pool.map(0..<3) { ObjectIdentifier(type(of: $0)) } } == .cannotCross)
        #expect(refusal(ObjectIdentifier.self).contains("ObjectIdentifier"))
        // Plain bits that are an address are not told to be plain bits.
        for text in [
            refusal(ObjectIdentifier.self), refusal(Addressed.self), refusal(Choice.self),
            refusal(InlineArray<2, ObjectIdentifier>.self), refusal((Int, Int.Type).self),
        ] {
            #expect(text.contains("an address"))
            #expect(!text.contains("BitwiseCopyable"))
        }
        for text in [refusal(InlineArray<2, Named>.self), refusal(Named.self)] {
            #expect(text.contains("Named cannot cross"))
            #expect(text.contains("make it Codable, or BitwiseCopyable"))
        }
    }

    @Test func `an initializer runs once in each worker`() throws {
        let pool = try Pool(workers: 2) { unsafe setenv("SHAREDSTATE_TEST", "set", 1) }
        let seen = try pool.map(0..<4) { _ in unsafe getenv("SHAREDSTATE_TEST") != nil }
        #expect(seen == [true, true, true, true])
    }

    @Test func `an initializer that throws closes the pool with a reason`() throws {
        let pool = try Pool(workers: 1) { () throws -> Int in throw Refusal(number: 1) }
        #expect(code { _ = try pool.map(0..<2) { $0 } } == .workerDied)
    }

    @Test func `a killed zygote fails what ran and the pool goes on`() async {
        // In a process of its own: other tests have children of this one's zygote.
        await #expect(processExitsWith: .success) {
            let pool = try Pool(workers: 2)
            let zygote = try pool.apply { getppid() }
            kill(zygote, SIGKILL)
            // Calls may succeed until the death is noticed, then fail, until another serves.
            let end = ContinuousClock.now + .seconds(20)
            var parent = zygote
            while parent == zygote, ContinuousClock.now < end {
                do {
                    parent = try pool.apply { getppid() }
                } catch let error as SharedStateError {
                    #expect([.workerDied, .system].contains(error.code), "\(error)")
                }
            }
            #expect(parent != zygote)
            #expect(try pool.map(0..<4) { $0 } == [0, 1, 2, 3])
        }
    }

    @Test func `who was killed is no zombie when its end is known`() throws {
        let child = try ChildProcess.start { () in _ = pause() }
        try child.kill()
        #expect(try child.join(timeout: .seconds(20)) == .signalled(SIGKILL))
        #expect(ProcessTree.entry(of: child.pid) == nil)

        let pool = try Pool(workers: 1)
        let worker = try pool.apply { getpid() }
        #expect(code { _ = try pool.apply { kill(getpid(), SIGKILL) } } == .workerDied)
        #expect(ProcessTree.entry(of: worker) == nil)
    }

    @Test func `a terminated pool says so`() throws {
        let pool = try Pool(workers: 1)
        pool.terminate()
        #expect(code { _ = try pool.map(0..<2) { $0 } } == .closed)
    }

    @Test func `executors run the same call on threads and processes`() throws {
        let threads = try ThreadPoolExecutor(workers: 3)
        let processes = try ProcessPoolExecutor(workers: 2)
        #expect(try threads.submit(2, 3) { $0 * $1 }.value(timeout: .seconds(20)) == 6)
        #expect(try processes.submit(2, 3) { $0 * $1 }.value(timeout: .seconds(20)) == 6)
        threads.shutdown()
        processes.shutdown()
        #expect(code { _ = try threads.submit(1) { $0 } } == .closed)
        #expect(code { _ = try processes.submit(1) { $0 } } == .closed)
    }
}
