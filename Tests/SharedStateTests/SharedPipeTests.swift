// SPDX-License-Identifier: Apache-2.0

import Glibc
import SharedState
import Testing

private let long = Duration.seconds(30)

@Suite("SharedPipe", .serialized)
struct SharedPipeTests {
    @Test func `messages stay whole, empty ones too, and close is the end`() throws {
        let pipe = try SharedPipe.simplex(of: [UInt8].self)
        let child = try ChildProcess.start(pipe.sender) { sender in
            for length in [0, 1, 100, 1_000_000, 0] {
                try sender.send([UInt8](repeating: 7, count: length))
            }
            sender.close()
        }
        for length in [0, 1, 100, 1_000_000, 0] {
            #expect(try pipe.receiver.poll(timeout: long) && pipe.receiver.poll())
            #expect(try pipe.receiver.receive(timeout: long).count == length)
        }
        #expect(code { _ = try pipe.receiver.receive(timeout: long) } == .finished)
        #expect(try pipe.receiver.poll())
        #expect(try child.join(timeout: long) == .exited(code: 0))
    }

    @Test func `two processes talk over a duplex pipe, handles among it`() throws {
        let (mine, theirs) = try SharedPipe.duplex(of: Queue<Int>.self)
        let child = try ChildProcess.start(theirs) { end in
            let queue = try end.receive()
            try queue.put(try queue.get() + 1)
            try end.send(queue)
        }
        let queue = try Queue<Int>()
        try queue.put(41)
        try mine.send(queue)
        #expect(try mine.receive(timeout: long).get() == 42)
        #expect(try child.join(timeout: long) == .exited(code: 0))
    }

    @Test func `a killed peer is the end for both directions`() throws {
        let (mine, theirs) = try SharedPipe.duplex(of: Int.self, capacity: 2)
        let child = try ChildProcess.start(theirs) { end in
            _ = try end.receive()
            try end.send(1)
            pause()
        }
        try mine.send(0)
        try mine.send(0)
        while !(try mine.poll(timeout: long)) {}
        try child.kill()
        #expect(try mine.receive(timeout: long) == 1)
        #expect(code { _ = try mine.receive(timeout: long) } == .finished)
        #expect(code { for _ in 0..<5 { try mine.send(2, timeout: long) } } == .finished)
    }

    @Test func `waits end in time, and an end in use elsewhere is refused`() throws {
        let pipe = try SharedPipe.simplex(of: Int.self, capacity: 2)
        #expect(try !pipe.receiver.poll() && !pipe.receiver.poll(timeout: .milliseconds(-1)))
        let started = ContinuousClock.now
        #expect(code { _ = try pipe.receiver.receive(timeout: .milliseconds(30)) } == .timedOut)
        #expect(ContinuousClock.now - started >= .milliseconds(30))
        let child = try ChildProcess.start(pipe.receiver) { receiver in
            do {
                _ = try receiver.receive()
            } catch let error as SharedStateError where error.code == .invalidArgument {
                exit(7)
            }
        }
        #expect(try child.join(timeout: long) == .exited(code: 7))
        pipe.receiver.close()
        #expect(code { try pipe.sender.send(1) } == .closed)
    }

    @Test func `a task receives, and cancelling it takes nothing`() async throws {
        let pipe = try SharedPipe.simplex(of: String.self)
        let task = Task { try await pipe.receiver.receive() }
        try await Task.sleep(for: .milliseconds(10))
        task.cancel()
        await #expect(throws: CancellationError.self) { try await task.value }
        let child = try ChildProcess.start(pipe.sender) { try $0.send("x") }
        #expect(try await pipe.receiver.receive(timeout: long) == "x")
        #expect(try await child.join(timeout: .seconds(60)) == .exited(code: 0))
        await #expect(throws: SharedStateError.self) { try await pipe.receiver.receive() }
    }

    @Test func `a task waits for room, and cancelling it sends nothing`() async throws {
        let pipe = try SharedPipe.simplex(of: String.self, capacity: 2)
        #expect(try pipe.sender.trySend("0") && pipe.sender.trySend("1"))
        #expect(try !pipe.sender.trySend("2"))
        let task = Task { try await pipe.sender.send("2") }
        try await Task.sleep(for: .milliseconds(10))
        task.cancel()
        await #expect(throws: CancellationError.self) { try await task.value }
        await #expect(throws: SharedStateError.self) {
            try await pipe.sender.send("2", timeout: .milliseconds(5))
        }
        async let sent: Void = pipe.sender.send("3", timeout: long)
        #expect(try await pipe.receiver.receive(timeout: long) == "0")
        try await sent
        pipe.sender.close()
        var rest: [String] = []
        for try await message in pipe.receiver { rest.append(message) }
        #expect(rest == ["1", "3"])
    }

    @Test func `a child that never used its end is the end of it`() async throws {
        let pipe = try SharedPipe.simplex(of: Int.self, capacity: 2)
        let child = try ChildProcess.start(pipe.sender) { _ in exit(3) }
        #expect(code { _ = try pipe.receiver.receive(timeout: long) } == .finished)
        #expect(try await child.join(timeout: long) == .exited(code: 3))
        let back = try SharedPipe.simplex(of: Int.self, capacity: 2)
        let reader = try ChildProcess.start(back.receiver) { _ in exit(3) }
        #expect(try await reader.join(timeout: long) == .exited(code: 3))
        await #expect(throws: SharedStateError.self) {
            while true { try await back.sender.send(1, timeout: long) }
        }
        #expect(code { try back.sender.send(1, timeout: long) } == .finished)
    }

    @Test func `messages are written and read in place`() throws {
        let pixels = try SharedPipe.simplex(of: [Float].self, capacity: 2)
        let child = try ChildProcess.start(pixels.sender) { sender in
            for length in [0, 3, 100_000] {
                try sender.withSlot(of: length) { span in
                    for n in span.indices { span[n] = Float(n) }
                }
            }
        }
        #expect(try pixels.receiver.withNext(timeout: long) { $0.count } == 0)
        struct Again: Error {}
        #expect(throws: Again.self) {
            try pixels.receiver.withNext(timeout: long) { _ in throw Again() }
        }
        #expect(try pixels.receiver.receive(timeout: long) == [0, 1, 2])
        #expect(try pixels.receiver.withNext(timeout: long) { $0[99_999] } == 99_999)
        #expect(try child.join(timeout: long) == .exited(code: 0))

        let numbers = try SharedPipe.simplex(of: Int.self, capacity: 2)
        #expect(throws: Again.self) { try numbers.sender.withSlot { _ in throw Again() } }
        try numbers.sender.withSlot { $0[0] = 1 }
        try numbers.sender.withSlot { $0[0] = 2 }
        #expect(
            code { try numbers.sender.withSlot(timeout: .milliseconds(5)) { $0[0] = 3 } }
                == .timedOut)
        #expect(try numbers.receiver.withNext { $0[0] } == 1)
        #expect(try numbers.receiver.receive() == 2)
        #expect(code { try numbers.receiver.withNext(timeout: .zero) { _ in } } == .timedOut)
    }

    @Test func `a message is received into a buffer, and stays if that is too short`() throws {
        let pipe = try SharedPipe.simplex(of: [UInt16].self)
        let child = try ChildProcess.start(pipe.sender) { sender in
            try sender.send([1, 2, 3])
            try sender.send([])
            try sender.send([UInt16](repeating: 9, count: 50_000))
        }
        var buffer = [UInt16](repeating: 7, count: 4)
        func receive(upTo count: Int) throws -> Int {
            var room = Array(buffer.prefix(count))
            defer { buffer.replaceSubrange(..<count, with: room) }
            var span = room.mutableSpan
            return try pipe.receiver.receive(into: &span, timeout: long)
        }
        let short = #expect(throws: SharedStateError.self) { try receive(upTo: 2) }
        #expect(short?.code == .tooLarge && short?.byteCount == 6)
        #expect(short?.description.contains("6 bytes") == true)
        #expect(buffer == [7, 7, 7, 7])
        #expect(try receive(upTo: 4) == 3)
        #expect(buffer == [1, 2, 3, 7])
        #expect(try receive(upTo: 0) == 0)
        let longer = #expect(throws: SharedStateError.self) { try receive(upTo: 4) }
        #expect(longer?.byteCount == 100_000)
        #expect(try pipe.receiver.receive() == [UInt16](repeating: 9, count: 50_000))
        #expect(code { _ = try receive(upTo: 4) } == .finished)
        #expect(try child.join(timeout: long) == .exited(code: 0))

        let numbers = try SharedPipe.simplex(of: [Int32].self)
        try numbers.sender.send([0x0102_0304])
        #expect(numbers.receiver.count == 1 && numbers.sender.count == 1)
        var bytes = [UInt8](repeating: 7, count: 6)
        var span = bytes.mutableSpan
        var raw = unsafe span.mutableBytes
        #expect(try numbers.receiver.receive(into: &raw) == 4)
        #expect(bytes == [4, 3, 2, 1, 7, 7] && numbers.receiver.count == 0)
    }

    /// Has an end decoded as another, by a channel that both take for the same.
    private func passOn<End: Sendable, Other: Sendable>(
        _ end: End, as other: Other.Type, _ name: String
    ) throws -> Other {
        let name = "\(name).\(getpid())"
        let sent = try Queue<End>(creating: name, in: nil, type: "an end")
        let received = try Queue<Other>(opening: name, in: nil, type: "an end")
        try sent.put(end)
        return try received.get(timeout: long)
    }

    @Test func `an end of another type is refused, and stays to be had`() throws {
        struct Point: Codable, BitwiseCopyable, Sendable {
            var x: Int32
            var y: Int32
        }
        struct Size: Codable, BitwiseCopyable, Sendable {
            var x: Int32
            var y: Float
        }
        let pipe = try SharedPipe.simplex(of: Point.self)
        try pipe.sender.send(Point(x: 1, y: 2))
        typealias Receiver = PipeReceiver
        #expect(
            code { _ = try passOn(pipe.receiver, as: Receiver<Size>.self, "pipe.layout") }
                == .incompatible)
        #expect(
            code { _ = try passOn(pipe.receiver, as: Receiver<Int>.self, "pipe.type") }
                == .incompatible)
        #expect(
            code { _ = try passOn(pipe.sender, as: PipeSender<[Point]>.self, "pipe.sender") }
                == .incompatible)
        let (mine, _) = try SharedPipe.duplex(of: Point.self)
        #expect(
            code { _ = try passOn(mine, as: PipeEnd<Size>.self, "pipe.duplex") }
                == .incompatible)
        let same = try passOn(pipe.receiver, as: Receiver<Point>.self, "pipe.same")
        #expect(try same.receive(timeout: long).y == 2)
        // What is no pipe at all is no end of one.
        let queue = try Queue<Point>()
        #expect(throws: (any Error).self) {
            try passOn(queue, as: Receiver<Point>.self, "pipe.kind")
        }
    }

    @Test func `a closed end stays closed, however often it is closed`() throws {
        let (mine, theirs) = try SharedPipe.duplex(of: Int.self)
        try mine.send(1)
        mine.sender.close()
        mine.sender.close()
        #expect(code { try mine.send(2) } == .finished)
        #expect(try theirs.receive(timeout: long) == 1)
        #expect(code { _ = try theirs.receive(timeout: long) } == .finished)
        #expect(try theirs.poll() && theirs.poll(timeout: nil))
        theirs.close()
        theirs.close()
        #expect(code { _ = try theirs.receive(timeout: long) } == .closed)
        #expect(code { _ = try mine.receive(timeout: long) } == .finished)
    }

    @Test func `a signal that is handled ends no wait`() throws {
        let pipe = try SharedPipe.simplex(of: Int.self)
        let ready = try Queue<Int>()
        let child = try ChildProcess.start(pipe.receiver, ready) { receiver, ready in
            var action = sigaction()
            unsafe action.__sigaction_handler.sa_handler = { _ in }
            unsafe sigaction(SIGUSR1, &action, nil)
            try ready.put(0)
            try ready.put(try receiver.receive())
        }
        #expect(try ready.get(timeout: long) == 0)
        for _ in 0..<50 {
            kill(child.pid, SIGUSR1)
            usleep(1000)
        }
        try pipe.sender.send(7)
        #expect(try ready.get(timeout: long) == 7)
        #expect(try child.join(timeout: long) == .exited(code: 0))
    }

    @Test func `sizes out of range are refused`() throws {
        #expect(code { _ = try SharedPipe.simplex(of: Int.self, capacity: 0) } == .invalidArgument)
        let pipe = try SharedPipe.simplex(of: [UInt8].self)
        #expect(code { try pipe.sender.withSlot(of: -1) { _ in } } == .invalidArgument)
        #expect(code { try pipe.sender.withSlot(of: .max) { _ in } } != nil)
    }
}
