/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Loaded images: where in which file an address came from, and where that is in another process.
 *
 * Two processes running one executable hold the same code at different addresses. "Image and
 * offset" names it in both. `dl_iterate_phdr` rather than `dladdr`: the latter finds nothing in a
 * static executable.
 */
#ifndef CWORKERENTRY_IMAGE_H
#define CWORKERENTRY_IMAGE_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Finds the image that `address` lies in. Stores its path, "" for the main executable, and the
 * address of its first page. The path stays valid for as long as the image is loaded.
 * Returns 0, or -ENOENT when no image holds the address (heap, stack, code made at run time).
 */
int cworker_image_of(const void *address, const char **path, uintptr_t *base);

/* The first page of the image loaded from `path` ("": the main executable), or 0 if none is. */
uintptr_t cworker_image_base(const char *path);

/* Whether the `size` bytes at `address` lie in one image loaded by the linker. */
int cworker_image_holds(const void *address, uintptr_t size);

/*
 * Makes the heap object of a Swift closure that captures one other closure: `metadata` is the
 * compiler's metadata of such a box, `code` and `context` the captured closure's two words. Takes
 * over the caller's reference to `context`. Never fails: the Swift runtime aborts without memory.
 */
uintptr_t cworker_make_box(uintptr_t metadata, uintptr_t code, uintptr_t context);

/* Gives up a reference to a box; 0 is none. */
void cworker_release_box(uintptr_t box);

#ifdef __cplusplus
}
#endif

#endif /* CWORKERENTRY_IMAGE_H */
