// SPDX-License-Identifier: Apache-2.0

import Glibc
import SharedState
import Testing

private let long = Duration.seconds(30)

/// The two ends of a pipe of the kernel's, closed with it.
private final class KernelPipe: Sendable {
    let reader: Int32
    let writer: Int32

    init() throws {
        var ends: [Int32] = [-1, -1]
        try #require(unsafe pipe(&ends) == 0)
        (reader, writer) = (ends[0], ends[1])
    }

    deinit {
        close(reader)
        close(writer)
    }

    func write() {
        var byte: UInt8 = 1
        #expect(unsafe Glibc.write(writer, &byte, 1) == 1)
    }

    func read() {
        var byte: UInt8 = 0
        #expect(unsafe Glibc.read(reader, &byte, 1) == 1)
    }
}

/// Lines of a descriptor, as a channel of the user's own.
private final class Bytes: Selectable {
    private let descriptor: Select.Descriptor
    init(_ number: Int32) { descriptor = Select.Descriptor(number) }

    var readiness: Readiness { descriptor.readiness }

    func tryNext() throws -> UInt8? {
        guard try !Select.ready(of: [descriptor], timeout: .zero).isEmpty else { return nil }
        var byte: UInt8 = 0
        return unsafe read(descriptor.number, &byte, 1) == 1 ? byte : nil
    }
}

private func isSame(_ found: [any Waitable], _ expected: [any Waitable]) -> Bool {
    found.map(ObjectIdentifier.init) == expected.map(ObjectIdentifier.init)
}

@Suite("Select: ready", .serialized)
struct SelectReadyTests {
    @Test func `all that are ready are told, of channels, children and descriptors`() throws {
        let jobs = try Queue<Int>()
        let news = try Broadcast<String>()
        let lanes = try Lanes<[UInt8]>()
        let (mine, theirs) = try SharedPipe.duplex(of: Double.self)
        let (subscriber, file) = (try news.subscriber(), try KernelPipe())
        let input = Select.Descriptor(file.reader)
        let next = try Queue<Bool>()
        let child = try ChildProcess.start(jobs, news, lanes, theirs, next) {
            jobs, news, lanes, end, next in
            _ = try next.get()
            try news.publisher().put("two")
            _ = try next.get()
            try jobs.put(1)
            try lanes.lane().put([3])
            try end.send(4)
            _ = try next.get()
        }
        let all: [any Waitable] = [jobs, subscriber, lanes, mine, input, child]
        #expect(try Select.ready(of: all, timeout: .zero).isEmpty)
        try next.put(true)
        // Its publisher left, so that it has ended when it was read.
        #expect(isSame(try Select.ready(of: all, timeout: long), [subscriber]))
        #expect(try subscriber.get() == "two")
        #expect(isSame(try Select.ready(of: all, timeout: long), [subscriber]))

        let rest: [any Waitable] = [input, jobs, child, mine, lanes]
        file.write()
        #expect(isSame(try Select.ready(of: rest, timeout: long), [input]))
        try next.put(true)
        try eventually {
            isSame(try Select.ready(of: rest, timeout: long), [input, jobs, mine, lanes])
        }
        #expect(try jobs.tryGet() == 1 && mine.receive() == 4 && lanes.tryGet() == [3])
        file.read()
        try next.put(true)
        // The pipe and the lanes end with it.
        try eventually {
            isSame(try Select.ready(of: rest, timeout: long), [child, mine, lanes])
        }
        #expect(child.exitStatus == .exited(code: 0))
    }

    @Test func `a wait ends in time, with nothing`() async throws {
        let queue = try Queue<Int>()
        let file = try KernelPipe()
        let sources: [any Waitable] = [queue, Select.Descriptor(file.reader)]
        let start = ContinuousClock.now
        func blocking(_ timeout: Duration) throws -> [any Waitable] {
            try Select.ready(of: sources, timeout: timeout)
        }
        #expect(try blocking(.milliseconds(-5)).isEmpty && blocking(.milliseconds(30)).isEmpty)
        #expect(ContinuousClock.now - start >= .milliseconds(30))
        #expect(try await Select.ready(of: sources, timeout: .milliseconds(30)).isEmpty)
        #expect(ContinuousClock.now - start >= .milliseconds(60))
        #expect(try await Select.ready(of: sources, timeout: .zero).isEmpty)
    }

    @Test func `what cannot be waited for is refused`() async throws {
        let none: [Queue<Int>] = []
        #expect(code { _ = try Select.ready(of: none, timeout: .zero) } == .invalidArgument)
        let queue = try Queue<Int>()
        #expect(
            code { _ = try Select.ready(of: [Queue<Int>](repeating: queue, count: 129)) }
                == .invalidArgument)
        let closed = Select.Descriptor(dup(0))
        close(closed.number)
        #expect(code { _ = try Select.ready(of: [closed]) } == .invalidArgument)
        await #expect(throws: SharedStateError.self) { try await Select.ready(of: [closed]) }
    }

    @Test func `what a killed process leaves is ready`() throws {
        let jobs = try Queue<Int>()
        let pipe = try SharedPipe.simplex(of: Int.self)
        let hold = try Queue<Bool>()
        let child = try ChildProcess.start(jobs, pipe.sender, hold) { jobs, sender, hold in
            let producer = try jobs.producer()
            try producer.put(1)
            try sender.send(1)
            _ = try hold.get()
            withExtendedLifetime((producer, sender)) {}
        }
        #expect(try jobs.get(timeout: long) == 1 && pipe.receiver.receive(timeout: long) == 1)
        let channels: [any Waitable] = [jobs, pipe.receiver]
        #expect(try Select.ready(of: channels, timeout: .zero).isEmpty)
        try child.kill()
        try eventually {
            isSame(
                try Select.ready(of: channels + [child], timeout: long), channels + [child])
        }
        #expect(code { _ = try jobs.tryGet() } == .finished)
        #expect(code { _ = try pipe.receiver.tryReceive() } == .finished)
    }

    @Test func `many descriptors, some of them for writing`() throws {
        let files = try (0..<150).map { _ in try KernelPipe() }
        let readers = files.map { Select.Descriptor($0.reader) }
        #expect(try Select.ready(of: readers, timeout: .milliseconds(1)).isEmpty)
        files[7].write()
        files[149].write()
        let found = try Select.ready(of: readers, timeout: long)
        #expect(found.map(\.number) == [files[7].reader, files[149].reader])
        let writer = Select.Descriptor(files[0].writer, .writable)
        #expect(
            try Select.ready(of: [readers[0], writer], timeout: long).map(\.event) == [.writable])
        let sent = try SharedDescriptor(duplicating: files[7].reader)
        #expect(try Select.ready(of: [sent], timeout: long).first === sent)
    }

    @Test func `more tasks than threads wait for one descriptor, and cancelled ones end`()
        async throws
    {
        let file = try KernelPipe()
        let queue = try Queue<Int>()
        let awake = Count()
        let tasks = (0..<64).map { number in
            Task {
                let input = Select.Descriptor(file.reader)
                let sources: [any Waitable] =
                    number.isMultiple(of: 2) ? [input, queue] : [queue, input]
                let found = try await Select.ready(of: sources, timeout: long)
                #expect(isSame(found, [input]))
                awake.add()
            }
        }
        let cancelled = Task { try await Select.ready(of: [queue]) }
        try await Task.sleep(for: .milliseconds(5))
        #expect(awake.value == 0)
        cancelled.cancel()
        await #expect(throws: CancellationError.self) { try await cancelled.value }
        file.write()
        for task in tasks { try await task.value }
        #expect(awake.value == 64)
    }

    @Test func `tasks are woken by a child's end and by channels`() async throws {
        let jobs = try Queue<Int>()
        let go = try Queue<Bool>()
        let child = try ChildProcess.start(jobs, go) { jobs, go in
            try jobs.put(1)
            _ = try go.get()
        }
        let sources: [any Waitable] = [child, jobs]
        #expect(isSame(try await Select.ready(of: sources, timeout: long), [jobs]))
        #expect(try jobs.tryGet() == 1)
        async let found = Select.ready(of: sources, timeout: long)
        try await go.put(true)
        #expect(isSame(try await found, [child]))
        #expect(child.exitStatus == .exited(code: 0))
    }

    @Test func `a channel of the user's own is one of several`() async throws {
        let file = try KernelPipe()
        let queue = try Queue<Int>()
        let bytes = Bytes(file.reader)
        async let first = Select.first(of: queue, bytes, timeout: long)
        file.write()
        let (number, byte) = try await first
        #expect(number == nil && byte == 1)
        try await queue.put(3)
        func blocking() throws -> (Int?, UInt8?) {
            try Select.first(of: queue, bytes, timeout: long)
        }
        #expect(try blocking() == (3, nil))
    }
}

@Suite("Select: bell", .serialized)
struct SelectBellTests {
    private func isReadable(_ bell: Select.Bell, within milliseconds: Int32) -> Bool {
        var request = pollfd(fd: bell.descriptor, events: Int16(POLLIN), revents: 0)
        return unsafe poll(&request, 1, milliseconds) == 1
    }

    @Test func `its descriptor is readable until nothing is ready`() throws {
        let jobs = try Queue<Int>()
        let pipe = try SharedPipe.simplex(of: Int.self)
        let bell = try Select.Bell(of: [jobs, pipe.receiver])
        try eventually { try bell.ready().isEmpty && !isReadable(bell, within: 0) }
        let hold = try Queue<Bool>()
        let child = try ChildProcess.start(jobs, pipe.sender, hold) { jobs, sender, hold in
            let producer = try jobs.producer()
            try producer.put(1)
            _ = try hold.get()
            try sender.send(2)
            _ = try hold.get()
            withExtendedLifetime((producer, sender)) {}
        }
        try eventually {
            #expect(isReadable(bell, within: 30_000))
            return isSame(try bell.ready(), [jobs])
        }
        #expect(isReadable(bell, within: 0))
        #expect(try jobs.tryGet() == 1)
        #expect(try bell.ready().isEmpty)
        try hold.put(true)
        try eventually {
            #expect(isReadable(bell, within: 30_000))
            return isSame(try bell.ready(), [pipe.receiver])
        }
        #expect(try pipe.receiver.tryReceive() == 2)
        #expect(try bell.ready().isEmpty)
        try child.kill()
        // It was told by the kernel, and is told of both by the same.
        try eventually {
            #expect(isReadable(bell, within: 30_000))
            return isSame(try bell.ready(), [jobs, pipe.receiver])
        }
        #expect(code { _ = try jobs.tryGet() } == .finished)
        _ = try child.join(timeout: long)
    }

    @Test func `what has a descriptor of its own is refused`() throws {
        let child = try ChildProcess.start {}
        #expect(code { _ = try Select.Bell(of: [child]) } == .invalidArgument)
        #expect(code { _ = try Select.Bell(of: [Select.Descriptor(0)]) } == .invalidArgument)
        #expect(try child.join(timeout: long) == .exited(code: 0))
        let queue = try Queue<Int>()
        let bells = try (0..<6).map { _ in try Select.Bell(of: [queue]) }
        #expect(code { _ = try Select.Bell(of: [queue]) } == .tooManyUsers)
        withExtendedLifetime(bells) {}
    }
}
