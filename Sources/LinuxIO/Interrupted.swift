/// The user asked to stop, and a command stopped before its end.
package struct Interrupted: Error, Hashable, CustomStringConvertible {
    /// What that means for the user: what is left as it is, and how to go on; nil for nothing.
    package let consequence: String?

    package init(consequence: String? = nil) { self.consequence = consequence }

    package var description: String {
        consequence.map { "interrupted; \($0)" } ?? "interrupted"
    }
}
