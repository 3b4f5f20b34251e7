import BlockModel
import TestKit
import Testing

@testable import LiveVolumes

@Suite struct StateTextTests {
    @Test("What was written is read again, whatever is in it")
    func roundTrip() throws {
        var text = StateText(kind: "varve_test")
        text.add("path", "/mnt/a b%20\n=x")
        text.add("count", UInt64.max)
        text.add("more", "1")
        text.add("more", "2")
        let read = try #require(StateText(text.text, kind: "varve_test"))
        #expect(read["path"] == "/mnt/a b%20\n=x")
        #expect(read.number("count", as: UInt64.self) == .max)
        #expect(read.values(of: "more") == ["1", "2"])
        #expect(read["nothing"] == nil)
    }

    @Test(
        "A text that was cut short, or is another, is none",
        arguments: [
            "", "varve_test=1\n", "varve_test=2\nend=\n", "varve_other=1\nend=\n",
            "varve_test=1\nno equals\nend=\n", "varve_test=1\nend=\nmore=1\n",
            "varve_test=1\na=%zz\nend=\n", "varve_test=1\na=%4\nend=\n",
        ])
    func refused(_ text: String) {
        #expect(StateText(text, kind: "varve_test") == nil)
    }

    @Test("It is seen where states lie on a file system that is unmounted before a machine ends")
    func placeOfStates() {
        #expect(StateDirectory(path: "/").outlivesUnmounting)
        #expect(!StateDirectory(path: "/proc").outlivesUnmounting)
    }
}
