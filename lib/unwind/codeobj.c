/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Which code is at an address, and whether it is still the same.
 */
#include "unwind/codeobj.h"

#include <elf.h>
#include <link.h>
#include <string.h>

#include "unwind/rowcache.h"
#include "unwind/stackmem.h"

#define MAX_OBJECTS   256 /* known at one time; with one more, all are forgotten */
#define MAX_PERMANENT 512
#define ID_WORDS      2 /* of a build-id that are compared */
#define ID_BYTES      (ID_WORDS * sizeof(uint64_t))
#define HEADER_BYTES  4096 /* surely mapped, from an object's start: its first page */

_Atomic uint32_t codeobj_generation = 1;

/* An object that may be unloaded.  Who compares with it looks at the state before and after. */
static struct known {
    _Atomic uint32_t state;     /* of KNOWN_*, and above it how often it was taken */
    _Atomic uint32_t id_offset; /* of the build-id, from start */
    _Atomic uint64_t start;
    _Atomic uint64_t end;
    _Atomic uint64_t id[ID_WORDS];
} known[MAX_OBJECTS];

/* Threads that are in forget_range.  Until the table of rows is clear, no object is made known: its
 * rows might be those of the one before. */
static _Atomic uint32_t nforgetting;

enum { KNOWN_FREE, KNOWN_BUSY, KNOWN_READY, KNOWN_STATES };

static const void *permanent[MAX_PERMANENT];   /* link maps; written once */
static struct info_pages infos[MAX_PERMANENT]; /* of these */
static unsigned npermanent;

/* The names of an object: where it was found, and what it calls itself. */
static const char *base_name(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash != NULL ? slash + 1 : path;
}

static const ElfW(Dyn) * dynamic(const struct link_map *map, ElfW(Sxword) tag) {
    for (const ElfW(Dyn) *d = map->l_ld; d != NULL && d->d_tag != DT_NULL; d++) {
        if (d->d_tag == tag)
            return d;
    }
    return NULL;
}

static bool is_called(const struct link_map *map, const char *name) {
    const ElfW(Dyn) *soname = dynamic(map, DT_SONAME);
    const ElfW(Dyn) *strings = dynamic(map, DT_STRTAB);
    if (strcmp(base_name(map->l_name), base_name(name)) == 0)
        return true;
    return soname != NULL && strings != NULL && (uintptr_t)strings->d_un.d_ptr > map->l_addr &&
           strcmp((const char *)strings->d_un.d_ptr + soname->d_un.d_val, name) == 0;
}

/* last_needed returns the number in the chain of the last object that this one needs, at least
 * `least`. */
static unsigned last_needed(const struct link_map *map, const struct link_map *chain,
                            unsigned least) {
    const ElfW(Dyn) *strings = dynamic(map, DT_STRTAB);
    if (strings == NULL || (uintptr_t)strings->d_un.d_ptr < map->l_addr)
        return least;
    for (const ElfW(Dyn) *d = map->l_ld; d->d_tag != DT_NULL; d++) {
        if (d->d_tag != DT_NEEDED)
            continue;
        const char *name = (const char *)strings->d_un.d_ptr + d->d_un.d_val;
        unsigned i = 0;
        for (const struct link_map *m = chain; m != NULL; m = m->l_next, i++) {
            if (i > least && is_called(m, name))
                least = i;
        }
    }
    return least;
}

/* The loader's chain begins with the objects of the start: the program, the vDSO, preloads, then
 * what they need.  Constructors that ran before this one may have loaded others behind these. */
void codeobj_init(void) {
    struct cfi_object self;
    if (npermanent != 0 || !cfi_object_of((uintptr_t)codeobj_init, &self))
        return;
    const struct link_map *chain = self.link_map;
    while (chain->l_prev != NULL)
        chain = chain->l_prev;
    unsigned last = 0;
    unsigned i = 0;
    for (const struct link_map *m = chain; m != NULL; m = m->l_next, i++) {
        if (m == self.link_map && i > last)
            last = i;
    }
    i = 0;
    for (const struct link_map *m = chain; m != NULL && i <= last; m = m->l_next, i++) {
        last = last_needed(m, chain, last);
        if (npermanent < MAX_PERMANENT)
            permanent[npermanent++] = m;
    }
}

/* find_permanent returns what is noted of a permanent object; NULL: it is none. */
static struct info_pages *find_permanent(const void *link_map) {
    for (unsigned i = 0; i < npermanent; i++) {
        if (permanent[i] == link_map)
            return &infos[i];
    }
    return NULL;
}

struct info_pages *codeobj_info(unsigned i) {
    return i < npermanent ? &infos[i] : NULL;
}

/* id_in_notes returns the offset from start of the build-id in the notes at [p, end), 0: none. */
static uint32_t id_in_notes(uint64_t start, uint64_t p, uint64_t end) {
    while (p + sizeof(ElfW(Nhdr)) <= end) {
        const ElfW(Nhdr) *n = (const ElfW(Nhdr) *)p;
        uint64_t desc = p + sizeof *n + ((n->n_namesz + UINT64_C(3)) & ~UINT64_C(3));
        if (n->n_type == NT_GNU_BUILD_ID && n->n_namesz == 4 && n->n_descsz >= ID_BYTES &&
            desc + ID_BYTES <= end)
            return (uint32_t)(desc - start);
        p = desc + ((n->n_descsz + UINT64_C(3)) & ~UINT64_C(3));
    }
    return 0;
}

/* find_id returns the offset of the object's build-id in its first page, 0: none there. */
static uint32_t find_id(const struct cfi_object *o) {
    const ElfW(Ehdr) *e = (const ElfW(Ehdr) *)o->start;
    if (o->end - o->start < HEADER_BYTES || !stackmem_readable(o->start) ||
        memcmp(e->e_ident, ELFMAG, SELFMAG) != 0 || e->e_phentsize != sizeof(ElfW(Phdr)) ||
        e->e_phoff > HEADER_BYTES || e->e_phoff + e->e_phnum * sizeof(ElfW(Phdr)) > HEADER_BYTES)
        return 0;
    const ElfW(Phdr) *ph = (const ElfW(Phdr) *)(o->start + e->e_phoff);
    for (unsigned i = 0; i < e->e_phnum; i++) {
        if (ph[i].p_type != PT_NOTE || ph[i].p_offset > HEADER_BYTES ||
            ph[i].p_filesz > HEADER_BYTES - ph[i].p_offset)
            continue;
        /* In the first page, offsets in the file and in memory are the same. */
        uint64_t p = o->start + ph[i].p_offset;
        uint32_t id = id_in_notes(o->start, p, p + ph[i].p_filesz);
        if (id != 0)
            return id;
    }
    return 0;
}

static void read_id(const struct cfi_object *o, uint32_t offset, uint64_t *id) {
    memcpy(id, (const void *)(o->start + offset), ID_BYTES);
}

static uint32_t state_of(const struct known *k) {
    return atomic_load_explicit(&k->state, memory_order_acquire);
}

static bool is_same(const struct known *k, uint32_t state, const struct cfi_object *o) {
    uint64_t id[ID_WORDS];
    bool same = state % KNOWN_STATES == KNOWN_READY && k->start == o->start && k->end == o->end;
    if (!same)
        return false;
    read_id(o, k->id_offset, id);
    for (unsigned i = 0; i < ID_WORDS; i++)
        same &= k->id[i] == id[i];
    return same && state_of(k) == state;
}

static bool is_known(const struct cfi_object *o) {
    for (unsigned i = 0; i < MAX_OBJECTS; i++) {
        uint32_t state = state_of(&known[i]);
        if (state == 0)
            return false; /* they are used from the first on */
        if (is_same(&known[i], state, o))
            return true;
    }
    return false;
}

/* forget makes a known object unknown; false: it was not known. */
static bool forget(struct known *k) {
    uint32_t state = state_of(k);
    return state % KNOWN_STATES == KNOWN_READY &&
           atomic_compare_exchange_strong_explicit(&k->state, &state, state - KNOWN_READY,
                                                   memory_order_acq_rel, memory_order_relaxed);
}

/* forget_range forgets the objects that were in the range.  Only then may one there be made known:
 * who sees that one sees the generation. */
static void forget_range(uint64_t start, uint64_t end) {
    bool any = false;
    atomic_fetch_add_explicit(&nforgetting, 1, memory_order_seq_cst);
    for (unsigned i = 0; i < MAX_OBJECTS; i++) {
        if (known[i].start < end && start < known[i].end)
            any |= forget(&known[i]);
    }
    if (any) {
        atomic_fetch_add_explicit(&codeobj_generation, 1, memory_order_seq_cst);
        rowcache_clear();
    }
    atomic_fetch_sub_explicit(&nforgetting, 1, memory_order_seq_cst);
}

static bool enter(struct known *k, const struct cfi_object *o, uint32_t id_offset) {
    uint64_t id[ID_WORDS];
    uint32_t state = state_of(k);
    if (state % KNOWN_STATES != KNOWN_FREE ||
        !atomic_compare_exchange_strong_explicit(&k->state, &state, state + KNOWN_BUSY,
                                                 memory_order_acq_rel, memory_order_relaxed))
        return false;
    k->start = o->start;
    k->end = o->end;
    k->id_offset = id_offset;
    read_id(o, id_offset, id);
    for (unsigned i = 0; i < ID_WORDS; i++)
        k->id[i] = id[i];
    /* READY, and taken once more */
    atomic_store_explicit(&k->state, state + KNOWN_STATES + KNOWN_READY, memory_order_release);
    return true;
}

static bool make_known(const struct cfi_object *o) {
    uint32_t id_offset = find_id(o);
    forget_range(o->start, o->end);
    if (id_offset == 0 || atomic_load_explicit(&nforgetting, memory_order_seq_cst) != 0)
        return false;
    for (unsigned tries = 0; tries < 2; tries++) {
        for (unsigned i = 0; i < MAX_OBJECTS; i++) {
            if (enter(&known[i], o, id_offset))
                return true;
        }
        forget_range(0, UINT64_MAX);
    }
    return false;
}

void codeobj_fork_child(void) {
    if (atomic_exchange_explicit(&nforgetting, 0, memory_order_seq_cst) != 0)
        rowcache_clear();
}

enum codeobj_kind codeobj_of(uint64_t pc, struct cfi_object *ret, struct info_pages **ret_info) {
    *ret_info = NULL;
    if (!cfi_object_of(pc, ret))
        return CODEOBJ_NONE;
    *ret_info = find_permanent(ret->link_map);
    if (*ret_info != NULL)
        return CODEOBJ_PERMANENT;
    return is_known(ret) || make_known(ret) ? CODEOBJ_CHECKED : CODEOBJ_UNKNOWN;
}

bool codeobj_check(struct codeobj_seen *seen, uint64_t pc) {
    struct cfi_object o;
    if (!cfi_object_of(pc, &o))
        return false;
    if (!is_known(&o) && find_permanent(o.link_map) == NULL) {
        make_known(&o);
        return false;
    }
    unsigned i = seen->n++ % CODEOBJ_SEEN;
    seen->start[i] = o.start;
    seen->end[i] = o.end;
    return true;
}
