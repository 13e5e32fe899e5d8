// SPDX-License-Identifier: Apache-2.0

import SharedState
import Testing

@Suite("Ranges of managed arrays", .serialized)
struct ManagedRangeTests {
    @Test func `an index or range that no array has is an error`() throws {
        let array = try ManagedArray([1, 2, 3])
        for index in [-1, 3, .min, .max] {
            #expect(code { _ = try array[index] } == .invalidArgument)
            #expect(code { try array.set(0, at: index) } == .invalidArgument)
            #expect(code { try array.remove(at: index) } == .invalidArgument)
            #expect(code { try array.update(at: index) { $0 = 0 } } == .invalidArgument)
            #expect(code { try array.swapAt(0, index) } == .invalidArgument)
        }
        for index in [-1, 4, .min, .max] {
            #expect(code { try array.insert(0, at: index) } == .invalidArgument)
            #expect(code { _ = try array[index...] } == .invalidArgument)
            #expect(code { _ = try array[..<index] } == .invalidArgument)
            #expect(code { try array.removeSubrange(index...) } == .invalidArgument)
            #expect(code { try array.replaceSubrange(..<index, with: [0]) } == .invalidArgument)
        }
        for range in [-1...0, 0...3, 3...3, 0...(.max), (.min)...(.max)] {
            #expect(code { _ = try array[range] } == .invalidArgument)
            #expect(code { try array.removeSubrange(range) } == .invalidArgument)
            #expect(
                code { _ = try array[...range.upperBound] }
                    == (range == -1...0 ? nil : .invalidArgument))
        }
        #expect(try array[3...].isEmpty && array[..<0].isEmpty && array[3..<3].isEmpty)
        try array.removeSubrange(3...)
        #expect(try array.snapshot() == [1, 2, 3])
    }
}
