// SPDX-License-Identifier: Apache-2.0

/// Who tells types that are decoded what they ask their decoder for.
package protocol DecodingNotesProvider {
    static var userInfo: [CodingUserInfoKey: Any] { get }
}

/// What a decoder tells the types that it decodes.
///
/// A distributed actor asks for its system. This module knows of none, so that programs without such
/// actors do not link them; the module that does is asked for by the name of its provider, once, if it
/// is in the program.
internal enum DecodingNotes {
    /// The mangled name of `SharedStateActors.Resolver`.
    private static let providerName = "17SharedStateActors8ResolverO"
    private static let provider =
        _typeByName(providerName) as? any (DecodingNotesProvider & SendableMetatype).Type

    internal static var userInfo: [CodingUserInfoKey: Any] { provider?.userInfo ?? [:] }
}
