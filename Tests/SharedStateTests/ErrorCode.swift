// SPDX-License-Identifier: Apache-2.0

import SharedState

/// The code of the library's error that it throws; `nil` if it throws nothing, or another error.
func code(_ body: () throws -> Void) -> SharedStateError.Code? {
    do {
        try body()
    } catch {
        return (error as? SharedStateError)?.code
    }
    return nil
}

/// As the other form, of what suspends.
func code(_ body: () async throws -> Void) async -> SharedStateError.Code? {
    do {
        try await body()
    } catch {
        return (error as? SharedStateError)?.code
    }
    return nil
}
