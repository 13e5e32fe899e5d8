// SPDX-License-Identifier: Apache-2.0

import EarlyThread
import Glibc
import Ledger
import SharedState
import SharedStateActors

/// What tests need a program of its own for: its first argument says which part to play.
@main
struct Fixture {
    static func main() throws {
        switch CommandLine.arguments.dropFirst().first {
        case "out-of-memory": try outOfMemory()
        case "family": try family()
        case "sees-parent-die": try seesParentDie()
        case "one-child": try oneChild()
        case "waits": try leavesChild(isDaemon: false)
        case "leaves-daemon": try leavesChild(isDaemon: true)
        case "fails": try fails()
        case "early-thread": try earlyThread()
        case "interrupted": try interrupted(isStubborn: false)
        case "interrupted-twice": try interrupted(isStubborn: true)
        case "interrupted-idle": try interruptedIdle()
        case "interrupted-threadless": try interruptedThreadless(isAllowedLater: false)
        case "interrupted-later": try interruptedThreadless(isAllowedLater: true)
        case "hosts-ledger": try hostsLedger(in: CommandLine.arguments[2])
        default: exit(64)
        }
    }

    /// A line that is read while this process runs on.
    static func say(_ line: String) {
        print(line)
        fflush(nil)
    }

    /// Hosts an actor in a region that somebody else has made, until it is killed.
    static func hostsLedger(in name: String) throws {
        let system = try SharedActorSystem(in: try Region(opening: name))
        try system.setName("ledger", of: Ledger(in: system))
        say("hosts")
        while true { pause() }
    }

    /// A child that takes memory until it is killed for it.
    static func outOfMemory() throws {
        let child = try ChildProcess.start { () in
            let step = 1 << 20
            while true {
                guard let memory = unsafe malloc(step) else { continue }
                unsafe memset(memory, 1, step)
            }
        }
        let status = try child.join(timeout: .seconds(60))
        print(status, child.exitReport?.isOutOfMemory ?? false)
    }

    /// Every kind of child that may be hard to get rid of; says so when all are there.
    static func family() throws {
        let ready = try Queue<Int>()
        _ = try ChildProcess.start(ready) { ready in
            try ready.put(1)
            while true {}
        }
        _ = try ChildProcess.start(ready) { ready in
            signal(SIGTERM, SIG_IGN)
            signal(SIGINT, SIG_IGN)
            signal(SIGHUP, SIG_IGN)
            try ready.put(1)
            while true { sleep(1000) }
        }
        _ = try ChildProcess.start(ready) { ready in
            try ready.put(1)
            kill(getpid(), SIGSTOP)
            while true { sleep(1000) }
        }
        _ = try ChildProcess.start(ready) { ready in
            // Its own zygote, and a busy grandchild.
            let grandchild = try ChildProcess.start(ready) { ready in
                try ready.put(1)
                while true {}
            }
            try grandchild.join()
        }
        _ = try ChildProcess.start(ready) { ready in
            if fork_here() == 0 {
                setsid()
                while true { sleep(1000) }
            }
            try ready.put(1)
            while true { sleep(1000) }
        }
        _ = try ChildProcess.start(ready) { ready in
            try ready.put(1)
            unsafe become_sleep("1000")
        }
        for _ in 0..<6 { _ = try ready.get() }
        say("ready")
        while true { sleep(1000) }
    }

    /// Prints its zygote's number; its child says that it saw this process die.
    static func seesParentDie() throws {
        let child = try ChildProcess.start { () in
            guard let parent = ChildProcess.parent, parent.isAlive else { exit(1) }
            say("zygote \(getppid())")
            try parent.join(timeout: .seconds(60))
            say("dead \(parent.isAlive)")
        }
        try child.join()
    }

    /// A child that prints and ends; what it was like is the exit code.
    static func oneChild() throws {
        let child = try ChildProcess.start(6) { number in
            print("seven", number)
            return number
        }
        print(try child.join())
    }

    /// Ends, with success, before its child.
    static func leavesChild(isDaemon: Bool) throws {
        var options = ChildProcess.Options()
        options.isDaemon = isDaemon
        let started = try Queue<Int>()
        _ = try ChildProcess.start(started, isDaemon, options: options) { started, isDaemon in
            try started.put(1)
            if isDaemon { sleep(1000) }
            usleep(100_000)
            print("done")
        }
        _ = try started.get()
        print("end of main")
    }

    /// Ends with an error while its child waits for what will never come.
    static func fails() throws {
        let never = try Queue<Int>()
        _ = try ChildProcess.start(never) { _ = try $0.get() }
        exit(3)
    }

    /// Two workers, of which one heeds ^C and one does not, and a map that waits for them.
    static func interrupted(isStubborn: Bool) throws {
        var options = Pool.Options()
        options.cancelsOnInterrupt = true
        options.grace = isStubborn ? .seconds(1000) : .seconds(1)
        let pool = try Pool(workers: 2, options: options)
        let ready = try Queue<Int>()
        let started = try ChildProcess.start(ready) { ready in
            for _ in 0..<2 { _ = try ready.get() }
            say("ready")
        }
        do {
            _ = try pool.map([0, 1], with: ready, chunkSize: 1) { n, ready in
                if n == 1 { signal(SIGTERM, SIG_IGN) }
                try ready.put(n)
                while n == 1 || !Task.isCancelled { usleep(1000) }
                say("heeded")
            }
        } catch let error as SharedStateError where error.code == .interrupted {
            say("interrupted")
        }
        try started.join()
        if isStubborn { while true { sleep(1000) } }
        // One worker says what it has to say, the other is killed.
        try pool.join(timeout: .seconds(60))
        exit(7)
    }

    /// Nothing is on its way.
    static func interruptedIdle() throws {
        var options = Pool.Options()
        options.cancelsOnInterrupt = true
        let pool = try Pool(workers: 1, options: options)
        say("ready \(try pool.apply(1) { $0 })")
        while true { sleep(1000) }
    }

    /// The thread that is to hear of ^C cannot be started at first.
    static func interruptedThreadless(isAllowedLater: Bool) throws {
        // Whatever else needs a thread of this process has it.
        _ = try Pool(workers: 1).apply(1) { $0 }
        var options = Pool.Options()
        options.cancelsOnInterrupt = true
        guard allow_threads(0) == 0 else { exit(65) }
        do {
            _ = try Pool(workers: 1, options: options)
            exit(66)
        } catch {
            guard error.code == .system, allow_threads(1) == 0 else { exit(67) }
        }
        if isAllowedLater { return try interrupted(isStubborn: false) }
        say("ready")
        while true { sleep(1000) }
    }

    /// A library has started a thread before main: nothing can be forked.
    static func earlyThread() throws {
        print(early_thread_runs())
        try ChildProcess.preload { unsafe setenv("PRELOADED", "yes", 1) }
        var options = ChildProcess.Options()
        options.standardOutput = .captured()
        options.environment = ["FLAVOUR": "mint"]
        let queue = try Queue<Int>()
        let child = try ChildProcess.start(queue, 7, options: options) { queue, number in
            for name in ["PRELOADED", "FLAVOUR", "SHAREDSTATE_WORKER"] {
                print(unsafe getenv(name).map { unsafe String(cString: $0) } ?? "none")
            }
            print(ChildProcess.parent?.isAlive ?? false, ChildProcess.parent?.pid == getppid())
            try queue.put(number * number)
        }
        print(try child.join(), try queue.get())
        print(String(decoding: child.output, as: UTF8.self), terminator: "")
        let pool = try Pool(workers: 2)
        print(try pool.map(0..<4) { $0 * $0 })
        let endless = try ChildProcess.start { () in while true { sleep(1000) } }
        try endless.kill()
        print(try endless.join())
        let doomed = try ChildProcess.start { () in while true { sleep(1000) } }
        print("left", doomed.pid)
        exit(1)
    }
}
