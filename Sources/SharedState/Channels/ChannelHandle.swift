// SPDX-License-Identifier: Apache-2.0

internal import CShm

/// What is sent when a channel of elements is.
internal struct ChannelHandle: Codable {
    let place: ObjectPlace
    /// The tag of a channel whose elements are not told by their Swift type.
    let tag: UInt64?

    init(_ object: SharedObject, tag: UInt64?) throws(SharedStateError) {
        place = try object.place()
        self.tag = tag
    }

    func object() throws(SharedStateError) -> SharedObject {
        SharedObject(try place.region(), place.offset, sent: true)
    }
}

/// What elements are, told by a text of the user's and not by their Swift type.
internal func customTag(_ text: String?) -> UInt64? {
    text.map { unsafe cshm_type_tag($0) }
}
