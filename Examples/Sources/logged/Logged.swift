// SPDX-License-Identifier: Apache-2.0

import Glibc
import Logging
import SharedState
import SharedStateLogging

/// A pool whose logger says what becomes of its workers.
@main
struct Logged {
    static func main() throws {
        var logger = Logger(label: "pool", factory: StreamLogHandler.standardOutput(label:))
        logger.logLevel = .debug
        var options = Pool.Options()
        options.log(to: logger)
        let pool = try Pool(workers: 2, options: options)
        let squares = try pool.imap(0..<4, chunkSize: 1) { n in
            if n == 2 { kill(getpid(), SIGKILL) }
            return n * n
        }
        for outcome in squares.elements {
            switch outcome {
            case .success(let square): print("logged:", square)
            case .failure: print("logged: a worker died")
            }
        }
        pool.close()
        try pool.join()
    }
}
