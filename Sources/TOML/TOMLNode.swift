internal import CTOML

/// A value of a TOML document, and the line on which it, or its key, begins.
package struct TOMLNode: Hashable, Sendable {
    /// What a value can be.
    package enum Value: Hashable, Sendable {
        case string(String)
        case integer(Int64)
        case float(Double)
        case boolean(Bool)
        case array([TOMLNode])
        case table([String: TOMLNode])
        /// A date or a time.
        case other
    }

    package let value: Value
    package let line: Int

    package init(_ value: Value, line: Int) {
        self.value = value
        self.line = line
    }

    /// Reads a document; its root is a table.
    ///
    /// - Throws: ``TOMLError`` for a text that is no TOML.
    package init(parsing text: String) throws(TOMLError) {
        let builder = Builder()
        var line: UInt32 = 0
        var reason = [CChar](repeating: 0, count: 512)
        var text = text
        // Safe: the builder outlives the call, and events are not kept.
        let isRead = text.withUTF8 { bytes in
            unsafe bytes.withMemoryRebound(to: CChar.self) { bytes in
                unsafe ctoml_parse(
                    bytes.baseAddress, bytes.count,
                    Unmanaged.passUnretained(builder).toOpaque(),
                    { context, event in
                        guard let context = unsafe context, let event = unsafe event else { return }
                        unsafe Unmanaged<Builder>.fromOpaque(context).takeUnretainedValue()
                            .add(unsafe event.pointee)
                    }, &line, &reason, reason.count)
            }
        }
        guard isRead, let root = builder.root else {
            let bytes = reason.prefix { $0 != 0 }.map(UInt8.init(bitPattern:))
            throw TOMLError(line: Int(line), reason: String(decoding: bytes, as: UTF8.self))
        }
        self = root
    }
}

/// A text that is no TOML.
package struct TOMLError: Error, Hashable {
    package let line: Int
    package let reason: String
}

/// Puts events together.
private final class Builder {
    private struct Open {
        let key: String
        let line: Int
        let isTable: Bool
        var table: [String: TOMLNode] = [:]
        var array: [TOMLNode] = []
    }

    private var stack: [Open] = []
    private(set) var root: TOMLNode?

    func add(_ event: ctoml_event) {
        let line = unsafe Int(event.line)
        let key = unsafe Self.text(event.key, event.key_length)
        let value: TOMLNode.Value
        let kind = unsafe Int(event.kind)
        switch kind {
        case CTOML_TABLE, CTOML_ARRAY:
            stack.append(Open(key: key, line: line, isTable: kind == CTOML_TABLE))
            return
        case CTOML_END:
            guard let open = stack.popLast() else { return }
            put(
                TOMLNode(open.isTable ? .table(open.table) : .array(open.array), line: open.line),
                open.key)
            return
        case CTOML_STRING: value = .string(unsafe Self.text(event.text, event.text_length))
        case CTOML_INTEGER: value = unsafe .integer(event.integer)
        case CTOML_FLOAT: value = unsafe .float(event.number)
        case CTOML_BOOLEAN: value = unsafe .boolean(event.integer != 0)
        default: value = .other
        }
        put(TOMLNode(value, line: line), key)
    }

    private func put(_ node: TOMLNode, _ key: String) {
        guard let last = stack.indices.last else {
            root = node
            return
        }
        if stack[last].isTable {
            stack[last].table[key] = node
        } else {
            stack[last].array.append(node)
        }
    }

    private static func text(_ bytes: UnsafePointer<CChar>?, _ count: Int) -> String {
        guard let bytes = unsafe bytes else { return "" }
        // Safe: the library gives as many bytes as it says.
        let buffer = unsafe UnsafeRawBufferPointer(start: bytes, count: count)
        return unsafe String(decoding: buffer, as: UTF8.self)
    }
}
