import RepositoryFormat
import RepositoryModel
import Testing

/// The page of documentation is what other programs are written from, so it has to name every value
/// that this one writes.
struct FormatPageTests {
    private let page: [String]

    init() throws {
        let root = #filePath.split(separator: "/").dropLast(3).joined(separator: "/")
        let path = "/\(root)/Sources/RepositoryFormat/RepositoryFormat.docc/OnDiskFormat.md"
        let text = String(decoding: try Golden.contents(of: path), as: UTF8.self)
        page = text.split(separator: "\n").map(String.init)
    }

    private static let values = UInt8(1)...UInt8.max

    /// Whether the page has a row that begins with these two cells.
    private func hasRow(_ number: UInt8, _ name: String) -> Bool {
        page.contains {
            let cells = $0.split(separator: "|").map { $0.filter { $0 != " " } }
            return cells.count > 2 && cells[0] == "\(number)" && cells[1] == "`\(name)`"
        }
    }

    @Test("The page names every method, proof and consistency of a snapshot")
    func facts() {
        for method in DetectionMethod.names.keys {
            #expect(hasRow(method.rawValue, method.name), "method \(method)")
        }
        for proof in ChangeProof.names.keys {
            #expect(hasRow(proof.rawValue, proof.name), "proof \(proof)")
        }
        for consistency in Consistency.names.keys {
            #expect(hasRow(consistency.rawValue, consistency.name), "consistency \(consistency)")
        }
    }

    @Test("The page counts the kinds of notes, of frames and of objects that there are")
    func kinds() {
        let notes = NoteKind.names.keys.sorted { $0.rawValue < $1.rawValue }
        let kinds = notes.map { "\($0.rawValue) \($0.name)" }
        let row = "kind: " + kinds.joined(separator: ", ")
        #expect(page.contains { $0.contains(row) }, "\(row)")
        let frames = (UInt8(0)...255).compactMap(FrameKind.init).count
        #expect(frames == 4)
        #expect(page.contains { $0.contains("0 stored, 1 zstd, 2 patch, 3 patch of two") })
        #expect(Self.values.compactMap(ObjectKind.init).count == 9)
        #expect(page.contains { $0.contains("9 | feature set") })
        #expect(page.contains { $0.contains("4 | part          |    8 | prune list") })
    }
}
