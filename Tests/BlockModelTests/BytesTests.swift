import BlockModel
import Testing

struct BytesTests {
    @Test("Bytes are copied out of a span and into one, at their place alone")
    func copies() {
        let source: [UInt8] = [1, 2, 3]
        #expect([UInt8](copying: source.rawSpan) == source)
        #expect([UInt8](copying: source.rawSpan.extracting(1..<2)) == [2])
        var target = [UInt8](repeating: 9, count: 6)
        var span = target.mutableSpan
        var raw = span.mutableBytes
        raw.copy(source.rawSpan, to: 2)
        raw.copy([UInt8]().rawSpan, to: 6)
        #expect(target == [9, 9, 1, 2, 3, 9])
    }

    @Test("A copy that does not fit stops the program")
    func copyBeyondTheEnd() async {
        await #expect(processExitsWith: .failure) {
            var target = [UInt8](repeating: 0, count: 4)
            var span = target.mutableSpan
            var raw = span.mutableBytes
            raw.copy([UInt8](repeating: 1, count: 3).rawSpan, to: 2)
        }
    }
}
