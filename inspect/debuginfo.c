/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The functions and lines of one program or library file; the only file that knows libdw.
 *
 * Each file is a Dwfl with one offline module, so that it can be opened when the first address in
 * it is looked up: most mapped files never are.  libdwfl finds separate debug information by
 * build-id and debuglink.  Three things are done by hand, because libdw's ways are too slow or not
 * there (0.188):
 *
 *      - the compilation unit of an address, where .debug_aranges does not know it: clang writes
 *        none.  The ranges of all units are collected once;
 *      - the function in a unit: the ranges of a unit's functions are collected when it is first
 *        needed.  dwarf_getscopes() walks the whole unit each time, 390 us;
 *      - the function of an address without DWARF: see symtab.c.
 */
#include <dwarf.h>
#include <elfutils/libdw.h>
#include <elfutils/libdwelf.h>
#include <elfutils/libdwfl.h>
#include <errno.h>
#include <fcntl.h>
#include <gelf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "debuginfo.h"
#include "say.h"
#include "symtab.h"

#define MOST_INLINED 64 /* functions inlined into each other at one address */

/* Code of a unit, or of a function. */
struct range {
    Dwarf_Addr low, high;
    Dwarf_Die die;
};

struct ranges {
    struct range *items;
    size_t n, room;
};

/* A compilation unit whose functions have been collected. */
struct unit {
    Dwarf_Off offset;
    Dwarf_Die die;
    struct ranges functions;
};

struct debuginfo {
    Dwfl *dwfl;
    Dwfl_Module *module;
    Dwfl_Callbacks callbacks;
    char *debug_path;
    Dwarf *dwarf; /* NULL: none */
    Dwarf_Addr dwarf_bias;
    GElf_Addr elf_bias;
    Elf *elf;
    bool units_collected, symbols_collected;
    struct ranges unit_ranges; /* of all units; only if .debug_aranges failed once */
    struct unit *units;
    size_t nunits;
    struct symtab symbols;
};

static void add_range(struct ranges *r, Dwarf_Addr low, Dwarf_Addr high, const Dwarf_Die *die) {
    if (low >= high)
        return;
    if (r->n == r->room) {
        r->room = r->room ? r->room * 2 : 64;
        r->items = must_realloc(r->items, r->room, sizeof(*r->items));
    }
    r->items[r->n++] = (struct range){low, high, *die};
}

static void add_die(struct ranges *r, Dwarf_Die *die) {
    Dwarf_Addr base, low, high;
    for (ptrdiff_t at = 0; (at = dwarf_ranges(die, at, &base, &low, &high)) > 0;)
        add_range(r, low, high, die);
}

static int compare_ranges(const void *x, const void *y) {
    const struct range *a = x, *b = y;
    return a->low < b->low ? -1 : a->low > b->low;
}

static void sort_ranges(struct ranges *r) {
    if (r->n)
        qsort(r->items, r->n, sizeof(*r->items), compare_ranges);
}

/* find_range returns the die whose range holds address, NULL if none does.  Functions and units do
 * not overlap, so the nearest below is the only candidate. */
static Dwarf_Die *find_range(const struct ranges *r, Dwarf_Addr address) {
    size_t low = 0, high = r->n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (r->items[middle].low <= address)
            low = middle + 1;
        else
            high = middle;
    }
    return low && address < r->items[low - 1].high ? &r->items[low - 1].die : NULL;
}

/* May functions be found inside of a die with this tag? */
static bool holds_functions(int tag) {
    return tag == DW_TAG_namespace || tag == DW_TAG_structure_type || tag == DW_TAG_class_type ||
           tag == DW_TAG_union_type || tag == DW_TAG_enumeration_type || tag == DW_TAG_module ||
           tag == DW_TAG_subprogram; /* nested functions of Ada, Rust, GNU C */
}

/* collect_functions adds the functions below die; depth bounds what a broken file can do. */
static void collect_functions(struct ranges *functions, Dwarf_Die *die, int depth) {
    Dwarf_Die child;
    if (depth > 32 || dwarf_child(die, &child) != 0)
        return;
    do {
        int tag = dwarf_tag(&child);
        if (tag == DW_TAG_subprogram)
            add_die(functions, &child);
        if (holds_functions(tag) && dwarf_haschildren(&child) > 0)
            collect_functions(functions, &child, depth + 1);
    } while (dwarf_siblingof(&child, &child) == 0);
}

static void collect_units(struct debuginfo *d) {
    Dwarf_CU *cu = NULL;
    Dwarf_Die die;
    uint8_t type;
    d->units_collected = true;
    while (dwarf_get_units(d->dwarf, cu, &cu, NULL, &type, &die, NULL) == 0)
        if (type == DW_UT_compile || type == DW_UT_skeleton)
            add_die(&d->unit_ranges, &die);
    sort_ranges(&d->unit_ranges);
}

/* unit_at returns the compilation unit that holds address, with its functions; NULL if none. */
static struct unit *unit_at(struct debuginfo *d, Dwarf_Addr address) {
    Dwarf_Die die, *found = dwarf_addrdie(d->dwarf, address, &die);
    if (!found) {
        if (!d->units_collected)
            collect_units(d);
        found = find_range(&d->unit_ranges, address);
    }
    if (!found)
        return NULL;
    Dwarf_Off offset = dwarf_dieoffset(found);
    for (size_t i = d->nunits; i-- > 0;)
        if (d->units[i].offset == offset)
            return &d->units[i];
    d->units = must_realloc(d->units, d->nunits + 1, sizeof(*d->units));
    struct unit *unit = &d->units[d->nunits++];
    *unit = (struct unit){.offset = offset, .die = *found};
    collect_functions(&unit->functions, &unit->die, 0);
    sort_ranges(&unit->functions);
    return unit;
}

static const char *die_name(Dwarf_Die *die) {
    Dwarf_Attribute attribute;
    const char *name = NULL;
    if (dwarf_attr_integrate(die, DW_AT_linkage_name, &attribute) ||
        dwarf_attr_integrate(die, DW_AT_MIPS_linkage_name, &attribute))
        name = dwarf_formstring(&attribute);
    return name ? name : dwarf_diename(die);
}

static bool is_block(int tag) {
    return tag == DW_TAG_lexical_block || tag == DW_TAG_inlined_subroutine ||
           tag == DW_TAG_try_block || tag == DW_TAG_catch_block;
}

/* inner_block sets *ret to the block directly in die that holds address. */
static bool inner_block(Dwarf_Die *die, Dwarf_Addr address, Dwarf_Die *ret) {
    if (dwarf_child(die, ret) != 0)
        return false;
    do {
        if (is_block(dwarf_tag(ret)) && dwarf_haspc(ret, address) > 0)
            return true;
    } while (dwarf_siblingof(ret, ret) == 0);
    return false;
}

/* inlined_chain fills chain with function and what is inlined in it at address, outermost first. */
static size_t inlined_chain(Dwarf_Die *function, Dwarf_Addr address, Dwarf_Die *chain) {
    Dwarf_Die die = *function;
    size_t n = 0;
    chain[n++] = die;
    for (int depth = 0; depth < 512; depth++) {
        Dwarf_Die inner;
        if (!inner_block(&die, address, &inner))
            break;
        die = inner;
        if (dwarf_tag(&die) == DW_TAG_inlined_subroutine && n < MOST_INLINED)
            chain[n++] = die;
    }
    return n;
}

static unsigned unsigned_attribute(Dwarf_Die *die, unsigned name) {
    Dwarf_Attribute attribute;
    Dwarf_Word value = 0;
    if (!dwarf_attr(die, name, &attribute) || dwarf_formudata(&attribute, &value) != 0)
        return 0;
    return (unsigned)value;
}

/* set_call sets the place from which an inlined function was called. */
static void set_call(struct debuginfo_frame *frame, Dwarf_Die *unit, Dwarf_Die *inlined) {
    Dwarf_Files *files;
    size_t nfiles, file = unsigned_attribute(inlined, DW_AT_call_file);
    frame->line = unsigned_attribute(inlined, DW_AT_call_line);
    frame->column = unsigned_attribute(inlined, DW_AT_call_column);
    if (dwarf_getsrcfiles(unit, &files, &nfiles) == 0 && file < nfiles)
        frame->file = dwarf_filesrc(files, file, NULL, NULL);
}

static void set_line(struct debuginfo_frame *frame, Dwarf_Die *unit, Dwarf_Addr address) {
    Dwarf_Line *line = dwarf_getsrc_die(unit, address);
    int number = 0;
    if (!line)
        return;
    frame->file = dwarf_linesrc(line, NULL, NULL);
    if (dwarf_lineno(line, &number) == 0 && number > 0)
        frame->line = (unsigned)number;
    if (dwarf_linecol(line, &number) == 0 && number > 0)
        frame->column = (unsigned)number;
}

/* lookup_dwarf is debuginfo_lookup by DWARF. */
static size_t lookup_dwarf(struct debuginfo *d, Dwarf_Addr address, struct debuginfo_frame *frames,
                           size_t max) {
    Dwarf_Die chain[MOST_INLINED];
    struct unit *unit = d->dwarf ? unit_at(d, address) : NULL;
    Dwarf_Die *function = unit ? find_range(&unit->functions, address) : NULL;
    if (!function)
        return 0;
    size_t n = inlined_chain(function, address, chain), used = 0;
    for (size_t i = n; i-- > 0 && used < max; used++) {
        frames[used] = (struct debuginfo_frame){.function = die_name(&chain[i]), .inlined = i > 0};
        if (i + 1 < n)
            set_call(&frames[used], &unit->die, &chain[i + 1]);
        else
            set_line(&frames[used], &unit->die, address);
    }
    return used;
}

/* rank puts the names of one address in order: a global one tells more than a local alias. */
static unsigned rank(const GElf_Sym *symbol, const char *name) {
    unsigned by_binding = GELF_ST_BIND(symbol->st_info) == STB_GLOBAL ? 0
                          : GELF_ST_BIND(symbol->st_info) == STB_WEAK ? 1
                                                                      : 2;
    return by_binding * 2 + (name[0] == '_' && name[1] == '_');
}

static void collect_symbols(struct debuginfo *d) {
    int n = dwfl_module_getsymtab(d->module);
    d->symbols_collected = true;
    for (int i = 1; i < n; i++) {
        GElf_Sym symbol;
        GElf_Addr address;
        const char *name =
            dwfl_module_getsym_info(d->module, i, &symbol, &address, NULL, NULL, NULL);
        int type = GELF_ST_TYPE(symbol.st_info);
        if (!name || !name[0] || symbol.st_shndx == SHN_UNDEF ||
            (type != STT_FUNC && type != STT_GNU_IFUNC))
            continue;
        symtab_add(&d->symbols,
                   &(struct symtab_entry){address, symbol.st_size, name, rank(&symbol, name)});
    }
    symtab_sort(&d->symbols);
}

/* address_of turns an offset of the file into an address of the module; false if no loaded segment
 * holds it. */
static bool address_of(const struct debuginfo *d, uint64_t file_offset, GElf_Addr *ret) {
    size_t n;
    if (elf_getphdrnum(d->elf, &n) != 0)
        return false;
    for (size_t i = 0; i < n; i++) {
        GElf_Phdr phdr;
        if (gelf_getphdr(d->elf, (int)i, &phdr) && phdr.p_type == PT_LOAD &&
            file_offset >= phdr.p_offset && file_offset - phdr.p_offset < phdr.p_filesz) {
            *ret = file_offset - phdr.p_offset + phdr.p_vaddr + d->elf_bias;
            return true;
        }
    }
    return false;
}

size_t debuginfo_lookup(struct debuginfo *d, uint64_t file_offset, struct debuginfo_frame *frames,
                        size_t max) {
    GElf_Addr address;
    if (max == 0 || !address_of(d, file_offset, &address))
        return 0;
    size_t n = lookup_dwarf(d, address - d->dwarf_bias, frames, max);
    if (n > 0 && frames[n - 1].function)
        return n;
    if (!d->symbols_collected)
        collect_symbols(d);
    const char *name = symtab_find(&d->symbols, address);
    if (n == 0 && name)
        frames[n++] = (struct debuginfo_frame){.function = name};
    else if (n > 0)
        frames[n - 1].function = name;
    return n;
}

bool debuginfo_has_lines(const struct debuginfo *d) {
    return d->dwarf != NULL;
}

static bool same_build_id(Elf *elf, const uint8_t *build_id, size_t build_id_len) {
    const void *bytes;
    ssize_t n = dwelf_elf_gnu_build_id(elf, &bytes);
    return n == (ssize_t)build_id_len && memcmp(bytes, build_id, build_id_len) == 0;
}

/* open_regular opens a file that may be anything, and waits for nothing. */
static int open_regular(const char *path) {
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return -errno;
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
        return fd;
    close(fd);
    return -ENOEXEC;
}

/* report makes the file the one module of d->dwfl; fd is taken over. */
static int report(struct debuginfo *d, const char *path, int fd) {
    d->dwfl = dwfl_begin(&d->callbacks);
    if (!d->dwfl) {
        close(fd);
        return -ENOMEM;
    }
    dwfl_report_begin(d->dwfl);
    d->module = dwfl_report_offline(d->dwfl, path, path, fd);
    if (!d->module)
        close(fd);
    dwfl_report_end(d->dwfl, NULL, NULL);
    d->elf = d->module ? dwfl_module_getelf(d->module, &d->elf_bias) : NULL;
    return d->elf ? 0 : -ENOEXEC;
}

int debuginfo_open(const char *path, const char *root, const uint8_t *build_id, size_t build_id_len,
                   struct debuginfo **ret) {
    char *whole = must_format("%s%s", root, path);
    int fd = open_regular(whole);
    if (fd < 0) {
        free(whole);
        return fd;
    }
    struct debuginfo *d = must_calloc(1, sizeof(*d));
    d->debug_path =
        must_format("+:.debug:%s/usr/lib/debug%s", root, root[0] ? ":/usr/lib/debug" : "");
    d->callbacks = (Dwfl_Callbacks){.find_elf = dwfl_build_id_find_elf,
                                    .find_debuginfo = dwfl_standard_find_debuginfo,
                                    .section_address = dwfl_offline_section_address,
                                    .debuginfo_path = &d->debug_path};
    int error = report(d, whole, fd);
    free(whole);
    if (!error && build_id_len && !same_build_id(d->elf, build_id, build_id_len))
        error = -ESTALE;
    if (error) {
        debuginfo_close(d);
        return error;
    }
    d->dwarf = dwfl_module_getdwarf(d->module, &d->dwarf_bias);
    *ret = d;
    return 0;
}

void debuginfo_close(struct debuginfo *d) {
    if (!d)
        return;
    for (size_t i = 0; i < d->nunits; i++)
        free(d->units[i].functions.items);
    free(d->units);
    free(d->unit_ranges.items);
    symtab_free(&d->symbols);
    dwfl_end(d->dwfl);
    free(d->debug_path);
    free(d);
}
