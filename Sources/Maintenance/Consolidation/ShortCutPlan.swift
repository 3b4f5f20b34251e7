internal import BlockModel
internal import Repository
internal import RepositoryFormat
internal import RepositoryModel

/// Which deltas that skip snapshots keep the way to the newest one short, worked out without I/O.
///
/// The page of documentation `Consolidation` says why these.
struct ShortCutPlan {
    /// One delta to be: from the start of the first step to the end of the last.
    struct ShortCut: Hashable {
        /// The deltas to merge, by their ends: they are there, or come earlier in the plan.
        let steps: [Step]

        var from: SnapshotID { steps[0].from }
        var to: SnapshotID { steps[steps.count - 1].to }
    }

    /// The two ends of a delta.
    struct Step: Hashable {
        let from: SnapshotID
        let to: SnapshotID
    }

    /// Short cuts in an order in which each can be made of what is there by then.
    private(set) var shortCuts: [ShortCut] = []

    /// Nothing is done while the way has no more deltas.
    static let lengthLimit = 128
    /// Generations of a window at one level, in windows of the level below.
    private static let windowWidth: Generation = 16
    /// Fewer steps are not worth a delta.
    private static let leastSteps = 8

    /// A snapshot on the way, with what the step to it takes in memory when it is merged.
    private struct Point {
        let id: SnapshotID
        let generation: Generation
        let mapByteCount: UInt64
    }

    /// - Parameters:
    ///   - timeline: the volume; sound.
    ///   - lengthLimit: deltas that the way may have.
    init(_ timeline: Timeline, lengthLimit: Int = Self.lengthLimit) {
        guard timeline.isSound, timeline.deltas.count > lengthLimit, let tip = timeline.tip,
            let shortest = timeline.shortestPath(to: tip.id), shortest.count > lengthLimit,
            let path = timeline.finestPath(to: tip.id)
        else { return }
        var points = path.map {
            Point(
                id: $0.head.to, generation: $0.name.to,
                mapByteCount: ForgetPlan.mapByteCount(of: $0))
        }
        let there = Dictionary(
            timeline.deltas.map {
                (Step(from: $0.head.from, to: $0.head.to), ForgetPlan.mapByteCount(of: $0))
            }, uniquingKeysWith: min)
        var width = Self.windowWidth
        while width <= tip.generation {
            points = shorten(points, width, there)
            let (next, isTooMuch) = width.multipliedReportingOverflow(by: Self.windowWidth)
            if isTooMuch { return }
            width = next
        }
    }

    /// Plans the short cuts of one level, and gives the points that the next one is to pass.
    ///
    /// The first point, the base, is never skipped. A window that may still grow is left as it is.
    private mutating func shorten(
        _ points: [Point],
        _ width: Generation,
        _ there: [Step: UInt64]
    ) -> [Point] {
        guard let base = points.first, let last = points.last else { return [] }
        var passed = [base]
        var rest = points.dropFirst()
        while let first = rest.first {
            let number = (first.generation - 1) / width
            let window = Array(rest.prefix { ($0.generation - 1) / width == number })
            rest = rest.dropFirst(window.count)
            let isWhole = (number + 1) * width <= last.generation
            passed += isWhole ? close(window, from: passed[passed.count - 1], there) : window
        }
        return passed
    }

    /// Plans a short cut over the points of a window, if that pays; gives the points to pass.
    private mutating func close(
        _ window: [Point],
        from start: Point,
        _ there: [Step: UInt64]
    ) -> [Point] {
        guard let end = window.last, window.count >= Self.leastSteps else {
            return window
        }
        let merged = Step(from: start.id, to: end.id)
        if let mapByteCount = there[merged] {
            return [Point(id: end.id, generation: end.generation, mapByteCount: mapByteCount)]
        }
        let inMemory = window.reduce(UInt64(0)) { $0 + ForgetPlan.memory($1.mapByteCount) }
        guard inMemory <= ForgetPlan.memoryLimit else { return window }
        var steps: [Step] = []
        var from = start.id
        for point in window {
            steps.append(Step(from: from, to: point.id))
            from = point.id
        }
        shortCuts.append(ShortCut(steps: steps))
        let mapByteCount = window.reduce(UInt64(0)) { $0 + $1.mapByteCount }
        return [Point(id: end.id, generation: end.generation, mapByteCount: mapByteCount)]
    }
}
