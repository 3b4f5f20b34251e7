import ArgumentParser
import BlockModel
import LiveVolumes
import SnapshotService

extension Track {
    struct Status: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract:
                "Show what is tracked: how full its store is, how old its view, what it costs.")

        @OptionGroup var output: OutputOptions

        @Argument(help: "The device, or where it is mounted (default: all).")
        var device: String?

        func run() throws {
            let all = try Tracking(states: .standard).status(device)
            for status in all {
                if output.json {
                    JSONLine.write(Message(status))
                } else {
                    output.answer(Self.text(status))
                }
            }
            if all.isEmpty { output.note("nothing is tracked; see 'varve track begin'") }
        }

        private static func text(_ status: TrackingStatus) -> String {
            let state = status.state
            var lines = ["/dev/mapper/\(state.device): "]
            let mounts =
                status.mounts.isEmpty
                ? "not mounted" : "mounted at \(status.mounts.joined(separator: ", "))"
            switch status.condition {
            case .active:
                lines[0] += "tracked, \(mounts)"
                lines += details(status)
            case .overflowed:
                lines[0] += "tracked, \(mounts); its store overflowed"
                lines.append("               the next backup compares everything and begins anew")
            case .inactive(let reason):
                lines[0] += "not tracked now, \(mounts): \(reason)"
                lines.append(Self.next(status))
            }
            return lines.joined(separator: "\n  ")
        }

        private static func next(_ status: TrackingStatus) -> String {
            guard !status.isThere, let plain = status.state.plainDevice else {
                return "               the next backup compares everything and begins anew"
            }
            return "               'varve track begin \(plain)' makes its layer again"
        }

        private static func details(_ status: TrackingStatus) -> [String] {
            let state = status.state
            let view =
                "frozen view    /dev/mapper/\(LayerNames(state.device).view(state.view)), of "
                + Moment.local(Timestamp(seconds: state.viewBegan))
            let used = Human.bytes(status.usedByteCount)
            let total = Human.bytes(status.storeByteCount)
            switch state.mechanism {
            case .stores(let place, _):
                var fill = "\(used) of \(total) used"
                if let limit = status.growsToByteCount, limit > status.storeByteCount {
                    fill += ", grows to \(Human.bytes(limit)) at most"
                }
                return [
                    view, "store          \(place.path), \(fill)",
                    "cost           each \(Human.bytes(CopyStore.chunkByteCount)) is copied when it is "
                        + "first written after a backup; discards are held back ('varve track trim')",
                ]
            case .thinPool:
                return [
                    view, "thin pool      \(used) of \(total) used, by all in it",
                    "cost           the pool keeps what is overwritten until the next backup",
                ]
            case .era:
                return ["era            \(state.view)", "cost           none but that of dm-era"]
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

            init(_ status: TrackingStatus) {
                device = "/dev/mapper/\(status.state.device)"
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
                mechanism = status.state.mechanism.name
                store = status.state.mechanism.place?.path
                storeUsedBytes = status.usedByteCount
                storeBytes = status.storeByteCount
                storeLimitBytes = status.growsToByteCount
                view = status.state.view
                viewTime = Timestamp(seconds: status.state.viewBegan).rfc3339
                began = Timestamp(seconds: status.state.began).rfc3339
                holdsDiscards = reason == nil && store != nil
            }
        }
    }
}
