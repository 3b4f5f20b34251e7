package import RepositoryModel

extension PruneOptions {
    /// Leaves nothing that is not needed, however young it is.
    package static var everything: PruneOptions {
        var options = PruneOptions()
        options.maxUnused = .bytes(0)
        options.minimumAgeSeconds = 0
        return options
    }
}
