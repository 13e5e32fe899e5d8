// SPDX-License-Identifier: Apache-2.0

internal import CShm

/// What is sent when a channel of elements is.
internal struct ChannelHandle: Codable {
    let place: ObjectPlace
    /// The tag of a channel whose elements are not told by their Swift type.
    let tag: UInt64?

    init(
        _ object: SharedObject, endedAs kind: cshm_kind? = nil, tag: UInt64?
    ) throws(SharedStateError) {
        if let kind {
            place = try object.place(endedAs: kind)
        } else {
            place = try object.keptPlace()
        }
        self.tag = tag
    }

    func object() throws -> SharedObject {
        try SharedObject(arriving: place)
    }
}

/// What elements are, told by a text of the user's and not by their Swift type.
internal func customTag(_ text: String?) -> UInt64? {
    text.map { unsafe cshm_type_tag($0) }
}
