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
}

/// In a worker, on its second thread; the main one hosts the main queue for `MainActor`.
@_cdecl("sharedstate_worker_run")
internal func workerRun(
    _ payload: UnsafeRawPointer?, _ length: Int, _ share: Int32,
    _ descriptors: UnsafePointer<Int32>?, _ count: Int32
) {
    var status: Int32 = 0
    do {
        var reader = unsafe ByteReader(UnsafeRawBufferPointer(start: payload, count: length))
        switch WorkerRole(rawValue: try reader.byte()) {
        case .child: try ChildMain.run(&reader)
        case .poolWorker: try PoolWorker.run(&reader)
        case nil: throw SharedStateError(.incompatible, "an unknown kind of worker")
        }
    } catch {
        complain("\(error)")
        status = 1
    }
    fflush(nil)
    _exit(status)
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
