import LinuxIO
import Synchronization
import TestKit
import Testing

@Suite(.timeLimit(.minutes(60)))
struct WorkersTests {
    private struct Failed: Error, Equatable { let worker: Int }

    @Test("Each worker runs once, on a thread of its own", arguments: [1, 2, 7])
    func all(count: Int) throws {
        let ran = Mutex<[Int]>([])
        let arrived = Atomic<Int>(0)
        var idleCount = 0
        let body: @Sendable (Int) -> Void = { index in
            // No worker goes on before all are there, so that none can run behind another.
            arrived.add(1, ordering: .acquiringAndReleasing)
            while arrived.load(ordering: .acquiring) < count {}
            ran.withLock { $0.append(index) }
        }
        try Workers.run(
            count: count, failure: SharedFailure(), idle: { idleCount += 1 }, body)
        #expect(ran.withLock { $0.sorted() } == Array(0..<count))
        #expect(idleCount >= 1)
    }

    @Test("No workers are done at once")
    func none() throws {
        try onThreads(0) { _ in
            throw Failed(worker: 0)
        }
    }

    @Test("The first error is thrown, after all workers have ended", arguments: 0..<4)
    func firstError(first: Int) {
        let failure = SharedFailure()
        let ended = Atomic<Int>(0)
        #expect(throws: Failed(worker: first)) {
            try onThreads(4, failure: failure) { index in
                defer { ended.add(1, ordering: .acquiringAndReleasing) }
                // The others learn of the failure, and fail themselves.
                while index != first, !failure.hasFailed {}
                throw Failed(worker: index)
            }
        }
        #expect(ended.load(ordering: .acquiring) == 4)
        #expect(failure.hasFailed)
        #expect(failure.error as? Failed == Failed(worker: first))
    }

    @Test("A failure keeps the first error that it was told")
    func failure() {
        let failure = SharedFailure()
        #expect(!failure.hasFailed)
        #expect(failure.error == nil)
        failure.record(Failed(worker: 1))
        failure.record(Failed(worker: 2))
        #expect(failure.hasFailed)
        #expect(failure.error as? Failed == Failed(worker: 1))
    }

    @Test("Threads pass a turnstile in the order of their tickets", arguments: 1...10)
    func turnstile(seed: UInt64) throws {
        var generator = SeededGenerator(seed: seed)
        let tickets = Array(0..<UInt64(8)).shuffled(using: &generator)
        let turnstile = Turnstile()
        let order = Mutex<[UInt64]>([])
        try onThreads(8) { index in
            guard turnstile.wait(for: tickets[index]) else { throw Failed(worker: index) }
            order.withLock { $0.append(tickets[index]) }
            turnstile.advance()
        }
        #expect(order.withLock { $0 } == Array(0..<8))
    }

    @Test("A turnstile that is shut sends everybody away, also those who wait")
    func shut() throws {
        let turnstile = Turnstile()
        let passed = Mutex<[Bool]>([])
        try onThreads(4) { index in
            if index == 3 { return turnstile.shut() }
            let isOpen = turnstile.wait(for: UInt64(index) + 1)
            passed.withLock { $0.append(isOpen) }
        }
        #expect(passed.withLock { $0 } == [false, false, false])
        #expect(!turnstile.wait(for: 0))
    }
}
