import Foundation
import Glibc
import SimulationSupport
import TestKit
import Testing

/// Snapshots that are started, of disks that fit in a sector: quick, and of the real emulator.
@Suite struct BootTests {
    private let place: Place

    init() throws {
        let scratch = ScratchDirectory()
        place = Place(scratch, path: scratch.path)
        #expect(try Child.run(["init"], in: place).status == 0)
        try backUp("loader", sector: Self.sector(saying: "\r\nloader login: "))
        try backUp("silent", sector: Self.sector(saying: ""))
        try backUp("empty", sector: [])
    }

    /// A boot sector that writes a text to the first serial port, and then waits for ever.
    private static func sector(saying text: String) -> [UInt8] {
        var code: [UInt8] = [
            0x31, 0xC0,  //       xor ax, ax
            0x8E, 0xD8,  //       mov ds, ax
            0xBE, 0x16, 0x7C,  // mov si, text
            0xFC,  //             cld
            0xAC,  //       next: lodsb
            0x84, 0xC0,  //       test al, al
            0x74, 0x06,  //       jz end
            0xBA, 0xF8, 0x03,  // mov dx, 3F8h
            0xEE,  //             out dx, al
            0xEB, 0xF5,  //       jmp next
            0xF4,  //        end: hlt
            0xEB, 0xFD,  //       jmp end
        ]
        code += Array(text.utf8) + [0]
        return code + [UInt8](repeating: 0, count: 510 - code.count) + [0x55, 0xAA]
    }

    private func backUp(_ volume: String, sector: [UInt8]) throws {
        let image = Data(sector) + Data(count: (1 << 20) - sector.count)
        let file = try place.write(image, to: volume)
        #expect(try Child.run(["backup", file, "--volume", volume], in: place).status == 0)
    }

    @Test("What starts is proved, what does not is refused, and both are recorded")
    func verdicts() throws {
        let result = try Child.run(
            ["boot-test", "loader@1", "empty@1", "--memory", "64M", "--json"], in: place)
        let lines = result.output.split(separator: "\n")
        try #require(result.status == 3 && lines.count == 2, "\(result)")
        #expect(lines[0].contains("\"means\":\"login-prompt\""), "\(lines[0])")
        #expect(lines[0].contains("\"evidence\":\"loader login:"), "\(lines[0])")
        #expect(lines[1].contains("No bootable device"), "\(lines[1])")
        let recorded = try Child.run(["snapshots", "--json"], in: place).output
        for (volume, boot) in [("loader", "proved"), ("empty", "refused")] {
            let row = recorded.split(separator: "\n").first { $0.contains("\"\(volume)\"") }
            #expect(row?.contains("\"boot\":\"\(boot)\"") == true, "\(recorded)")
        }
    }

    @Test("An interrupt ends a boot test at any moment, once, and records nothing")
    func interrupted() throws {
        // Whatever it waits for then: the disk's server, the machine, the console, the screen.
        for milliseconds in [0, 60, 100, 150, 250, 500, 1000, 2050, 2100, 2150] {
            let child = try Child(["boot-test", "silent@1", "--memory", "64M"], in: place)
            while try Self.holdCount(place) == 0 { usleep(1000) }
            usleep(UInt32(milliseconds) * 1000)
            child.process.interrupt()
            usleep(1000)
            child.process.interrupt()
            let result = child.wait()
            #expect(result.status == 130, "after \(milliseconds) ms: \(result)")
            #expect(result.errors.contains("varve: interrupted"), "\(milliseconds) ms: \(result)")
        }
        #expect(!(try Child.run(["snapshots", "--json"], in: place).output.contains("\"boot\"")))
    }

    /// Of whoever reads the repository.
    private static func holdCount(_ place: Place) throws -> Int {
        let found = FileManager.default.enumerator(atPath: place.repository + "/locks")
        return (found?.allObjects as? [String] ?? []).count { $0.contains("shared.") }
    }

    @Test("A job has its snapshots proved when it is due, and is not well when one does not start")
    func job() throws {
        for (volume, status) in [("loader", 0), ("empty", 1)] {
            let configuration = """
                [repositories.main]
                path = "\(place.repository)"
                [jobs.\(volume)]
                repository = "main"
                volumes.\(volume) = { source = "\(place.path)/\(volume)" }
                boot-test = { volume = "\(volume)", every = "1d", memory = "64M", timeout = "2m" }
                """
            let file = try place.write(Data(configuration.utf8), to: "\(volume).toml")
            let first = try Child.run(["run", "--config", file], in: place)
            #expect(first.status == status, "\(first)")
            #expect(
                (first.output + first.errors).contains(
                    status == 0 ? "loader@latest boots" : "DOES NOT BOOT"), "\(first)")
            let health = try Child.run(["status", "--config", file], in: place)
            #expect(health.status == status, "\(health)")
            let again = try Child.run(["run", "--config", file], in: place)
            #expect(!again.output.contains("boots"), "\(again)")
        }
    }
}
