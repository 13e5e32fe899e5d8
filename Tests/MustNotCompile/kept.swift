// SPDX-License-Identifier: Apache-2.0

import SharedState

// What a body is lent, it cannot keep. The compiler says so after it has found the types right.

func kept(_ source: Queue<Int>) throws {
    // expected-error@+1 {{lifetime-dependent variable 'kept' escapes its scope}}
    var kept = Span<Int>()
    // expected-note@+2 {{it depends on the lifetime of argument}}
    // expected-note@+1 {{this use causes the lifetime-dependent value to escape}}
    try source.withNext { kept = $0 }
    _ = kept.count
}

func kept(_ source: Queue<[Float]>) throws {
    // expected-error@+1 {{lifetime-dependent variable 'kept' escapes its scope}}
    var kept = Span<Float>()
    // expected-note@+2 {{it depends on the lifetime of argument}}
    // expected-note@+1 {{this use causes the lifetime-dependent value to escape}}
    try source.withNext { kept = $0 }
    _ = kept.count
}

func kept(_ source: Queue<[UInt8]>) throws {
    // expected-error@+1 {{lifetime-dependent variable 'kept' escapes its scope}}
    var kept = RawSpan()
    // expected-note@+2 {{it depends on the lifetime of argument}}
    // expected-note@+1 {{this use causes the lifetime-dependent value to escape}}
    try source.withNextBytes { kept = $0 }
    _ = kept.byteCount
}

func kept(_ source: borrowing Subscriber<Int>) throws {
    // expected-error@+1 {{lifetime-dependent variable 'kept' escapes its scope}}
    var kept = Span<Int>()
    // expected-note@+2 {{it depends on the lifetime of argument}}
    // expected-note@+1 {{this use causes the lifetime-dependent value to escape}}
    try source.withNext { kept = $0 }
    _ = kept.count
}

func keptToRead(_ target: Queue<Int>) throws {
    // expected-error@+1 {{lifetime-dependent variable 'kept' escapes its scope}}
    var kept = Span<Int>()
    // expected-note@+1 {{it depends on the lifetime of argument 'slot'}}
    try target.withSlot(of: 1) { slot in
        kept = slot.span
        // expected-note@+1 {{this use causes the lifetime-dependent value to escape}}
    }
    _ = kept.count
}

func keptToRead(_ target: Queue<[Float]>) throws {
    // expected-error@+1 {{lifetime-dependent variable 'kept' escapes its scope}}
    var kept = Span<Float>()
    // expected-note@+1 {{it depends on the lifetime of argument 'slot'}}
    try target.withSlot(of: 1) { slot in
        kept = slot.span
        // expected-note@+1 {{this use causes the lifetime-dependent value to escape}}
    }
    _ = kept.count
}

func keptToRead(_ target: Queue<[UInt8]>) throws {
    // expected-error@+1 {{lifetime-dependent variable 'kept' escapes its scope}}
    var kept = RawSpan()
    // expected-note@+1 {{it depends on the lifetime of argument 'slot'}}
    try target.withBytes(of: 1) { slot in
        kept = slot.bytes
        // expected-note@+1 {{this use causes the lifetime-dependent value to escape}}
    }
    _ = kept.byteCount
}

func keptToRead(_ target: borrowing Publisher<Int>) throws {
    // expected-error@+1 {{lifetime-dependent variable 'kept' escapes its scope}}
    var kept = Span<Int>()
    // expected-note@+1 {{it depends on the lifetime of argument 'slot'}}
    try target.withSlot { slot in
        kept = slot.span
        // expected-note@+1 {{this use causes the lifetime-dependent value to escape}}
    }
    _ = kept.count
}

func kept(_ source: PipeReceiver<Int>) throws {
    // expected-error@+1 {{lifetime-dependent variable 'kept' escapes its scope}}
    var kept = Span<Int>()
    // expected-note@+2 {{it depends on the lifetime of argument}}
    // expected-note@+1 {{this use causes the lifetime-dependent value to escape}}
    try source.withNext { kept = $0 }
    _ = kept.count
}

func kept(_ source: Lanes<Int>) throws {
    // expected-error@+1 {{lifetime-dependent variable 'kept' escapes its scope}}
    var kept = Span<Int>()
    // expected-note@+2 {{it depends on the lifetime of argument}}
    // expected-note@+1 {{this use causes the lifetime-dependent value to escape}}
    try source.withNext { kept = $0 }
    _ = kept.count
}
