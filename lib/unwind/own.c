/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Which code is this library's own.
 */
#include "unwind/own.h"

#include <link.h>

/* This library's own ELF header: the linker defines it in every object. */
extern const char __ehdr_start[] __attribute__((visibility("hidden")));

struct own_range own_range;

struct own_range own_segments(uint32_t flag) {
    const ElfW(Ehdr) *ehdr = (const ElfW(Ehdr) *)__ehdr_start;
    const ElfW(Phdr) *ph = (const ElfW(Phdr) *)(__ehdr_start + ehdr->e_phoff);
    struct own_range range = {UINT64_MAX, 0};
    uint64_t first = 0; /* address that the object was linked for: 0 unless it is not PIC */
    for (unsigned i = ehdr->e_phnum; i-- > 0;) {
        if (ph[i].p_type == PT_LOAD && ph[i].p_offset == 0)
            first = ph[i].p_vaddr;
    }
    for (unsigned i = 0; i < ehdr->e_phnum; i++) {
        if (ph[i].p_type != PT_LOAD || (ph[i].p_flags & flag) == 0)
            continue;
        uint64_t start = (uintptr_t)__ehdr_start + ph[i].p_vaddr - first;
        if (start < range.start)
            range.start = start;
        if (start + ph[i].p_memsz > range.end)
            range.end = start + ph[i].p_memsz;
    }
    return range;
}

void own_init(void) {
    own_range = own_segments(PF_X);
}
