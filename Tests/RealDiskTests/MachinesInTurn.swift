import Testing

/// What starts emulated machines, one after the other.
///
/// Each takes a processor or two; one lane beside them is for the root of a booted Debian.
@Suite(.serialized) enum MachinesInTurn {}
