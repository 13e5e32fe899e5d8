/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * See include/call.h. The attributes are Clang's; no other compiler builds this target.
 */
#include "include/call.h"

#include <stdatomic.h>

typedef __attribute__((swiftcall)) void (*closure_code)(
    __attribute__((swift_indirect_result)) void *result, const void *element, const void *second,
    __attribute__((swift_context)) void *context, __attribute__((swift_error_result)) void **error);

uint32_t cworker_call_each(const struct cworker_closure *closure, const void *input, void *output,
                           uint32_t first, uint32_t end, void *running, void **error)
{
    closure_code code = (closure_code)closure->code;
    void *context = (void *)closure->context;
    const void *second = closure->second;
    size_t stride = closure->stride;
    size_t result_stride = closure->result_stride;
    const char *element = (const char *)input + first * stride;
    char *result = (char *)output + first * result_stride;
    _Atomic uint64_t *word = running;
    void *thrown = NULL;
    for (uint32_t i = first; i < end; i++) {
        /* release: the results of those before come first */
        atomic_store_explicit(word, (uint64_t)i + 1, memory_order_release);
        code(result, element, second, context, &thrown);
        if (thrown != NULL) {
            *error = thrown;
            return i;
        }
        element += stride;
        result += result_stride;
    }
    return end;
}

typedef __attribute__((swiftcall)) void (*pack_code)(
    __attribute__((swift_indirect_result)) void *result, const void *const *arguments,
    __attribute__((swift_context)) void *context, __attribute__((swift_error_result)) void **error);

void *cworker_call_pack(const struct cworker_pack *pack, const void *input, void *output)
{
    pack_code code = (pack_code)pack->code;
    const void *arguments[CWORKER_PACK_MAX];
    void *thrown = NULL;
    for (uint32_t i = 0; i < pack->count && i < CWORKER_PACK_MAX; i++) {
        arguments[i] = (const char *)input + pack->offset[i];
    }
    code(output, arguments, (void *)pack->context, &thrown);
    return thrown;
}
