internal import CDiskContents
internal import Glibc
internal import LinuxIO

/// The program that reads a file system, and what is said between it and this one.
///
/// The messages are those of `FileReaderMessages.h`. A reader that breaks off, that says what makes no
/// sense, nothing for too long, or too much, is ended, and the file system called damaged.
final class ReaderProcess {
    private static let name = "varve-file-reader"
    /// What a question may cost: a directory whose list asks for more than that of the image, or has
    /// more than that of names, turns in a circle.
    private static let readLimit: UInt64 = 16 << 30
    private static let listLimit: UInt64 = 8 << 30
    /// All names come from the image, most of them once: so many bytes of answers it gives for each of
    /// its own, and that many more.
    private static let allListsLimit = (perByte: UInt64(64), more: UInt64(256) << 20)
    /// What each message counts as, at least: many small ones are no way around the limits.
    private static let smallestByteCount: UInt64 = 4096
    /// How often it may use up its patience for one question, and for all.
    private static let patienceLimits = (question: UInt64(10), all: UInt64(60))

    private let image: any ImageBytes
    private let range: Range<UInt64>
    private let type: String
    private let patience: Int32
    private let channel: Channel
    private let process: ChildProcess
    /// How long it worked, the time to read the image aside: for this question, and for all.
    private var workNanoseconds = (question: UInt64(0), all: UInt64(0))
    private var readByteCount: UInt64 = 0
    private var listByteCount = (question: UInt64(0), all: UInt64(0))
    /// Why bytes of the image could not be read.
    private var failure: (any Error)?
    private var isOver = false

    init(
        _ image: any ImageBytes,
        _ range: Range<UInt64>,
        _ type: String,
        program: String?,
        patience: Int32
    ) throws {
        self.patience = patience

        guard let path = program ?? Program.companion(Self.name) else {
            throw ContentsError(
                .unsuitable,
                "\(type) is read by \(Self.name), which is missing beside the program and in "
                    + "../lib/varve; build it with 'swift build -c release --product \(Self.name)' "
                    + "and put it there")
        }
        self.image = image
        self.range = range
        self.type = type
        let (own, other) = try Channel.open(to: Self.name)
        channel = own
        process = try ChildProcess([path], input: other.descriptor, errors: nil)
        withExtendedLifetime(other) {}
    }

    deinit { process.end(seconds: 0) }

    // MARK: Questions

    /// Opens the file system; gives the inode of its root.
    func open() throws -> UInt64 {
        try ask(
            VARVE_READER_OPEN, number: UInt64(range.count), Array(type.utf8))
        return try answer(VARVE_READER_DONE).message.number
    }

    func forget() {
        // What cannot be opened again fails at the next question.
        try? ask(VARVE_READER_FORGET)
        _ = try? answer(VARVE_READER_DONE)
    }

    func inode(_ number: UInt64) throws -> varve_reader_inode {
        try ask(VARVE_READER_INODE, number: number)
        let payload = try answer(VARVE_READER_INODE_IS).payload
        guard payload.count == MemoryLayout<varve_reader_inode>.size else { throw nonsense() }
        return unsafe payload.withUnsafeBytes {
            unsafe $0.loadUnaligned(as: varve_reader_inode.self)
        }
    }

    /// Goes through the entries or streams of an inode.
    func list(
        _ number: UInt64,
        _ question: varve_reader_kind,
        _ body: (varve_reader_entry, _ name: [UInt8]) throws -> Void
    ) throws {
        let kind =
            question == VARVE_READER_LIST ? VARVE_READER_ENTRIES : VARVE_READER_STREAMS
        try ask(question, number: number)
        var problem: (any Error)?
        while let payload = try next(kind) {
            guard problem == nil else { continue }
            do {
                try entries(in: payload, body)
            } catch {
                problem = error
            }
        }
        if let problem { throw problem }
    }

    private func entries(
        in payload: [UInt8],
        _ body: (varve_reader_entry, _ name: [UInt8]) throws -> Void
    ) throws {
        let size = MemoryLayout<varve_reader_entry>.size
        var offset = 0
        while offset < payload.count {
            guard payload.count - offset >= size else { throw nonsense() }
            let entry = unsafe payload.withUnsafeBytes {
                unsafe $0.loadUnaligned(fromByteOffset: offset, as: varve_reader_entry.self)
            }
            offset += size
            let count = Int(entry.name_byte_count)
            guard payload.count - offset >= count else { throw nonsense() }
            try body(entry, Array(payload[offset..<offset + count]))
            offset += count
        }
    }

    /// At most `count` bytes of a stream, which ends where there are fewer.
    func content(
        of number: UInt64,
        _ stream: UInt32,
        at offset: UInt64,
        count: Int
    ) throws -> [UInt8] {
        try ask(
            VARVE_READER_CONTENT, number: number, offset: offset, stream: stream,
            count: UInt32(count))
        let payload = try answer(VARVE_READER_BYTES).payload
        guard payload.count <= count else { throw nonsense() }
        return payload
    }

    // MARK: Messages

    private typealias Message = varve_reader_message

    private func ask(
        _ kind: varve_reader_kind,
        number: UInt64 = 0,
        offset: UInt64 = 0,
        stream: UInt32 = 0,
        count: UInt32 = 0,
        _ payload: [UInt8] = []
    ) throws {
        guard !isOver else { throw ContentsError(.damaged, "its reader has ended") }
        failure = nil
        workNanoseconds.question = 0
        readByteCount = 0
        listByteCount.question = 0
        let message = Message(
            kind: kind.rawValue, byte_count: UInt32(payload.count), number: number,
            offset: offset, stream: stream, count: count)
        try send(message, payload)
    }

    private func send(_ message: Message, _ payload: [UInt8]) throws {
        var bytes = unsafe withUnsafeBytes(of: message) { unsafe [UInt8]($0) }
        bytes += payload
        do {
            try unsafe channel.send(bytes.span.bytes)
        } catch {
            throw ended()
        }
    }

    /// The next payload of a list; nil at its end.
    private func next(_ kind: varve_reader_kind) throws -> [UInt8]? {
        let (message, payload) = try receive()
        if message.kind == VARVE_READER_DONE.rawValue { return nil }
        guard message.kind == kind.rawValue else { throw nonsense() }
        let count = max(UInt64(payload.count), Self.smallestByteCount)
        listByteCount.question += count
        listByteCount.all += count
        guard listByteCount.question <= Self.listLimit,
            (listByteCount.all - min(listByteCount.all, Self.allListsLimit.more))
                / Self.allListsLimit.perByte <= UInt64(range.count)
        else { throw endless() }
        return payload
    }

    private func answer(
        _ kind: varve_reader_kind
    ) throws -> (message: Message, payload: [UInt8]) {
        let (message, payload) = try receive()
        guard message.kind == kind.rawValue else { throw nonsense() }
        return (message, payload)
    }

    /// What the reader answers, after it was given what it asked for of the image.
    private func receive() throws -> (message: Message, payload: [UInt8]) {
        while true {
            var message = Message()
            try unsafe withUnsafeMutableBytes(of: &message) { unsafe try fill($0) }
            guard message.byte_count <= VARVE_READER_PAYLOAD_LIMIT else { throw nonsense() }
            guard message.kind == VARVE_READER_READ.rawValue else {
                var payload = [UInt8](repeating: 0, count: Int(message.byte_count))
                try unsafe payload.withUnsafeMutableBytes { unsafe try fill($0) }
                guard message.kind != VARVE_READER_FAILED.rawValue else {
                    throw failure ?? ContentsError(.damaged, Self.words(payload))
                }
                return (message, payload)
            }
            guard message.byte_count == 0, message.count > 0,
                message.count <= VARVE_READER_PAYLOAD_LIMIT
            else { throw nonsense() }
            readByteCount += max(UInt64(message.count), Self.smallestByteCount)
            guard readByteCount <= Self.readLimit else { throw endless() }
            try read(message)
        }
    }

    private static func words(_ payload: [UInt8]) -> String {
        String(decoding: payload.prefix(512).map { $0 < 0x20 ? 0x20 : $0 }, as: UTF8.self)
    }

    private func read(_ message: Message) throws {
        var bytes = [UInt8](repeating: 0, count: Int(message.count))
        let size = UInt64(range.count)
        let isInside = message.offset <= size && UInt64(message.count) <= size - message.offset
        if isInside {
            do {
                try unsafe bytes.withUnsafeMutableBytes {
                    unsafe try image.read(
                        into: $0, at: range.lowerBound + message.offset)
                }
            } catch {
                failure = error
            }
        }
        let isRead = isInside && failure == nil
        try send(
            Message(
                kind: (isRead ? VARVE_READER_BYTES : VARVE_READER_FAILED).rawValue,
                byte_count: isRead ? message.count : 0, number: 0, offset: 0, stream: 0, count: 0),
            isRead ? bytes : [])
    }

    private func fill(_ target: UnsafeMutableRawBufferPointer) throws {
        let start = SystemClock.monotonicNanoseconds()
        let arrival = try unsafe channel.receive(into: target, milliseconds: patience)
        let time = SystemClock.monotonicNanoseconds() - start
        workNanoseconds.question += time
        workNanoseconds.all += time
        switch arrival {
        case .whole:
            let nanoseconds = UInt64(patience) * 1_000_000
            guard
                workNanoseconds.question <= nanoseconds * Self.patienceLimits.question,
                workNanoseconds.all <= nanoseconds * Self.patienceLimits.all
            else { throw over("the reader of \(type) took too long and was stopped") }
        case .endedBefore: throw ended()
        case .silent:
            throw over("the reader of \(type) took too long to answer and was stopped")
        }
    }

    // MARK: The end

    private func nonsense() -> ContentsError {
        over("the reader of \(type) gave an invalid answer and was stopped")
    }

    private func endless() -> ContentsError {
        over("the reader of \(type) did not finish one request and was stopped")
    }

    private func ended() -> ContentsError {
        for _ in 0..<100 where process.poll() == nil { usleep(10_000) }
        let status = process.poll() ?? 0
        return over(
            status == 3
                ? "the reader of \(type) could not drop its privileges and ended"
                : "the reader of \(type) ended"
                    + (status > 128 ? " by signal \(status - 128)" : " with status \(status)"))
    }

    private func over(_ words: String) -> ContentsError {
        isOver = true
        process.end(seconds: 0)
        return ContentsError(.damaged, words)
    }
}
