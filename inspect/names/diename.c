/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Names of functions in DWARF.
 *
 * As a rule there is a linkage name, which says where a function belongs.  gcc has none for what
 * nobody can link with: a lambda in main() or in a function with C linkage is just operator(), of
 * which a program may have many.  Then the name is put together from the entries around the one
 * that declares it, in the form of the demangler.
 *
 * An entry does not say what it stands in.  But entries stand in the file in the order of a walk,
 * so on the way down from the unit it is always the last one that begins before.
 */
#include <dwarf.h>
#include <stdlib.h>
#include <string.h>

#include "base/say.h"
#include "names/demangle.h"
#include "names/diename.h"

#define MOST_NESTED  64 /* entries in each other */
#define MOST_ORIGINS 8  /* from an inlined function to its declaration it is two */

static const char *linkage_name(Dwarf_Die *die) {
    Dwarf_Attribute attribute;
    if (dwarf_attr_integrate(die, DW_AT_linkage_name, &attribute) ||
        dwarf_attr_integrate(die, DW_AT_MIPS_linkage_name, &attribute))
        return dwarf_formstring(&attribute);
    return NULL;
}

const char *diename(Dwarf_Die *die) {
    const char *name = linkage_name(die);
    return name ? name : dwarf_diename(die);
}

/* declaration follows *die to the entry that declares the function. */
static void declaration(Dwarf_Die *die) {
    Dwarf_Attribute attribute;
    for (int i = 0; i < MOST_ORIGINS; i++) {
        Dwarf_Die next;
        if (!dwarf_attr(die, DW_AT_abstract_origin, &attribute) &&
            !dwarf_attr(die, DW_AT_specification, &attribute))
            return;
        if (!dwarf_formref_die(&attribute, &next))
            return;
        *die = next;
    }
}

/* step_down sets *in to the entry directly in it that holds the one at offset, or is it. */
static bool step_down(Dwarf_Die *in, Dwarf_Off offset, uint64_t *left) {
    Dwarf_Die child, last;
    bool found = false;
    if (dwarf_child(in, &child) != 0)
        return false;
    do {
        if (dwarf_dieoffset(&child) > offset)
            break;
        last = child;
        found = true;
    } while (*left > 0 && (*left)-- > 0 && dwarf_siblingof(&child, &child) == 0);
    if (found)
        *in = last;
    return found;
}

/* part_of returns what the entry is called as a part of a name, to be freed; NULL: nothing. */
static char *part_of(Dwarf_Die *in) {
    int tag = dwarf_tag(in);
    const char *name = dwarf_diename(in), *linkage = linkage_name(in);
    if (tag == DW_TAG_subprogram && linkage)
        return demangle(linkage);
    if (tag == DW_TAG_subprogram && name)
        return must_dup(name);
    if (tag != DW_TAG_class_type && tag != DW_TAG_structure_type)
        return NULL;
    /* gcc's lambdas have no name, or <lambda(int)> */
    return must_dup(name && name[0] != '<' ? name : "{lambda}");
}

/* extend appends what the entry is called to *path; a linkage name tells of all that is around. */
static void extend(char **path, Dwarf_Die *in) {
    char *part = part_of(in), *before = *path;
    if (!part)
        return;
    *path = before && !linkage_name(in) ? must_format("%s::%s", before, part) : must_dup(part);
    free(before);
    free(part);
}

char *diename_closure(Dwarf_Die *die, uint64_t *left) {
    const char *name = linkage_name(die) ? NULL : dwarf_diename(die);
    Dwarf_Die at = *die, in;
    char *path = NULL;
    if (!name || strncmp(name, "operator()", 10) != 0)
        return NULL;
    declaration(&at);
    Dwarf_Off offset = dwarf_dieoffset(&at);
    if (!dwarf_diecu(&at, &in, NULL, NULL))
        return NULL;
    for (int i = 0; i < MOST_NESTED && step_down(&in, offset, left); i++) {
        extend(&path, &in);
        if (dwarf_dieoffset(&in) == offset)
            return path;
    }
    free(path);
    return NULL;
}
