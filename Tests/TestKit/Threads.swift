package import LinuxIO

/// Runs `body` on `count` threads at once, with the number of each; throws what the first threw.
package func onThreads(
    _ count: Int,
    failure: SharedFailure = SharedFailure(),
    _ body: @escaping @Sendable (Int) throws -> Void
) throws {
    try Workers.run(count: count, failure: failure, idle: {}, body)
}
