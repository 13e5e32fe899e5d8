// SPDX-License-Identifier: Apache-2.0

import Glibc
import SharedState

// One program in several builds; .ci/compiler-test makes them and says what each must print.
//
// `make NAME` makes a region of that name with an object of every kind whose elements have a type;
// `open NAME` opens each and prints what is in it, or why not.

#if WIDER
struct Shape: BitwiseCopyable, Hashable {
    var kind: Kind
    var width: Int32
    var height: Int32
    var depth: Int32
}
#elseif SWAPPED
struct Shape: BitwiseCopyable, Hashable {
    var kind: Kind
    var height: Int32
    var width: Int32
}
#elseif RETYPED
struct Shape: BitwiseCopyable, Hashable {
    var kind: Kind
    var width: Float
    var height: Int32
}
#else
struct Shape: BitwiseCopyable, Hashable {
    var kind: Kind
    var width: Int32
    var height: Int32
}
#endif

#if CASES
enum Kind: BitwiseCopyable, Hashable {
    case round(Float)
    case square(Int32)
}
#elseif PAYLOAD
enum Kind: BitwiseCopyable, Hashable {
    case square(UInt32)
    case round(Float)
}
#else
enum Kind: BitwiseCopyable, Hashable {
    case square(Int32)
    case round(Float)
}
#endif

/// Crosses encoded.
struct Drawing: Codable, Hashable {
    var title = "drawing"
    #if FIELD
    var scale = 1.0
    #endif
}

extension Shape {
    static var one: Shape {
        #if WIDER
        Shape(kind: .square(1), width: 2, height: 3, depth: 4)
        #elseif SWAPPED
        Shape(kind: .square(1), height: 3, width: 2)
        #else
        Shape(kind: .square(1), width: 2, height: 3)
        #endif
    }
}

func make(in region: Region) throws {
    try Queue<Shape>(creating: "queue", in: region).put(.one)
    try Queue<[Shape?]>(creating: "arrays", in: region).put([.one, nil])
    try Queue<Drawing>(creating: "drawings", in: region).put(Drawing())
    _ = try Lanes<Shape>(creating: "lanes", in: region)
    _ = try Broadcast<(Int, Shape)>(creating: "broadcast", in: region)
    _ = try SharedValue<Shape>(creating: "value", in: region, .one)
    _ = try SharedArray<Shape>(creating: "array", in: region, count: 1)
    try ManagedDictionary<Int, Shape>(creating: "dictionary", in: region).set(.one, forKey: 1)
    try ManagedArray<Shape>(creating: "list", in: region).append(.one)
    _ = try ManagedSet<[Shape]>(creating: "set", in: region)
    _ = try ManagedValue<Shape>(creating: "managed", .one, in: region)
    try Queue<Int>(creating: "numbers", in: region).put(7)
}

func open(in region: Region) {
    say("queue") { try first(of: Queue<Shape>(opening: "queue", in: region)).width }
    say("arrays") { try first(of: Queue<[Shape?]>(opening: "arrays", in: region)).count }
    say("drawings") { try first(of: Queue<Drawing>(opening: "drawings", in: region)).title }
    say("lanes") { try Lanes<Shape>(opening: "lanes", in: region).capacity }
    say("broadcast") { try Broadcast<(Int, Shape)>(opening: "broadcast", in: region).capacity }
    say("value") { try SharedValue<Shape>(opening: "value", in: region).value.width }
    say("array") { try SharedArray<Shape>(opening: "array", in: region).count }
    say("dictionary") {
        try ManagedDictionary<Int, Shape>(opening: "dictionary", in: region)[1]?.width ?? 0
    }
    say("list") { try ManagedArray<Shape>(opening: "list", in: region).count }
    say("set") { try ManagedSet<[Shape]>(opening: "set", in: region).count }
    say("managed") { try ManagedValue<Shape>(opening: "managed", in: region).value.width }
    say("numbers") { try first(of: Queue<Int>(opening: "numbers", in: region)) }
}

/// Takes the first element, and puts it back for the next build.
func first<Element>(of queue: Queue<Element>) throws -> Element {
    let element = try queue.get(timeout: .seconds(10))
    try queue.put(element)
    return element
}

func say(_ name: String, _ body: () throws -> Any) {
    do {
        print(name, try body())
    } catch let error as SharedStateError {
        print(name, error.code)
        print("  \(error)")
    } catch {
        print(name, "another error:", error)
    }
}

let arguments = CommandLine.arguments
switch arguments[1] {
case "make": try make(in: try Region(creating: arguments[2], capacity: 16 << 20))
case "open": open(in: try Region(opening: arguments[2]))
default: exit(64)
}
