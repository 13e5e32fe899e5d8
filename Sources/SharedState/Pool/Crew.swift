// SPDX-License-Identifier: Apache-2.0

internal import CShm

/// What a pool's workers say of themselves, and what they are asked, in shared memory: for each seat
/// some numbers, each of which has one writer.
///
/// - Death: each store is of one number. What a dead worker's say stays until another takes its seat.
@safe
internal final class Crew: Sendable {
    /// The numbers of a seat.
    enum Number: Int, CaseIterable {
        /// Written by the pool: of the worker that the seat is for, 0 for none.
        case worker
        /// Its process.
        case pid
        /// Written by the pool: the turn that is to be cancelled.
        case cancelled
        /// Written by the worker: twice its turn and 1 while it looks for work, and 2 while it works.
        case turn
        /// When it began, on the monotonic clock.
        case began
        /// Tasks that it has done, or elements of maps.
        case tasks
        /// Nanoseconds that it worked, where that is measured.
        case busy
        /// When it began what it works at, 0 while it waits; where that is measured.
        case since
    }

    /// The slowest pieces of work of a seat: how long each took, and the index of its element.
    static let slowest = 4
    private static let magic: UInt64 = 0x6377_6572_635f_7373
    private static let numbers = Number.allCases.count + 2 * slowest
    private static let stride = MemoryLayout<cshm_atomic>.stride
    /// Before the seats: what it is, how many seats, whose text there is, how long that is.
    private static let head = 4
    /// Behind the seats: why a worker could not begin.
    private static let textRoom = 1024

    private let object: SharedObject
    private nonisolated(unsafe) let base: UnsafeMutablePointer<cshm_atomic>
    let seats: Int

    /// Where workers find it.
    var offset: UInt64 { object.offset }

    init(seats: Int, in region: Region) throws(SharedStateError) {
        let count = Self.head + seats * Self.numbers
        let size = count * Self.stride + Self.textRoom
        object = try SharedObject.allocate(size, in: region)
        unsafe base = try object.address(size: size)
            .assumingMemoryBound(to: cshm_atomic.self)
        self.seats = seats
        for number in 0..<count { _ = unsafe cshm_atomic_init(base + number, CSHM_UINT64, 0) }
        unsafe cshm_atomic_store(base, CSHM_UINT64, Self.magic, CSHM_RELAXED)
        unsafe cshm_atomic_store(base + 1, CSHM_UINT64, UInt64(seats), CSHM_RELEASE)
        // A worker may store there for a moment when this process is dead.
        try unsafe check(cshm_heap_share(region.pointer, object.offset), "cshm_heap_share")
    }

    /// Opens what another made.
    init(_ object: SharedObject) throws(SharedStateError) {
        self.object = object
        let head = try unsafe object.address(size: Self.head * Self.stride)
            .assumingMemoryBound(to: cshm_atomic.self)
        let count = unsafe cshm_atomic_load(head + 1, CSHM_UINT64, CSHM_ACQUIRE)
        guard unsafe cshm_atomic_load(head, CSHM_UINT64, CSHM_RELAXED) == Self.magic,
            (1...UInt64(CSHM_SEATS_MAX)).contains(count)
        else { throw SharedStateError(.incompatible, "no pool's counters at the handle's place") }
        seats = Int(count)
        let size = (Self.head + seats * Self.numbers) * Self.stride + Self.textRoom
        unsafe base = try object.address(size: size)
            .assumingMemoryBound(to: cshm_atomic.self)
    }

    deinit {
        object.freeUnlessSent()
    }

    /// To be sent; it then lives as long as its region.
    func place() throws(SharedStateError) -> ObjectPlace { try object.keptPlace() }

    private func place(of index: Int, _ seat: Int) -> UnsafeMutablePointer<cshm_atomic> {
        unsafe base + (Self.head + seat * Self.numbers + index)
    }

    subscript(number: Number, seat: Int) -> UInt64 {
        get {
            unsafe cshm_atomic_load(place(of: number.rawValue, seat), CSHM_UINT64, CSHM_ACQUIRE)
        }
        set {
            unsafe cshm_atomic_store(
                place(of: number.rawValue, seat), CSHM_UINT64, newValue, CSHM_RELEASE)
        }
    }

    // MARK: The pool

    /// A worker is about to begin in a seat.
    func seat(_ worker: UInt32, in seat: Int) {
        for index in 0..<Self.numbers {
            unsafe cshm_atomic_store(place(of: index, seat), CSHM_UINT64, 0, CSHM_RELAXED)
        }
        self[.worker, seat] = UInt64(worker)
    }

    /// The turn that the worker in a seat is at.
    func turn(of seat: Int) -> UInt64 { (max(1, self[.turn, seat]) - 1) / 2 }

    /// Whether it has found work.
    func isBusy(_ seat: Int) -> Bool {
        let turn = self[.turn, seat]
        return turn > 0 && turn % 2 == 0
    }

    /// Asks the worker in a seat to stop what it is at, or ends its watcher, after which nothing is
    /// stored any more: the watcher might miss its end.
    func cancel(_ turn: UInt64, in seat: Int) {
        let place = unsafe place(of: Number.cancelled.rawValue, seat)
        var seen = self[.cancelled, seat]
        repeat {
            if seen == WorkerTask.over { return }
        } while unsafe cshm_atomic_compare_exchange(
            place, CSHM_UINT64, &seen, turn, CSHM_ACQ_REL, CSHM_ACQUIRE) == 0
        unsafe cshm_atomic_notify(place)
    }

    /// Why a worker could not begin, if one could not: its initializer's error.
    var failure: String? {
        let length = unsafe cshm_atomic_load(base + 3, CSHM_UINT64, CSHM_ACQUIRE)
        guard length > 0, length <= Self.textRoom else { return nil }
        return unsafe String(
            decoding: UnsafeRawBufferPointer(start: text, count: Int(length)), as: UTF8.self)
    }

    private var text: UnsafeMutableRawPointer {
        unsafe UnsafeMutableRawPointer(base + Self.head + seats * Self.numbers)
    }

    // MARK: The worker

    /// Says why it cannot begin, unless another one has.
    ///
    /// Death: before the length is stored there is no text, and nobody else writes one.
    func fail(_ error: any Error, in seat: Int) {
        var none: UInt64 = 0
        guard
            unsafe cshm_atomic_compare_exchange(
                base + 2, CSHM_UINT64, &none, UInt64(seat) + 1, CSHM_ACQ_REL, CSHM_RELAXED) == 1
        else { return }
        let bytes = Text.bytes(of: "\(error)", upTo: Self.textRoom)
        unsafe text.copyMemory(from: bytes, byteCount: bytes.count)
        unsafe cshm_atomic_store(base + 3, CSHM_UINT64, UInt64(bytes.count), CSHM_RELEASE)
    }

    /// Waits until another turn than this one is to be cancelled.
    func awaitCancel(in seat: Int, after turn: UInt64) -> UInt64 {
        // The kernel ends this process with the pool's, which alone notifies.
        unsafe cshm_atomic_wait_watched(
            place(of: Number.cancelled.rawValue, seat), CSHM_UINT64, turn)
        return self[.cancelled, seat]
    }

    /// Keeps it if it is one of the slowest.
    func note(_ duration: UInt64, index: UInt64, in seat: Int) {
        var least = (number: 0, duration: UInt64.max)
        for number in 0..<Self.slowest {
            let known = slow(number, in: seat).duration
            if known < least.duration { least = (number, known) }
        }
        guard duration > least.duration else { return }
        let place = unsafe place(of: Number.allCases.count + 2 * least.number, seat)
        unsafe cshm_atomic_store(place + 1, CSHM_UINT64, index, CSHM_RELAXED)
        unsafe cshm_atomic_store(place, CSHM_UINT64, duration, CSHM_RELEASE)
    }

    func slow(_ number: Int, in seat: Int) -> (duration: UInt64, index: UInt64) {
        let place = unsafe place(of: Number.allCases.count + 2 * number, seat)
        let duration = unsafe cshm_atomic_load(place, CSHM_UINT64, CSHM_ACQUIRE)
        return (duration, unsafe cshm_atomic_load(place + 1, CSHM_UINT64, CSHM_RELAXED))
    }
}
