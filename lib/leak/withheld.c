/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Memory that the program keeps from its children.
 */
#include "leak/withheld.h"

#include <string.h>
#include <sys/mman.h>

#include "heap/mconst.h"
#include "sys/fmt.h"
#include "sys/maps.h"
#include "sys/mem.h"
#include "sys/rawcall.h"

#define RANGES 65536 /* a process has no more mappings, as a rule; others are not cared for */

struct withheld {
    struct maps_reader maps;
    size_t n;
    struct range {
        uintptr_t start;
        uintptr_t end;
    } ranges[RANGES]; /* by address */
};

#define BYTES align_up(sizeof(struct withheld), PHYS_PAGE_SIZE)

/* is_candidate tells of memory that may lead somewhere and that a child has, as a rule. */
static bool is_candidate(const struct maps_line *l) {
    return !l->shared && l->inode == 0 && (l->prot & PROT_READ) != 0 &&
           !(l->path_len > 2 && l->path[0] == '[' && l->path[1] == 'v');
}

static void add(struct withheld *w, uintptr_t start, uintptr_t end) {
    if (start < end && w->n < RANGES)
        w->ranges[w->n++] = (struct range){start, end};
}

struct withheld *withheld_begin(void) {
    struct maps_line l;
    struct withheld *w = mem_alloc(BYTES, MEM_AGENT);
    if (w == NULL)
        return NULL;
    w->n = 0;
    if (maps_open(&w->maps))
        while (maps_next(&w->maps, &l))
            if (is_candidate(&l))
                add(w, l.start, l.end);
    maps_close(&w->maps);
    return w;
}

void withheld_end(struct withheld *w) {
    if (w != NULL)
        mem_free(w, BYTES, MEM_AGENT, 0, 0);
}

/* keep_if keeps those ranges that touch a mapping of the open list, or those that touch none. */
static void keep_if(struct withheld *w, bool touches) {
    struct maps_line l = {0};
    size_t kept = 0;
    bool more = maps_next(&w->maps, &l);
    for (size_t i = 0; i < w->n; i++) {
        struct range r = w->ranges[i];
        while (more && l.end <= r.start)
            more = maps_next(&w->maps, &l);
        if ((more && l.start < r.end) == touches)
            w->ranges[kept++] = r;
    }
    w->n = w->maps.failed ? 0 : kept;
    maps_close(&w->maps);
}

/* A mapping that has been made smaller meanwhile does not count: it is there in part. */
bool withheld_from(struct withheld *w, int pid) {
    char path[32];
    struct fmt f = fmt_on(path, sizeof path);
    fmt_str(&f, "/proc/");
    fmt_int(&f, pid);
    fmt_str(&f, "/maps");
    if (!maps_open_file(&w->maps, path))
        return false;
    keep_if(w, false);
    if (w->n == 0 || !maps_open(&w->maps))
        return false;
    keep_if(w, true);
    return w->n != 0;
}

/* has_flag tells whether a line of flags, "VmFlags: rd wr mr mw me ac", has one. */
static bool has_flag(const char *text, size_t n, const char flag[2]) {
    for (size_t i = sizeof "VmFlags:" - 1; i + 3 <= n; i += 3)
        if (memcmp(text + i + 1, flag, 2) == 0)
            return true;
    return false;
}

static bool advise(const struct range *r, int advice) {
    return sys_call3(SYS_madvise, (long)r->start, (long)(r->end - r->start), advice) == 0;
}

void withheld_give(struct withheld *w) {
    struct maps_line l = {0};
    const char *text;
    size_t n;
    w->n = 0;
    if (!maps_open_file(&w->maps, "/proc/self/smaps"))
        return;
    while (maps_next_text(&w->maps, &text, &n)) {
        bool flags = n > 8 && memcmp(text, "VmFlags:", 8) == 0;
        if (n > 0 && (text[0] < 'A' || text[0] > 'Z'))
            l = maps_parse(text, n);
        else if (flags && has_flag(text, n, "dc") && is_candidate(&l))
            add(w, l.start, l.end);
    }
    maps_close(&w->maps);
    size_t given = 0;
    for (size_t i = 0; i < w->n; i++)
        if (advise(&w->ranges[i], MADV_DOFORK))
            w->ranges[given++] = w->ranges[i];
    w->n = given;
}

void withheld_keep(struct withheld *w) {
    for (size_t i = 0; i < w->n; i++)
        advise(&w->ranges[i], MADV_DONTFORK);
}
