import ArgumentParser
import BlockModel
import SnapshotService
import Workflows

extension TrialCommand {
    struct Status: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show what is on trial, and how full the stores are.")

        @OptionGroup var output: OutputOptions

        @Argument(help: "The device or its mount point (default: all).")
        var device: String?

        func run() throws {
            let all = try TrialWorkflow(output).status(device)
            for status in all {
                if output.json {
                    JSONLine.write(Message(status))
                } else {
                    Self.lines(status).forEach(output.answer)
                }
            }
            if all.isEmpty { output.note("nothing is on trial; see 'varve trial begin'") }
        }

        private static func lines(_ status: TrialWorkflow.Status) -> [String] {
            let path = status.subject.path
            let mounts =
                status.mounts.isEmpty
                ? "not mounted" : "mounted at \(status.mounts.joined(separator: ", "))"
            var lines = ["\(path): \(word(status.condition)), \(mounts)"]
            lines.append(
                "began          \(Moment.local(status.subject.began))")
            switch status.condition {
            case .active:
                let fill =
                    "\(Human.bytes(status.usedByteCount)) of \(Human.bytes(status.storeByteCount)) used"
                lines.append("store          \(status.subject.store), \(fill)")
            case .interrupted:
                lines.append("next           run 'varve trial resume' before it is mounted")
            case .merging:
                lines.append("next           run 'varve trial discard' to wait for it")
            case .lost(let reason):
                lines.append("lost           \(reason); end it with 'varve trial keep'")
            case .over:
                lines.append(
                    "next           run 'varve trial keep' to remove what is left of it")
            }
            return lines.prefix(1) + lines.dropFirst().map { "  " + $0 }
        }

        private static func word(_ condition: TrialWorkflow.Status.Condition) -> String {
            switch condition {
            case .active: "on trial"
            case .merging: "being discarded"
            case .interrupted: "interrupted, the layer is missing"
            case .lost: "cannot be discarded"
            case .over: "over"
            }
        }

        private struct Message: Encodable {
            var messageType = "trial"
            let device: String
            let state: String
            let reason: String?
            let began: String
            let mounts: [String]
            let store: String
            let storeUsedBytes: UInt64
            let storeBytes: UInt64
            let storeLimitBytes: UInt64?

            init(_ status: TrialWorkflow.Status) {
                device = status.subject.path
                var reason: String?
                switch status.condition {
                case .active: state = "active"
                case .merging: state = "merging"
                case .interrupted: state = "interrupted"
                case .lost(let why):
                    state = "lost"
                    reason = why
                case .over: state = "over"
                }
                self.reason = reason
                began = status.subject.began.rfc3339
                mounts = status.mounts
                store = status.subject.store
                storeUsedBytes = status.usedByteCount
                storeBytes = status.storeByteCount
                storeLimitBytes = status.storeByteCount
            }
        }
    }
}
