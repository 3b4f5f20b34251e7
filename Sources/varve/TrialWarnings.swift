import LiveVolumes
import Logging

/// What every command says that has to do with disks in use, when a trial was lost meanwhile.
enum TrialWarnings {
    static func say(_ output: OutputOptions) {
        for warning in Trial(states: .standard).warnings() {
            output.logger.warning("\(warning)")
        }
    }
}
