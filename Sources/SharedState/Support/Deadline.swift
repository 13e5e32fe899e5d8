// SPDX-License-Identifier: Apache-2.0

internal import CShm

/// The absolute monotonic time, in nanoseconds, that is `timeout` from now; `nil` is for ever.
///
/// Saturates: a negative time-out has passed, an enormous one never does.
package func deadline(after timeout: Duration?) -> Int64 {
    guard let timeout else { return .max }
    let parts = timeout.components
    guard parts.seconds >= 0, parts.attoseconds >= 0 else { return 0 }
    let (whole, overflow) = parts.seconds.multipliedReportingOverflow(by: 1_000_000_000)
    if overflow { return .max }
    let (sum, tooMuch) = whole.addingReportingOverflow(parts.attoseconds / 1_000_000_000)
    if tooMuch { return .max }
    let (absolute, never) = sum.addingReportingOverflow(cshm_now_ns())
    return never ? .max : absolute
}

/// A duration in nanoseconds; the largest there is where that overflows.
internal func nanoseconds(_ duration: Duration) -> Int64 {
    let parts = duration.components
    let (whole, overflow) = parts.seconds.multipliedReportingOverflow(by: 1_000_000_000)
    return overflow ? .max : whole + parts.attoseconds / 1_000_000_000
}

/// The absolute monotonic time that is so many nanoseconds from now.
internal func deadline(in nanoseconds: Int64) -> Int64 {
    let (sum, never) = cshm_now_ns().addingReportingOverflow(nanoseconds)
    return never ? .max : sum
}

/// A time of `cshm_now_ns()` as an instant of the clock that stands still while the machine sleeps.
internal func instant(ofMonotonic nanoseconds: Int64) -> SuspendingClock.Instant {
    .now - .nanoseconds(cshm_now_ns() - nanoseconds)
}
