// SPDX-License-Identifier: Apache-2.0

internal import CWorkerEntry
internal import Glibc
internal import Synchronization

/// A process about to start: its options as bytes and descriptors, all checked that can be.
///
/// What can only go wrong in the new process, such as a niceness that takes a right, is an error of
/// its closure's.
internal final class Launch: Sendable {
    private static let count = Atomic(0)

    let name: String
    let isDaemon: Bool
    /// For ``LaunchOrders``.
    let orders: [UInt8]
    let showsBacktrace: Bool
    let output: StreamTap?
    let error: StreamTap?
    private let parcel: Mutex<Parcel?>

    /// To be sent with the orders.
    var descriptors: [Int32] { parcel.withLock { $0?.descriptors ?? [] } }

    /// Closes what was opened for the process, which has its own now.
    func closeFarEnds() { parcel.withLock { $0 = nil } }

    init(_ options: ChildProcess.Options) throws(SharedStateError) {
        let identity = ChildProcess.current
        let number = Self.count.wrappingAdd(1, ordering: .relaxed).newValue
        name = options.name ?? "child-\(number)"
        isDaemon = options.isDaemon ?? identity.isDaemon
        var parcel = Parcel()
        try parcel.add(options.standardInput)
        output = try parcel.add(options.standardOutput, as: STDOUT_FILENO)
        showsBacktrace = options.showsBacktrace
        let errors = options.standardError
        error = try parcel.add(
            showsBacktrace && errors == .inherited ? .echoed(limit: 1 << 18) : errors,
            as: STDERR_FILENO)
        try parcel.add(directory: options.workingDirectory)
        for descriptor in options.descriptors { try parcel.add(given: descriptor) }
        let roles = parcel.roles
        self.parcel = Mutex(parcel)
        orders =
            LaunchOrders(
                name: name, parentName: identity.name, isDaemon: isDaemon, roles: roles,
                environment: try Self.checked(options.environment),
                cpus: try Self.checked(options.cpus), niceness: try Self.checked(options.niceness)
            ).bytes
    }

    private static func checked(
        _ environment: [String: String?]
    ) throws(SharedStateError) -> [String: String?] {
        for (name, value) in environment
        where name.isEmpty || (name + (value ?? "")).utf8.contains(0) || name.contains("=") {
            throw SharedStateError(.invalidArgument, "\"\(name)\" cannot be set in an environment")
        }
        return environment
    }

    private static func checked(_ cpus: Set<Int>?) throws(SharedStateError) -> [Int]? {
        guard let cpus else { return nil }
        let available = AllowedCPUs.all
        guard !cpus.isEmpty, cpus.isSubset(of: available) else {
            throw SharedStateError(
                .invalidArgument,
                "it cannot run on CPUs \(cpus.sorted()); this process may use \(available.sorted())"
            )
        }
        return cpus.sorted()
    }

    private static func checked(_ niceness: Int) throws(SharedStateError) -> Int {
        guard (-40...39).contains(niceness) else {
            throw SharedStateError(.invalidArgument, "niceness is from -40 to 39")
        }
        return niceness
    }
}

/// The descriptors that go with a launch.
private struct Parcel: Sendable {
    private(set) var descriptors: [Int32] = []
    private(set) var roles: [LaunchOrders.Role] = []
    private var owned: [OwnedDescriptor] = []

    private mutating func add(_ descriptor: Int32, _ role: LaunchOrders.Role) {
        descriptors.append(descriptor)
        roles.append(role)
    }

    private mutating func add(owning descriptor: Int32, _ role: LaunchOrders.Role) {
        owned.append(OwnedDescriptor(descriptor))
        add(descriptor, role)
    }

    mutating func add(_ input: ChildProcess.Input) throws(SharedStateError) {
        switch input {
        case .inherited: break
        case .discarded: try addNull(.input)
        case .bytes(let bytes): add(owning: try Self.file(of: bytes), .input)
        case .descriptor(let descriptor): add(try Self.checked(descriptor), .input)
        }
    }

    mutating func add(_ output: ChildProcess.Output, as number: Int32) throws(SharedStateError)
        -> StreamTap?
    {
        let role: LaunchOrders.Role = number == STDOUT_FILENO ? .output : .error
        let pipe: (tap: StreamTap, far: Int32)
        switch output {
        case .inherited: return nil
        case .discarded:
            try addNull(role)
            return nil
        case .descriptor(let descriptor):
            add(try Self.checked(descriptor), role)
            return nil
        case .echoed(let limit): pipe = try StreamTap.make(limit: limit, echo: number)
        case .captured(let limit): pipe = try StreamTap.make(limit: limit, echo: nil)
        }
        add(owning: pipe.far, role)
        return pipe.tap
    }

    mutating func add(directory path: String?) throws(SharedStateError) {
        guard let path else { return }
        let descriptor = try unsafe check(cworker_open_directory(path), "open", path)
        add(owning: descriptor, .directory)
    }

    mutating func add(given descriptor: Int32) throws(SharedStateError) {
        add(try Self.checked(descriptor), .given)
    }

    private mutating func addNull(_ role: LaunchOrders.Role) throws(SharedStateError) {
        let descriptor = unsafe open("/dev/null", O_RDWR | O_CLOEXEC)
        guard descriptor >= 0 else { throw SharedStateError(status: -errno, "open", "/dev/null") }
        add(owning: descriptor, role)
    }

    private static func checked(_ descriptor: Int32) throws(SharedStateError) -> Int32 {
        guard fcntl(descriptor, F_GETFD) >= 0 else {
            throw SharedStateError(.invalidArgument, "descriptor \(descriptor) is not open")
        }
        return descriptor
    }

    /// A file without a name, to be read from its beginning; no pipe, which somebody must fill.
    private static func file(of bytes: [UInt8]) throws(SharedStateError) -> Int32 {
        let file = try unsafe check(
            cworker_make_file("sharedstate-input"), "memfd_create", "an input")
        var done = 0
        while done < bytes.count {
            let count = unsafe bytes[done...].withUnsafeBytes {
                unsafe pwrite(file, $0.baseAddress, $0.count, off_t(done))
            }
            guard count >= 0 || errno == EINTR else {
                let number = errno
                close(file)
                throw SharedStateError(status: -number, "pwrite", "an input")
            }
            done += max(0, count)
        }
        return file
    }
}

/// A descriptor that is closed with its last user.
internal final class OwnedDescriptor: Sendable {
    let number: Int32

    init(_ number: Int32) { self.number = number }
    deinit { close(number) }
}
