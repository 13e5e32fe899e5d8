// SPDX-License-Identifier: Apache-2.0

internal import CWorkerEntry

/// A closure that captures nothing, as every process of the same executable knows it.
///
/// A closure is two words, code and context. Without captures the context is null, and the code's
/// image and offset say everything. A thunk has a context, a box with the function that it wraps:
/// made anew where the closure is rebuilt.
internal struct PortableFunction: Sendable {
    private struct Box: Sendable {
        let metadata: ImageAddress
        let code: ImageAddress
    }

    private let code: ImageAddress
    private var boxes: [Box] = []

    /// Takes apart a closure.
    ///
    /// `Closure` must be a struct whose only property is a closure: a bare closure passed as a
    /// generic argument would be wrapped in one more thunk.
    internal init<Closure>(_ closure: Closure) throws(SharedStateError) {
        precondition(MemoryLayout<Closure>.size == MemoryLayout<(UInt, UInt)>.size)
        let words = unsafe unsafeBitCast(closure, to: (UInt, UInt).self)
        code = try Self.image(of: words.0)
        var context = words.1
        while let object = ClosureContext(context) {
            guard boxes.count < Self.boxLimit, let function = object.wrappedFunction else {
                throw Self.captures(object)
            }
            boxes.append(
                Box(
                    metadata: try Self.image(of: function.metadata),
                    code: try Self.image(of: function.code)))
            context = function.context
            if let inner = ClosureContext(context), inner.wrappedFunction == nil {
                throw Self.captures(inner)
            }
        }
        withExtendedLifetime(closure) {}
    }

    internal init(from reader: inout ByteReader) throws(SharedStateError) {
        code = try ImageAddress(from: &reader)
        for _ in 0..<(try reader.count()) {
            let metadata = try ImageAddress(from: &reader)
            boxes.append(Box(metadata: metadata, code: try ImageAddress(from: &reader)))
        }
    }

    internal func encode(into writer: inout ByteWriter) {
        code.encode(into: &writer)
        writer.append(count: boxes.count)
        for box in boxes {
            box.metadata.encode(into: &writer)
            box.code.encode(into: &writer)
        }
    }

    /// Puts the closure together in this process, as the struct that it was taken from.
    internal func rebuild<Closure>(as: Closure.Type) throws(SharedStateError) -> Closure {
        var context: UInt = 0
        for box in boxes.reversed() {
            let metadata = try box.metadata.resolve()
            context = cworker_make_box(metadata, try box.code.resolve(), context)
        }
        // The cast copies the context, which takes a reference of its own; ours is given up.
        defer { cworker_release_box(context) }
        return unsafe unsafeBitCast((try code.resolve(), context), to: Closure.self)
    }
}

extension PortableFunction {
    /// How many thunks round a function are looked through.
    private static let boxLimit = 8

    private static func image(of address: UInt) throws(SharedStateError) -> ImageAddress {
        if let image = ImageAddress(address) { return image }
        throw SharedStateError(
            .cannotCross, "the closure's code lies in no loaded file, so no worker can find it")
    }

    private static func captures(_ context: ClosureContext) -> SharedStateError {
        SharedStateError(
            .capturesValues,
            "the closure captures \(context.explanation), and captures cannot cross to another "
                + "process; pass the value as the element, or as `with:`")
    }
}
