// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

@testable import BenchKit

@Suite("Compiled peers", .serialized)
struct CompiledPeerTests {
    @Test("what was made is made again when a source or the command changed, or it came to no end")
    func stamp() throws {
        try withFolder { folder in
            let files = ["source.c", "header.h", "source.c.so"].map { folder.appending(path: $0) }
            func date(_ file: URL, _ seconds: Double) throws {
                let date = Date(timeIntervalSince1970: 1_000_000 + seconds)
                try FileManager.default.setAttributes(
                    [.modificationDate: date], ofItemAtPath: file.path)
            }
            for file in files {
                try Data().write(to: file)
                try date(file, file == files[2] ? 10 : 0)
            }
            let stamp = Stamp(of: files[2], from: Array(files.prefix(2)), by: ["cc", "-O2"])
            #expect(!stamp.isFresh)
            try stamp.write()
            #expect(stamp.isFresh)
            #expect(!Stamp(of: files[2], from: Array(files.prefix(2)), by: ["cc", "-O3"]).isFresh)
            for changed in files.prefix(2) {
                try date(changed, 20)
                #expect(!stamp.isFresh)
                try date(changed, 0)
                #expect(stamp.isFresh)
            }
            stamp.remove()
            #expect(!stamp.isFresh)
        }
    }

    @Test("one that is there is not compiled again")
    func twice() throws {
        let folder = "Tests/BenchKitTests/Peers"
        let peer = CompiledPeer("nothing.c", in: folder, package: "gcc")
        #expect(try peer.compile())
        let made = Place.built.appending(path: "nothing.c.so").path
        func file() throws -> UInt64? {
            let attributes = try FileManager.default.attributesOfItem(atPath: made)
            return attributes[.systemFileNumber] as? UInt64
        }
        let before = try #require(try file())
        #expect(try peer.compile())
        #expect(try file() == before)
        let other = CompiledPeer("nothing.c", in: folder, flags: ["-DOTHER"], package: "gcc")
        #expect(try other.compile())
        #expect(try file() != before)
    }
}
