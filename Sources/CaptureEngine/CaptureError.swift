/// The user asked to stop; nothing was committed.
package struct InterruptedError: Error, CustomStringConvertible {
    package init() {}
    package var description: String {
        "interrupted; nothing was committed, and what was stored will be used again"
    }
}
