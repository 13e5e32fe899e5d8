// SPDX-License-Identifier: Apache-2.0

extension ChildProcess {
    /// Runs `body` where all later children and workers of this process are forked from.
    ///
    /// They have at once what it leaves in globals, and share its memory until one of them writes
    /// there.
    ///
    /// It is run again in whatever takes that process's place. It must use nothing that is shared
    /// between processes, and start no thread: if it does, each child is started anew rather than
    /// forked, and runs it for itself.
    ///
    /// - Parameter body: A closure without captures; what it returns is ignored.
    /// - Throws: `capturesValues`, `cannotHostWorkers`, `taskFailed` (the body threw), `system`.
    public static func preload<Result>(
        _ body: @escaping @Sendable () throws -> Result
    ) throws(SharedStateError) {
        try Zygote.shared().preload(try FunctionReference(body).bytes)
    }
}
