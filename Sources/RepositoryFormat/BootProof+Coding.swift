package import BlockModel
package import RepositoryModel

/// How the outcome of a boot is stored as a note.
extension BootProof {
    /// The note that says it, with a picture of the screen as PNG, or nothing.
    package func note(time: Timestamp, picture: [UInt8]) -> Note {
        Note(
            kind: .bootProof, time: time,
            texts: [
                result.rawValue, means.rawValue, evidence, String(milliseconds),
                firmware.rawValue, machine, program,
            ], attachment: picture)
    }

    /// What a note says.
    ///
    /// - Throws: ``FormatError`` when it is none of a boot proof, or says what is not known.
    package init(_ note: Note) throws(FormatError) {
        guard note.kind == .bootProof, note.texts.count >= 7,
            let result = Result(rawValue: note.texts[0]),
            let means = Means(rawValue: note.texts[1]),
            let milliseconds = UInt64(note.texts[3]),
            let firmware = Firmware(rawValue: note.texts[4])
        else { throw .badValue("boot proof") }
        self.init(
            result: result, means: means, evidence: note.texts[2], milliseconds: milliseconds,
            firmware: firmware, machine: note.texts[5], program: note.texts[6])
    }
}
