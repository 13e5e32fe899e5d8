// SPDX-License-Identifier: Apache-2.0

import Glibc
import SharedState
import Testing

private let long = Duration.seconds(30)

/// A pipe of the kernel's, to see who still has its ends.
private final class Wire: Sendable {
    let near: Int32
    let far: SharedDescriptor

    init() {
        var ends: [Int32] = [-1, -1]
        let status = unsafe pipe(&ends)
        precondition(status == 0)
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        near = ends[0]
        far = SharedDescriptor(adopting: ends[1])
    }

    deinit { close(near) }

    /// What the far end wrote next; nothing if it is closed everywhere.
    func read() -> UInt8? {
        var byte: UInt8 = 0
        return unsafe Glibc.read(near, &byte, 1) == 1 ? byte : nil
    }
}

private struct Parcel: Codable, Sendable {
    var text: String
    var descriptors: [SharedDescriptor]
}

private func write(_ byte: UInt8, to descriptor: SharedDescriptor) {
    var byte = byte
    _ = unsafe Glibc.write(descriptor.number, &byte, 1)
}

@Suite("SharedPipe, descriptors", .serialized)
struct PipeDescriptorTests {
    @Test func `descriptors arrive with their message, whatever their number`() throws {
        let (mine, theirs) = try SharedPipe.duplex(of: Parcel.self)
        let child = try ChildProcess.start(theirs) { end in
            while true {
                let parcel = try end.receive()
                for (n, descriptor) in parcel.descriptors.enumerated() {
                    write(UInt8(n + 1), to: descriptor)
                }
                try end.send(Parcel(text: parcel.text, descriptors: parcel.descriptors.reversed()))
            }
        }
        let wires = (0..<3).map { _ in Wire() }
        let high = fcntl(wires[1].far.take(), F_DUPFD_CLOEXEC, 700)
        let far = [wires[0].far, SharedDescriptor(adopting: high), wires[2].far]
        try mine.send(Parcel(text: "three", descriptors: far), timeout: long)
        try mine.send(Parcel(text: "none", descriptors: []), timeout: long)
        #expect(wires.map { $0.read() } == [1, 2, 3])
        let back = try mine.receive(timeout: long)
        #expect(back.text == "three" && back.descriptors.count == 3)
        write(9, to: back.descriptors[0])
        #expect(wires[2].read() == 9)
        #expect(try mine.receive(timeout: long).descriptors.isEmpty)
        try child.kill()
        #expect(try child.join(timeout: long) == .signalled(SIGKILL))
    }

    @Test func `what a killed process sent arrives, and what it was to receive is closed`() throws {
        let pipe = try SharedPipe.simplex(of: SharedDescriptor.self)
        let wire = Wire()
        let sender = try SharedPipe.simplex(of: SharedDescriptor.self)
        let hasSent = try Queue<Bool>()
        let child = try ChildProcess.start(pipe.receiver, sender.sender, hasSent) {
            receiver, sender, hasSent in
            let wire = Wire()
            try sender.send(wire.far)
            try sender.send(wire.far)
            try hasSent.put(true)
            _ = try receiver.poll(timeout: nil)
            pause()
        }
        // Three of them, none of which is ever received.
        for _ in 0..<3 { try pipe.sender.send(wire.far, timeout: long) }
        #expect(try sender.receiver.receive(timeout: long).number >= 0)
        #expect(try hasSent.get(timeout: long))
        try child.kill()
        #expect(try child.join(timeout: long) == .signalled(SIGKILL))
        close(wire.far.take())
        #expect(wire.read() == nil)
        #expect(try sender.receiver.receive(timeout: long).number >= 0)
        #expect(code { _ = try sender.receiver.receive(timeout: long) } == .finished)
        #expect(code { try pipe.sender.send(Wire().far, timeout: long) } == .finished)
    }

    @Test func `a successor is told that the descriptors went with its predecessor`() throws {
        let pipe = try SharedPipe.simplex(of: Parcel.self)
        let ends = try Queue<PipeReceiver<Parcel>>()
        // Two handles of one end: the second is taken when the first one's process is dead.
        let child = try ChildProcess.start(pipe.receiver) { receiver in
            _ = try receiver.poll(timeout: nil)
            pause()
        }
        try pipe.sender.send(Parcel(text: "lost", descriptors: [Wire().far]), timeout: long)
        try child.kill()
        #expect(try child.join(timeout: long) == .signalled(SIGKILL))
        try ends.put(pipe.receiver)
        let successor = try ends.get()
        #expect(code { _ = try successor.receive(timeout: long) } == .notFound)
        let wire = Wire()
        try pipe.sender.send(Parcel(text: "new", descriptors: [wire.far]), timeout: long)
        write(5, to: try successor.receive(timeout: long).descriptors[0])
        #expect(wire.read() == 5)
    }

    @Test func `a handle into a private region brings its region along`() throws {
        let (mine, theirs) = try SharedPipe.duplex(of: Queue<Int>.self)
        let child = try ChildProcess.start(theirs) { end in
            let first = try end.receive()
            let second = try end.receive()
            try first.put(try second.get() + 1)
        }
        let region = try Region(capacity: 1 << 20)
        let first = try Queue<Int>(in: region)
        let second = try Queue<Int>(in: region)
        try second.put(41)
        try mine.send(first, timeout: long)
        try mine.send(second, timeout: long)
        #expect(try first.get(timeout: long) == 42)
        #expect(try child.join(timeout: long) == .exited(code: 0))
    }

    @Test func `only a pipe carries descriptors, and what is not open is refused`() throws {
        let wire = Wire()
        #expect(code { try Queue<SharedDescriptor>().put(wire.far) } == .cannotCross)
        #expect(
            code { _ = try ChildProcess.start(wire.far) { _ in } } == .cannotCross)
        #expect(code { _ = try SharedDescriptor(duplicating: 9999) } == .invalidArgument)
        let pipe = try SharedPipe.simplex(of: [SharedDescriptor].self)
        let many = [SharedDescriptor](repeating: wire.far, count: 65)
        #expect(code { try pipe.sender.send(many) } == .tooLarge)
        try pipe.sender.send(Array(many.prefix(64)), timeout: long)
        #expect(try pipe.receiver.receive(timeout: long).count == 64)
        close(wire.far.take())
        #expect(code { try pipe.sender.send([wire.far]) } == .invalidArgument)
        #expect(wire.read() == nil)
    }

    @Test func `tasks pass more descriptors than the kernel holds at once`() async throws {
        let pipe = try SharedPipe.simplex(of: SharedDescriptor.self, capacity: 1024)
        let wire = Wire()
        let far = wire.far
        async let sent: Void = {
            for _ in 0..<600 { try await pipe.sender.send(far, timeout: long) }
            pipe.sender.close()
        }()
        var count = 0
        for try await descriptor in pipe.receiver where descriptor.number >= 0 { count += 1 }
        try await sent
        #expect(count == 600)
        close(far.take())
        #expect(wire.read() == nil)
    }
}
