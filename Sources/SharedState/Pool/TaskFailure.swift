// SPDX-License-Identifier: Apache-2.0

/// Which task failed, where, and how: ``SharedStateError/task`` of `taskFailed` and `workerDied`.
public struct TaskFailure: Hashable, Sendable {
    /// The index of the task's element in its call; 0 of a single task.
    public let index: Int
    /// The process that ran it.
    public let workerPID: Int32
    /// What it threw, as text; empty if the worker died.
    public let text: String
    /// What it threw, if its type is `Codable` and this process has it.
    public let error: (any Error)?
    /// How the worker ended, if it did.
    public let exit: ExitReport?

    /// Errors are compared as text.
    public static func == (left: TaskFailure, right: TaskFailure) -> Bool {
        left.index == right.index && left.workerPID == right.workerPID && left.text == right.text
    }

    /// As `==`.
    public func hash(into hasher: inout Hasher) {
        hasher.combine(index)
        hasher.combine(workerPID)
        hasher.combine(text)
    }
}

/// An error that a task threw, as bytes: its text, and itself where it is `Codable`.
internal enum RemoteFailure {
    static func encode(_ error: any Error) -> [UInt8] {
        var writer = ByteWriter()
        writer.append(string: "\(error)")
        var value = ByteWriter()
        do {
            try encodeValue(error, into: &value)
            writer.append(raw: value.bytes)
        } catch {
            // The text alone.
        }
        return writer.bytes
    }

    static func decode(_ bytes: UnsafeRawBufferPointer) -> (text: String, error: (any Error)?) {
        var reader = unsafe ByteReader(bytes)
        guard let text = try? reader.string() else { return ("its error's text was damaged", nil) }
        guard reader.remaining > 0, let error = try? decodeValue(from: &reader) else {
            return (text, nil)
        }
        return (text, error)
    }

    private static func encodeValue(_ error: any Error, into writer: inout ByteWriter) throws {
        func encode<E: Error>(_ error: E) throws {
            guard E.self is any Codable.Type else { return }
            try TypeReference(E.self).encode(into: &writer)
            try TransferPlan<E>.plan(for: E.self).encode(error, into: &writer)
        }
        try encode(error)
    }

    private static func decodeValue(from reader: inout ByteReader) throws -> (any Error)? {
        guard let type = try TypeReference(from: &reader).resolve() as? any Error.Type else {
            return nil
        }
        func decode<E: Error>(_: E.Type) throws -> any Error {
            try TransferPlan<E>.plan(for: E.self).decode(from: &reader)
        }
        return try decode(type)
    }
}

extension SharedStateError {
    /// A task threw.
    internal static func thrown(
        _ bytes: UnsafeRawBufferPointer, index: Int, pid: Int32
    ) -> SharedStateError {
        let (text, error) = unsafe RemoteFailure.decode(bytes)
        return SharedStateError(
            .taskFailed, text,
            task: TaskFailure(index: index, workerPID: pid, text: text, error: error, exit: nil))
    }

    /// The worker died that ran a task.
    internal static func died(_ report: ExitReport, index: Int) -> SharedStateError {
        var text = "worker \(report.pid) died of \(report) while it ran task \(index)"
        if report.status == .signalled(11) {
            text += "; does its closure use a top-level variable of main.swift? "
            text += "Those are not initialised in a worker: use @main, a function, or `with:`"
        }
        return SharedStateError(
            .workerDied, text,
            task: TaskFailure(
                index: index, workerPID: report.pid, text: "", error: nil, exit: report))
    }
}
