// SPDX-License-Identifier: Apache-2.0

internal import CWorkerEntry

/// An address of code or constant data as every process of the same executable knows it.
internal struct ImageAddress: Hashable, Sendable {
    /// The file that holds it; "" for the main executable.
    internal let image: String
    internal let offset: UInt

    /// Nil where no loaded file holds the address.
    internal init?(_ address: UInt) {
        var path: UnsafePointer<CChar>? = nil
        var base: UInt = 0
        let pointer = unsafe UnsafeRawPointer(bitPattern: address)
        guard unsafe cworker_image_of(pointer, &path, &base) == 0, let path = unsafe path else {
            return nil
        }
        image = unsafe String(cString: path)
        offset = address - base
    }

    internal init(from reader: inout ByteReader) throws(SharedStateError) {
        image = try reader.string()
        offset = UInt(try reader.varint())
    }

    internal func encode(into writer: inout ByteWriter) {
        writer.append(string: image)
        writer.append(varint: UInt64(offset))
    }

    /// The address in this process.
    internal func resolve() throws(SharedStateError) -> UInt {
        let base = unsafe cworker_image_base(image)
        guard base != 0 else {
            throw SharedStateError(
                .incompatible,
                "\(image) is not loaded in this process; link it instead of loading it at run time")
        }
        let address = base &+ offset
        guard unsafe cworker_image_holds(UnsafeRawPointer(bitPattern: address), 1) != 0 else {
            throw SharedStateError(.incompatible, "an address lies outside its image: other build?")
        }
        return address
    }
}
