/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Names for places in data, from the symbol tables of programs and libraries.
 *
 * A place belongs to the file whose first byte is mapped nearest below it: what a file has in
 * memory, bss included, is one piece, in the order of the file.
 */
#include <stdlib.h>
#include <string.h>

#include "names/debuginfo.h"
#include "names/demangle.h"
#include "base/say.h"
#include "names/symbol.h"
#include "report/variable.h"

struct module {
    const struct gomalloc_mapping *mapping; /* of its first byte */
    struct debuginfo *debuginfo;            /* NULL: nothing is known of it */
};

struct variables {
    const struct image *im;
    struct module *modules;
    size_t n;
};

struct variables *variables_new(const struct image *im) {
    struct variables *v = must_calloc(1, sizeof(*v));
    v->im = im;
    return v;
}

void variables_free(struct variables *v) {
    if (!v)
        return;
    for (size_t i = 0; i < v->n; i++)
        debuginfo_close(v->modules[i].debuginfo);
    free(v->modules);
    free(v);
}

/* first_mapping returns the mapping of the first byte of the file that an address may be in. */
static const struct gomalloc_mapping *first_mapping(const struct image *im, uint64_t address) {
    size_t n;
    const struct gomalloc_mapping *m = image_section(im, GOMALLOC_SECTION_MAPPING, &n);
    const struct gomalloc_mapping *best = NULL;
    for (size_t i = 0; i < n; i++)
        if (m[i].file_offset == 0 && m[i].inode && m[i].start <= address &&
            (!best || m[i].start > best->start) && image_string(im, m[i].path_str)[0] == '/')
            best = &m[i];
    return best;
}

/* open_module opens the file of a mapping, once. */
static struct debuginfo *open_module(struct variables *v, const struct gomalloc_mapping *m) {
    for (size_t i = 0; i < v->n; i++)
        if (v->modules[i].mapping == m)
            return v->modules[i].debuginfo;
    v->modules = must_realloc(v->modules, v->n + 1, sizeof(*v->modules));
    struct module *new = &v->modules[v->n++];
    *new = (struct module){.mapping = m};
    if (debuginfo_open(image_string(v->im, m->path_str), symbolizer_root_dir(), m->build_id,
                       m->build_id_len, &new->debuginfo) != 0)
        new->debuginfo = NULL;
    return new->debuginfo;
}

static const char *base_name(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* name_text returns "name+0x10", to be freed. */
static char *name_text(const struct debuginfo_variable *found) {
    char *symbol = must_dup_n(found->name, strcspn(found->name, "@")), *name = demangle(symbol);
    char *text = found->offset ? must_format("%s+0x%llx", name, (unsigned long long)found->offset)
                               : must_dup(name);
    free(name);
    free(symbol);
    return text;
}

/* is_data tells whether an address is in what a file has in memory: the file itself, or the
 * anonymous memory right behind it, which is the rest of its bss. */
static bool is_data(const struct image *im, const struct gomalloc_mapping *file, uint64_t address) {
    const char *path = image_string(im, file->path_str);
    const struct gomalloc_mapping *m = image_mapping_at(im, address);
    if (m && !image_string(im, m->path_str)[0])
        m = image_mapping_at(im, m->start - 1);
    return m && strcmp(image_string(im, m->path_str), path) == 0;
}

char *variable_text(struct variables *v, uint64_t address) {
    const struct gomalloc_mapping *m = first_mapping(v->im, address);
    if (!m)
        return NULL;
    const char *file = base_name(image_string(v->im, m->path_str));
    unsigned long long offset = address - m->start;
    struct debuginfo *d = open_module(v, m);
    struct debuginfo_variable found = {.name = NULL};
    if (d)
        found = debuginfo_variable(d, offset);
    if (!found.section && (d || !is_data(v->im, m, address)))
        return NULL;
    if (!found.name)
        return found.section ? must_format("%s of %s+0x%llx", found.section, file, offset)
                             : must_format("%s+0x%llx", file, offset);
    char *name = name_text(&found);
    char *text = must_format("%s (%s %s)", name, file, found.section);
    free(name);
    return text;
}

char *variable_thread_text(struct variables *v, uint64_t before) {
    size_t n;
    const char *exe = image_string(v->im, image_process(v->im)->exe_str);
    const struct gomalloc_mapping *m = image_section(v->im, GOMALLOC_SECTION_MAPPING, &n);
    struct debuginfo *d = NULL;
    for (size_t i = 0; i < n && !d; i++)
        if (m[i].file_offset == 0 && m[i].inode &&
            strcmp(image_string(v->im, m[i].path_str), exe) == 0)
            d = open_module(v, &m[i]);
    struct debuginfo_variable found = {.name = NULL};
    if (d)
        found = debuginfo_thread_variable(d, before);
    return found.name ? name_text(&found) : NULL;
}
