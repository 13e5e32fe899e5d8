// SPDX-License-Identifier: Apache-2.0

internal import CShm
internal import Dispatch
internal import Glibc

/// What a forked process is for: the first byte of its payload.
internal enum WorkerRole: UInt8 {
    case child = 1
    case poolWorker = 2
}

/// In the zygote, once, before it forks: what every worker inherits.
@_cdecl("sharedstate_zygote_prepare")
internal func zygotePrepare(_ share: Int32) {
    do {
        try FamilyRegion.map(descriptor: share)
    } catch {
        complain("sharedstate: the zygote cannot map the family's region: \(error)")
    }
    warmUp()
}

/// Does once in the zygote what each child does before its closure.
///
/// The symbols that the linker binds and the types that the runtime looks up on the way are then
/// inherited. Half of a child's time would go there.
private func warmUp() {
    func call<each Argument>(
        _ arguments: repeat each Argument,
        body: @escaping @Sendable (repeat each Argument) throws -> Bool
    ) throws {
        let orders = LaunchOrders(
            name: "", parentName: "", isDaemon: false, roles: [], environment: [:], cpus: nil,
            niceness: 0)
        var writer = ByteWriter()
        writer.append(prefixed: orders.bytes)
        writer.append(prefixed: try FunctionReference(pack: body).bytes)
        try encodePack(repeat each arguments, into: &writer)
        try unsafe writer.bytes.withUnsafeBytes { bytes in
            var reader = unsafe ByteReader(bytes)
            try unsafe reader.prefixed().withUnsafeBytes { bytes in
                var reader = unsafe ByteReader(bytes)
                _ = try LaunchOrders(from: &reader)
            }
            var result = ByteWriter()
            let function = try FunctionReference.resolve(try reader.prefixed())
            try function.call(arguments: &reader, into: &result)
        }
    }
    try? call(1, "", body: { number, text in text.isEmpty && number > 0 })
}

/// In the zygote, before it forks again: runs a preload.
@_cdecl("sharedstate_zygote_preload")
internal func zygotePreload(
    _ payload: UnsafeRawPointer?, _ length: Int, _ text: UnsafeMutablePointer<CChar>?, _ room: Int
) -> Int32 {
    do {
        let bytes = unsafe [UInt8](UnsafeRawBufferPointer(start: payload, count: length))
        try callWithoutArguments(bytes)
        return 0
    } catch {
        let room = unsafe UnsafeMutableRawBufferPointer(start: text, count: room)
        unsafe room.copyBytes(from: Text.bytes(of: "\(error)", upTo: room.count - 1))
        return -1
    }
}

/// In a worker, on its only thread.
@_cdecl("sharedstate_worker_prepare")
internal func workerPrepare(
    _ payload: UnsafeRawPointer?, _ length: Int, _ descriptors: UnsafePointer<Int32>?,
    _ count: Int32
) {
    do {
        var reader = unsafe ByteReader(UnsafeRawBufferPointer(start: payload, count: length))
        let orders = try reader.prefixed()
        let given = unsafe Array(UnsafeBufferPointer(start: descriptors, count: Int(count)))
        try unsafe orders.withUnsafeBytes { bytes in
            var reader = unsafe ByteReader(bytes)
            CurrentProcess.begin(try LaunchOrders(from: &reader), given)
        }
    } catch {
        complain("\(error)")
        _exit(126)
    }
}

/// In a worker, on its second thread; the main one hosts the main queue for `MainActor`.
@_cdecl("sharedstate_worker_run")
internal func workerRun(
    _ payload: UnsafeRawPointer?, _ length: Int, _ descriptors: UnsafePointer<Int32>?,
    _ count: Int32
) {
    var status: Int32 = 0
    do {
        var reader = unsafe ByteReader(UnsafeRawBufferPointer(start: payload, count: length))
        _ = try reader.prefixed()  // what workerPrepare has carried out
        switch WorkerRole(rawValue: try reader.byte()) {
        case .child: try ChildMain.run(&reader)
        case .poolWorker:
            if let failure = CurrentProcess.start?.failure { throw failure }
            try PoolWorker.run(&reader)
        case nil: throw SharedStateError(.incompatible, "an unknown kind of worker")
        }
    } catch {
        complain("\(error)")
        status = 1
    }
    exit(status)
}

/// What a child process does.
internal enum ChildMain {
    static func run(_ reader: inout ByteReader) throws {
        let errand = try Errand(from: &reader, in: try FamilyRegion.shared())
        do {
            if let failure = CurrentProcess.start?.failure { throw failure }
            let call = try errand.call()
            try unsafe call.withUnsafeBytes { bytes in
                var reader = unsafe ByteReader(bytes)
                let function = try FunctionReference.resolve(try reader.prefixed())
                var result = ByteWriter()
                try function.call(arguments: &reader, into: &result)
            }
        } catch {
            try errand.setErrorText("\(error)")
            throw error
        }
    }
}

/// Calls a function reference that takes nothing, and ignores what it returns.
internal func callWithoutArguments(_ bytes: [UInt8]) throws {
    var none = unsafe ByteReader(UnsafeRawBufferPointer(start: nil, count: 0))
    var ignored = ByteWriter()
    try FunctionReference.resolve(bytes).call(arguments: &none, into: &ignored)
}

/// Keeps `dispatch_main` linked for the worker's main thread.
internal let mainQueue = DispatchQueue.main

/// One line on the standard error stream.
internal func complain(_ text: String) {
    let line = Array((text + "\n").utf8)
    _ = unsafe line.withUnsafeBytes { unsafe write(2, $0.baseAddress, $0.count) }
}

/// Bytes in a heap block of the family's region, for what does not fit a fork request.
internal struct SharedBytes {
    let offset: UInt64
    let count: Int

    init(_ bytes: [UInt8], in region: Region) throws(SharedStateError) {
        let object = try SharedObject.allocate(max(1, bytes.count), in: region)
        try unsafe object.address(size: bytes.count).copyMemory(
            from: bytes, byteCount: bytes.count)
        try unsafe check(cshm_heap_share(region.pointer, object.offset), "cshm_heap_share")
        offset = object.offset
        count = bytes.count
    }

    init(from reader: inout ByteReader) throws(SharedStateError) {
        offset = try reader.fixed(UInt64.self)
        count = Int(truncatingIfNeeded: try reader.fixed(UInt64.self))
    }

    func encode(into writer: inout ByteWriter) {
        writer.append(fixed: offset)
        writer.append(fixed: UInt64(count))
    }

    func read(in region: Region) throws(SharedStateError) -> [UInt8] {
        guard count >= 0,
            let address = unsafe cshm_heap_pointer(region.pointer, offset, UInt64(count))
        else { throw SharedStateError(.incompatible, "a payload is not where it should be") }
        return unsafe Array(UnsafeRawBufferPointer(start: address, count: count))
    }

    func free(in region: Region) {
        _ = unsafe cshm_heap_free(region.pointer, offset)
    }
}
