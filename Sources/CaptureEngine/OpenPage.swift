internal import BlockModel
internal import Repository
internal import RepositoryIndex
internal import Synchronization

/// What a block turned out to be, where the snapshot before does not say the same already.
enum Outcome: Hashable, Sendable {
    case data(Digest)
    case zero
}

/// Neighbours that turned out to be the same thing: one block of data, or some of zeros.
struct OutcomeRun: Sendable {
    let slots: Range<Int>
    let outcome: Outcome

    init(_ slots: Range<Int>, _ outcome: Outcome) {
        self.slots = slots
        self.outcome = outcome
    }

    init(_ slot: Int, _ outcome: Outcome) { self.init(slot..<slot + 1, outcome) }
}

/// What workers learned of one chunk of a page.
struct ChunkResult {
    var blockCount = 0
    var outcomes: [OutcomeRun] = []
    /// Fingerprints that the index does not have yet.
    var fingerprints: [(slot: Int, fingerprint: Fingerprint)] = []
}

/// A page while its chunks are being captured, perhaps by several workers at once.
final class OpenPage: Sendable {
    private struct State {
        var remaining: Int
        var blockCount: Int
        var outcomes: [OutcomeRun] = []
        var fingerprints: [(slot: Int, fingerprint: Fingerprint)] = []
        var before: PageBlocks?
    }

    let number: UInt64
    /// The fingerprints of the snapshot before.
    let tip: TipPage?
    private let state: Mutex<State>

    /// `comparedCount` of the page's blocks are going to be looked at; the others are as they were.
    init(number: UInt64, blockCount: Int, comparedCount: Int, tip: TipPage?) {
        self.number = number
        self.tip = tip
        state = Mutex(State(remaining: comparedCount, blockCount: blockCount))
    }

    /// The page as it was, loaded when first asked for.
    func before(_ load: () throws -> PageBlocks) throws -> PageBlocks {
        try state.withLock { state in
            if let before = state.before { return before }
            let before = try load()
            state.before = before
            return before
        }
    }

    /// Adds what was learned of a chunk; true when it was the last one.
    func add(_ result: ChunkResult) -> Bool {
        state.withLock { state in
            state.outcomes.append(contentsOf: result.outcomes)
            state.fingerprints.append(contentsOf: result.fingerprints)
            state.remaining -= result.blockCount
            return state.remaining == 0
        }
    }

    /// Says that the page ends early, because a stream did; true when all its chunks are in.
    func cut(to blockCount: Int) -> Bool {
        state.withLock { state in
            state.remaining -= state.blockCount - blockCount
            state.blockCount = blockCount
            return state.remaining == 0
        }
    }

    /// Everything that was learned, outcomes in order of slot.
    func finished() -> FinishedPage {
        state.withLock { state in
            FinishedPage(
                number: number, blockCount: state.blockCount, tip: tip,
                outcomes: state.outcomes.sorted {
                    $0.slots.lowerBound < $1.slots.lowerBound
                },
                fingerprints: state.fingerprints, before: state.before)
        }
    }
}

struct FinishedPage: Sendable {
    let number: UInt64
    let blockCount: Int
    let tip: TipPage?
    let outcomes: [OutcomeRun]
    let fingerprints: [(slot: Int, fingerprint: Fingerprint)]
    let before: PageBlocks?
}
