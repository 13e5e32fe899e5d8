// SPDX-License-Identifier: Apache-2.0

import CShm
import Glibc
import SharedState
import Testing

private let long = Duration.seconds(30)

private struct Interruption: Error {}

/// Whole if both are the same, with padding at its end.
private struct Pair: BitwiseCopyable, Sendable, Equatable {
    var a: Int64
    var b: Int64
    var c: UInt8 = 1
}

@Suite("Shared values", .serialized)
struct ValueTests {
    // MARK: SharedValue

    @Test func `a value is read and written whole by several processes`() throws {
        let value = try SharedValue(Pair(a: 0, b: 0))
        let child = try ChildProcess.start(value) { value in
            for n in 1...20_000 { try value.store(Pair(a: Int64(n), b: Int64(n))) }
        }
        let end = ContinuousClock.now + long
        var last: Int64 = 0
        while last < 20_000, ContinuousClock.now < end {
            let now = try value.load()
            guard now.a == now.b, now.a >= last, now.c == 1 else {
                Issue.record("torn: \(now)")
                break
            }
            last = now.a
        }
        #expect(last == 20_000)
        #expect(try child.join(timeout: long) == .exited(code: 0))
    }

    @Test func `an update is one step, and one that throws changes nothing`() throws {
        let value = try SharedValue(5)
        let children = try (0..<3).map { _ in
            try ChildProcess.start(value) { value in
                for _ in 0..<2000 { try value.withLock { $0 += 1 } }
            }
        }
        for child in children { #expect(try child.join(timeout: long) == .exited(code: 0)) }
        #expect(value.value == 6005)
        #expect(throws: Interruption.self) {
            try value.withLock { value in
                value = 0
                throw Interruption()
            }
        }
        #expect(value.value == 6005)
        try value.withLock { number in
            number = 7
            #expect(value.value == 6005)
            #expect(code { try value.store(1) } == .deadlock)
            #expect(code { try value.withLock { $0 = 1 } } == .deadlock)
        }
        #expect(value.value == 7)
    }

    @Test func `a dead writer leaves the old value, and no lock`() throws {
        let value = try SharedValue(1)
        let began = try Event()
        let child = try ChildProcess.start(value, began) { value, began in
            try value.withLock { number in
                number = 2
                began.set()
                pause()
            }
        }
        #expect(try began.wait(timeout: long))
        #expect(value.value == 1)
        #expect(code { try value.store(3, timeout: .milliseconds(20)) } == .timedOut)
        try child.kill()
        try value.store(3, timeout: long)
        #expect(value.value == 3)
    }

    @Test func `tasks change a value and an array in one step each`() async throws {
        let value = try SharedValue(0)
        let array = try SharedArray<Int>(count: 2)
        let child = try ChildProcess.start(value, array) { value, array in
            for _ in 0..<500 {
                try value.withLock { $0 += 1 }
                try array.withLock { span in
                    for n in span.indices { span[n] += 1 }
                }
            }
        }
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<100 {
                group.addTask {
                    try await value.withLock(timeout: long) { $0 += 1 }
                    try await array.withLock(timeout: long) { span in
                        for n in span.indices { span[n] += 1 }
                    }
                }
            }
            try await group.waitForAll()
        }
        #expect(try await child.join(timeout: long) == .exited(code: 0))
        #expect(value.value == 600 && array.snapshot() == [600, 600])
    }

    @Test func `a task waits for one that changes a value, or gives up`() async throws {
        let value = try SharedValue(1)
        let began = try Event()
        let child = try ChildProcess.start(value, began) { value, began in
            try value.withLock { number in
                number = 2
                began.set()
                pause()
            }
        }
        #expect(try await began.wait(timeout: long))
        let started = ContinuousClock.now
        #expect(
            await code { try await value.withLock(timeout: .milliseconds(30)) { $0 = 3 } }
                == .timedOut)
        #expect(ContinuousClock.now - started >= .milliseconds(30))
        let task = Task { try await value.withLock(timeout: long) { $0 = 4 } }
        task.cancel()
        await #expect(throws: CancellationError.self) { try await task.value }
        await #expect(throws: Interruption.self) {
            try child.kill()
            try await value.withLock(timeout: long) { number in
                number = 5
                throw Interruption()
            }
        }
        #expect(value.value == 1)
        try await value.withLock(timeout: long) { $0 += 5 }
        #expect(value.value == 6)
    }

    @Test func `a task waits for one that changes an array, or gives up, and repairs`() async throws
    {
        let array = try SharedArray<Int>(count: 2)
        let began = try Event()
        let child = try ChildProcess.start(array, began) { array, began in
            try array.withLock { span in
                span[0] = 1
                began.set()
                pause()
            }
        }
        #expect(try await began.wait(timeout: long))
        #expect(
            await code { try await array.withLock(timeout: .milliseconds(30)) { $0[1] = 3 } }
                == .timedOut)
        let task = Task { try await array.withLock(timeout: long) { $0[1] = 4 } }
        task.cancel()
        await #expect(throws: CancellationError.self) { try await task.value }
        try child.kill()
        try await array.withLock(timeout: long) { span in
            span[0] = 7
        } _: { span in
            #expect(span[0] == 7 && span[1] == 0)
        }
        #expect(array.snapshot() == [7, 0])
    }

    @Test func `structs of C, tuples and empty values can be shared`() throws {
        let info = try SharedValue(cshm_queue_info())
        try info.withLock { $0.capacity = 3 }
        #expect(info.value.capacity == 3)
        let tuple = try SharedValue((1, UInt8(2)))
        #expect(tuple.value == (1, 2))
        #expect(try SharedValue(()).load() == ())
        #expect(code { _ = try SharedValue("x" as StaticString) } == .cannotCross)
    }

    // MARK: SharedAtomic

    @Test func `every operation says what was before`() throws {
        func check<Value: SharedAtomicValue>(_: Value.Type) throws {
            let number = try SharedAtomic<Value>(10)
            #expect(number.add(5) == 10 && number.subtract(1) == 15)
            #expect(number.exchange(12) == 14 && number.load(ordering: .acquiring) == 12)
            #expect(number.bitwiseAnd(8) == 12 && number.bitwiseOr(3) == 8)
            #expect(number.bitwiseXor(1, ordering: .relaxed) == 11 && number.load() == 10)
            #expect(number.min(3) == 10 && number.max(7) == 3 && number.load() == 7)
            #expect(number.compareExchange(expected: 6, desired: 1) == (false, 7))
            #expect(
                number.compareExchange(
                    expected: 7, desired: .max, ordering: .acquiringAndReleasing) == (true, 7))
            #expect(number.add(1) == .max && number.load() == .min)
            number.store(2, ordering: .releasing)
            #expect(number.min(.min) == 2 && number.load() == .min)
        }
        try check(Int.self)
        try check(UInt.self)
        try check(Int32.self)
        try check(UInt32.self)
        try check(Int64.self)
        try check(UInt64.self)
    }

    @Test func `an atomic keeps the counts of several processes, and is waited for`() async throws {
        let number = try SharedAtomic(0)
        let children = try (0..<3).map { _ in
            try ChildProcess.start(number) { number in
                for _ in 0..<10_000 { number.add(1, ordering: .relaxed) }
                number.notifyAll()
            }
        }
        while number.load() < 30_000 {
            let now = number.load()
            guard now < 30_000 else { break }
            try #require(try await number.wait(while: now, timeout: long))
        }
        for child in children { #expect(try await child.join(timeout: long) == .exited(code: 0)) }
        #expect(number.load() == 30_000)
        #expect(try await !number.wait(while: 30_000, timeout: .milliseconds(10)))
    }

    // MARK: SharedArray

    @Test func `an array is of zeroes, even on recycled memory`() throws {
        for _ in 0..<5 {
            let array = try SharedArray<Int32>(count: 1000)
            #expect(array.count == 1000 && array.allSatisfy { $0 == 0 })
            array.withMutableSpan { span in
                for n in span.indices { span[n] = -1 }
            }
        }
        #expect(try SharedArray<Int>(count: 0).snapshot() == [])
        #expect(code { _ = try SharedArray<Int>(count: -1) } == .invalidArgument)
        #expect(code { _ = try SharedArray<Int>(count: .max / 16) } == .full)
    }

    @Test func `elements and slices are read and written`() throws {
        let array = try SharedArray([1, 2, 3, 4, 5])
        array[1] = 20
        array[2..<4] = [30, 40]
        #expect(array.snapshot() == [1, 20, 30, 40, 5])
        #expect(array[1..<3] == [20, 30] && array[5..<5] == [])
        array.copy(from: [7, 8], to: 3)
        #expect(Array(array) == [1, 20, 30, 7, 8] && array.reversed().first == 8)
        #expect(array.withSpan { $0.count } == 5)
        let total = array.withSpan { span in span.indices.reduce(0) { $0 + span[$1] } }
        #expect(total == 66)
    }

    @Test func `a locked change is one step for several processes`() throws {
        let array = try SharedArray<Int>(count: 10)
        let children = try (0..<3).map { _ in
            try ChildProcess.start(array) { array in
                for _ in 0..<1000 {
                    try array.withLock { span in
                        for n in span.indices { span[n] += 1 }
                    }
                }
            }
        }
        for child in children { #expect(try child.join(timeout: long) == .exited(code: 0)) }
        #expect(array.allSatisfy { $0 == 3000 })
    }

    @Test func `who comes after a dead holder repairs the elements`() throws {
        let array = try SharedArray<Int>(count: 2)
        let began = try Event()
        let child = try ChildProcess.start(array, began) { array, began in
            try array.withLock { span in
                span[0] = 1
                began.set()
                pause()
            }
        }
        #expect(try began.wait(timeout: long))
        #expect(array[0] == 1)
        try child.kill()
        var repairs = 0
        for _ in 0..<2 {
            try array.withLock(timeout: long) { span in
                span[0] = 0
                repairs += 1
            } _: { span in
                #expect(span[0] == 0 && span[1] == 0)
            }
        }
        #expect(repairs == 1)
        try array.withLock(timeout: long) { $0[1] = 1 }
    }

    @Test(arguments: [false, true])
    func `who comes after a dead holder and does not repair is told, as all are after it`(
        isTask: Bool
    ) async throws {
        let array = try SharedArray<Int>(count: 2)
        let child = try ChildProcess.start(array) { array in
            try array.withLock { span in
                span[0] = 1
                kill(getpid(), SIGKILL)
            }
        }
        #expect(try await child.join(timeout: long) == .signalled(SIGKILL))
        let plain = { try array.withLock(timeout: long) { $0[1] = 1 } }
        let inTask = { try await array.withLock(timeout: long) { $0[1] = 1 } }
        let first = isTask ? await code(inTask) : code(plain)
        #expect(first == .notRepaired)
        #expect(code(plain) == .notRecoverable)
        #expect(await code(inTask) == .notRecoverable)
        #expect(
            code { try array.withLock(timeout: long, repair: { $0[0] = 0 }, { _ in }) }
                == .notRecoverable)
        #expect(array.snapshot() == [1, 0])
    }

    // MARK: Names

    @Test func `another program finds them by name, and refuses other layouts`() throws {
        let name = "sharedstate.test.values.\(getpid())"
        let region = try Region(creating: name, capacity: 4 << 20)
        defer { try? Region.remove(name) }
        let value = try SharedValue(
            creating: "value", in: region, Pair(a: 1, b: 2), type: "test.pair.1")
        let array = try SharedArray<Float>(creating: "array", in: region, count: 3)
        let number = try SharedAtomic<UInt32>(creating: "number", in: region, 9)
        array[2] = 2.5

        #expect(
            try SharedValue<Pair>(opening: "value", in: region, type: "test.pair.1").value.b == 2)
        #expect(code { _ = try SharedValue<Pair>(opening: "value", in: region) } == .incompatible)
        #expect(
            code { _ = try SharedValue<Int>(opening: "value", in: region, type: "test.pair.1") }
                == .incompatible)
        #expect(code { _ = try SharedArray<Int32>(opening: "array", in: region) } == .incompatible)
        #expect(try SharedArray<Float>(opening: "array", in: region)[2] == 2.5)
        #expect(
            code { _ = try SharedAtomic<Int32>(opening: "number", in: region) } == .incompatible)
        #expect(try SharedAtomic<UInt32>(opening: "number", in: region).load() == 9)
        #expect(
            code { _ = try SharedAtomic<UInt32>(opening: "array", in: region) } == .incompatible)
        #expect(code { _ = try SharedValue(creating: "array", in: region, 1) } == .alreadyExists)

        // As a C program, which has a struct of its own.
        var opened: OpaquePointer?
        #expect(unsafe cshm_region_open(name, &opened) == 0)
        let other = unsafe opened.unsafelyUnwrapped
        defer { unsafe cshm_region_close(other) }
        var entry = cshm_directory_entry()
        unsafe #expect(cshm_directory_find(other, "value", &entry) == 0)
        var type = unsafe cshm_type(
            tag: cshm_type_tag("test.pair.1"), size: UInt32(MemoryLayout<Pair>.size),
            stride: UInt32(MemoryLayout<Pair>.stride), alignment: 8)
        var theirs: OpaquePointer?
        unsafe #expect(cshm_value_open(other, entry.offset, &type, &theirs) == 0)
        var pair = Pair(a: 0, b: 0)
        unsafe #expect(cshm_value_load(theirs, &pair) == 0)
        #expect(pair == Pair(a: 1, b: 2))
        pair.a = 11
        unsafe #expect(cshm_value_store_until(theirs, &pair, cshm_now_ns() + 30_000_000_000) == 0)
        unsafe cshm_value_close(theirs)
        #expect(value.value.a == 11)
        unsafe #expect(cshm_directory_find(other, "array", &entry) == 0)
        type = unsafe cshm_type(tag: cshm_type_tag("Sf"), size: 4, stride: 4, alignment: 4)
        var elements = unsafe cshm_array()
        unsafe #expect(cshm_array_open(other, entry.offset, &type, &elements) == 0)
        unsafe elements.elements.assumingMemoryBound(to: Float.self)[0] = 1.5
        #expect(array[0] == 1.5 && number.load() == 9)
    }
}
