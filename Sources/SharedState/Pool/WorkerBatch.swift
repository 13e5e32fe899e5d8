// SPDX-License-Identifier: Apache-2.0

internal import CShm
internal import CWorkerEntry

/// How the leases of one batch are done: found out once, as a lease may be of one element.
@safe
internal final class WorkerBatch {
    /// By which loop.
    @safe enum Manner {
        /// A task, with arguments that are decoded.
        case encodedCall(any RemoteCallable)
        /// A task, called on its arguments where they lie.
        case directCall(cworker_pack)
        /// A function of each element, which is decoded.
        case encodedMap(any RemoteMap)
        /// The same, called on elements where they lie.
        case directMap(cworker_closure)
        /// Whoever claims it leaves.
        case leave
    }

    private let job: (number: UInt64, offset: UInt64)
    private let tag: UInt64
    let form: JobForm
    let manner: Manner
    /// Keeps what a closure has.
    private let function: JobCache.Function
    /// Bytes from one element to the next, and from one result to the next, where they are bits.
    ///
    /// Of a task, those of its arguments and of its result. Else 0.
    private(set) var elementStride = 0, resultStride = 0

    init(_ jobs: inout JobCache, _ lease: cshm_lease) throws {
        job = unsafe (jobs.number(at: lease.job), lease.job)
        tag = unsafe lease.tag
        form = try JobForm(tag: tag)
        function = try jobs.function(at: job.offset, job.number, form.kind)
        switch function {
        case .call(let function):
            guard form.elementsAreBits else {
                manner = .encodedCall(function)
                return
            }
            guard let direct = function.direct else { throw Self.damaged }
            manner = .directCall(direct.pack)
            (elementStride, resultStride) = (direct.layout.size, direct.layout.resultSize)
        case .map(let function):
            // Both sides make the same plan for a type.
            guard let element = form.elementsAreBits ? function.elementStride : 0,
                let result = form.resultsAreBits ? function.resultStride : 0
            else { throw Self.damaged }
            (elementStride, resultStride) = (element, result)
            if form.elementsAreBits, form.resultsAreBits, let words = unsafe function.words {
                unsafe manner = .directMap(
                    cworker_closure(
                        code: words.code, context: words.context, second: words.second,
                        stride: element, result_stride: result))
            } else {
                manner = .encodedMap(function)
            }
        case .leave: manner = .leave
        }
    }

    /// Whether another batch is done in the same way.
    func isAlso(for lease: cshm_lease, _ jobs: borrowing JobCache) -> Bool {
        unsafe lease.job == job.offset && lease.tag == tag
            && jobs.number(at: lease.job) == job.number
    }

    private static var damaged: SharedStateError {
        SharedStateError(.incompatible, "the bytes are damaged: elements of another size")
    }

    /// What is leased holds elements and results of these sizes.
    func check(_ lease: cshm_lease) throws(SharedStateError) {
        let end = UInt64(unsafe lease.end)
        guard unsafe UInt64(elementStride) * end <= lease.input_size,
            unsafe UInt64(resultStride) * end <= lease.output_size
        else { throw Self.damaged }
    }
}
