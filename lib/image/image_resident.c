/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Section "resident": what the process's resident set consists of.
 *
 * The kernel tells for each mapping how much of it is resident (/proc/self/smaps), which is what
 * its own sum is made of.  A mapping may hold memory of several kinds, since it joins neighbours:
 * in those that hold anything of the library's, each resident page is looked at
 * (/proc/self/pagemap), and those of the heap are told apart by the page allocator's bitmaps, as
 * gathered.
 *
 * Pages that were only ever read are all the one page of zeroes.  They are present, and not
 * resident; the kernel does not tell them from pages shared with a forked child.  So what pagemap
 * has too much in a mapping is taken off its kinds in proportion to the pages that may be such:
 * without a child this is exact, and the sum of a mapping always is.
 *
 * A copy of the process (a leak check's) asks for the process's own mappings and pages, and takes
 * from itself what the memory is: what the process maps or unmaps meanwhile may be of a wrong kind.
 * There all pages are shared with the copy.
 *
 * The kernel's own figure is taken afterwards.  Where that is not the sum, memory has come or gone
 * meanwhile, and the walk is made again, a few times.  All this takes the kernel some 10 ms a GiB
 * for each walk, in which mmap and munmap may have to wait: so it is only done when asked for.
 */
#include <elf.h>
#include <string.h>
#include <sys/mman.h>

#include "image/image_private.h"
#include "image/smaps.h"
#include "heap/mheap.h"
#include "leak/peek.h"
#include "sys/owned.h"
#include "sys/pagemap.h"

#define ATTEMPTS 4
#define ENTRIES  512 /* of pagemap, read at a time */
#define TCB_SPAN                                                                                   \
    ((uint64_t)32 << 10) /* libc's descriptor of a thread is so near its stack's end               \
                          */
#define TCB_ALIGN   64
#define TCB_LOOKUPS 10000 /* mappings in which it is looked for */

/* In the order of the records. */
enum kind {
    HEAP_SPANS,
    HEAP_STACKS,
    HEAP_PAGE_CACHE,
    HEAP_FREE,
    METADATA,
    RECORDER,
    AGENT,
    LIBRARY,
    STACKS,
    CODE,
    DATA,
    SHARED,
    ANONYMOUS,
    KERNEL,
    NKINDS
};

static const char names[NKINDS][24] = {
    [HEAP_SPANS] = "heap.spans",
    [HEAP_STACKS] = "heap.stacks",
    [HEAP_PAGE_CACHE] = "heap.page_cache",
    [HEAP_FREE] = "heap.free",
    [METADATA] = "metadata",
    [RECORDER] = "recorder",
    [AGENT] = "agent",
    [LIBRARY] = "library",
    [STACKS] = "stacks",
    [CODE] = "code",
    [DATA] = "data",
    [SHARED] = "shared",
    [ANONYMOUS] = "anonymous",
    [KERNEL] = "kernel",
};

/* The linker gives every object this name for its ELF header. */
extern const char __ehdr_start[] __attribute__((visibility("hidden")));

struct walk {
    struct image_writer *w;
    struct gomalloc_resident sums[NKINDS];
    const struct smaps_mapping *m; /* the mapping at hand */
    enum kind kind;                /* of what in it is not the library's */
    uint64_t resident;             /* of all mappings */
    uint64_t own_end;              /* where the library's own code and data end */
    uint64_t file_end; /* where the last mapping of a file's data ended: bss may follow */
    unsigned tcb_lookups;
    bool read;   /* the list of mappings was, to its end */
    int pagemap; /* -1: can't be read */
    struct file_id pagemap_id;
    uint64_t entries_start; /* address that entries[0] tells of; 0 = nothing */
    uint64_t nentries;
    uint64_t entries[ENTRIES];
    uint64_t present[NKINDS]; /* bytes of the mapping, by pagemap */
    uint64_t maybe_zero[NKINDS];
    size_t nowned;
    struct owned_range owned[OWNED_MAX];
    struct smaps smaps;
};

#define WALK_BYTES align_up(sizeof(struct walk), PHYS_PAGE_SIZE)

/* ---- pages -------------------------------------------------------------------------------- */

/* entry_of returns what pagemap says of the page at addr, 0 if nothing. */
static uint64_t entry_of(struct walk *k, uint64_t addr) {
    if (k->entries_start == 0 || addr < k->entries_start ||
        addr >= k->entries_start + k->nentries * PHYS_PAGE_SIZE) {
        size_t n = 0;
        if (k->pagemap >= 0 && file_id_same(k->pagemap_id, file_id_of(k->pagemap)))
            n = pagemap_read(k->pagemap, addr, k->entries, ENTRIES);
        if (n == 0)
            return 0;
        k->entries_start = addr;
        k->nentries = n;
    }
    return k->entries[(addr - k->entries_start) / PHYS_PAGE_SIZE];
}

static enum kind kind_of_purpose(unsigned why) {
    switch (why) {
    case MEM_SLOT:
    case MEM_STACK:
    case MEM_RECORDER:
        return RECORDER;
    case MEM_AGENT:
        return AGENT;
    case MEM_HEAP:
        return HEAP_FREE;
    default:
        return METADATA;
    }
}

static enum kind kind_of_heap_page(const struct gomalloc_chunk *c, uint64_t addr) {
    unsigned page = chunk_page_index(addr);
    if (c == NULL || (c->alloc[page / 64] >> (page % 64) & 1) == 0)
        return HEAP_FREE;
    return c->cached[page / 64] >> (page % 64) & 1 ? HEAP_PAGE_CACHE : HEAP_SPANS;
}

/* count_pages counts the pages of [from, to), which are of one kind, or the heap's. */
static void count_pages(struct walk *k, uint64_t from, uint64_t to, enum kind kind, bool heap) {
    const struct gomalloc_chunk *c = NULL;
    for (uint64_t p = from; p < to; p += PHYS_PAGE_SIZE) {
        uint64_t entry = entry_of(k, p);
        if (heap && (p == from || p % PALLOC_CHUNK_BYTES == 0))
            c = image_find_chunk(k->w, p);
        if (heap)
            kind = kind_of_heap_page(c, p);
        k->sums[kind].mapped_bytes += PHYS_PAGE_SIZE;
        if (c != NULL)
            image_backing_page(k->w, c, p, (entry & PAGEMAP_PRESENT) != 0,
                               (entry & PAGEMAP_SWAPPED) != 0);
        if ((entry & PAGEMAP_PRESENT) == 0)
            continue;
        k->present[kind] += PHYS_PAGE_SIZE;
        if ((entry & (PAGEMAP_OF_FILE | PAGEMAP_EXCLUSIVE)) == 0)
            k->maybe_zero[kind] += PHYS_PAGE_SIZE;
    }
}

/* ---- mappings ----------------------------------------------------------------------------- */

static uint64_t sum_of(const uint64_t *by_kind) {
    uint64_t sum = 0;
    for (unsigned i = 0; i < NKINDS; i++)
        sum += by_kind[i];
    return sum;
}

static enum kind largest(const uint64_t *by_kind, enum kind otherwise) {
    enum kind best = otherwise;
    for (unsigned i = 0; i < NKINDS; i++)
        if (by_kind[i] > by_kind[best])
            best = (enum kind)i;
    return best;
}

/* first_owned returns the number of the first range of the library's that ends behind p. */
static size_t first_owned(const struct walk *k, uint64_t p) {
    size_t lo = 0, hi = k->nowned;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (k->owned[mid].end <= p)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

/* forget_zeroes takes the pages that may be of zeroes for such: section "backing" goes without. */
static void forget_zeroes(struct walk *k) {
    const struct smaps_mapping *m = k->m;
    for (size_t i = first_owned(k, m->start); i < k->nowned && k->owned[i].start < m->end; i++) {
        const struct owned_range *o = &k->owned[i];
        uint64_t from = o->start > m->start ? o->start : m->start;
        uint64_t to = o->end < m->end ? o->end : m->end;
        const struct gomalloc_chunk *c = NULL;
        for (uint64_t p = from; o->why == MEM_HEAP && p < to; p += PHYS_PAGE_SIZE) {
            uint64_t entry = entry_of(k, p);
            if (p == from || p % PALLOC_CHUNK_BYTES == 0)
                c = image_find_chunk(k->w, p);
            if (c != NULL && (entry & PAGEMAP_PRESENT) != 0 &&
                (entry & (PAGEMAP_OF_FILE | PAGEMAP_EXCLUSIVE)) == 0)
                image_backing_page(k->w, c, p, false, false);
        }
    }
}

/* settle makes the pages counted those that the kernel says are resident: without the page of
 * zeroes, and by what came or went between the two. */
static void settle(struct walk *k) {
    const struct smaps_mapping *m = k->m;
    uint64_t counted = sum_of(k->present), zero = sum_of(k->maybe_zero);
    uint64_t excess = counted > m->resident ? counted - m->resident : 0;
    excess = excess < zero ? excess : zero;
    if (excess > zero / 2)
        forget_zeroes(k);
    for (unsigned i = 0; i < NKINDS && excess != 0; i++)
        k->present[i] -= (uint64_t)((unsigned __int128)excess * k->maybe_zero[i] / zero);
    enum kind most = largest(k->present, k->kind);
    for (unsigned i = 0; i < NKINDS; i++)
        if (i != most)
            k->sums[i].resident_bytes += k->present[i];
    uint64_t others = sum_of(k->present) - k->present[most];
    k->sums[most].resident_bytes += m->resident > others ? m->resident - others : 0;
    k->sums[most].swapped_bytes += m->swapped;
    k->sums[most].huge_bytes += m->huge;
    image_backing_huge(k->w, m->start, m->end, m->huge);
}

/* take_pieces goes through a mapping that holds something of the library's. */
static void take_pieces(struct walk *k, size_t i) {
    const struct smaps_mapping *m = k->m;
    uint64_t at = m->start;
    memset(k->present, 0, sizeof k->present);
    memset(k->maybe_zero, 0, sizeof k->maybe_zero);
    for (; i < k->nowned && k->owned[i].start < m->end; i++) {
        const struct owned_range *o = &k->owned[i];
        uint64_t from = o->start > at ? o->start : at;
        uint64_t to = o->end < m->end ? o->end : m->end;
        if (from > at)
            count_pages(k, at, from, k->kind, false);
        if (to > from)
            count_pages(k, from, to, kind_of_purpose(o->why), o->why == MEM_HEAP);
        at = to > at ? to : at;
    }
    count_pages(k, at, m->end, k->kind, false);
    settle(k);
}

/* add_mapping adds the mapping at hand to the sums; owned range i is the first that it may have. */
static void add_mapping(struct walk *k, size_t i, bool ours) {
    const struct smaps_mapping *m = k->m;
    if (ours && m->resident != 0 && k->pagemap >= 0) {
        take_pieces(k, i);
        return;
    }
    struct gomalloc_resident *r = &k->sums[ours ? kind_of_purpose(k->owned[i].why) : k->kind];
    r->mapped_bytes += m->end - m->start;
    r->resident_bytes += m->resident;
    r->swapped_bytes += m->swapped;
    r->huge_bytes += m->huge;
}

/* has_descriptor tells whether the mapping ends with libc's descriptor of a thread, which holds its
 * own address: then it is the thread's stack. */
static bool has_descriptor(struct walk *k, const struct smaps_mapping *v) {
    uint64_t from = v->end - v->start > TCB_SPAN ? v->end - TCB_SPAN : v->start;
    k->entries_start = 0;
    if (k->tcb_lookups++ > TCB_LOOKUPS)
        return false;
    for (uint64_t at = v->end; at > from;) {
        at = at - from > sizeof k->entries ? at - sizeof k->entries : from;
        size_t n = peek(k->entries, at, sizeof k->entries);
        for (size_t j = 0; j + TCB_ALIGN <= n; j += TCB_ALIGN) {
            const uint64_t *word = &k->entries[j / sizeof(uint64_t)];
            if (word[0] == at + j && word[2] == word[0])
                return true;
        }
    }
    return false;
}

/* ---- kinds -------------------------------------------------------------------------------- */

static bool begins(const char *s, const char *prefix) {
    return strncmp(s, prefix, strlen(prefix)) == 0;
}

/* kind_of_path returns what a mapping of a file, or one that the kernel has a word for, is. */
static enum kind kind_of_path(const struct smaps_mapping *v, const char *path) {
    if (begins(path, "[stack"))
        return STACKS;
    if (path[0] == '[')
        return begins(path, "[v") ? CODE : ANONYMOUS;
    return (v->prot & PROT_EXEC) != 0 ? CODE : DATA;
}

/* own_end returns where the library's data and bss end. */
static uint64_t own_end(void) {
    const Elf64_Ehdr *ehdr = (const Elf64_Ehdr *)__ehdr_start;
    const Elf64_Phdr *ph = (const Elf64_Phdr *)(__ehdr_start + ehdr->e_phoff);
    uint64_t first = UINT64_MAX, end = 0;
    for (unsigned i = 0; i < ehdr->e_phnum; i++) {
        if (ph[i].p_type != PT_LOAD)
            continue;
        first = ph[i].p_vaddr < first ? ph[i].p_vaddr : first;
        end = ph[i].p_vaddr + ph[i].p_memsz > end ? ph[i].p_vaddr + ph[i].p_memsz : end;
    }
    return (uint64_t)(uintptr_t)__ehdr_start + (end - (first & ~(uint64_t)(PHYS_PAGE_SIZE - 1)));
}

/* kind_of finds out what a mapping is, as far as it is not the library's memory. */
static enum kind kind_of(struct walk *k, const struct smaps_mapping *v) {
    bool named = v->path[0] != '\0';
    if (v->start >= (uint64_t)(uintptr_t)__ehdr_start && v->start < k->own_end)
        return LIBRARY;
    if (v->shared)
        return SHARED;
    if (!named)
        return v->start == k->file_end ? DATA : ANONYMOUS; /* bss */
    enum kind kind = kind_of_path(v, v->path);
    if (kind == DATA)
        k->file_end = v->end;
    return kind;
}

/* take_mapping adds a mapping to the sums: smaps.take. */
static void take_mapping(void *arg, const struct smaps_mapping *m) {
    struct walk *k = arg;
    size_t i = first_owned(k, m->start);
    bool ours = i < k->nowned && k->owned[i].start < m->end;
    k->m = m;
    k->kind = kind_of(k, m);
    if (k->kind == ANONYMOUS && m->inode == 0 && !ours && m->resident != 0 &&
        m->prot == (PROT_READ | PROT_WRITE) && has_descriptor(k, m))
        k->kind = STACKS;
    k->resident += m->resident;
    add_mapping(k, i, ours);
}

/* ---- the whole ---------------------------------------------------------------------------- */

#define PROC_PATH 48

/* is_copy tells whether this is a copy of the process that the image is of. */
static bool is_copy(const struct walk *k) {
    return k->w->pid != raw_getpid();
}

/* proc_path writes the path of what the kernel says of the process. */
static const char *proc_path(const struct walk *k, const char *name, char buf[PROC_PATH]) {
    struct fmt f = fmt_on(buf, PROC_PATH);
    fmt_str(&f, "/proc/");
    if (is_copy(k))
        fmt_uint(&f, (uint64_t)k->w->pid);
    else
        fmt_str(&f, "self");
    fmt_str(&f, name);
    return buf;
}

/* kernel_figure returns the kernel's own sum: exact where it walks the pages for it, else the
 * counter, of which each thread may keep some pages to itself. */
static uint64_t kernel_figure(const struct walk *k) {
    char text[1024], path[PROC_PATH];
    uint64_t bytes = 0;
    if (raw_read_file(proc_path(k, "/smaps_rollup", path), text, sizeof text) > 0)
        for (const char *line = text; (line = strchr(line, '\n')) != NULL && bytes == 0;)
            smaps_figure(++line, "Rss:", &bytes);
    return bytes != 0 ? bytes : is_copy(k) ? k->resident : image_resident();
}

/* take_stacks moves the resident pages of spans of stacks to a kind of their own. */
static void take_stacks(struct walk *k) {
    const struct image_writer *w = k->w;
    const struct gomalloc_span *s = (const struct gomalloc_span *)w->table[GOMALLOC_SECTION_SPAN].p;
    size_t n = image_count(w, GOMALLOC_SECTION_SPAN, sizeof *s);
    struct gomalloc_resident *all = &k->sums[HEAP_SPANS], *stacks = &k->sums[HEAP_STACKS];
    for (size_t i = 0; i < n; i++) {
        if (s[i].state != GOMALLOC_SPAN_MANUAL)
            continue;
        uint64_t end = s[i].base + (s[i].npages << GM_PAGE_SHIFT);
        for (uint64_t p = s[i].base; p < end; p += PHYS_PAGE_SIZE) {
            bool there = (entry_of(k, p) & PAGEMAP_PRESENT) != 0 && all->resident_bytes != 0;
            stacks->resident_bytes += there ? PHYS_PAGE_SIZE : 0;
            all->resident_bytes -= there ? PHYS_PAGE_SIZE : 0;
            stacks->mapped_bytes += PHYS_PAGE_SIZE;
            all->mapped_bytes -= all->mapped_bytes != 0 ? PHYS_PAGE_SIZE : 0;
        }
    }
}

/* attempt makes one walk.  True: nothing came or went, or it could not be made. */
static bool attempt(struct walk *k) {
    char path[PROC_PATH];
    memset(k->sums, 0, sizeof k->sums);
    k->resident = 0;
    k->entries_start = k->file_end = 0;
    k->own_end = own_end();
    k->tcb_lookups = 0;
    size_t n = owned_list(k->owned, OWNED_MAX);
    k->nowned = n < OWNED_MAX ? n : OWNED_MAX;
    image_backing_start(k->w);
    k->smaps.take = take_mapping;
    k->smaps.arg = k;
    k->read = smaps_read(&k->smaps, proc_path(k, "/smaps", path));
    k->entries_start = 0;
    if (k->pagemap >= 0)
        take_stacks(k);
    uint64_t after = kernel_figure(k);
    k->sums[KERNEL].resident_bytes = after;
    uint64_t moved = after > k->resident ? after - k->resident : k->resident - after;
    return !k->read || moved <= after / 1024;
}

/* add_records writes what was found. */
static void add_records(const struct walk *k) {
    for (unsigned i = 0; i < NKINDS; i++) {
        struct gomalloc_resident *r =
            image_add(k->w, GOMALLOC_SECTION_RESIDENT, sizeof(struct gomalloc_resident));
        if (r == NULL)
            break;
        *r = k->sums[i];
        memcpy(r->name, names[i], sizeof r->name);
    }
}

void image_gather_resident(struct image_writer *w) {
    char path[PROC_PATH];
    struct walk *k = mem_alloc(WALK_BYTES, MEM_AGENT);
    if (k == NULL) {
        image_fail(w, -ENOMEM);
        return;
    }
    k->w = w;
    k->pagemap = raw_open(proc_path(k, "/pagemap", path), O_RDONLY, 0);
    if (k->pagemap >= 0)
        k->pagemap_id = file_id_of(k->pagemap);
    for (unsigned i = 0; i < ATTEMPTS && !attempt(k); i++) {
    }
    bool refused = is_copy(k) && !k->read; /* another process's are not for everybody */
    if (k->pagemap < 0 || refused)
        image_backing_none(w);
    if (k->pagemap >= 0)
        raw_close_own(k->pagemap, k->pagemap_id);
    if (!refused)
        add_records(k);
    mem_free(k, WALK_BYTES, MEM_AGENT, 0, 0);
}
