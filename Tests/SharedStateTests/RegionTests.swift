// SPDX-License-Identifier: Apache-2.0

import Glibc
import Testing

@testable import SharedState

private let long = Duration.seconds(30)

@Suite("Region", .serialized)
struct RegionTests {
    private let name = "sharedstate.test.\(getpid()).region"

    @Test func `what exists is not created, what does not is not found`() throws {
        let region = try Region(creating: name, capacity: 1 << 20)
        #expect(code { _ = try Region(creating: name) } == .alreadyExists)
        #expect(region.capacity == 1 << 20 && region.name == name)
        try Region.remove(name)
        #expect(code { try Region.remove(name) } == .notFound)
        #expect(code { _ = try Region(opening: name) } == .notFound)
        #expect(code { _ = try ReadOnlyRegion(opening: name) } == .notFound)
        for capacity in [0, -1, 1, (1 << 20) - 1, (1 << 40) + 1, .max] {
            #expect(code { _ = try Region(capacity: capacity) } == .invalidArgument)
        }
        for bad in ["", ".", "a/b", String(repeating: "x", count: 201)] {
            #expect(code { _ = try Region(creating: bad) } == .invalidArgument)
            #expect(code { _ = try ReadOnlyRegion(opening: bad) } == .invalidArgument)
        }
    }

    @Test func `bytes written by one process are seen by another that attaches by name`() throws {
        let region = try Region(creating: name, capacity: 1 << 20)
        defer { try? Region.remove(name) }
        let bytes = try SharedArray<UInt8>(creating: "bytes", in: region, count: 4096)
        bytes[4095] = 40
        let child = try ChildProcess.start(name) { name in
            let bytes = try SharedArray<UInt8>(opening: "bytes", in: Region(opening: name))
            bytes[0] = bytes[4095] + 1
        }
        #expect(try child.join(timeout: long) == .exited(code: 0))
        #expect(bytes[0] == 41)
    }

    @Test func `a named region is there after its creator was terminated`() throws {
        let created = try Queue<Bool>()
        let child = try ChildProcess.start(name, created) { name, created in
            let region = try Region(creating: name, capacity: 1 << 20)
            _ = try SharedValue(creating: "answer", in: region, 42)
            try created.put(true)
            while true { sleep(1000) }
        }
        _ = try created.get(timeout: long)
        defer { try? Region.remove(name) }
        try child.terminate()
        _ = try child.join(timeout: long)
        #expect(try ReadOnlyRegion(opening: name).value("answer", Int.self) == 42)
        #expect(try SharedValue<Int>(opening: "answer", in: Region(opening: name)).value == 42)
    }

    @Test func `a sent region is opened by its name, once`() throws {
        let region = try Region(creating: name, capacity: 1 << 20)
        defer { try? Region.remove(name) }
        let value = try SharedValue(creating: "n", in: region, 1)
        let queue = try Queue<Region>()
        try queue.put(region)
        let child = try ChildProcess.start(queue) { queue in
            let region = try queue.get()
            let again = try queue.get()
            try SharedValue<Int>(opening: "n", in: region).store(region === again ? 2 : 3)
        }
        try queue.put(region)
        #expect(try child.join(timeout: long) == .exited(code: 0))
        #expect(value.value == 2)
        try queue.put(region)
        #expect(try queue.get() === region)
        try queue.put(region)
        try Region.remove(name)
        let late = try ChildProcess.start(queue) { queue in
            do {
                _ = try queue.get()
            } catch let error as SharedStateError where error.code == .notFound {
                exit(3)
            }
        }
        #expect(try late.join(timeout: long) == .exited(code: 3))
        // Another region under the same name is not taken for it.
        try queue.put(region)
        let other = try Region(creating: name, capacity: 1 << 20)
        let misled = try ChildProcess.start(queue) { queue in
            do {
                _ = try queue.get()
            } catch let error as SharedStateError where error.code == .notFound {
                exit(3)
            }
        }
        #expect(try misled.join(timeout: long) == .exited(code: 3))
        #expect(other.name == name)
    }

    @Test func `an anonymous region crosses through a pipe`() throws {
        let (mine, theirs) = try SharedPipe.duplex(of: Region.self)
        let child = try ChildProcess.start(theirs) { end in
            let region = try end.receive()
            try SharedValue<Int>(opening: "n", in: region).store(5)
        }
        let region = try Region(capacity: 1 << 20)
        let value = try SharedValue(creating: "n", in: region, 1)
        try mine.send(region, timeout: long)
        #expect(try child.join(timeout: long) == .exited(code: 0))
        #expect(value.value == 5)
    }

    @Test func `a region is closed when nothing of it is in use`() throws {
        let region = try Region(creating: name, capacity: 1 << 20)
        defer { try? Region.remove(name) }
        do {
            let lock = try Lock(creating: "lock", in: region)
            #expect(code { try region.close() } == .inUse)
            try lock.withLock { _ in #expect(code { try region.close() } == .inUse) }
        }
        try region.close()
        try region.close()
        #expect(code { _ = try Lock(in: region) } == .closed)
        #expect(code { _ = try Lock(opening: "lock", in: region) } == .closed)
        let again = try Region(opening: name)
        #expect(again !== region)
        try Lock(opening: "lock", in: again).withLock { _ in }
        #expect(code { try Manager().region.close() } == .invalidArgument)
    }

    @Test func `the properties of a closed region stop the program`() async throws {
        await #expect(processExitsWith: .failure) {
            let region = try Region(capacity: 1 << 20)
            try region.close()
            _ = region.capacity
        }
    }

    @Test func `a region is looked into without joining it`() throws {
        struct Point: Equatable {
            var x: Double
            var y: Int8
        }
        let region = try Region(creating: name, capacity: 2 << 20)
        defer { try? Region.remove(name) }
        let point = try SharedValue(creating: "point", in: region, Point(x: 1, y: 2), type: "point")
        let count = try SharedAtomic(creating: "count", in: region, 7)
        let samples = try SharedArray<Int32>(creating: "samples", in: region, count: 3)
        let view = try ReadOnlyRegion(opening: name)
        #expect(try view.names().sorted() == ["count", "point", "samples"])
        #expect(view.capacity == 2 << 20)
        point.value.x = 3
        count.store(8)
        samples[1] = 9
        #expect(try view.value("point", Point.self, type: "point") == Point(x: 3, y: 2))
        #expect(try view.number("count", Int.self) == 8)
        #expect(try view.withArray("samples", Int32.self) { span in span[1] } == 9)
        #expect(code { _ = try view.value("point", Point.self) } == .incompatible)
        #expect(code { _ = try view.value("count", Int.self) } == .incompatible)
        #expect(code { _ = try view.number("count", Int32.self) } == .incompatible)
        #expect(code { try view.withArray("samples", Int64.self) { _ in } } == .incompatible)
        #expect(code { _ = try view.value("none", Int.self) } == .notFound)
    }

    @Test func `another layout is refused, for reading too`() throws {
        let region = try Region(creating: name, capacity: 1 << 20)
        defer { try? Region.remove(name) }
        let file = unsafe open("/dev/shm/\(name)", O_RDWR | O_CLOEXEC)
        defer { close(file) }
        var word: UInt32 = 0
        unsafe #expect(pread(file, &word, 4, 8) == 4)
        word ^= 1
        unsafe #expect(pwrite(file, &word, 4, 8) == 4)
        #expect(code { _ = try Region(opening: name) } == .incompatible)
        #expect(code { _ = try ReadOnlyRegion(opening: name) } == .incompatible)
        #expect(try Region.list().contains(name))
        #expect(region.capacity == 1 << 20)
        try Region.remove(name)
    }
}
