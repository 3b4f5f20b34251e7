import Testing

/// What starts emulated machines: one after the other, for each takes all processors that there are.
@Suite(.serialized) enum MachinesInTurn {}
