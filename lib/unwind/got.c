/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Replacing a function that a loaded object imports.
 *
 * An object calls imported functions by way of slots (its GOT), which the loader fills while it
 * resolves the relocations of type JUMP_SLOT or GLOB_DAT.  Writing another address into the slot
 * changes the calls of that one object and nobody else's.
 */
#include "unwind/got.h"

#include <string.h>
#include <sys/mman.h>

#include "sys/rawcall.h"

/* The parts of an object's dynamic section that are needed. */
struct dynamic {
    const ElfW(Sym) * symtab;
    const char *strtab;
    const ElfW(Rela) * tables[2]; /* DT_JMPREL, DT_RELA */
    size_t counts[2];
};

static bool read_dynamic(const struct link_map *map, struct dynamic *d) {
    *d = (struct dynamic){0};
    for (const ElfW(Dyn) *e = map->l_ld; e->d_tag != DT_NULL; e++) {
        /* The loader has added l_addr to these already. */
        const void *p = (const void *)e->d_un.d_ptr;
        switch (e->d_tag) {
        case DT_SYMTAB:
            d->symtab = p;
            break;
        case DT_STRTAB:
            d->strtab = p;
            break;
        case DT_JMPREL:
            d->tables[0] = p;
            break;
        case DT_PLTRELSZ:
            d->counts[0] = e->d_un.d_val / sizeof(ElfW(Rela));
            break;
        case DT_RELA:
            d->tables[1] = p;
            break;
        case DT_RELASZ:
            d->counts[1] = e->d_un.d_val / sizeof(ElfW(Rela));
            break;
        default:
            break;
        }
    }
    return d->symtab != NULL && d->strtab != NULL;
}

/* The page may be read-only after relocation (RELRO). */
static bool write_slot(void **slot, void *to) {
    const uintptr_t page = 4096;
    uintptr_t start = (uintptr_t)slot & ~(page - 1);
    if (sys_call3(SYS_mprotect, (long)start, (long)page, PROT_READ | PROT_WRITE) != 0)
        return false;
    __atomic_store_n(slot, to, __ATOMIC_RELEASE);
    return true;
}

int got_replace(const struct link_map *map, const char *name, void *to) {
    struct dynamic d;
    int n = 0;
    if (!read_dynamic(map, &d))
        return -1;
    for (size_t k = 0; k < 2; k++) {
        for (size_t i = 0; d.tables[k] != NULL && i < d.counts[k]; i++) {
            const ElfW(Rela) *r = &d.tables[k][i];
            unsigned type = ELF64_R_TYPE(r->r_info);
            if (type != R_X86_64_JUMP_SLOT && type != R_X86_64_GLOB_DAT)
                continue;
            const ElfW(Sym) *sym = &d.symtab[ELF64_R_SYM(r->r_info)];
            if (strcmp(d.strtab + sym->st_name, name) != 0)
                continue;
            if (!write_slot((void **)(map->l_addr + r->r_offset), to))
                return -1;
            n++;
        }
    }
    return n;
}
