// SPDX-License-Identifier: Apache-2.0

import Glibc

/// A generator that does the same again for the same seed.
///
/// A test takes its seed as an argument, `@Test(arguments: Seeds.one)`, so that it is told when the test
/// fails; `SHAREDSTATE_SEED` has it done again.
struct SeededRandom: RandomNumberGenerator {
    private var state: UInt64

    init(_ seed: UInt64) { state = seed }

    /// SplitMix64.
    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }

    mutating func number(_ range: Range<Int>) -> Int { Int.random(in: range, using: &self) }
    mutating func coin() -> Bool { Bool.random(using: &self) }
}

enum Seeds {
    /// The one that is asked for, or any.
    static var one: [UInt64] {
        let wanted = unsafe getenv("SHAREDSTATE_SEED").flatMap {
            unsafe UInt64(String(cString: $0))
        }
        return [wanted ?? UInt64.random(in: 0...UInt64.max)]
    }
}
