/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Names for addresses: from an address to the mapping it lies in, to the file, to functions.
 *
 * Every answer is kept, by module and offset.  A file is opened when the first address in it is
 * asked for; then the cache is read (namecache.c), and debug information if an answer is not there.
 * The addresses that will be asked for are known beforehand (symbolizer_expect), and answered a
 * compilation unit at a time, see debuginfo.c: so a question may be answered before it is asked,
 * and the order of the questions does not matter.
 *
 * A file that has been replaced since (its build-id differs) or is gone gives module and offset
 * only, and one line on standard error says so: a wrong name would be worse than none.  One without
 * debug information has a line, too, with the file that would have to be there.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "names/debuginfo.h"
#include "names/demangle.h"
#include "image/image.h"
#include "names/intern.h"
#include "names/namecache.h"
#include "base/progress.h"
#include "base/say.h"
#include "names/symbol.h"

#define MOST_MISSING 5 /* modules without debug information that have a line each */

/* The answer for one offset of a module. */
struct answer {
    uint64_t offset;
    struct symbol_frame *frames; /* NULL: not looked up yet */
    size_t n;
    bool whole; /* may be kept in the cache */
};

struct module {
    const char *path;                       /* as mapped; the image's; NULL = no mapping */
    const struct gomalloc_mapping *mapping; /* NULL = none: offsets are addresses */
    struct debuginfo *debuginfo;            /* NULL: nothing is known of it */
    bool opened;                            /* tried */
    bool judged;                            /* what is missing has been said */
    bool fresh;                             /* there are answers that the cache does not have */
    struct answer *answers;                 /* ascending */
    size_t n, room;
    uint64_t *wanted; /* offsets without an answer, for debuginfo_expect */
};

struct symbolizer {
    const struct image *im;
    char *root;
    struct module *modules;
    size_t nmodules;
    struct intern strings; /* of all answers */
    size_t nexpected, nanswered;
};

static char *next_root; /* NULL = "" */

void symbolizer_root(const char *dir) {
    free(next_root);
    next_root = must_dup(dir);
}

const char *symbolizer_root_dir(void) {
    return next_root ? next_root : "";
}

static bool quiet;

void symbolizer_quiet(void) {
    quiet = true;
}

/* allow_network leaves DEBUGINFOD_URLS to libdwfl only if the user wants that: names should not
 * wait for a server by themselves. */
static void allow_network(void) {
    const char *wanted = getenv("GOINSPECT_DEBUGINFOD");
    if (!wanted || !wanted[0] || strcmp(wanted, "0") == 0)
        unsetenv("DEBUGINFOD_URLS");
}

struct symbolizer *symbolizer_new(const struct image *im) {
    struct symbolizer *s = calloc(1, sizeof(*s));
    if (!s)
        return NULL;
    allow_network();
    s->im = im;
    s->root = must_dup(symbolizer_root_dir());
    return s;
}

/* key_of fills *ret for a module whose names can be cached; false if they can't. */
static bool key_of(const struct module *m, struct namecache_key *ret) {
    if (!m->debuginfo || m->mapping->build_id_len == 0)
        return false;
    *ret = (struct namecache_key){m->mapping->build_id, m->mapping->build_id_len,
                                  debuginfo_stamp(m->debuginfo)};
    return true;
}

/* save hands what was found out to the cache. */
static void save(const struct module *m) {
    struct namecache_key key;
    struct namecache c = {.n = 0};
    if (!m->fresh || !key_of(m, &key))
        return;
    c.entries = must_calloc(m->n, sizeof(*c.entries));
    c.lines = debuginfo_has_lines(m->debuginfo);
    for (size_t i = 0; i < m->n; i++)
        if (m->answers[i].frames && m->answers[i].whole)
            c.entries[c.n++] = (struct namecache_entry){m->answers[i].offset, m->answers[i].frames,
                                                        m->answers[i].n};
    namecache_save(&key, &c);
    namecache_free(&c);
}

void symbolizer_free(struct symbolizer *s) {
    if (!s)
        return;
    progress_end();
    for (size_t i = 0; i < s->nmodules; i++) {
        struct module *m = &s->modules[i];
        save(m);
        debuginfo_close(m->debuginfo);
        for (size_t j = 0; j < m->n; j++)
            free(m->answers[j].frames);
        free(m->answers);
        free(m->wanted);
    }
    intern_free(&s->strings);
    free(s->modules);
    free(s->root);
    free(s);
}

/* said tells whether something has been said of a file before: once is enough, also when a report
 * is made again and again. */
static bool said(const char *path) {
    static struct intern files;
    size_t before = files.n;
    intern_string(&files, path);
    return files.n == before;
}

/* file_path returns the path of a module's file without the kernel's mark, to be freed. */
static char *file_path(const struct module *m, bool *ret_deleted) {
    static const char deleted[] = " (deleted)";
    size_t n = strlen(m->path), mark = sizeof(deleted) - 1;
    *ret_deleted = n > mark && strcmp(m->path + n - mark, deleted) == 0;
    return must_dup_n(m->path, *ret_deleted ? n - mark : n);
}

static void say_not_opened(const char *path, int error, bool deleted) {
    if (quiet || (error != -ESTALE && error != -ENOENT && error != -EACCES) || said(path))
        return;
    if (error == -ESTALE || (error == -ENOENT && deleted))
        say("%s is stale: it was replaced since the program began; offsets instead of names", path);
    else if (error == -ENOENT)
        say("%s is not here: offsets instead of names", path);
    else
        say("%s can't be read: offsets instead of names", path);
}

/* say_missing says which debug file a module lacks. */
static void say_missing(const struct module *m) {
    static size_t nsaid;
    const char *missing = debuginfo_missing(m->debuginfo);
    bool lines = debuginfo_has_lines(m->debuginfo);
    if (quiet || (lines && !missing) || nsaid > MOST_MISSING || said(m->path))
        return;
    if (nsaid++ == MOST_MISSING)
        say("other files lack debug information, too");
    else if (lines)
        say("%s: no inlined functions: %s is missing", m->path, missing);
    else if (missing)
        say("%s: no lines: %s is missing (from its -dbgsym or -dbg package)", m->path, missing);
    else
        say("%s: no lines: built without -g, or stripped", m->path);
}

/* say_still_missing is for names from the cache: which file is missing was said when they came
 * there, so one line for all modules reminds of it. */
static void say_still_missing(const struct module *m) {
    static bool reminded;
    if (quiet || reminded || said(m->path))
        return;
    reminded = true;
    say("%s: no lines: its debug information is still missing; GOINSPECT_CACHE=off says more",
        strrchr(m->path, '/') + 1);
}

static struct answer *find_answer(const struct module *m, uint64_t offset) {
    size_t low = 0, high = m->n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (m->answers[middle].offset < offset)
            low = middle + 1;
        else
            high = middle;
    }
    return low < m->n && m->answers[low].offset == offset ? &m->answers[low] : NULL;
}

/* set_answer keeps n frames for an offset; the strings are copied. */
static void set_answer(struct symbolizer *s, const struct module *m, struct answer *a,
                       const struct symbol_frame *frames, size_t n) {
    a->n = n ? n : 1;
    a->frames = must_calloc(a->n, sizeof(*a->frames));
    a->frames[0] = (struct symbol_frame){.function = NULL};
    for (size_t i = 0; i < n; i++) {
        a->frames[i] = frames[i];
        a->frames[i].function = intern_string(&s->strings, frames[i].function);
        a->frames[i].file = intern_string(&s->strings, frames[i].file);
    }
    for (size_t i = 0; i < a->n; i++) {
        a->frames[i].inlined = i + 1 < a->n;
        a->frames[i].module = m->path;
        a->frames[i].module_offset = a->offset;
    }
    s->nanswered++;
}

/* read_cache answers what the cache knows. */
static void read_cache(struct symbolizer *s, struct module *m) {
    struct namecache_key key;
    struct namecache c;
    if (!key_of(m, &key) || !namecache_load(&key, &c))
        return;
    for (size_t i = 0; i < c.n; i++) {
        struct answer *a = find_answer(m, c.entries[i].offset);
        if (a && !a->frames) {
            set_answer(s, m, a, c.entries[i].frames, c.entries[i].n);
            a->whole = true;
        }
    }
    if (!c.lines) /* the stamp says that it is so still */
        say_still_missing(m);
    namecache_free(&c);
}

/* want has debuginfo told what there is no answer for. */
static void want(struct module *m) {
    size_t n = 0;
    m->wanted = must_calloc(m->n, sizeof(*m->wanted));
    for (size_t i = 0; i < m->n; i++)
        if (!m->answers[i].frames)
            m->wanted[n++] = m->answers[i].offset;
    debuginfo_expect(m->debuginfo, m->wanted, n);
}

/* open_module opens the file of a module, and says what is wrong with it. */
static void open_module(struct symbolizer *s, struct module *m) {
    bool deleted;
    m->opened = true;
    if (!m->path || m->path[0] != '/')
        return; /* [vdso], [heap], nothing */
    char *path = file_path(m, &deleted);
    int error = deleted && m->mapping->build_id_len == 0
                    ? -ESTALE
                    : debuginfo_open(path, s->root, m->mapping->build_id, m->mapping->build_id_len,
                                     &m->debuginfo);
    if (error)
        say_not_opened(path, error, deleted);
    else {
        read_cache(s, m);
        want(m);
    }
    free(path);
}

static bool same_file(const struct symbolizer *s, const struct gomalloc_mapping *a,
                      const struct gomalloc_mapping *b) {
    return a && b &&
           strcmp(image_string(s->im, a->path_str), image_string(s->im, b->path_str)) == 0 &&
           a->inode == b->inode && a->build_id_len == b->build_id_len &&
           memcmp(a->build_id, b->build_id, sizeof(a->build_id)) == 0;
}

/* module_at returns the module of pc, and pc's offset there. */
static struct module *module_at(struct symbolizer *s, uint64_t pc, uint64_t *ret_offset) {
    const struct gomalloc_mapping *mapping = image_mapping_at(s->im, pc);
    if (mapping && !image_string(s->im, mapping->path_str)[0])
        mapping = NULL;
    *ret_offset = mapping ? pc - mapping->start + mapping->file_offset : pc;
    for (size_t i = s->nmodules; i-- > 0;) /* addresses come in order: it is the last one mostly */
        if (s->modules[i].mapping == mapping || same_file(s, s->modules[i].mapping, mapping))
            return &s->modules[i];
    s->modules = must_realloc(s->modules, s->nmodules + 1, sizeof(*s->modules));
    struct module *m = &s->modules[s->nmodules++];
    *m = (struct module){.path = mapping ? image_string(s->im, mapping->path_str) : NULL,
                         .mapping = mapping};
    return m;
}

/* insert makes a place for an offset that has none. */
static struct answer *insert(struct module *m, uint64_t offset) {
    size_t at = m->n;
    if (m->n == m->room) {
        m->room = m->room ? m->room * 2 : 64;
        m->answers = must_realloc(m->answers, m->room, sizeof(*m->answers));
    }
    for (; at > 0 && m->answers[at - 1].offset > offset; at--)
        m->answers[at] = m->answers[at - 1];
    m->answers[at] = (struct answer){.offset = offset};
    m->n++;
    return &m->answers[at];
}

void symbolizer_expect(struct symbolizer *s, const uint64_t *pcs, size_t n) {
    for (size_t i = 0; i < n; i++) {
        uint64_t offset;
        struct module *m = module_at(s, pcs[i], &offset);
        if (!find_answer(m, offset)) {
            insert(m, offset);
            s->nexpected++;
        }
    }
}

/* is_omission tells whether a "return address" (less one) stands for frames that were left out. */
static bool is_omission(uint64_t pc) {
    return (pc & ~(GOMALLOC_FRAME_OMITTED - 1)) == GOMALLOC_FRAME_OMITTED;
}

static void set_omission(struct symbolizer *s, const struct module *m, struct answer *a,
                         uint64_t pc) {
    uint64_t n = pc - GOMALLOC_FRAME_OMITTED + 1;
    char text[64];
    snprintf(text, sizeof(text), "(%s%llu frames left out)", n < 16 ? "" : "at least ",
             (unsigned long long)n);
    set_answer(s, m, a, &(struct symbol_frame){.function = text}, 1);
}

/* What answers are received for. */
struct reception {
    struct symbolizer *s;
    struct module *m;
};

static void receive(void *context, uint64_t offset, const struct debuginfo_frame *found, size_t n,
                    bool whole) {
    const struct reception *r = context;
    struct answer *a = find_answer(r->m, offset);
    struct symbol_frame *frames;
    if (!a || a->frames)
        return;
    frames = must_calloc(n, sizeof(*frames));
    for (size_t i = 0; i < n; i++) {
        frames[i].function = found[i].function ? demangle(found[i].function) : NULL;
        frames[i].file = found[i].file;
        frames[i].line = found[i].file ? found[i].line : 0;
        frames[i].column = frames[i].line ? found[i].column : 0;
    }
    set_answer(r->s, r->m, a, frames, n);
    a->whole = whole;
    r->m->fresh |= whole;
    for (size_t i = 0; i < n; i++)
        free((char *)(uintptr_t)frames[i].function);
    free(frames);
    progress_show("finding names", r->s->nanswered, r->s->nexpected);
}

/* look_up asks the debug information for what is not known yet. */
static void look_up(struct symbolizer *s, struct module *m, uint64_t offset) {
    struct reception reception = {s, m};
    progress_show("finding names", s->nanswered, s->nexpected);
    debuginfo_lookup(m->debuginfo, offset, &(struct debuginfo_receiver){receive, &reception});
    if (!m->judged)
        say_missing(m);
    m->judged = true;
}

int symbolizer_lookup(struct symbolizer *s, uint64_t pc, const struct symbol_frame **ret_frames,
                      size_t *ret_n) {
    uint64_t offset;
    struct module *m = module_at(s, pc, &offset);
    struct answer *a = find_answer(m, offset);
    if (!a)
        a = insert(m, offset);
    if (!a->frames && !m->opened)
        open_module(s, m);
    if (!a->frames && !m->mapping && is_omission(pc))
        set_omission(s, m, a, pc);
    if (!a->frames && m->debuginfo)
        look_up(s, m, offset);
    if (!a->frames)
        set_answer(s, m, a, NULL, 0);
    *ret_frames = a->frames;
    *ret_n = a->n;
    return 0;
}
