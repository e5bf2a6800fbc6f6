/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The functions and lines of one program or library file.
 *
 * Three sources, each opened when it is first needed: most mapped files are never asked about, and
 * of the others most answers are in the cache (namecache.c).
 *
 *      - DWARF in the file itself, or in its separate debug file (separate.c), by units.c.  The
 *        addresses that will be asked for are known beforehand, and answered a compilation unit at
 *        a time: so each unit is read once, whatever the order of the questions;
 *      - the functions of the symbol tables, by libdwfl: .symtab of the file or its debug file,
 *        .dynsym, and what is packed into .gnu_debugdata.  Its own search for an address is linear,
 *        so symtab.c has them sorted;
 *      - nothing: then there is module+offset.
 */
#include <elfutils/libdwfl.h>
#include <errno.h>
#include <gelf.h>
#include <stdlib.h>
#include <string.h>

#include "names/debuginfo.h"
#include "names/elffile.h"
#include "base/say.h"
#include "names/separate.h"
#include "names/symtab.h"
#include "names/units.h"

#define MOST_FRAMES 64 /* functions at one address */

/* An offset that will be asked for. */
struct expected {
    uint64_t offset;
    uint64_t address;
    uint32_t unit; /* UNITS_NONE: its name comes from the symbol table */
};

struct debuginfo {
    struct elffile file;
    char *root;
    struct separate places;
    bool opened;          /* what follows has been looked for */
    struct elffile debug; /* the separate debug file; all zero = none, or the file has it all */
    struct units *units;  /* NULL: no DWARF */

    const uint64_t *offsets; /* expected */
    size_t noffsets;
    struct expected *expected; /* by unit, then address; NULL: not made yet */

    Dwfl *dwfl; /* for the symbol tables; NULL: not needed yet */
    Dwfl_Module *module;
    Dwfl_Callbacks callbacks;
    char *debug_path;
    bool symbols_collected;
    GElf_Addr bias; /* of the addresses in symbols */
    struct symtab symbols;
    bool variables_collected;
    struct symtab variables, thread_variables; /* addresses as in the file */
};

/* rank puts the names of one address in order: a global one tells more than a local alias. */
static unsigned rank(const GElf_Sym *symbol, const char *name) {
    unsigned by_binding = GELF_ST_BIND(symbol->st_info) == STB_GLOBAL ? 0
                          : GELF_ST_BIND(symbol->st_info) == STB_WEAK ? 1
                                                                      : 2;
    return by_binding * 2 + (name[0] == '_' && name[1] == '_');
}

/* open_dwfl makes the file the one module of d->dwfl; NULL if it can't. */
static Dwfl_Module *open_dwfl(struct debuginfo *d) {
    if (d->dwfl)
        return d->module;
    d->debug_path =
        must_format("+:.debug:%s/usr/lib/debug%s", d->root, d->root[0] ? ":/usr/lib/debug" : "");
    d->callbacks = (Dwfl_Callbacks){.find_elf = dwfl_build_id_find_elf,
                                    .find_debuginfo = dwfl_standard_find_debuginfo,
                                    .section_address = dwfl_offline_section_address,
                                    .debuginfo_path = &d->debug_path};
    d->dwfl = dwfl_begin(&d->callbacks);
    if (!d->dwfl)
        return NULL;
    dwfl_report_begin(d->dwfl);
    d->module = dwfl_report_offline(d->dwfl, d->file.path, d->file.path, -1);
    dwfl_report_end(d->dwfl, NULL, NULL);
    if (d->module && !dwfl_module_getelf(d->module, &d->bias))
        d->module = NULL;
    return d->module;
}

static void collect_symbols(struct debuginfo *d) {
    Dwfl_Module *module = open_dwfl(d);
    int n = module ? dwfl_module_getsymtab(module) : 0;
    for (int i = 1; i < n; i++) {
        GElf_Sym symbol;
        GElf_Addr address;
        const char *name = dwfl_module_getsym_info(module, i, &symbol, &address, NULL, NULL, NULL);
        int type = GELF_ST_TYPE(symbol.st_info);
        if (!name || !name[0] || symbol.st_shndx == SHN_UNDEF ||
            (type != STT_FUNC && type != STT_GNU_IFUNC))
            continue;
        symtab_add(&d->symbols,
                   &(struct symtab_entry){address, symbol.st_size, name, rank(&symbol, name)});
    }
    symtab_sort(&d->symbols);
}

static void collect_variables(struct debuginfo *d) {
    Dwfl_Module *module = open_dwfl(d);
    int n = module ? dwfl_module_getsymtab(module) : 0;
    for (int i = 1; i < n; i++) {
        GElf_Sym symbol;
        GElf_Addr address;
        const char *name = dwfl_module_getsym_info(module, i, &symbol, &address, NULL, NULL, NULL);
        int type = GELF_ST_TYPE(symbol.st_info);
        if (!name || !name[0] || symbol.st_shndx == SHN_UNDEF || symbol.st_size == 0 ||
            (type != STT_OBJECT && type != STT_TLS))
            continue;
        symtab_add(
            type == STT_TLS ? &d->thread_variables : &d->variables,
            &(struct symtab_entry){symbol.st_value, symbol.st_size, name, rank(&symbol, name)});
    }
    symtab_sort(&d->variables);
    symtab_sort(&d->thread_variables);
}

static void find_variable(struct debuginfo *d, bool thread, uint64_t address,
                          struct debuginfo_variable *ret) {
    if (!d->variables_collected)
        collect_variables(d);
    d->variables_collected = true;
    const struct symtab_entry *e =
        symtab_entry_at(thread ? &d->thread_variables : &d->variables, address);
    if (!e)
        return;
    ret->name = e->name;
    ret->offset = address - e->address;
}

struct debuginfo_variable debuginfo_variable(struct debuginfo *d, uint64_t offset) {
    struct debuginfo_variable v = {.name = NULL};
    uint64_t first;
    if (!elffile_first_address(&d->file, &first))
        return v;
    v.section = elffile_section_at(&d->file, first + offset);
    if (v.section)
        find_variable(d, false, first + offset, &v);
    return v;
}

struct debuginfo_variable debuginfo_thread_variable(struct debuginfo *d, uint64_t before) {
    struct debuginfo_variable v = {.name = NULL};
    uint64_t bytes = elffile_tls_bytes(&d->file);
    if (before && before <= bytes)
        find_variable(d, true, bytes - before, &v);
    return v;
}

static const char *symbol_at(struct debuginfo *d, uint64_t address) {
    if (!d->symbols_collected)
        collect_symbols(d);
    d->symbols_collected = true;
    return symtab_find(&d->symbols, address + d->bias);
}

/* ask_servers asks those of DEBUGINFOD_URLS for the debug file.  The variable is there only if the
 * user wants that: symbol.c. */
static bool ask_servers(struct debuginfo *d) {
    GElf_Addr bias;
    const char *path = NULL;
    if (!getenv("DEBUGINFOD_URLS"))
        return false;
    Dwfl_Module *module = open_dwfl(d);
    if (!module || !dwfl_module_getdwarf(module, &bias))
        return false;
    dwfl_module_info(module, NULL, NULL, NULL, NULL, NULL, NULL, &path);
    return path && elffile_open(path, &d->debug) == 0;
}

static void open_dwarf(struct debuginfo *d) {
    if (d->opened)
        return;
    d->opened = true;
    if (elffile_has_dwarf(&d->file))
        d->units = units_new(&d->file, d->root);
    else if (separate_open(&d->places, &d->file, &d->debug) || ask_servers(d))
        d->units = units_new(&d->debug, d->root);
}

static int compare_expected(const void *x, const void *y) {
    const struct expected *a = x, *b = y;
    if (a->unit != b->unit)
        return a->unit < b->unit ? -1 : 1;
    return a->address < b->address ? -1 : a->address > b->address;
}

static struct expected expect(const struct debuginfo *d, uint64_t offset) {
    struct expected e = {.offset = offset, .unit = UNITS_NONE};
    if (elffile_address(&d->file, offset, &e.address) && d->units)
        e.unit = units_find(d->units, e.address);
    return e;
}

/* answer hands over what is known of one offset. */
static void answer(struct debuginfo *d, const struct expected *e,
                   const struct debuginfo_receiver *receiver) {
    struct debuginfo_frame frames[MOST_FRAMES];
    size_t n = 0;
    if (e->unit != UNITS_NONE)
        n = units_lookup(d->units, e->address, frames, MOST_FRAMES);
    if ((n == 0 || !frames[n - 1].function) && e->address) {
        const char *name = symbol_at(d, e->address);
        if (n == 0 && name)
            frames[n++] = (struct debuginfo_frame){.function = name};
        else if (n > 0)
            frames[n - 1].function = name;
    }
    receiver->found(receiver->context, e->offset, frames, n,
                    e->unit == UNITS_NONE || !units_missing(d->units));
}

static void sort_expected(struct debuginfo *d) {
    d->expected = must_calloc(d->noffsets, sizeof(*d->expected));
    for (size_t i = 0; i < d->noffsets; i++)
        d->expected[i] = expect(d, d->offsets[i]);
    if (d->noffsets)
        qsort(d->expected, d->noffsets, sizeof(*d->expected), compare_expected);
}

/* find_expected returns the place of the first one that is not before e. */
static size_t find_expected(const struct debuginfo *d, const struct expected *e) {
    size_t low = 0, high = d->noffsets;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (compare_expected(&d->expected[middle], e) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

void debuginfo_expect(struct debuginfo *d, const uint64_t *offsets, size_t n) {
    free(d->expected);
    d->expected = NULL;
    d->offsets = offsets;
    d->noffsets = n;
}

void debuginfo_lookup(struct debuginfo *d, uint64_t offset,
                      const struct debuginfo_receiver *receiver) {
    open_dwarf(d);
    if (!d->expected)
        sort_expected(d);
    struct expected e = expect(d, offset);
    if (e.unit != UNITS_NONE)
        units_enter(d->units, e.unit);
    answer(d, &e, receiver);
    const struct expected first = {.unit = e.unit};
    for (size_t i = find_expected(d, &first); i < d->noffsets && d->expected[i].unit == e.unit; i++)
        if (d->expected[i].offset != offset)
            answer(d, &d->expected[i], receiver);
}

bool debuginfo_has_lines(struct debuginfo *d) {
    open_dwarf(d);
    return d->units != NULL;
}

const char *debuginfo_missing(struct debuginfo *d) {
    open_dwarf(d);
    if (d->units)
        return units_missing(d->units);
    /* the last one by build-id is the one without the root */
    if (d->places.nby_id)
        return d->places.paths[d->places.nby_id - 1];
    return d->places.n ? d->places.paths[0] : NULL;
}

uint64_t debuginfo_stamp(const struct debuginfo *d) {
    return separate_stamp(&d->places) ^ d->file.size * 0x9e3779b97f4a7c15;
}

int debuginfo_open(const char *path, const char *root, const uint8_t *build_id, size_t build_id_len,
                   struct debuginfo **ret) {
    struct debuginfo *d = must_calloc(1, sizeof(*d));
    char *whole = must_format("%s%s", root, path);
    int error = elffile_open(whole, &d->file);
    free(whole);
    if (!error && build_id_len && !elffile_has_build_id(&d->file, build_id, build_id_len))
        error = -ESTALE;
    d->root = must_dup(root);
    if (error) {
        debuginfo_close(d);
        return error;
    }
    separate_places(&d->file, path, root, &d->places);
    *ret = d;
    return 0;
}

void debuginfo_close(struct debuginfo *d) {
    if (!d)
        return;
    units_free(d->units);
    symtab_free(&d->symbols);
    symtab_free(&d->variables);
    symtab_free(&d->thread_variables);
    dwfl_end(d->dwfl);
    separate_free(&d->places);
    elffile_close(&d->debug);
    elffile_close(&d->file);
    free(d->expected);
    free(d->debug_path);
    free(d->root);
    free(d);
}
