// SPDX-License-Identifier: Apache-2.0

import CShm
import Testing

@testable import SharedState

/// What two builds of one program see of each other's types is tested by .ci/compiler-test.
@Suite struct TypeTagTests {
    private struct Pair {
        let first: Int32
        let second: Choice
    }

    private struct Row<let count: Int> {
        let cells: InlineArray<count, Pair>
    }

    private struct Signed<let number: Int> {}
    private typealias One = Signed<-1>
    private typealias Many = Signed<-300>

    private enum Choice {
        case none
        case number(Int)
    }

    private indirect enum Tree {
        case leaf
        case node([Tree], Pair?)
    }

    @Test func `the standard library's types are told by their names alone`() {
        #expect(unsafe typeTag(Int.self) == cshm_type_tag("Si"))
        #expect(unsafe typeTag(Int64.self) == cshm_type_tag("s5Int64V"))
        #expect(unsafe typeTag(String.self, Int.self) == cshm_type_tag("SSSi"))
        #expect(unsafe typeTag([Int?].self) == cshm_type_tag("SaySiSgG"))
        #expect(layout((Int, [String: Double])?.self) == "")
        #expect(layout((() -> Void).self) == "")
        #expect(layout((any Error).self) == "")
        #expect(layout(Queue<Int>.self) == "")
    }

    @Test func `others are told with the names, places and types of what they are made of`() {
        let pair = layout(Pair.self)
        #expect(pair.contains(" 17 24 8;first 0 s5Int32V;second 8 "))
        #expect(pair.hasSuffix(" 9 16 8;number 0 Si;none 1 }"))
        for type in [Pair?.self, [Int: [Pair]].self, (Int, Pair).self, Queue<Pair>.self]
            as [Any.Type]
        {
            #expect(layout(type) == pair)
        }
    }

    @Test func `fixed arrays are told with their count and their element's layout`() {
        let three = layout(Row<3>.self)
        #expect(three.contains("cells 0 "))
        #expect(three.contains("$2_"))
        #expect(three.contains(layout(Pair.self)))
        #expect(three != layout(Row<4>.self))
        #expect(typeTag(Row<3>.self) != typeTag(Row<4>.self))
        #expect(layout(InlineArray<3, Int>.self) == "")
        #expect(typeTag(InlineArray<3, Int>.self) != typeTag(InlineArray<2, Int>.self))
        for type in [Row<0>.self, Row<1>.self, Row<300>.self, One.self, Many.self]
            as [Any.Type]
        {
            #expect(throws: Never.self) { try TypeReference(type) }
        }
    }

    @Test func `a type that has itself within it is told once`() {
        #expect(layout(Tree.self).contains(layout(Pair.self)))
    }

    private func layout(_ type: Any.Type) -> String {
        var layout = TypeLayout()
        layout.add(type)
        return layout.text
    }
}
