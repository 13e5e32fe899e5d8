// SPDX-License-Identifier: Apache-2.0

import Foundation
import Glibc

@testable import BenchKit

/// A terminal that nobody sits at: what a program writes to it can be read.
struct Terminal: ~Copyable {
    private let master: Int32
    private let slave: Int32
    private(set) var text = ""

    init() throws {
        // Of asm-generic/ioctls.h; the functions for it are not declared for Swift.
        let (unlock, openPeer): (UInt, UInt) = (0x4004_5431, 0x5441)
        let master = unsafe open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC)
        var locked: Int32 = 0
        guard master >= 0, unsafe ioctl(master, unlock, &locked) == 0 else {
            throw MeasurementFailure("no terminal: error \(errno)")
        }
        let slave = ioctl(master, openPeer, O_RDWR | O_NOCTTY | O_CLOEXEC)
        guard slave >= 0 else { throw MeasurementFailure("no terminal: error \(errno)") }
        self.master = master
        self.slave = slave
    }

    deinit { close(master) }

    /// Starts the program with this as its standard error.
    ///
    /// Once for each terminal: its end is that of the last who has it open.
    func start(_ process: Process) throws {
        let handle = FileHandle(fileDescriptor: slave, closeOnDealloc: false)
        process.standardError = handle
        try process.run()
        close(slave)
    }

    /// Reads until something was written, or to the end.
    ///
    /// - Returns: Whether it was.
    mutating func read(until wanted: String? = nil) -> Bool {
        var bytes = [UInt8](repeating: 0, count: 4096)
        while wanted.map({ !text.contains($0) }) ?? true {
            let count = unsafe Glibc.read(master, &bytes, bytes.count)
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { return false }
            text += String(decoding: bytes.prefix(count), as: UTF8.self)
        }
        return true
    }
}
