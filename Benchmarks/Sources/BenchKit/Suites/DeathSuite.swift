// SPDX-License-Identifier: Apache-2.0

internal import CBench

/// What a killed process of 64 MiB costs the next one.
extension Suites {
    internal static let deaths: [Row] = special + owned.flatMap(everyRow) + given.flatMap(everyRow)

    private typealias Noun = (name: String, noun: bench_noun)

    private static let owned: [Noun] = [
        ("lock", BENCH_MUTEX), ("baton", BENCH_BATON), ("permits", BENCH_PERMITS),
        ("rwlock", BENCH_WRITER), ("rwlock-read", BENCH_READER), ("once", BENCH_ONCE),
        ("value", BENCH_VALUE), ("array", BENCH_ARRAY),
    ]
    private static let given: [Noun] = [
        ("semaphore", BENCH_SEMAPHORE), ("event", BENCH_EVENT), ("latch", BENCH_LATCH),
    ]
    private static let special: [Row] = [
        row("condition", BENCH_CONDITION_MUTEX, BENCH_HOLDING),
        row("condition", BENCH_CONDITION, BENCH_WOKEN),
        row("condition", BENCH_CONDITION, BENCH_ASLEEP),
        row("barrier", BENCH_BARRIER, BENCH_WOKEN),
        // Who waits there is missing at the next meeting.
        row("barrier", BENCH_BROKEN_BARRIER, BENCH_ASLEEP, told: BENCH_HOLDING),
    ]

    private static func everyRow(of subject: Noun) -> [Row] {
        let isOwned = owned.contains { $0.noun == subject.noun }
        let moments = (isOwned ? [BENCH_HOLDING] : []) + [BENCH_WOKEN, BENCH_ASLEEP]
        return [false, true].flatMap { inTasks in
            moments.map { row(subject.name, subject.noun, $0, inTasks: inTasks) }
        }
    }

    private static func row(
        _ name: String, _ noun: bench_noun, _ moment: bench_moment, told: bench_moment? = nil,
        inTasks: Bool = false
    ) -> Row {
        let (shape, about) = words(for: told ?? moment)
        func probe(_ name: String, _ noun: bench_noun, _ moment: bench_moment) -> SurvivorProbe {
            SurvivorProbe(
                name: name, death: bench_death(noun: noun, moment: moment, in_tasks: inTasks))
        }
        let hasPeer = noun == BENCH_MUTEX && !inTasks
        let row = Row(
            "sync/\(name)/\(shape)\(inTasks ? "-in-tasks" : "")/64", .nanoseconds, about,
            probe(name, noun, moment),
            against: (hasPeer ? [probe("robust-mutex", BENCH_ROBUST, moment)] : [])
                + [probe("waitid", BENCH_NOTHING, BENCH_HOLDING)])
        return hasPeer && moment == BENCH_HOLDING ? row : row.asMore
    }

    private static func words(for moment: bench_moment) -> (shape: String, about: String) {
        switch moment {
        case BENCH_HOLDING:
            ("dead-holder", "the next waiter has it, from the SIGKILL of a holder of 64 MiB")
        case BENCH_WOKEN:
            ("dead-woken", "the next waiter goes on, from the SIGKILL of a woken one of 64 MiB")
        default:
            (
                "dead-waiter",
                "the next waiter goes on, from the SIGKILL of one of 64 MiB, woken then"
            )
        }
    }
}
