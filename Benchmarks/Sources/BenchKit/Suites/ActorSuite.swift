// SPDX-License-Identifier: Apache-2.0

extension Suites {
    internal static let actors: [Row] = [
        Row(
            "actors/call/8/1", .perSecond, "calls of an object of one's own in another process",
            ActorProbe(), against: [PythonProbe("python-register", "mp_register.py")])
    ]
}
