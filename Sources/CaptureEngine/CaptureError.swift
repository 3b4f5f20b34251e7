internal import LinuxIO

extension Interrupted {
    static let ofCapture = Interrupted(
        consequence: "nothing was committed, and the next backup reuses what was stored")
}
