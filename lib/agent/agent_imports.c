/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What the program is going to do, by what it imports.
 *
 * A second thread is in the way of some programs.  unshare(2) and setns(2) refuse user namespaces
 * to a process of several threads.  And libc carries each change of user or group out in every
 * thread and aborts if the results differ; as capabilities belong to threads, they do differ after
 * the program has kept or dropped some in its own (setpriv does so).  Such programs do it at once,
 * and then mostly execute another one.  So the agent is not there yet when they begin.
 */
#include "agent/agent_imports.h"

#include <link.h>
#include <string.h>

static bool is_delicate(const char *name) {
    static const char *const names[] = {
        "setuid",   "seteuid",      "setreuid",    "setresuid",       "setgid",  "setegid",
        "setregid", "setresgid",    "setgroups",   "initgroups",      "unshare", "setns",
        "capset",   "cap_set_proc", "capng_apply", "capng_change_id",
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcmp(name, names[i]) == 0)
            return true;
    return false;
}

/* The executable's dynamic section. */
struct imports {
    uintptr_t bias;
    const ElfW(Sym) * symbols;
    const char *strings;
    const ElfW(Rela) * table[2]; /* for procedure calls, and the others */
    size_t bytes[2];
};

/* The loader has made the pointers absolute, unless the section is read-only. */
static const void *pointer(const struct imports *im, uintptr_t p) {
    return (const void *)(p < im->bias ? p + im->bias : p);
}

static void read_dynamic(struct imports *im, const ElfW(Dyn) * d) {
    for (; d->d_tag != DT_NULL; d++) {
        const void *p = pointer(im, d->d_un.d_ptr);
        if (d->d_tag == DT_SYMTAB)
            im->symbols = p;
        else if (d->d_tag == DT_STRTAB)
            im->strings = p;
        else if (d->d_tag == DT_JMPREL)
            im->table[0] = p;
        else if (d->d_tag == DT_RELA)
            im->table[1] = p;
        else if (d->d_tag == DT_PLTRELSZ)
            im->bytes[0] = d->d_un.d_val;
        else if (d->d_tag == DT_RELASZ)
            im->bytes[1] = d->d_un.d_val;
    }
}

static bool has_delicate(const ElfW(Rela) * r, size_t n, const struct imports *im) {
    for (size_t i = 0; i < n; i++) {
        const ElfW(Sym) *s = &im->symbols[ELF64_R_SYM(r[i].r_info)];
        if (s->st_shndx == SHN_UNDEF && is_delicate(im->strings + s->st_name))
            return true;
    }
    return false;
}

/* For dl_iterate_phdr, which begins with the executable.  1: it is as asked; -1: it is not. */
static int look(struct dl_phdr_info *info, size_t size, void *arg) {
    struct imports im = {.bias = info->dlpi_addr};
    (void)size;
    (void)arg;
    for (unsigned i = 0; i < info->dlpi_phnum; i++)
        if (info->dlpi_phdr[i].p_type == PT_DYNAMIC)
            read_dynamic(&im, (const ElfW(Dyn) *)(im.bias + info->dlpi_phdr[i].p_vaddr));
    if (im.symbols == NULL || im.strings == NULL)
        return -1;
    for (unsigned i = 0; i < 2; i++)
        if (im.table[i] != NULL &&
            has_delicate(im.table[i], im.bytes[i] / sizeof *im.table[i], &im))
            return 1;
    return -1;
}

bool agent_program_needs_one_thread(void) {
    return dl_iterate_phdr(look, NULL) == 1;
}
