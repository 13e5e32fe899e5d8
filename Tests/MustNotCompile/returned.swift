// SPDX-License-Identifier: Apache-2.0

import SharedState

// What a body is lent, it cannot return: a result outlives the call.

func returned(
    _ queue: Queue<Int>, _ bytes: Queue<[UInt8]>, _ publisher: borrowing Publisher<Int>,
    _ subscriber: borrowing Subscriber<Int>,
    _ pipe: (receiver: PipeReceiver<Int>, sender: PipeSender<Int>)
) throws {
    let read: Span<Int> = try queue.withNext { $0 }  // expected-error {{conform to 'Escapable'}}
    let raw: RawSpan = try bytes.withNextBytes { $0 }  // expected-error {{conform to 'Escapable'}}
    let heard: Span<Int> = try subscriber.withNext { $0 }
    // expected-error@-1 {{conform to 'Escapable'}}
    let slot: MutableSpan<Int> = try queue.withSlot(of: 1) { $0 }
    // expected-error@-1 {{requires that 'MutableSpan<Int>' conform to 'Copyable'}}
    // expected-error@-2 {{requires that 'MutableSpan<Int>' conform to 'Escapable'}}
    let said: MutableSpan<Int> = try publisher.withSlot { $0 }
    // expected-error@-1 {{requires that 'MutableSpan<Int>' conform to 'Copyable'}}
    // expected-error@-2 {{requires that 'MutableSpan<Int>' conform to 'Escapable'}}
    pipe.receiver.send(1)  // expected-error {{has no member 'send'}}
    pipe.sender.receive()  // expected-error {{has no member 'receive'}}
    _ = (read.count, raw.byteCount, heard.count, slot.count, said.count)
}
