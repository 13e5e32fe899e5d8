// SPDX-License-Identifier: Apache-2.0

import Glibc
import SharedState
import Testing

private let long = Duration.seconds(30)

/// Both programs know it by a text of their own.
private struct Point: BitwiseCopyable, Sendable, Equatable {
    var x: Double
    var y: Double
    static let name = "test.point/1"
}

/// Everything that has a name and is no region; each is called as its kind is.
private let kinds = Noun.Kind.allCases.filter { $0 != .region }

private func failure(_ body: () throws -> Void) -> SharedStateError? {
    do {
        try body()
    } catch {
        return error as? SharedStateError
    }
    return nil
}

/// Everything that processes agree by, found by name from C and from Swift.
///
/// The C program is Tests/ObjectsInC.
@Suite("Names", .serialized)
struct NamesTests {
    enum Maker: String, CaseIterable {
        case swift = "use"
        case c = "make"
    }

    @Test(arguments: Maker.allCases)
    func `what one language makes and names, the other finds and uses`(maker: Maker) async throws {
        let regionName = "sharedstate.test.\(getpid()).names"
        let region = try Region(creating: regionName, capacity: 4 << 20)
        defer { try? Region.remove(regionName) }
        if maker == .swift {
            for kind in kinds { _ = try Noun(kind, creating: "\(kind)", in: region) }
            _ = try SharedValue(creating: "point", in: region, Point(x: 1, y: 2), type: Point.name)
        }
        let program = try Program("ObjectsInC", [maker.rawValue, regionName])
        _ = try await program.lines(untilPrinted: "ready")
        try await meet(program, in: region)
        let output = try await program.finish()
        #expect(output.status == 0, "\(output.err)")
        try await checkWhatItDid(in: region)
        checkOtherTypes(in: region)
    }

    /// The C program waits for this one twice.
    private func meet(_ program: Program, in region: Region) async throws {
        let condition = try Condition(opening: "condition", in: region)
        let number = try SharedAtomic<Int>(opening: "atomic", in: region)
        while condition.waiting == 0 { try await program.checkIsRunning() }
        let notified = try condition.withLock { holder in
            number.store(7)
            return try condition.notifyAll(holder)
        }
        #expect(notified == 1)
        let barrier = try Barrier(opening: "barrier", in: region)
        #expect(barrier.parties == 2)
        try await barrier.wait(timeout: long)
    }

    private func checkWhatItDid(in region: Region) async throws {
        // It ended with what can be held in its hands.
        try await Lock(opening: "lock", in: region).withLock { holder in
            let isInherited = holder.inheritedFromDead
            #expect(isInherited)
            holder.markRepaired()
        }
        try await RecursiveLock(opening: "recursiveLock", in: region).withLock { holder in
            let isInherited = holder.inheritedFromDead
            #expect(isInherited)
            holder.markRepaired()
        }
        try await ReadWriteLock(opening: "readWriteLock", in: region).withWriteLock { holder in
            let isInherited = holder.inheritedFromDead
            #expect(isInherited)
            holder.markRepaired()
        }
        try await AsyncLock(opening: "asyncLock", in: region).withLock { holder in
            let isInherited = holder.inheritedFromDead
            #expect(isInherited)
            holder.markRepaired()
        }
        let permits = try PermitPool(opening: "permits", in: region)
        #expect(try permits.tryAcquire(3))
        try permits.release(3)

        #expect(try SharedSemaphore(opening: "semaphore", in: region).value == 2)
        let bounded = try BoundedSemaphore(opening: "boundedSemaphore", in: region)
        #expect((bounded.value, bounded.bound) == (2, 3))
        #expect(try Event(opening: "event", in: region).isSet)
        #expect(try Latch(opening: "latch", in: region).count == 2)
        #expect(try Once(opening: "once", in: region).isDone)
        #expect(try !Barrier(opening: "barrier", in: region).isBroken)
        #expect(try SharedValue<Int>(opening: "value", in: region).value == 7)
        let point = try SharedValue<Point>(opening: "point", in: region, type: Point.name)
        #expect(point.value == Point(x: 2, y: 1))
        #expect(try SharedAtomic<Int>(opening: "atomic", in: region).load() == 8)
        #expect(try SharedArray<Int32>(opening: "array", in: region)[0] == 7)
    }

    /// Opened as anything else, each is refused, with a text that says what was tried.
    private func checkOtherTypes(in region: Region) {
        let semaphores: Set<Noun.Kind> = [.semaphore, .boundedSemaphore]
        for kind in kinds {
            for other in kinds where other != kind && !semaphores.isSuperset(of: [kind, other]) {
                let error = failure { _ = try Noun(other, opening: "\(kind)", in: region) }
                #expect(error?.code == .incompatible, "\(kind) opened as \(other)")
            }
        }
        let kindOfObject = failure { _ = try Lock(opening: "barrier", in: region) }
        #expect(kindOfObject?.description.contains("barrier") == true, "\(kindOfObject as Any)")
        let condition = failure { _ = try Condition(opening: "event", in: region) }
        #expect(
            condition?.description.contains("the name of an event, and not of a condition") == true)
        let elsewhere = failure { _ = try SharedValue<UInt>(opening: "value", in: region) }
        #expect(elsewhere?.code == .incompatible)
        #expect(elsewhere?.description.contains("SharedValue<UInt>") == true)
        for wrong in [
            failure { _ = try SharedValue<Point>(opening: "point", in: region) },
            failure { _ = try SharedAtomic<UInt32>(opening: "atomic", in: region) },
            failure { _ = try SharedArray<Float>(opening: "array", in: region) },
        ] {
            #expect(wrong?.code == .incompatible)
        }
        #expect(failure { _ = try Lock(opening: "nothing", in: region) }?.code == .notFound)
    }
}

extension Program {
    /// Lets it run for a moment, or throws what it ended with.
    fileprivate func checkIsRunning() async throws {
        try await Task.sleep(for: .milliseconds(2))
        var info = unsafe siginfo_t()
        unsafe waitid(P_PID, id_t(pid), &info, WEXITED | WNOHANG | WNOWAIT)
        guard unsafe info.si_signo == 0 else {
            throw EndedEarly(awaited: "the condition", output: try await finish())
        }
    }
}
