package import BlockModel
package import Configuration

/// Metrics in the text format of Prometheus, for the text-file collector of its node exporter.
package struct Metrics {
    private var families: [(name: String, help: String, samples: [String])] = []

    /// What is known of a job.
    package struct Known {
        package let job: Job
        package let record: JobRecord
        package let tracking: [VolumeName: TrackedVolume]
        package let troubles: [Trouble]

        package init(
            _ job: Job,
            _ record: JobRecord,
            tracking: [VolumeName: TrackedVolume] = [:],
            _ troubles: [Trouble]
        ) {
            self.job = job
            self.record = record
            self.tracking = tracking
            self.troubles = troubles
        }
    }

    /// - Parameter jobs: each job with what is known of it, and why it is not well.
    package init(_ jobs: [Known]) {
        for known in jobs {
            let (job, record, troubles) = (known.job, known.record, known.troubles)
            let labels = [("job", job.name)]
            add(
                "varve_job_healthy", "Whether 'varve status' finds nothing wrong with the job.",
                labels, troubles.isEmpty ? 1 : 0)
            add(
                "varve_job_last_start_timestamp_seconds", "When the job last started.", labels,
                record.lastStart)
            add(
                "varve_job_last_success_timestamp_seconds", "When the job last succeeded.", labels,
                record.lastSuccess)
            add(
                "varve_job_last_failed", "Whether the last run failed.", labels,
                record.lastEnd == nil ? nil : record.error == nil ? 0 : 1)
            add(
                "varve_job_duration_seconds", "How long the last run took.", labels,
                record.lastEnd == nil ? nil : record.seconds)
            for volume in job.volumes {
                let ofVolume = labels + [("volume", volume.name.rawValue)]
                if let last = record.volumes[volume.name.rawValue] {
                    add(last, ofVolume, isTracked: volume.isTracked)
                }
                if let tracked = known.tracking[volume.name] { add(tracked, ofVolume) }
            }
            for (name, step) in [
                ("prune", record.prune), ("check", record.check), ("boot_test", record.bootTest),
            ] where step.time != nil {
                add(
                    "varve_\(name)_timestamp_seconds", "When it last ran.", labels, step.time)
                add(
                    "varve_\(name)_good", "Whether it found nothing wrong.", labels,
                    step.isGood ? 1 : 0)
                add("varve_\(name)_duration_seconds", "How long it took.", labels, step.seconds)
            }
            let repository = [("repository", job.repository.name)]
            add(
                "varve_repository_bytes", "Bytes of all objects of the repository.", repository,
                record.repositoryByteCount)
            add(
                "varve_repository_snapshots", "Snapshots that can be restored.", repository,
                record.repositorySnapshotCount)
        }
    }

    private mutating func add(_ tracked: TrackedVolume, _ labels: [(String, String)]) {
        add(
            "varve_tracking_active", "Whether writes to the volume are tracked.", labels,
            tracked.isActive ? 1 : 0)
        add(
            "varve_tracking_overflowed", "Whether the tracking store overflowed.", labels,
            tracked.isOverflowed ? 1 : 0)
        guard tracked.byteCount > 0 else { return }
        add(
            "varve_tracking_store_used_bytes", "Bytes used in the tracking store.", labels,
            tracked.usedByteCount)
        add("varve_tracking_store_bytes", "Bytes of the tracking store.", labels, tracked.byteCount)
    }

    private mutating func add(
        _ volume: JobRecord.Volume,
        _ labels: [(String, String)],
        isTracked: Bool
    ) {
        if isTracked {
            add(
                "varve_backup_full_comparison",
                "Whether the last backup compared everything although the volume is tracked.",
                labels, volume.fullComparison == nil ? 0 : 1)
        }
        add(
            "varve_snapshot_newest_timestamp_seconds", "Time of the newest snapshot.", labels,
            volume.snapshotTime)
        add(
            "varve_snapshot_generation",
            "Generation of the newest "
                + "snapshot.", labels, volume.generation)
        add("varve_backup_read_bytes", "Bytes that the last backup read.", labels, volume.bytesRead)
        add(
            "varve_backup_changed_bytes", "Bytes that had changed.", labels, volume.bytesChanged)
        add("varve_backup_stored_bytes", "Bytes that it stored.", labels, volume.bytesStored)
        add("varve_backup_duration_seconds", "How long it took.", labels, volume.seconds)
    }

    private mutating func add(
        _ name: String,
        _ help: String,
        _ labels: [(String, String)],
        _ value: (some Numeric & CustomStringConvertible)?
    ) {
        guard let value else { return }
        let text = labels.map { "\($0.0)=\"\(Self.escaped($0.1))\"" }.joined(separator: ",")
        let sample = "\(name){\(text)} \(value)"
        guard let index = families.firstIndex(where: { $0.name == name }) else {
            families.append((name, help, [sample]))
            return
        }
        // Jobs may share a repository.
        let isKnown = families[index].samples.contains { $0.hasPrefix("\(name){\(text)} ") }
        if !isKnown { families[index].samples.append(sample) }
    }

    private static func escaped(_ text: String) -> String {
        text.map { $0 == "\\" ? "\\\\" : $0 == "\"" ? "\\\"" : $0.isNewline ? "\\n" : String($0) }
            .joined()
    }

    /// The whole file.
    package var text: String {
        families.map { family in
            "# HELP \(family.name) \(family.help)\n# TYPE \(family.name) gauge\n"
                + family.samples.map { $0 + "\n" }.joined()
        }.joined()
    }
}
