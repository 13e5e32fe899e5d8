// SPDX-License-Identifier: Apache-2.0

internal import CCount
import SharedState

/// Does one operation again and again, alone, and prints how often that allocated.
///
/// `countprobe NAME TIMES`; without arguments it names the operations.
@main
struct CountProbe {
    static func main() throws {
        let words = CommandLine.arguments
        guard words.count == 3, let times = UInt64(words[2]) else {
            print(Operations.all.map(\.name).joined(separator: "\n"))
            return
        }
        guard let operation = Operations.all.first(where: { $0.name == words[1] }) else {
            fatalError("no operation \(words[1])")
        }
        let body = Body(try operation.make())
        for _ in 0..<200 { body.call() }
        print(body.count(times))
    }
}

/// What is done once.
private final class Body {
    private let once: () throws -> Void

    init(_ once: @escaping () throws -> Void) {
        self.once = once
    }

    func call() {
        do { try once() } catch { fatalError("\(error)") }
    }

    /// How often so many calls allocate.
    func count(_ times: UInt64) -> UInt64 {
        let context = unsafe Unmanaged.passUnretained(self).toOpaque()
        return unsafe count_run(
            { context in
                guard let context = unsafe context else { return }
                unsafe Unmanaged<Body>.fromOpaque(context).takeUnretainedValue().call()
            }, context, times)
    }
}
