/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The compilation units of one file with DWARF.
 *
 * A large program has thousands of units, and a profile of it asks for some thousand addresses in
 * some hundred of them.  So the ranges of all units are collected once, and then one unit is worked
 * on at a time, with all addresses that are asked for in it (debuginfo.c sees to that).  libdw
 * keeps what it has decoded, above all the lines, until the handle is closed: tens of MiB a unit.
 * Hence the handle is closed and opened again when units worth MOST_DECODED have been decoded;
 * nothing but ranges and offsets outlives that.
 *
 * libdw's own ways are too slow here, or not there (0.188):
 *
 *      - dwarf_addrdie() needs .debug_aranges, which clang does not write;
 *      - dwarf_getscopes() walks the whole unit for each address.  Here the ranges of a unit's
 *        functions are collected in steps, as far as is needed: what stands in the unit itself,
 *        where gcc has all functions of C and C++; then in namespaces, where clang and rustc have
 *        theirs; then everywhere (Ada, Rust, nested functions of GNU C).  Units written by gcc have
 *        DW_AT_sibling, so a namespace that is passed over costs nothing.
 *
 * DWARF may be broken, or written by an enemy: siblings that lead backwards, nests without a
 * bottom, line tables of gigabytes.  A unit of n bytes holds at most n entries, which bounds each
 * walk; nests are followed to a fixed depth, and a line table of more than MOST_LINE_BYTES is not
 * read.
 *
 * Split DWARF: the unit in the program is a skeleton with the ranges and lines, functions are in
 * the .dwo, which libdw opens beside the program or where it was made.  DWARF packages (.dwp)
 * are unknown to libdw 0.188: their units have symbol table names only, and lines.
 */
#include <dwarf.h>
#include <elfutils/libdw.h>
#include <elfutils/libdwelf.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "names/blocks.h"
#include "names/diename.h"
#include "names/ranges.h"
#include "base/say.h"
#include "names/separate.h"
#include "names/units.h"

#define MOST_INLINED    64                  /* functions inlined into each other at one address */
#define MOST_NESTED     64                  /* blocks, or namespaces, in each other */
#define MOST_DECODED    ((uint64_t)8 << 20) /* bytes of line tables, which take tenfold as memory */
#define MOST_LINE_BYTES ((uint64_t)64 << 20) /* of one unit's line table */
#define MOST_STEPS      400000000            /* entries that are looked at, in all: some 20 s */

/* How deep the functions of a unit have been collected. */
enum depth { NOT_YET, TOP, NAMESPACES, ALL, NEVER };

struct units {
    struct elffile *file;
    Dwarf *dwarf;
    struct elffile alt_file; /* of dwz; all zero = none */
    Dwarf *alt;
    char *missing_alt;  /* its name, if it is not there; NULL */
    Dwarf_Off *offsets; /* of the units' first entries */
    size_t n;
    struct ranges ranges; /* of all units; their dies are not to be used */
    uint64_t decoded;     /* bytes of line tables since the handle was opened */
    uint64_t steps;       /* entries that may still be looked at */

    /* The unit that was entered. */
    uint32_t unit;
    Dwarf_Die lines;     /* its entry; the skeleton if it is split */
    Dwarf_Die functions; /* the same, or that in the .dwo */
    bool has_lines;
    char *missing; /* .dwo that is not there; NULL */
    enum depth depth;
    struct ranges collected;  /* its functions; their numbers are places in blocks */
    struct blocks blocks;     /* what is inlined in them */
    uint64_t bytes;           /* of its entries, so at most so many */
    uint64_t left;            /* entries that may still be looked at for one address */
    char *made[MOST_INLINED]; /* names of the last lookup that stand nowhere in the file */
    size_t nmade;
};

/* step counts one more entry that is looked at; false when it is enough. */
static bool step(struct units *u) {
    if (u->left == 0 || u->steps == 0)
        return false;
    u->left--;
    u->steps--;
    return true;
}

/* deeper_at returns from which depth on functions are looked for inside of a die with this tag. */
static enum depth deeper_at(int tag) {
    switch (tag) {
    case DW_TAG_namespace:
    case DW_TAG_module:
        return NAMESPACES;
    case DW_TAG_structure_type:
    case DW_TAG_class_type:
    case DW_TAG_union_type:
    case DW_TAG_enumeration_type:
    case DW_TAG_subprogram:
    case DW_TAG_lexical_block:
        return ALL;
    default:
        return NEVER;
    }
}

/* collect adds the functions below die. */
static void collect(struct units *u, Dwarf_Die *die, int level) {
    Dwarf_Die child;
    if (level > MOST_NESTED || dwarf_child(die, &child) != 0)
        return;
    do {
        int tag = dwarf_tag(&child);
        bool declaration = tag == DW_TAG_subprogram && dwarf_hasattr(&child, DW_AT_declaration);
        if (tag == DW_TAG_subprogram && !declaration)
            ranges_add(&u->collected, &child, 0);
        if (deeper_at(tag) <= u->depth && !declaration && dwarf_haschildren(&child) > 0)
            collect(u, &child, level + 1);
    } while (step(u) && dwarf_siblingof(&child, &child) == 0);
}

/* function_at returns the function that holds address, NULL if none does. */
static struct range *function_at(struct units *u, Dwarf_Addr address) {
    struct range *found = ranges_find(&u->collected, address);
    while (!found && u->depth < ALL) {
        u->depth++;
        u->collected.n = 0;
        u->left = u->bytes;
        collect(u, &u->functions, 0);
        blocks_reset(&u->blocks);
        ranges_sort(&u->collected);
        found = ranges_find(&u->collected, address);
    }
    return found;
}

/* function_name returns a name that lasts until the next lookup. */
static const char *function_name(struct units *u, Dwarf_Die *die) {
    char *closure = u->nmade < MOST_INLINED ? diename_closure(die, &u->left) : NULL;
    if (!closure)
        return diename(die);
    return u->made[u->nmade++] = closure;
}

static void forget_names(struct units *u) {
    while (u->nmade > 0)
        free(u->made[--u->nmade]);
}

static unsigned unsigned_attribute(Dwarf_Die *die, unsigned name) {
    Dwarf_Attribute attribute;
    Dwarf_Word value = 0;
    if (!dwarf_attr(die, name, &attribute) || dwarf_formudata(&attribute, &value) != 0)
        return 0;
    return value <= INT32_MAX ? (unsigned)value : 0;
}

/* set_call sets the place from which an inlined function was called. */
static void set_call(struct units *u, struct debuginfo_frame *frame, Dwarf_Die *inlined) {
    Dwarf_Files *files;
    size_t nfiles, file = unsigned_attribute(inlined, DW_AT_call_file);
    frame->line = unsigned_attribute(inlined, DW_AT_call_line);
    frame->column = unsigned_attribute(inlined, DW_AT_call_column);
    if (u->has_lines && dwarf_getsrcfiles(&u->functions, &files, &nfiles) == 0 && file < nfiles)
        frame->file = dwarf_filesrc(files, file, NULL, NULL);
}

static void set_line(struct units *u, struct debuginfo_frame *frame, Dwarf_Addr address) {
    Dwarf_Line *line = u->has_lines ? dwarf_getsrc_die(&u->lines, address) : NULL;
    int number = 0;
    if (!line)
        return;
    frame->file = dwarf_linesrc(line, NULL, NULL);
    if (dwarf_lineno(line, &number) == 0 && number > 0)
        frame->line = (unsigned)number;
    if (dwarf_linecol(line, &number) == 0 && number > 0)
        frame->column = (unsigned)number;
}

size_t units_lookup(struct units *u, uint64_t address, struct debuginfo_frame *frames, size_t max) {
    Dwarf_Die chain[MOST_INLINED];
    forget_names(u);
    if (u->unit == UNITS_NONE || max == 0)
        return 0;
    struct range *function = function_at(u, address);
    if (!function) {
        /* the unit is split, or the function was merged with one that is alike */
        frames[0] = (struct debuginfo_frame){.function = NULL};
        set_line(u, &frames[0], address);
        return frames[0].file != NULL;
    }
    u->left = u->bytes;
    size_t n = blocks_chain(&u->blocks, function, address, chain, MOST_INLINED), used = 0;
    for (size_t i = n; i-- > 0 && used < max; used++) {
        frames[used] =
            (struct debuginfo_frame){.function = function_name(u, &chain[i]), .inlined = i > 0};
        if (i + 1 < n)
            set_call(u, &frames[used], &chain[i + 1]);
        else
            set_line(u, &frames[used], address);
    }
    return used;
}

/* line_bytes returns the size of a unit's line table. */
static uint64_t line_bytes(struct units *u, Dwarf_Die *die) {
    Dwarf_Attribute attribute;
    Dwarf_Word offset;
    size_t size;
    uint32_t length;
    const uint8_t *lines = elffile_section(u->file, ".debug_line", &size);
    if (!lines && elffile_section(u->file, ".zdebug_line", &size))
        return size; /* the old way of compressing; only libdw sees through it */
    if (!lines || !dwarf_attr(die, DW_AT_stmt_list, &attribute) ||
        dwarf_formudata(&attribute, &offset) != 0 || offset > size || size - offset < 16)
        return 0;
    memcpy(&length, lines + offset, sizeof(length));
    if (length != 0xffffffff)
        return length;
    uint64_t length64; /* DWARF of 64 bits */
    memcpy(&length64, lines + offset + 4, sizeof(length64));
    return length64;
}

/* open_handle opens libdw's handle; false if there is no DWARF that it understands. */
static bool open_handle(struct units *u) {
    u->dwarf = dwarf_begin_elf(u->file->elf, DWARF_C_READ, NULL);
    if (u->dwarf && u->alt)
        dwarf_setalt(u->dwarf, u->alt);
    u->decoded = 0;
    return u->dwarf != NULL;
}

static void leave(struct units *u) {
    u->unit = UNITS_NONE;
    u->collected.n = 0;
    blocks_reset(&u->blocks);
    free(u->missing);
    u->missing = NULL;
}

/* package_of returns the DWARF package that lies beside the program, to be freed; NULL: none. */
static char *package_of(const struct units *u) {
    size_t n = strlen(u->file->path);
    if (n > 6 && strcmp(u->file->path + n - 6, ".debug") == 0)
        n -= 6;
    char *path = must_format("%.*s.dwp", (int)n, u->file->path);
    if (access(path, F_OK) == 0)
        return path;
    free(path);
    return NULL;
}

/* find_split sets u->functions to the entry in the .dwo, if the unit is split. */
static void find_split(struct units *u) {
    Dwarf_Attribute name;
    Dwarf_Die split = {.addr = NULL};
    uint8_t type = 0;
    u->functions = u->lines;
    if (dwarf_cu_info(u->lines.cu, NULL, &type, NULL, &split, NULL, NULL, NULL) != 0 ||
        type != DW_UT_skeleton)
        return;
    if (split.addr) {
        u->functions = split;
        return;
    }
    const char *dwo = dwarf_attr(&u->lines, DW_AT_dwo_name, &name) ||
                              dwarf_attr(&u->lines, DW_AT_GNU_dwo_name, &name)
                          ? dwarf_formstring(&name)
                          : NULL;
    char *package = package_of(u);
    u->missing = package ? must_format("%s is a DWARF package, which cannot be read, and %s",
                                       package, dwo ? dwo : "its .dwo")
                         : must_dup(dwo ? dwo : ".dwo");
    free(package);
}

void units_enter(struct units *u, uint32_t unit) {
    leave(u);
    if (unit >= u->n)
        return;
    if (u->decoded > MOST_DECODED) {
        dwarf_end(u->dwarf);
        elffile_forget(u->file);
        elffile_forget(&u->alt_file);
        open_handle(u);
    }
    if (!u->dwarf || !dwarf_offdie(u->dwarf, u->offsets[unit], &u->lines))
        return;
    u->unit = unit;
    u->depth = NOT_YET;
    uint64_t bytes = line_bytes(u, &u->lines);
    u->has_lines = bytes > 0 && bytes <= MOST_LINE_BYTES;
    u->decoded += u->has_lines ? bytes : 0;
    find_split(u);
    bool split = u->functions.addr != u->lines.addr; /* of another file, so not known */
    u->bytes = split ? MOST_STEPS
                     : (unit + 1 < u->n ? u->offsets[unit + 1] : u->file->size) - u->offsets[unit];
}

const char *units_missing(const struct units *u) {
    return u->missing ? u->missing : u->missing_alt;
}

static void collect_units(struct units *u) {
    Dwarf_CU *cu = NULL;
    Dwarf_Die die;
    uint8_t type;
    size_t room = 0;
    while (u->n < UNITS_NONE && dwarf_get_units(u->dwarf, cu, &cu, NULL, &type, &die, NULL) == 0) {
        if (type != DW_UT_compile && type != DW_UT_skeleton)
            continue;
        if (u->n == room) {
            room = room ? room * 2 : 64;
            u->offsets = must_realloc(u->offsets, room, sizeof(*u->offsets));
        }
        u->offsets[u->n] = dwarf_dieoffset(&die);
        ranges_add(&u->ranges, &die, (uint32_t)u->n++);
    }
    ranges_sort(&u->ranges);
}

/* open_alt opens what dwz has moved into a file of its own. */
static void open_alt(struct units *u, const char *root) {
    const char *name;
    const void *id;
    ssize_t len = dwelf_dwarf_gnu_debugaltlink(u->dwarf, &name, &id);
    if (len <= 0)
        return;
    if (separate_open_alt(u->file, name, id, (size_t)len, root, &u->alt_file))
        u->alt = dwarf_begin_elf(u->alt_file.elf, DWARF_C_READ, NULL);
    if (u->alt)
        dwarf_setalt(u->dwarf, u->alt);
    else
        u->missing_alt = must_dup(name);
}

struct units *units_new(struct elffile *file, const char *root) {
    struct units *u = must_calloc(1, sizeof(*u));
    u->file = file;
    u->unit = UNITS_NONE;
    u->steps = MOST_STEPS;
    u->blocks.left = &u->left;
    if (!open_handle(u)) {
        free(u);
        return NULL;
    }
    open_alt(u, root);
    collect_units(u);
    return u;
}

void units_free(struct units *u) {
    if (!u)
        return;
    leave(u);
    forget_names(u);
    dwarf_end(u->dwarf);
    dwarf_end(u->alt);
    elffile_close(&u->alt_file);
    free(u->missing_alt);
    ranges_free(&u->collected);
    ranges_free(&u->ranges);
    blocks_free(&u->blocks);
    free(u->offsets);
    free(u);
}

uint32_t units_find(const struct units *u, uint64_t address) {
    const struct range *found = ranges_find(&u->ranges, address);
    return found ? found->number : UNITS_NONE;
}
