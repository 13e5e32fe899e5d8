/* SPDX-License-Identifier: Apache-2.0 */
#include "image.h"

#include <errno.h>
#include <link.h>
#include <stddef.h>
#include <string.h>

/* What to look for, by address or by path, and what was found. */
struct search {
    uintptr_t address;
    uintptr_t size;
    const char *path;
    const char *found_path;
    uintptr_t found_base;
    int index;
};

/* The loader lists the main executable first, whatever it calls it. */
static const char *path_of(const struct dl_phdr_info *info, int index)
{
    return index == 0 || info->dlpi_name == NULL ? "" : info->dlpi_name;
}

/* The first mapped page. Not `dlpi_addr`, which is 0 for a program linked at a fixed address. */
static uintptr_t base_of(const struct dl_phdr_info *info)
{
    uintptr_t lowest = UINTPTR_MAX;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &info->dlpi_phdr[i];
        if (segment->p_type == PT_LOAD && segment->p_vaddr < lowest) {
            lowest = segment->p_vaddr;
        }
    }
    return lowest == UINTPTR_MAX ? 0 : info->dlpi_addr + (lowest & ~(uintptr_t)4095);
}

static int contains(const struct dl_phdr_info *info, uintptr_t address, uintptr_t size)
{
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &info->dlpi_phdr[i];
        if (segment->p_type != PT_LOAD || size > segment->p_memsz) {
            continue;
        }
        uintptr_t start = info->dlpi_addr + segment->p_vaddr;
        if (address >= start && address - start <= segment->p_memsz - size) {
            return 1;
        }
    }
    return 0;
}

static int visit(struct dl_phdr_info *info, size_t size, void *context)
{
    (void)size;
    struct search *search = context;
    const char *path = path_of(info, search->index);
    int is_main = search->index == 0;
    search->index++;
    int matches;
    if (search->path == NULL) {
        matches = contains(info, search->address, search->size);
    } else if (*search->path == '\0') {
        matches = is_main;
    } else {
        matches = strcmp(path, search->path) == 0;
    }
    if (!matches) {
        return 0;
    }
    search->found_path = path;
    search->found_base = base_of(info);
    return 1;
}

int cworker_image_of(const void *address, const char **path, uintptr_t *base)
{
    struct search search = {.address = (uintptr_t)address, .size = 1};
    if (dl_iterate_phdr(visit, &search) == 0 || search.found_base == 0) {
        return -ENOENT;
    }
    *path = search.found_path;
    *base = search.found_base;
    return 0;
}

uintptr_t cworker_image_base(const char *path)
{
    struct search search = {.path = path};
    return dl_iterate_phdr(visit, &search) == 0 ? 0 : search.found_base;
}

int cworker_image_holds(const void *address, uintptr_t size)
{
    struct search search = {.address = (uintptr_t)address, .size = size};
    return dl_iterate_phdr(visit, &search) != 0;
}

/* The Swift runtime's allocator, and its counterpart, which Swift code must not name. */
extern void *swift_allocObject(const void *metadata, size_t size, size_t alignment_mask);
extern void swift_release(void *object);

/* A Swift heap object with one closure behind its header. */
struct box {
    uintptr_t header[2];
    uintptr_t code;
    uintptr_t context;
};

uintptr_t cworker_make_box(uintptr_t metadata, uintptr_t code, uintptr_t context)
{
    struct box *box =
        swift_allocObject((const void *)metadata, sizeof *box, _Alignof(struct box) - 1);
    box->code = code;
    box->context = context;
    return (uintptr_t)box;
}

void cworker_release_box(uintptr_t box)
{
    swift_release((void *)box);
}
