internal import CShims
internal import Glibc
internal import Synchronization

/// Threads of our own for work that blocks; Swift's cooperative pool never sees it.
package enum Workers {
    /// One for each processor, within what the memory limit of a capture or restore has room for.
    package static var standardCount: Int {
        min(12, max(1, Int(sysconf(Int32(_SC_NPROCESSORS_ONLN)))))
    }

    /// The machine's memory.
    package static var memoryByteCount: Int {
        let (pages, pageSize) = (sysconf(Int32(_SC_PHYS_PAGES)), sysconf(Int32(_SC_PAGESIZE)))
        return pages > 0 && pageSize > 0 ? Int(pages) * Int(pageSize) : 0
    }

    /// Runs `body` on a thread of its own.
    package static func start(_ body: @escaping @Sendable () -> Void) throws(SystemError) {
        try ThreadEntry(body).start()
    }

    /// Runs `body` again and again on a thread of its own, after a pause each time, until it gives
    /// false.
    package static func startRepeating(
        everySeconds pause: UInt32,
        _ body: @escaping @Sendable () -> Bool
    ) throws(SystemError) {
        try ThreadEntry {
            repeat { sleep(pause) } while body()
        }.start()
    }

    /// Runs `body` on `count` threads and, meanwhile, `idle` about ten times a second on this one;
    /// throws the first error that any of them threw, after all have ended.
    ///
    /// A body learns of another's failure through `failure.hasFailed` and should then return.
    package static func run(
        count: Int,
        failure: SharedFailure,
        idle: () -> Void,
        _ body: @escaping @Sendable (Int) throws -> Void
    ) throws {
        let remaining = Latch(count)
        var started = 0
        for index in 0..<count {
            let entry = ThreadEntry {
                do { try body(index) } catch { failure.record(error) }
                remaining.arrive()
            }
            do {
                try entry.start()
                started += 1
            } catch {
                failure.record(error)
                for _ in index..<count { remaining.arrive() }
                break
            }
        }
        while !remaining.wait(milliseconds: 100) { idle() }
        idle()
        if let error = failure.error { throw error }
    }
}

/// The first error of a group of threads.
package final class SharedFailure: Sendable {
    private let first = Mutex<(any Error)?>(nil)
    private let flag = Atomic<Bool>(false)

    package init() {}

    package var hasFailed: Bool { flag.load(ordering: .acquiring) }
    package var error: (any Error)? { first.withLock { $0 } }

    package func record(_ error: any Error) {
        first.withLock { if $0 == nil { $0 = error } }
        flag.store(true, ordering: .releasing)
    }
}

/// Counts down; a waiter sleeps until it reaches zero.
@safe
private final class Latch: @unchecked Sendable {
    // Safe: all state is guarded by the mutex.
    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let condition = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    private var remaining: Int

    init(_ count: Int) {
        remaining = count
        unsafe pthread_mutex_init(mutex, nil)
        unsafe pthread_cond_init(condition, nil)
    }

    deinit {
        unsafe pthread_cond_destroy(condition)
        unsafe pthread_mutex_destroy(mutex)
        unsafe condition.deallocate()
        unsafe mutex.deallocate()
    }

    func arrive() {
        unsafe pthread_mutex_lock(mutex)
        remaining -= 1
        unsafe pthread_cond_broadcast(condition)
        unsafe pthread_mutex_unlock(mutex)
    }

    /// Whether the count reached zero within the time.
    func wait(milliseconds: Int) -> Bool {
        var deadline = timespec()
        unsafe clock_gettime(CLOCK_REALTIME, &deadline)
        deadline.tv_nsec += milliseconds * 1_000_000
        deadline.tv_sec += deadline.tv_nsec / 1_000_000_000
        deadline.tv_nsec %= 1_000_000_000
        unsafe pthread_mutex_lock(mutex)
        defer { unsafe pthread_mutex_unlock(mutex) }
        while remaining > 0 {
            if unsafe pthread_cond_timedwait(condition, mutex, &deadline) == ETIMEDOUT {
                return remaining == 0
            }
        }
        return true
    }
}

/// Another thread of a group failed or was interrupted, and says so itself.
package struct StoppedForOthers: Error {
    package init() {}
}

/// Lets threads take turns in the order of their tickets; a failed group never waits.
@safe
package final class Turnstile: @unchecked Sendable {
    // Safe: all state is guarded by the mutex.
    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let condition = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    private var next: UInt64 = 0
    private var isOpen = true

    package init() {
        unsafe pthread_mutex_init(mutex, nil)
        unsafe pthread_cond_init(condition, nil)
    }

    deinit {
        unsafe pthread_cond_destroy(condition)
        unsafe pthread_mutex_destroy(mutex)
        unsafe condition.deallocate()
        unsafe mutex.deallocate()
    }

    /// Waits until it is `ticket`'s turn; false when the group failed.
    package func wait(for ticket: UInt64) -> Bool {
        unsafe pthread_mutex_lock(mutex)
        defer { unsafe pthread_mutex_unlock(mutex) }
        while isOpen && next != ticket { unsafe pthread_cond_wait(condition, mutex) }
        return isOpen
    }

    package func advance() {
        unsafe pthread_mutex_lock(mutex)
        next += 1
        unsafe pthread_cond_broadcast(condition)
        unsafe pthread_mutex_unlock(mutex)
    }

    /// Sends everybody away.
    package func shut() {
        unsafe pthread_mutex_lock(mutex)
        isOpen = false
        unsafe pthread_cond_broadcast(condition)
        unsafe pthread_mutex_unlock(mutex)
    }
}

private final class ThreadEntry {
    private let body: @Sendable () -> Void

    init(_ body: @escaping @Sendable () -> Void) { self.body = body }

    func start() throws(SystemError) {
        var thread = pthread_t()
        let context = unsafe Unmanaged.passRetained(self)
        let code = unsafe pthread_create(
            &thread, nil,
            { context in
                guard let context = unsafe context else { return nil }
                unsafe Unmanaged<ThreadEntry>.fromOpaque(context).takeRetainedValue().body()
                return nil
            }, context.toOpaque())
        guard code == 0 else {
            unsafe context.release()
            throw SystemError(.startThread, "a worker", errno: code)
        }
        pthread_detach(thread)
    }
}

/// Leaves a file when the process crashes in its time, by a signal that damaged bytes in mapped memory or a
/// library that gives up can lead to.
package final class CrashMark: Sendable {
    private let number: Int32

    /// Where there are more than 16, or the path is longer than 1,023 bytes, nothing is left.
    package init(_ path: String) { number = unsafe varve_mark_crashes(path.systemBytes) }

    deinit { varve_unmark_crashes(number) }
}

/// Whether the user asked to stop (SIGINT, SIGTERM, SIGHUP).
package enum Interruption {
    package static func install() { varve_set_interrupt_handler() }
    package static var isRequested: Bool { varve_interrupt_requested() != 0 }
    package static func request() { varve_request_interrupt() }
}
