// SPDX-License-Identifier: Apache-2.0

internal import CBench
internal import Foundation

/// What the figures were measured on.
public struct Machine: Codable, Sendable {
    /// The processor's name.
    public let processor: String
    /// CPUs that this process may use.
    public let cpus: Int
    /// Whether the two CPUs that are measured on are threads of one core.
    public let siblings: Bool
    /// The frequency governor of the CPUs that are measured on, if the kernel shows one.
    public let governor: String?
    /// The clock that the kernel reads.
    public let clock: String
    /// Bytes of memory.
    public let memory: UInt64
    /// Bytes that /dev/shm may hold.
    public let sharedMemory: UInt64
    /// System, kernel and its version.
    public let kernel: String
    /// What of use the kernel has: system calls, control groups, huge pages of shared memory.
    public let features: [String]
    /// The compiler that this program was built with.
    public let compiler: String
    /// The checkout's commit, whether its files are changed, and whether the program was built before
    /// it, if git knows.
    public let commit: String?
    /// Nanoseconds of a ping-pong between the first two CPUs.
    public let pingPong: Double?
    /// What speaks against measuring here.
    public let warnings: [String]

    private enum CodingKeys: String, CodingKey {
        case processor, cpus, siblings, governor, clock, memory, kernel, features, compiler, commit
        case warnings
        case sharedMemory = "shared_memory"
        case pingPong = "ping_pong"
    }

    /// The first two CPUs that this process may use; `nil` if it has but one.
    public static var firstTwoCPUs: (producer: Int32, consumer: Int32)? {
        var cpus: [Int32] = []
        for cpu in Int32(0)..<1024 where cpus.count < 2 && bench_may_use(cpu) {
            cpus.append(cpu)
        }
        return cpus.count == 2 ? (cpus[0], cpus[1]) : nil
    }

    /// Looks at this machine.
    ///
    /// - Parameters:
    ///   - settings: Which two CPUs will be measured on.
    ///   - watch: Seconds to look for noisy neighbours: half of them asleep, which shows what runs
    ///     beside us, and half busy on both CPUs, which shows what the host takes from us.
    /// - Returns: What was found.
    public static func current(_ settings: Settings, watch: Double = 1) -> Machine {
        let cpus = ProcessInfo.processInfo.activeProcessorCount
        let measured: [Int32] = settings.cpus.map { [$0.producer, $0.consumer] } ?? [0]
        let governor = Self.governor(of: measured)
        let siblings = areSiblings(settings.cpus)
        let before = CPUTimes.now()
        // The look is what is wanted; the ping-pong is the other half of it.
        Thread.sleep(forTimeInterval: watch / 2)
        let between = CPUTimes.now()
        var probe = settings
        probe.duration = watch / 2
        let trip = try? BenchKit.pingPong.measure(probe).value
        let foreign = Swift.max(
            CPUTimes.foreignShare(from: before, to: between),
            CPUTimes.foreignShare(from: between, to: .now()))
        return Machine(
            processor: processorName(), cpus: cpus, siblings: siblings, governor: governor,
            clock: word("/sys/devices/system/clocksource/clocksource0/current_clocksource")
                ?? "unknown",
            memory: ProcessInfo.processInfo.physicalMemory, sharedMemory: sharedMemorySize(),
            kernel: word("/proc/sys/kernel/osrelease") ?? "unknown", features: kernelFeatures(),
            compiler: compilerName(),
            commit: Revision.ofThisProgram?.text, pingPong: trip,
            warnings: warnings(
                cpus: cpus, siblings: siblings, governor: governor, trip: trip, foreign: foreign))
    }

    /// A few lines for people.
    public var summary: String {
        let trip = pingPong.map { ", ping-pong \(Table.figure($0, .nanoseconds))" } ?? ""
        let revision = commit.map { ", commit \($0)" } ?? ""
        return """
            \(processor), \(cpus) CPUs\(trip), clock \(clock), \(memory >> 30) GiB, \
            /dev/shm \(sharedMemory >> 30) GiB
            Linux \(kernel), \(compiler)\(revision)
            """
    }

    /// Everything about it, each under its name.
    public var facts: [(name: String, value: String)] {
        [
            ("processor", processor), ("CPUs", "\(cpus)"),
            ("threads of one core", siblings ? "yes" : "no"),
            ("frequency governor", governor ?? "not shown"),
            ("ping-pong", pingPong.map { Table.figure($0, .nanoseconds) } ?? "no figure"),
            ("clock", clock), ("memory", "\(memory >> 30) GiB"),
            ("/dev/shm", "\(sharedMemory >> 30) GiB"), ("kernel", "Linux \(kernel)"),
            ("kernel has", features.joined(separator: ", ")), ("compiler", compiler),
            ("commit", commit ?? "unknown"),
        ]
    }

    /// What sets the frequency of some CPUs; both, if these differ.
    internal static func governor(
        of cpus: [Int32], in folder: String = "/sys/devices/system/cpu"
    ) -> String? {
        let found = Set(
            cpus.compactMap { word("\(folder)/cpu\($0)/cpufreq/scaling_governor") })
        return found.isEmpty ? nil : found.sorted().joined(separator: ", ")
    }

    internal static func warnings(
        cpus: Int, siblings: Bool, governor: String?, trip: Double?, foreign: Double
    ) -> [String] {
        var warnings: [String] = []
        if cpus < 2 { warnings.append("one CPU: both sides of every channel take turns on it") }
        if siblings { warnings.append("the two CPUs are threads of one core") }
        if let governor, governor != "performance" {
            warnings.append("frequency governor \(governor): the clock is not steady")
        }
        if let trip, trip < 60 {
            warnings.append(
                "ping-pong \(Int(trip)) ns: as if the two CPUs were threads of one core")
        }
        if foreign > Runner.noisy {
            warnings.append("others take \(Int(foreign * 100)) % of the CPUs")
        }
        #if DEBUG
        warnings.append("built for debugging: use -c release")
        #endif
        return warnings
    }

    /// Whether the second CPU is in the first one's list of threads, as "0,2-3".
    private static func areSiblings(_ cpus: (producer: Int32, consumer: Int32)?) -> Bool {
        guard let cpus, cpus.producer != cpus.consumer else { return false }
        let path = "/sys/devices/system/cpu/cpu\(cpus.producer)/topology/thread_siblings_list"
        return (word(path) ?? "").split(separator: ",").contains { range in
            let ends = range.split(separator: "-").compactMap { Int32($0) }
            guard let first = ends.first, let last = ends.last else { return false }
            return (first...max(first, last)).contains(cpus.consumer)
        }
    }

    private static func kernelFeatures() -> [String] {
        let names = [
            "pidfd_open", "memfd_create", "membarrier", "futex_waitv", "close_range",
            "process_vm_readv",
        ]
        let calls = names.filter { call in unsafe call.withCString { unsafe bench_kernel_has($0) } }
        let groups = word("/sys/fs/cgroup/cgroup.controllers") == nil ? [] : ["cgroup2"]
        let pages = text("/sys/kernel/mm/transparent_hugepage/shmem_enabled")
            .split(separator: "[").last?.split(separator: "]").first
        return calls + groups + (pages.map { ["huge pages of shared memory: \($0)"] } ?? [])
    }

    private static func text(_ path: String) -> String {
        (try? String(contentsOfFile: path, encoding: .utf8)) ?? ""
    }

    private static func word(_ path: String) -> String? {
        let found = text(path).trimmingCharacters(in: .whitespacesAndNewlines)
        return found.isEmpty ? nil : found
    }

    private static func processorName() -> String {
        let lines = text("/proc/cpuinfo").split(separator: "\n")
        let line = lines.first { $0.hasPrefix("model name") || $0.hasPrefix("CPU part") }
        let value = line?.split(separator: ":", maxSplits: 1).last
        return value.map { $0.trimmingCharacters(in: .whitespaces) } ?? "unknown"
    }

    private static func sharedMemorySize() -> UInt64 {
        let attributes = try? FileManager.default.attributesOfFileSystem(forPath: "/dev/shm")
        return (attributes?[.systemSize] as? NSNumber)?.uint64Value ?? 0
    }

    private static func compilerName() -> String {
        #if compiler(>=6.4)
        "Swift 6.4 or later"
        #elseif compiler(>=6.3)
        "Swift 6.3"
        #else
        "Swift 6.2"
        #endif
    }
}
