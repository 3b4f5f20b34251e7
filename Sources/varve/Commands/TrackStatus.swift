import ArgumentParser
import BlockModel
import SnapshotService
import Workflows

extension TrackCommand {
    struct Status: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract:
                "Show what is tracked: how full its store is, how old its view is, what it costs.")

        @OptionGroup var output: OutputOptions

        @Argument(help: "The device or its mount point (default: all).")
        var device: String?

        func run() throws {
            let all = try TrackWorkflow(states: Local.states).status(device)
            for status in all {
                if output.json {
                    JSONLine.write(Message(status))
                } else {
                    Self.lines(status).forEach(output.answer)
                }
            }
            if all.isEmpty { output.note("nothing is tracked; see 'varve track begin'") }
        }

        private static func lines(_ status: TrackWorkflow.Status) -> [String] {
            var lines = ["\(status.tracked.path): "]
            let mounts =
                status.mounts.isEmpty
                ? "not mounted" : "mounted at \(status.mounts.joined(separator: ", "))"
            switch status.condition {
            case .active:
                lines[0] += "tracked, \(mounts)"
                lines += details(status)
            case .overflowed:
                lines[0] += "tracked, \(mounts); its store overflowed"
                lines.append("               the next backup compares everything and starts over")
            case .inactive(let reason):
                lines[0] += "not tracked now, \(mounts): \(reason)"
                lines.append(Self.next(status))
            }
            return lines.prefix(1) + lines.dropFirst().map { "  " + $0 }
        }

        private static func next(_ status: TrackWorkflow.Status) -> String {
            guard !status.isThere else {
                return "               the next backup compares everything and starts over"
            }
            let path = status.tracked.path
            guard let plain = status.tracked.plainDevice else {
                return "               'varve track end \(path)' removes what is left of it"
            }
            return "               'varve track begin \(plain)' creates its layer again"
        }

        private static func details(_ status: TrackWorkflow.Status) -> [String] {
            let view =
                "frozen view    \(status.viewPath), taken \(Moment.local(status.viewBegan))"
            let copied = Human.bytes(TrackWorkflow.copiedByteCount)
            let used = Human.bytes(status.usedByteCount)
            let total = Human.bytes(status.storeByteCount)
            switch status.tracked.mechanism {
            case .stores(let place):
                return [
                    view, "store          \(place), \(used) of \(total) used",
                    "cost           each \(copied) is copied when it is "
                        + "first written after a backup; discards are held back ('varve track trim')",
                ]
            case .thinPool:
                return [
                    view, "thin pool      \(used) of \(total) used, by all its volumes",
                    "cost           the pool keeps overwritten data until the next backup",
                ]
            case .era:
                return ["era            \(status.view)", "cost           only that of dm-era"]
            }
        }

        private struct Message: Encodable {
            var messageType = "tracking"
            let device: String
            let state: String
            let reason: String?
            let mounts: [String]
            let mechanism: String
            let store: String?
            let storeUsedBytes: UInt64
            let storeBytes: UInt64
            let storeLimitBytes: UInt64?
            let view: UInt64
            let viewTime: String
            let began: String
            let holdsDiscards: Bool

            init(_ status: TrackWorkflow.Status) {
                device = status.tracked.path
                var reason: String?
                switch status.condition {
                case .active: state = "active"
                case .overflowed: state = "overflowed"
                case .inactive(let why):
                    state = "inactive"
                    reason = why
                }
                self.reason = reason
                mounts = status.mounts
                mechanism = status.tracked.mechanismName
                store = status.tracked.store
                storeUsedBytes = status.usedByteCount
                storeBytes = status.storeByteCount
                storeLimitBytes = store == nil ? nil : status.storeByteCount
                view = status.view
                viewTime = status.viewBegan.rfc3339
                began = status.began.rfc3339
                holdsDiscards = reason == nil && store != nil
            }
        }
    }
}
