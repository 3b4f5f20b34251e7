import Hashing
import TestKit
import Testing

/// SHA-256 against the vectors of FIPS 180-4 and NIST's CAVP.
struct SHA256Tests {
    @Test(
        "SHA-256 gives the published digests",
        arguments: [
            ("", 1, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
            ("abc", 1, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
            (
                "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 1,
                "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"
            ),
            (
                "abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmno"
                    + "ijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqrstu", 1,
                "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1"
            ),
            ("a", 1_000_000, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"),
        ])
    func vectors(text: String, repetitions: Int, digest: String) {
        let hash = SHA256()
        let bytes = Array(text.utf8)
        for _ in 0..<repetitions { hash.update(bytes.span.bytes) }
        #expect(Self.hexadecimal(hash.finish()) == digest)
    }

    @Test("A hash starts again after it has ended, and on request")
    func reuse() {
        let hash = SHA256()
        let abc = Array("abc".utf8)
        let digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        for _ in 0..<3 {
            hash.update(abc.span.bytes)
            #expect(Self.hexadecimal(hash.finish()) == digest)
        }
        hash.update([UInt8]([1, 2, 3]).span.bytes)
        hash.begin()
        hash.update(abc.span.bytes)
        #expect(Self.hexadecimal(hash.finish()) == digest)
    }

    @Test("The pieces in which bytes come do not matter", arguments: 1...5)
    func pieces(seed: UInt64) {
        var generator = SeededGenerator(seed: seed)
        let bytes = generator.bytes(10_000)
        let hash = SHA256()
        hash.update(bytes.span.bytes)
        let whole = Self.hexadecimal(hash.finish())
        var position = 0
        while position < bytes.count {
            let end = min(position + Int.random(in: 0...300, using: &generator), bytes.count)
            hash.update(Array(bytes[position..<end]).span.bytes)
            position = end
        }
        #expect(Self.hexadecimal(hash.finish()) == whole)
    }

    private static func hexadecimal(_ words: (UInt64, UInt64, UInt64, UInt64)) -> String {
        [words.0, words.1, words.2, words.3]
            .flatMap { word in (0..<8).map { UInt8(truncatingIfNeeded: word >> (56 - 8 * $0)) } }
            .hexadecimal
    }
}

/// XXH3 against the vectors of `xxhsum --benchmark-all`'s own check (`cli/xsum_sanity_check.c`).
struct XXH3Tests {
    /// The bytes that those vectors are over.
    private static let bytes: [UInt8] = {
        var word: UInt64 = 2_654_435_761
        return (0..<4096).map { _ in
            defer { word = word &* 11_400_714_785_074_694_797 }
            return UInt8(word >> 56)
        }
    }()

    @Test(
        "XXH3-64 gives the published values",
        arguments: [
            (0, 0x2D06_8005_38D3_94C2), (1, 0xC44B_DFF4_074E_ECDB), (6, 0x27B5_6A84_CD2D_7325),
            (12, 0xA713_DAF0_DFBB_77E7), (24, 0xA3FE_70BF_9D35_10EB),
            (48, 0x397D_A259_ECBA_1F11), (80, 0xBCDE_FBBB_2C47_C90A),
            (195, 0xCD94_217E_E362_EC3A), (403, 0xCDEB_804D_65C6_DEA4),
            (512, 0x617E_4959_9013_CB6B), (2048, 0xDD59_E2C3_A5F0_38E0),
            (2240, 0x6E73_A905_39CF_2948), (2367, 0xCB37_AEB9_E5D3_61ED),
        ] as [(Int, UInt64)])
    func hash64(byteCount: Int, value: UInt64) {
        let found = XXH3.hash64(Self.bytes.span.bytes.extracting(0..<byteCount))
        #expect(found == value)
    }

    @Test(
        "XXH3-128 under the library's own secret gives the published values",
        arguments: [
            (0, 0x6001_C324_468D_497F, 0x99AA_06D3_0147_98D8),
            (1, 0xC44B_DFF4_074E_ECDB, 0xA6CD_5E93_9200_0F6A),
        ] as [(Int, UInt64, UInt64)])
    func hash128(byteCount: Int, low: UInt64, high: UInt64) throws {
        let hash = KeyedXXH3(secret: try #require([UInt8](hexadecimal: Self.librarySecret)))
        let value = hash.hash128(Self.bytes.span.bytes.extracting(0..<byteCount))
        #expect(value.low == low)
        #expect(value.high == high)
    }

    @Test("The keyed value depends on the bytes and on the secret", arguments: [16, 4096])
    func secrets(byteCount: Int) {
        var generator = SeededGenerator(seed: 1)
        let secret = generator.bytes(KeyedXXH3.secretByteCount)
        var bytes = generator.bytes(byteCount)
        let value = Self.keyed(secret, bytes)
        #expect(Self.keyed(secret, bytes) == value)
        #expect(Self.keyed(generator.bytes(192), bytes) != value)
        var unchanged: [Int] = []
        for bit in 0..<byteCount * 8 where bit % 61 == 0 {
            bytes[bit / 8] ^= 1 << UInt8(bit % 8)
            let other = Self.keyed(secret, bytes)
            if other[0] == value[0] || other[1] == value[1] { unchanged.append(bit) }
            bytes[bit / 8] ^= 1 << UInt8(bit % 8)
        }
        #expect(unchanged == [])
    }

    private static func keyed(_ secret: [UInt8], _ bytes: [UInt8]) -> [UInt64] {
        let value = KeyedXXH3(secret: secret).hash128(bytes.span.bytes)
        return [value.low, value.high]
    }

    @Test("A secret of another length stops the program")
    func shortSecret() async {
        await #expect(processExitsWith: .failure) {
            _ = KeyedXXH3(secret: [UInt8](repeating: 1, count: 191))
        }
    }

    /// `XXH3_kSecret` in `xxhash.h`.
    private static let librarySecret = """
        b8fe6c3923a44bbe7c01812cf721ad1cded46de9839097db7240a4a4b7b3671f
        cb79e64eccc0e578825ad07dccff7221b8084674f743248ee03590e6813a264c
        3c2852bb91c300cb88d0658b1b532ea371644897a20df94e3819ef46a9deacd8
        a8fa763fe39c343ff9dcbbc7c70b4f1d8a51e04bcdb45931c89f7ec9d9787364
        eac5ac8334d3ebc3c581a0fffa1363eb170ddd51b7f0da49d316552629d4689e
        2b16be587d47a1fc8ff8b8d17ad031ce45cb3a8f95160428afd7fbcabb4b407e
        """
}
