// SPDX-License-Identifier: Apache-2.0

import Distributed
import SharedState
import SharedStateActors

/// Not private: others find its functions by their names.
distributed actor Counter {
    typealias ActorSystem = SharedActorSystem
    private var total = 0

    distributed func add(_ amount: Int) -> Int {
        total += amount
        return total
    }
}

/// Prints the calls a second of an actor that a child hosts, one after the other, for so many seconds as
/// its argument says.
///
/// A program of its own, since shmbench's processes are not to load what actors need.
@main
struct ActorProbe {
    static func main() async throws {
        let seconds = CommandLine.arguments.dropFirst().first.flatMap(Double.init) ?? 0.1
        let ready = try Event()
        let end = try Event()
        let host = try ChildProcess.start(ready, end) { ready, end in
            let system = try SharedActorSystem()
            try system.setName("counter", of: Counter(actorSystem: system))
            ready.set()
            try await end.wait()
        }
        try await ready.wait(timeout: .seconds(10))
        let counter = try SharedActorSystem().actor("counter", as: Counter.self)
        var done = try await counter.add(1)
        let clock = ContinuousClock()
        let start = clock.now
        let first = done
        while clock.now < start + .seconds(seconds) {
            for _ in 0..<64 { done = try await counter.add(1) }
        }
        print(Double(done - first) / ((clock.now - start) / .seconds(1)))
        end.set()
        try await host.join(timeout: .seconds(10))
    }
}
