// SPDX-License-Identifier: Apache-2.0

import SharedState

// The trap that the README shows: a worker never runs main, so that this is not initialised there.
let factor = 3
let pool = try Pool(workers: 2)
print(try pool.map(0..<3) { $0 * factor })
