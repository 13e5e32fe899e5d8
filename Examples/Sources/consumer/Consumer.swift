// SPDX-License-Identifier: Apache-2.0

import Reading
import SharedState

/// Takes readings from a queue that a C program puts them into.
///
/// Either may be started first: who comes first makes the region and the queue.
@main
struct Consumer {
    static func main() throws {
        let region = try openRegion()
        let readings = try openQueue(in: region)
        var count = 0
        var sum = 0.0
        for reading in readings.elements {
            count += 1
            sum += reading.celsius
        }
        print("consumer: \(count) readings, \(sum / Double(max(count, 1))) degrees on average")
        try Region.remove(READING_REGION)
    }

    static func openRegion() throws -> Region {
        do {
            return try Region(creating: READING_REGION)
        } catch let error as SharedStateError where error.code == .alreadyExists {
            return try Region(opening: READING_REGION)
        }
    }

    static func openQueue(in region: Region) throws -> Queue<reading> {
        do {
            return try Queue(creating: READING_QUEUE, in: region, type: READING_TYPE)
        } catch let error as SharedStateError where error.code == .alreadyExists {
            return try Queue(opening: READING_QUEUE, in: region, type: READING_TYPE)
        }
    }
}
