// SPDX-License-Identifier: Apache-2.0

import Testing

/// The C tests, each as a case of one test, so that `swift test` runs everything.
@Suite("The C library", .serialized)
struct CSuiteTests {
    @Test(arguments: try await names())
    func `passes its own test`(name: String) async throws {
        let result = try await Program.run("CShmTests", [name])
        #expect(result.status == 0, "\(result.out)\(result.err)")
    }

    private static func names() async throws -> [String] {
        let list = try await Program.run("CShmTests", ["--list"])
        try #require(list.status == 0, "\(list.err)")
        return list.out.split(separator: "\n").map(String.init)
    }
}
