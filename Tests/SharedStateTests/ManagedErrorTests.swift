// SPDX-License-Identifier: Apache-2.0

import CShm
import Glibc
import SharedState
import Testing

/// Full regions, names of other things, and damaged bytes.
@Suite("Errors of managed containers", .serialized)
struct ManagedErrorTests {
    private struct Settings: Codable, Equatable, Sendable {
        var title = ""
        var width = 80
    }

    @Test func `what does not fit is refused by every method, and changes nothing`() throws {
        let region = try Region(capacity: 2 << 20)
        let text = "a"
        let large = String(repeating: "x", count: 4 << 20)
        func isFull(_ what: Comment, _ body: () throws -> Void) {
            #expect(code(body) == .full, what)
        }

        let dictionary = try ManagedDictionary([text: text], in: region)
        isFull("set") { try dictionary.set(large, forKey: text) }
        isFull("a key") { try dictionary.set(text, forKey: large) }
        isFull("updateValue") { try dictionary.updateValue(large, forKey: text) }
        isFull("insert") { try dictionary.insert(large, forKey: "b") }
        isFull("setDefault") { try dictionary.setDefault(large, forKey: "b") }
        isFull("update") { try dictionary.update(text, default: "") { $0 = large } }
        isFull("update, optional") { try dictionary.update("b") { $0 = large } }
        isFull("compareExchange") {
            try dictionary.compareExchange(text, expected: text, desired: large)
        }
        isFull("merge") { try dictionary.merge([text: large]) }
        isFull("transaction") {
            try dictionary.transaction([text, "b"]) { values in
                values[text] = nil
                values["b"] = large
            }
        }
        isFull("making one") { _ = try ManagedDictionary([text: large], in: region) }
        #expect(try dictionary.frozen() == [text: text] && dictionary.count == 1)

        let array = try ManagedArray([text, "b"], in: region)
        isFull("append") { try array.append(large) }
        isFull("prepend") { try array.prepend(large) }
        isFull("insert") { try array.insert(large, at: 1) }
        isFull("append contents") { try array.append(contentsOf: ["c", large]) }
        isFull("insert contents") { try array.insert(contentsOf: ["c", large], at: 0) }
        isFull("+=") { try array += ["c", large] }
        isFull("set") { try array.set(large, at: 0) }
        isFull("replaceSubrange") { try array.replaceSubrange(0..<2, with: ["c", large]) }
        isFull("to the end") { try array.replaceSubrange(1..., with: [large]) }
        isFull("update at") { try array.update(at: 0) { $0 = large } }
        isFull("update") { try array.update { $0 = ["c", large] } }
        isFull("*=") { try array *= 1 << 19 }
        isFull("making one") { _ = try ManagedArray([text, large], in: region) }
        #expect(try array.snapshot() == [text, "b"])

        let set = try ManagedSet([text], in: region)
        isFull("a member") { try set.insert(large) }
        isFull("formUnion") { try set.formUnion([large]) }
        isFull("formSymmetricDifference") { try set.formSymmetricDifference([large]) }
        isFull("making one") { _ = try ManagedSet([large], in: region) }
        #expect(try set.frozen() == [text] && set.count == 1)

        let value = try ManagedValue(text, in: region)
        isFull("a value") { try value.set(large) }
        isFull("exchange") { _ = try value.exchange(large) }
        isFull("compareExchange") { try value.compareExchange(expected: text, desired: large) }
        isFull("update") { try value.update { $0 = large } }
        isFull("making one") { _ = try ManagedValue(large, in: region) }
        #expect(try value.value == text)

        let namespace = try ManagedNamespace(Settings(), in: region)
        isFull("a property") { try namespace.set(\.title, large) }
        isFull("properties") { try namespace.update { $0 = Settings(title: large, width: 1) } }
        #expect(try namespace.value == Settings())
        // What was refused took nothing: there is as much room as before.
        for _ in 0..<5 { isFull("again") { try array.append(large) } }
        try array.append(String(repeating: "y", count: 400_000))
    }

    /// What is found by a name, as what it may be opened.
    private func openings(_ name: String, _ region: Region) -> [(String, () throws -> Void)] {
        [
            ("dictionary", { _ = try ManagedDictionary<String, Int>(opening: name, in: region) }),
            ("its values", { _ = try ManagedDictionary<String, UInt>(opening: name, in: region) }),
            ("its keys", { _ = try ManagedDictionary<Int, Int>(opening: name, in: region) }),
            ("array", { _ = try ManagedArray<Int>(opening: name, in: region) }),
            ("its elements", { _ = try ManagedArray<String>(opening: name, in: region) }),
            ("set", { _ = try ManagedSet<Int>(opening: name, in: region) }),
            ("its members", { _ = try ManagedSet<String>(opening: name, in: region) }),
            ("value", { _ = try ManagedValue<Int>(opening: name, in: region) }),
            ("its type", { _ = try ManagedValue<String>(opening: name, in: region) }),
            ("namespace", { _ = try ManagedNamespace<Settings>(opening: name, in: region) }),
            ("counter", { _ = try ManagedCounter(opening: name, in: region) }),
            ("queue", { _ = try Queue<Int>(opening: name, in: region) }),
        ]
    }

    @Test func `a name is opened as what it is, and as nothing else`() throws {
        let region = try Region(capacity: 4 << 20)
        _ = try ManagedDictionary<String, Int>(creating: "dictionary", in: region)
        _ = try ManagedArray<Int>(creating: "array", in: region)
        _ = try ManagedSet<Int>(creating: "set", in: region)
        _ = try ManagedValue(creating: "value", 1, in: region)
        _ = try ManagedNamespace(creating: "namespace", Settings(), in: region)
        _ = try ManagedCounter(creating: "counter", in: region)
        _ = try Queue<Int>(creating: "queue", in: region)
        let names = try region.names()
        #expect(names.count == 7)
        for name in names {
            for (what, open) in openings(name, region) {
                #expect(code(open) == (what == name ? nil : .incompatible), "\(name) as \(what)")
            }
            #expect(
                code { _ = try ManagedArray<Int>(creating: name, in: region) } == .alreadyExists)
        }
        for (what, open) in openings("nothing", region) {
            #expect(code(open) == .notFound, "\(what)")
        }
    }

    @Test func `whoever has a container keeps it when its name is taken away`() throws {
        let manager = try Manager(in: Region(capacity: 4 << 20))
        let old = try manager.array("log", of: String.self)
        try old.append("old")
        try manager.removeName("log")
        #expect(code { try manager.removeName("log") } == .notFound)
        #expect(
            code { _ = try ManagedArray<String>(opening: "log", in: manager.region) } == .notFound)
        let new = try manager.array("log", of: String.self)
        try old.append("still")
        #expect(try new.isEmpty && old.snapshot() == ["old", "still"])
        let namespace = try manager.namespace("settings", Settings())
        try ManagedNamespace<Settings>(opening: "settings", in: manager.region).set(\.width, 1)
        #expect(try namespace.width == 1)
        #expect(try manager.value(nil, ["no name"]).value == ["no name"])
        #expect(try manager.names().sorted() == ["log", "settings"])
    }

    @Test func `what is not of its type is told, and the rest goes on`() throws {
        let name = "sharedstate.test.damage.\(getpid())"
        try withManager(named: name, capacity: 4 << 20) { manager in
            let texts = try manager.dictionary("texts", String.self, String.self)
            let lists = try manager.dictionary("lists", Int.self, [String].self)
            let bits = try manager.dictionary("bits", Int.self, Int.self)
            let array = try manager.array("array", of: String.self)
            try texts.merge(["whole": "text", "damaged": "text"])
            try lists.merge([1: ["whole"], 2: ["damaged"]])
            try bits.merge([1: 1, 2: 2])
            try array += ["whole", "damaged", "whole"]
            try Damage(name).spoil()

            #expect(code { _ = try texts["damaged"] } == .incompatible)
            #expect(code { _ = try texts.snapshot() } == .incompatible)
            #expect(code { _ = try texts.values } == .incompatible)
            #expect(code { try texts.update("damaged", default: "") { $0 = "" } } == .incompatible)
            #expect(code { try texts.removeValue(forKey: "damaged") } == .incompatible)
            #expect(code { try texts.transaction(["damaged"]) { _ in } } == .incompatible)
            #expect(code { _ = try lists[2] } == .incompatible)
            #expect(code { _ = try lists.frozen() } == .incompatible)
            #expect(code { _ = try bits[2] } == .incompatible)
            #expect(code { try bits.updateValue(3, forKey: 2) } == .incompatible)
            #expect(code { _ = try array[1] } == .incompatible)
            #expect(code { _ = try array[0...1] } == .incompatible)
            #expect(code { try array.sort() } == .incompatible)
            #expect(code { try array.remove(at: 1) } == .incompatible)
            #expect(array.count == 3)

            #expect(try texts["whole"] == "text" && texts.contains("damaged"))
            #expect(try lists[1] == ["whole"] && bits[1] == 1)
            #expect(try array[0] == "whole" && array[2] == "whole")
            try texts.set("mended", forKey: "damaged")
            try lists.set(["mended"], forKey: 2)
            try bits.set(3, forKey: 2)
            try array.set("mended", at: 1)
            #expect(try texts.snapshot() == ["whole": "text", "damaged": "mended"])
            #expect(try lists.snapshot() == [1: ["whole"], 2: ["mended"]])
            #expect(try bits.snapshot() == [1: 1, 2: 3])
            #expect(try array.snapshot() == ["whole", "mended", "whole"])
        }
    }

    @Test func `what cannot be a key is refused, and said`() throws {
        struct Tagged: Hashable, Codable { var tags: Set<String> }
        enum Choice: Hashable, Codable { case none, some([String: Int]) }
        for (type, refused) in [
            ("Set<Int>", { _ = try ManagedSet<Set<Int>>() }),
            ("Tagged", { _ = try ManagedDictionary<Tagged, Int>() }),
            ("Choice", { _ = try ManagedSet<Choice>() }),
            ("Array<Optional<Tagged>>", { _ = try ManagedDictionary<[Tagged?], Int>() }),
        ] as [(String, () throws -> Void)] {
            let error = #expect(throws: SharedStateError.self) { try refused() }
            #expect(error?.code == .cannotCross)
            #expect(error?.description.contains("\(type) is no key") == true, "\(error as Any)")
        }
        let ordered = try ManagedSet<[String]>([["b", "a"], ["a", "b"]])
        #expect(try ordered.contains(["a", "b"]) && ordered.count == 2)
    }
}

/// The same containers, as C has them; it puts there what no Swift program would.
@safe
private struct Damage {
    private let region: OpaquePointer

    init(_ name: String) throws {
        var region: OpaquePointer?
        #expect(unsafe cshm_region_open(name, &region) == 0)
        unsafe self.region = try #require(unsafe region)
    }

    func spoil() throws {
        // Three bytes that are no UTF-8, no list of texts, and no integer.
        let bytes: [UInt8] = [0xff, 0xfe, 0xfd]
        try put(bytes, "texts", "SSSS", key: Array("damaged".utf8))
        let two = unsafe withUnsafeBytes(of: 2) { unsafe [UInt8]($0) }
        try put(bytes, "lists", "SiSaySSG", key: two)
        try put(bytes, "bits", "SiSi", key: two)
        var list: OpaquePointer?
        let place = try place("array")
        #expect(unsafe cshm_list_open(region, place, cshm_type_tag("SS"), &list) == 0)
        #expect(unsafe cshm_list_set(list, 1, bytes, UInt64(bytes.count)) == 0)
        unsafe cshm_list_close(list)
        #expect(unsafe cshm_region_close(region) == 0)
    }

    private func put(_ value: [UInt8], _ name: String, _ types: String, key: [UInt8]) throws {
        var map: OpaquePointer?
        let place = try place(name)
        #expect(unsafe cshm_map_open(region, place, cshm_type_tag(types), &map) == 0)
        #expect(
            unsafe cshm_map_put(map, key, UInt64(key.count), value, UInt64(value.count)) == 1)
        unsafe cshm_map_close(map)
    }

    private func place(_ name: String) throws -> UInt64 {
        var entry = cshm_directory_entry()
        #expect(unsafe cshm_directory_find(region, name, &entry) == 0)
        return entry.offset
    }
}
