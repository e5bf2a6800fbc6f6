/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Writing a heap image: from the sections asked for to the header.
 *
 * The header is written last, so that a file which begins like an image is a whole one.
 */
#include "image/image_write.h"

#include <string.h>

#include "image/agent_stats.h"
#include "image/image_crash.h"
#include "image/image_private.h"
#include "heap/mconst.h"
#include "leak/leak.h"
#include "sys/mem.h"

#define BIT(id) (UINT64_C(1) << GOMALLOC_SECTION_##id)
#define LEAKS   (BIT(LEAK) | BIT(LEAK_CHECK) | BIT(ROOT) | BIT(HELD))
#define WHY     (BIT(WHY) | BIT(WHY_STEP) | BIT(REFERRER))
#define PAGES   (BIT(RESIDENT) | BIT(BACKING))
#define ALL     ((((uint64_t)1 << GOMALLOC_NSECTIONS) - 1) & ~(LEAKS | PAGES | WHY | BIT(CRASH)))
#define KNOWN   (ALL | LEAKS | PAGES | WHY | BIT(CRASH))

static const struct section_kind {
    char name[16];
    uint32_t record_size;
} kinds[GOMALLOC_NSECTIONS] = {
#define SECTION_KIND(id, text, type)                                                               \
    [GOMALLOC_SECTION_##id] = {.name = text, .record_size = sizeof(type)},
    GOMALLOC_SECTIONS(SECTION_KIND)
#undef SECTION_KIND
};

void *image_add(struct image_writer *w, enum gomalloc_section_id id, size_t size) {
    void *p = image_table_room(&w->table[id], size);
    if (p == NULL) {
        image_fail(w, -ENOMEM);
        return NULL;
    }
    image_table_commit(&w->table[id], size);
    return p;
}

/* with_referred adds the sections that those in the mask refer to. */
static uint64_t with_referred(uint64_t sections) {
    if ((sections & KNOWN) == 0)
        return ALL;
    if (sections & LEAKS)
        sections |= LEAKS | BIT(SITE);
    if (sections & WHY)
        sections |= WHY | BIT(LEAK_CHECK) | BIT(ROOT) | BIT(SITE);
    sections = (sections & KNOWN) | BIT(STRING) | BIT(PROCESS);
    if (sections & BIT(SLOT))
        sections |= BIT(SITE) | BIT(SPAN);
    if (sections & (BIT(SPAN) | BIT(BITMAP)))
        sections |= BIT(SPAN) | BIT(BITMAP);
    if (sections & PAGES)
        sections |= PAGES | BIT(SPAN) | BIT(BITMAP) | BIT(CHUNK);
    if (sections & BIT(HISTORY))
        sections |= BIT(SITE) | BIT(TICK);
    if (sections & (BIT(ESCAPE) | BIT(OUTLIVED) | BIT(HANDOVER)))
        sections |= BIT(SITE);
    if (sections & BIT(SITE))
        sections |= BIT(FRAME);
    if (sections & BIT(MCACHE_CLASS))
        sections |= BIT(MCACHE);
    if (sections & BIT(MCACHE))
        sections |= BIT(THREAD);
    return sections;
}

/* gather_heap keeps the order that image_private.h explains. */
static void gather_heap(struct image_writer *w) {
    bool arenas = image_wants(w, GOMALLOC_SECTION_ARENA);
    bool threads = image_wants(w, GOMALLOC_SECTION_THREAD);
    bool caches = image_wants(w, GOMALLOC_SECTION_MCACHE_CLASS);
    bool centrals = image_wants(w, GOMALLOC_SECTION_MCENTRAL);
    if (image_wants(w, GOMALLOC_SECTION_SPAN) || arenas || threads || centrals)
        image_gather_spans(w);
    if (threads)
        image_gather_threads(w);
    if (image_wants(w, GOMALLOC_SECTION_MCACHE))
        image_gather_mcaches(w);
    if (caches)
        image_gather_mcache_classes(w);
    if (centrals)
        image_gather_mcentrals(w);
    if (image_wants(w, GOMALLOC_SECTION_CHUNK) || arenas)
        image_gather_chunks(w);
    if (image_wants(w, GOMALLOC_SECTION_SUMMARY))
        image_gather_summaries(w);
    if (arenas)
        image_gather_arenas(w);
    if (image_wants(w, GOMALLOC_SECTION_MHEAP))
        image_gather_mheap(w);
    if (image_wants(w, GOMALLOC_SECTION_SCAVENGER))
        image_gather_scavenger(w);
}

/* gather_process begins with what a copy of the process could not tell. */
static void gather_process(struct image_writer *w) {
    static const char empty[1] = "";
    char *first = image_add(w, GOMALLOC_SECTION_STRING, sizeof empty);
    if (first == NULL)
        return;
    /* First what costs the reader of the heap nothing, so that the time between the heap's own
     * sections is short. */
    image_gather_process(w);
}

static void gather(struct image_writer *w) {
    if (image_wants(w, GOMALLOC_SECTION_MAPPING))
        image_gather_mappings(w);
    if (image_wants(w, GOMALLOC_SECTION_SIZE_CLASS))
        image_gather_size_classes(w);
    gather_heap(w);
    if (image_wants(w, GOMALLOC_SECTION_RESIDENT))
        image_gather_resident(w);
    if (image_wants(w, GOMALLOC_SECTION_MEMSTAT))
        image_gather_memstats(w);
    if (image_wants(w, GOMALLOC_SECTION_TRANSITION))
        image_gather_transitions(w);
    if (image_wants(w, GOMALLOC_SECTION_COUNTER))
        image_gather_counters(w);
    if (image_wants(w, GOMALLOC_SECTION_TICK))
        image_gather_history(w);
    if (image_wants(w, GOMALLOC_SECTION_ESCAPE) || image_wants(w, GOMALLOC_SECTION_OUTLIVED))
        image_gather_escapes(w);
    if (image_wants(w, GOMALLOC_SECTION_HANDOVER))
        image_gather_handovers(w);
    if (w->leaks != NULL)
        image_gather_leaks(w);
    if (w->crash != NULL)
        image_gather_crash(w);
    if (image_wants(w, GOMALLOC_SECTION_WHY))
        image_gather_why(w);
}

/* write_table writes what was gathered, with zeros up to a multiple of 8. */
static uint64_t write_table(struct image_writer *w, unsigned id) {
    struct image_table *t = &w->table[id];
    if (t->len == 0)
        return 0;
    if (image_table_room(t, 8) == NULL) {
        image_fail(w, -ENOMEM);
        return 0;
    }
    image_out_put(&w->out, t->p, (t->len + 7) & ~(size_t)7);
    return t->len / kinds[id].record_size;
}

static uint64_t write_records(struct image_writer *w, unsigned id) {
    switch (id) {
    case GOMALLOC_SECTION_SLOT:
        return image_stream_slots(w);
    case GOMALLOC_SECTION_FRAME:
        return image_stream_frames(w);
    case GOMALLOC_SECTION_SITE:
        return image_stream_sites(w);
    default:
        return write_table(w, id);
    }
}

static void write_section(struct image_writer *w, unsigned id, struct gomalloc_section *entry) {
    memcpy(entry->name, kinds[id].name, sizeof entry->name);
    entry->record_size = kinds[id].record_size;
    entry->offset = image_out_begin(&w->out);
    entry->count = write_records(w, id);
    entry->checksum = w->out.section_sum;
}

/* write_image writes the sections, then the header before them. */
static void write_image(struct image_writer *w, int fd) {
    struct {
        struct gomalloc_image header;
        struct gomalloc_section section[GOMALLOC_NSECTIONS];
    } head = {0};
    unsigned n = (unsigned)__builtin_popcountll(w->wanted), k = 0;
    uint64_t head_size = sizeof head.header + n * sizeof head.section[0];
    image_out_start(&w->out, fd, head_size);
    for (unsigned id = 0; id < GOMALLOC_NSECTIONS && w->error == 0; id++)
        if (image_wants(w, id))
            write_section(w, id, &head.section[k++]);
    memcpy(head.header.magic, GOMALLOC_IMAGE_MAGIC, sizeof head.header.magic);
    head.header.version = GOMALLOC_IMAGE_VERSION;
    head.header.header_size = sizeof head.header;
    head.header.file_size = image_out_finish(&w->out);
    head.header.nsections = n;
    head.header.section_size = sizeof head.section[0];
    head.header.flags = w->flags;
    raw_random(head.header.image_id, sizeof head.header.image_id);
    head.header.captured_ns = w->captured_ns;
    head.header.capture_time_ns = raw_clock_ns(CLOCK_MONOTONIC) - w->begin_ns;
    head.header.checksum = gomalloc_checksum(0, &head, head_size);
    image_fail(w, w->out.error);
    if (w->error == 0)
        image_out_at(&w->out, &head, head_size, 0);
    image_fail(w, w->out.error);
}

static void describe(int error, char *err, size_t errlen) {
    struct fmt f = fmt_on(err, errlen);
    const char *what = strerrordesc_np(-error);
    fmt_str(&f, "writing the image: ");
    fmt_str(&f, what != NULL ? what : "unknown error");
}

static uint64_t flags_of(const struct image_writer *w) {
    uint64_t flags = w->flags;
    if ((w->wanted & ALL) != ALL)
        flags |= GOMALLOC_IMAGE_PARTIAL;
    if (w->leaks != NULL) /* nothing has moved */
        return flags & ~(uint64_t)GOMALLOC_IMAGE_LIVE;
    const struct gomalloc_process *process =
        (const struct gomalloc_process *)w->table[GOMALLOC_SECTION_PROCESS].p;
    /* We ourselves, and the agent's thread, which leaves the objects alone. */
    uint32_t quiet = 1 + atomic_load_explicit(&agent_thread_runs, memory_order_relaxed);
    if (process->nthreads > quiet)
        flags |= GOMALLOC_IMAGE_LIVE;
    return flags;
}

bool image_has_leaks(uint64_t sections) {
    return (sections & LEAKS) != 0;
}

#define WRITER_BYTES align_up(sizeof(struct image_writer), PHYS_PAGE_SIZE)

struct image_writer *image_open(uint64_t sections, uint64_t flags) {
    struct image_writer *w = mem_alloc(WRITER_BYTES, MEM_AGENT);
    if (w == NULL)
        return NULL;
    w->captured_ns = raw_clock_ns(CLOCK_REALTIME);
    w->begin_ns = raw_clock_ns(CLOCK_MONOTONIC);
    w->pid = raw_getpid();
    w->wanted = with_referred(sections);
    if ((flags & GOMALLOC_IMAGE_EXIT) != 0) /* nobody waits for the kernel's lists now */
        w->wanted |= PAGES;
    w->flags = flags;
    gather_process(w);
    return w;
}

int image_finish(struct image_writer *w, int fd, const struct leak_findings *leaks, char *err,
                 size_t errlen) {
    w->leaks = leaks;
    if (leaks == NULL)
        w->wanted &= ~LEAKS;
    if (leaks == NULL || leaks->why == NULL)
        w->wanted &= ~WHY;
    w->wanted = w->crash != NULL ? w->wanted | BIT(CRASH) : w->wanted & ~BIT(CRASH);
    gather(w);
    if (w->error == 0) {
        w->flags = flags_of(w);
        write_image(w, fd);
    }
    if (w->error != 0)
        describe(w->error, err, errlen);
    return w->error;
}

void image_free(struct image_writer *w) {
    for (unsigned i = 0; i < GOMALLOC_NSECTIONS; i++)
        image_table_free(&w->table[i]);
    image_table_free(&w->span_refs);
    mem_free(w, WRITER_BYTES, MEM_AGENT, 0, 0);
}

int image_write_fd(int fd, uint64_t sections, uint64_t flags, char *err, size_t errlen) {
    struct image_writer *w = image_open(sections, flags);
    if (w == NULL) {
        describe(-ENOMEM, err, errlen);
        return -ENOMEM;
    }
    int error = image_finish(w, fd, NULL, err, errlen);
    image_free(w);
    return error;
}
