/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Names for addresses: from an address to the mapping it lies in, to the file, to functions.
 *
 * Every answer is kept: stacks share most of their frames, and an answer costs up to 0.1 ms.  A
 * file is opened when the first address in it is asked for.  One that has been replaced since (its
 * build-id differs) or is gone gives module and offset only, and one line on standard error says
 * so: a wrong name would be worse than none.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "debuginfo.h"
#include "demangle.h"
#include "image.h"
#include "say.h"
#include "symbol.h"

#define MOST_FRAMES 64 /* functions at one address */

struct module {
    const char *path; /* as mapped; the image's */
    const struct gomalloc_mapping *mapping;
    struct debuginfo *debuginfo; /* NULL: nothing is known of it */
    bool opened;                 /* tried */
};

/* The answer for one address. */
struct answer {
    uint64_t pc;
    struct symbol_frame *frames; /* NULL: this place of the table is empty */
    size_t n;
};

struct symbolizer {
    const struct image *im;
    char *root;
    struct module *modules;
    size_t nmodules;
    struct answer *answers; /* open addressing; room is a power of two */
    size_t nanswers, room;
};

static char *next_root; /* NULL = "" */

void symbolizer_root(const char *dir) {
    free(next_root);
    next_root = must_dup(dir);
}

static bool quiet;

void symbolizer_quiet(void) {
    quiet = true;
}

struct symbolizer *symbolizer_new(const struct image *im) {
    struct symbolizer *s = calloc(1, sizeof(*s));
    if (!s)
        return NULL;
    unsetenv("DEBUGINFOD_URLS"); /* names must not wait for the network */
    s->im = im;
    s->root = must_dup(next_root ? next_root : "");
    s->room = 1024;
    s->answers = must_calloc(s->room, sizeof(*s->answers));
    return s;
}

void symbolizer_free(struct symbolizer *s) {
    if (!s)
        return;
    for (size_t i = 0; i < s->room; i++) {
        for (size_t j = 0; j < s->answers[i].n; j++)
            free((char *)(uintptr_t)s->answers[i].frames[j].function);
        free(s->answers[i].frames);
    }
    for (size_t i = 0; i < s->nmodules; i++)
        debuginfo_close(s->modules[i].debuginfo);
    free(s->modules);
    free(s->answers);
    free(s->root);
    free(s);
}

/* open_module opens the file of a module, and says what is wrong with it. */
static void open_module(const struct symbolizer *s, struct module *m) {
    static const char deleted[] = " (deleted)"; /* the kernel's mark */
    size_t n = strlen(m->path), mark = sizeof(deleted) - 1;
    bool is_deleted = n > mark && strcmp(m->path + n - mark, deleted) == 0;
    m->opened = true;
    if (m->path[0] != '/')
        return; /* [vdso], [heap], nothing */
    char *path = must_dup_n(m->path, is_deleted ? n - mark : n);
    int error = is_deleted && m->mapping->build_id_len == 0
                    ? -ESTALE
                    : debuginfo_open(path, s->root, m->mapping->build_id, m->mapping->build_id_len,
                                     &m->debuginfo);
    if (quiet)
        error = 0;
    if (error == -ESTALE || (error == -ENOENT && is_deleted))
        say("%s is stale: it was replaced since the program began; offsets instead of names", path);
    else if (error == -ENOENT)
        say("%s is not here: offsets instead of names", path);
    else if (error == -EACCES)
        say("%s can't be read: offsets instead of names", path);
    free(path);
}

static bool same_file(const struct symbolizer *s, const struct gomalloc_mapping *a,
                      const struct gomalloc_mapping *b) {
    return strcmp(image_string(s->im, a->path_str), image_string(s->im, b->path_str)) == 0 &&
           a->inode == b->inode && a->build_id_len == b->build_id_len &&
           memcmp(a->build_id, b->build_id, sizeof(a->build_id)) == 0;
}

static struct module *module_of(struct symbolizer *s, const struct gomalloc_mapping *mapping) {
    for (size_t i = 0; i < s->nmodules; i++)
        if (s->modules[i].mapping == mapping || same_file(s, s->modules[i].mapping, mapping))
            return &s->modules[i];
    s->modules = must_realloc(s->modules, s->nmodules + 1, sizeof(*s->modules));
    struct module *m = &s->modules[s->nmodules++];
    *m = (struct module){.path = image_string(s->im, mapping->path_str), .mapping = mapping};
    return m;
}

/* find_answer returns the place of pc in the table, empty or not. */
static struct answer *find_answer(const struct symbolizer *s, uint64_t pc) {
    size_t at = (size_t)(pc * 0x9e3779b97f4a7c15u >> 32) & (s->room - 1);
    while (s->answers[at].frames && s->answers[at].pc != pc)
        at = (at + 1) & (s->room - 1);
    return &s->answers[at];
}

static void grow(struct symbolizer *s) {
    struct answer *old = s->answers;
    size_t n = s->room;
    s->room *= 2;
    s->answers = must_calloc(s->room, sizeof(*s->answers));
    for (size_t i = 0; i < n; i++)
        if (old[i].frames)
            *find_answer(s, old[i].pc) = old[i];
    free(old);
}

/* is_omission tells whether a "return address" (less one) stands for frames that were left out. */
static bool is_omission(uint64_t pc) {
    return (pc & ~(GOMALLOC_FRAME_OMITTED - 1)) == GOMALLOC_FRAME_OMITTED;
}

static char *omission(uint64_t pc) {
    uint64_t n = pc - GOMALLOC_FRAME_OMITTED + 1;
    char text[64];
    snprintf(text, sizeof(text), "(%s%llu frames left out)", n < 16 ? "" : "at least ",
             (unsigned long long)n);
    return must_dup(text);
}

/* answer fills *a for an address that has not been asked for. */
static void fill_answer(struct symbolizer *s, struct answer *a) {
    struct debuginfo_frame found[MOST_FRAMES];
    const struct gomalloc_mapping *mapping = image_mapping_at(s->im, a->pc);
    struct symbol_frame frame = {.module_offset = a->pc};
    struct module *m = NULL;
    size_t n = 0;
    if (mapping && image_string(s->im, mapping->path_str)[0]) {
        m = module_of(s, mapping);
        frame.module = m->path;
        frame.module_offset = a->pc - mapping->start + mapping->file_offset;
        if (!m->opened)
            open_module(s, m);
    }
    if (m && m->debuginfo)
        n = debuginfo_lookup(m->debuginfo, frame.module_offset, found, MOST_FRAMES);
    a->n = n ? n : 1;
    a->frames = must_calloc(a->n, sizeof(*a->frames));
    a->frames[0] = frame;
    if (is_omission(a->pc))
        a->frames[0].function = omission(a->pc);
    for (size_t i = 0; i < n; i++) {
        a->frames[i] = frame;
        a->frames[i].function = found[i].function ? demangle(found[i].function) : NULL;
        a->frames[i].file = found[i].file;
        a->frames[i].line = found[i].file ? found[i].line : 0;
        a->frames[i].column = a->frames[i].line ? found[i].column : 0;
        a->frames[i].inlined = i + 1 < n;
    }
}

int symbolizer_lookup(struct symbolizer *s, uint64_t pc, const struct symbol_frame **ret_frames,
                      size_t *ret_n) {
    struct answer *a = find_answer(s, pc);
    if (!a->frames) {
        if (s->nanswers * 2 >= s->room) {
            grow(s);
            a = find_answer(s, pc);
        }
        a->pc = pc;
        fill_answer(s, a);
        s->nanswers++;
    }
    *ret_frames = a->frames;
    *ret_n = a->n;
    return 0;
}
