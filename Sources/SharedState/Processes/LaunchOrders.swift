// SPDX-License-Identifier: Apache-2.0

internal import CWorkerEntry
internal import Glibc

/// What a new process does before anything else, on its only thread.
internal struct LaunchOrders {
    /// What a descriptor that was sent is for.
    enum Role: UInt8 {
        case input = 0
        case output = 1
        case error = 2
        case directory = 3
        case given = 4
    }

    var name: String
    var parentName: String
    var isDaemon: Bool
    var roles: [Role]
    var environment: [String: String?]
    var cpus: [Int]?
    var niceness: Int

    var bytes: [UInt8] {
        var writer = ByteWriter()
        writer.append(string: name)
        writer.append(string: parentName)
        writer.append(byte: isDaemon ? 1 : 0)
        writer.append(prefixed: roles.map(\.rawValue))
        writer.append(count: environment.count)
        for (name, value) in environment {
            writer.append(string: name)
            writer.append(byte: value == nil ? 0 : 1)
            writer.append(string: value ?? "")
        }
        writer.append(count: cpus?.count ?? 0)
        for cpu in cpus ?? [] { writer.append(count: cpu) }
        writer.append(fixed: Int32(niceness))
        return writer.bytes
    }

    init(
        name: String, parentName: String, isDaemon: Bool, roles: [Role],
        environment: [String: String?], cpus: [Int]?, niceness: Int
    ) {
        self.name = name
        self.parentName = parentName
        self.isDaemon = isDaemon
        self.roles = roles
        self.environment = environment
        self.cpus = cpus
        self.niceness = niceness
    }

    init(from reader: inout ByteReader) throws(SharedStateError) {
        name = try reader.string()
        parentName = try reader.string()
        isDaemon = try reader.byte() == 1
        roles = []
        for byte in try reader.prefixed() {
            guard let role = Role(rawValue: byte) else { throw .truncated }
            roles.append(role)
        }
        environment = [:]
        for _ in 0..<(try reader.count()) {
            let name = try reader.string()
            let isSet = try reader.byte() == 1
            let value = try reader.string()
            environment.updateValue(isSet ? value : nil, forKey: name)
        }
        var cpus: [Int] = []
        for _ in 0..<(try reader.count()) { cpus.append(Int(try reader.varint())) }
        self.cpus = cpus.isEmpty ? nil : cpus
        niceness = Int(try reader.fixed(Int32.self))
    }

    /// Carries them out.
    ///
    /// - Returns: The numbers of the descriptors that are for the closure.
    func apply(_ descriptors: [Int32]) throws(SharedStateError) -> [Int32] {
        guard roles.count <= descriptors.count else { throw .truncated }
        unsafe cworker_set_name(name)
        var given: [Int32] = []
        for (role, descriptor) in zip(roles, descriptors) {
            switch role {
            case .input, .output, .error:
                guard dup2(descriptor, Int32(role.rawValue)) >= 0 else {
                    throw SharedStateError(status: -errno, "dup2", "a standard stream")
                }
                close(descriptor)
            case .directory:
                guard fchdir(descriptor) == 0 else {
                    throw SharedStateError(status: -errno, "fchdir", "the working directory")
                }
                close(descriptor)
            case .given: given.append(descriptor)
            }
        }
        for (name, value) in environment {
            if let value { unsafe setenv(name, value, 1) } else { unsafe unsetenv(name) }
        }
        try applyPriority()
        return given
    }

    private func applyPriority() throws(SharedStateError) {
        if let cpus { try check(AllowedCPUs.set(cpus), "sched_setaffinity", "CPUs \(cpus)") }
        errno = 0
        if niceness != 0, nice(Int32(niceness)) == -1, errno != 0 {
            throw SharedStateError(status: -errno, "nice", "\(niceness)")
        }
    }
}

/// The CPUs that this thread, and what it starts, may run on.
internal enum AllowedCPUs {
    private static let limit = 4096

    static var all: Set<Int> {
        var bits = [UInt8](repeating: 0, count: limit / 8)
        guard unsafe cworker_get_cpus(&bits, bits.count) == 0 else { return [] }
        return Set((0..<limit).filter { bits[$0 / 8] & 1 << ($0 % 8) != 0 })
    }

    static func set(_ cpus: [Int]) -> Int32 {
        var bits = [UInt8](repeating: 0, count: limit / 8)
        for cpu in cpus where (0..<limit).contains(cpu) { bits[cpu / 8] |= 1 << (cpu % 8) }
        return unsafe cworker_set_cpus(bits, bits.count)
    }
}
