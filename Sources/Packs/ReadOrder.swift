package import RepositoryIndex

/// Slots of a page in the order in which the packs have their blocks, so that each frame is read once.
package struct ReadOrder: Sequence {
    /// A block to read.
    package struct Element {
        package let slot: Int
        /// The last slot of the block's frame that is going to be asked for.
        package let lastSlotOfFrame: UInt8
    }

    private let elements: [Element]

    /// Orders `slots` by `places`, which has one for each slot of the page.
    package init(_ slots: [Int], places: [Place?]) {
        let order = slots.sorted { left, right in
            guard let a = places[left], let b = places[right] else { return left < right }
            return (a.pack, a.byteOffset, a.slot) < (b.pack, b.byteOffset, b.slot)
        }
        var elements: [Element] = []
        elements.reserveCapacity(order.count)
        var frameEnd = 0
        for (position, slot) in order.enumerated() {
            if position >= frameEnd {
                frameEnd =
                    order[position...].firstIndex { !Self.isSameFrame(places[$0], places[slot]) }
                    ?? order.count
            }
            elements.append(
                Element(slot: slot, lastSlotOfFrame: places[order[frameEnd - 1]]?.slot ?? 0))
        }
        self.elements = elements
    }

    package func makeIterator() -> IndexingIterator<[Element]> { elements.makeIterator() }

    private static func isSameFrame(_ left: Place?, _ right: Place?) -> Bool {
        left?.pack == right?.pack && left?.byteOffset == right?.byteOffset
    }
}
