/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Between the files that write an image.
 *
 * First everything is gathered in tables, one a section, each growing in memory of its own; then
 * the tables are written one behind the other, and the header, with the directory, last.  Only what
 * may be large and can be counted beforehand is read while it is written: slots, frames and sites.
 *
 * The order of gathering is what makes an image of running threads consistent in itself:
 *
 *      spans, bitmaps   copied under each span's generation, looked at again at the end: what is
 *                       left existed at one and the same moment, so no two spans overlap
 *      threads          after the spans: every owner has its record
 *      mcaches,         after the threads: each has its thread; their free slots are counted in
 *      mcentrals        the spans just gathered, their spans and hints in themselves
 *      chunks, arenas   arenas last: every span and chunk lies in one
 *      slots            a span whose generation has moved on has no more slots to tell of
 *      sites, frames    counted after the slots were read; sites before frames
 */
#ifndef GM_IMAGE_PRIVATE_H
#define GM_IMAGE_PRIVATE_H

#include <errno.h>

#include "image/image_out.h"
#include "image/image_table.h"
#include "gomalloc/image.h"
#include "sys/fmt.h"

struct image_crash;
struct leak_findings;
struct mspan;

/* A gathered span: entry i belongs to record i of section "span". */
struct image_span_ref {
    const struct mspan *span;
    uint32_t gen; /* of the header when it was copied */
    uint32_t has_slots;
};

struct image_writer {
    uint64_t wanted;      /* mask of sections */
    int pid;              /* of the process that the image is of; a copy of it may be writing */
    uint64_t captured_ns; /* CLOCK_REALTIME when it was begun */
    uint64_t begin_ns;    /* CLOCK_MONOTONIC */
    const struct leak_findings *leaks; /* NULL: no leak check */
    const struct image_crash *crash;   /* NULL: none */
    uint64_t flags;                    /* GOMALLOC_IMAGE_* of the header */
    uint64_t nslots;                   /* records of section "slot" */
    uint32_t nsites;                   /* of section "site": counted before the frames */
    struct image_table table[GOMALLOC_NSECTIONS];
    struct image_table span_refs;
    uint64_t ndropped; /* spans that changed while they were read */
    int error;         /* 0 or the first negative errno */
    struct image_out out;
};

static inline bool image_wants(const struct image_writer *w, enum gomalloc_section_id id) {
    return (w->wanted >> id & 1) != 0;
}

/* image_fail notes the first error; the writer goes on doing nothing. */
static inline void image_fail(struct image_writer *w, int error) {
    if (w->error == 0)
        w->error = error;
}

/* image_add returns a zeroed new record of a table, or NULL after image_fail. */
void *image_add(struct image_writer *w, enum gomalloc_section_id id, size_t size);

/* image_count returns the records gathered in a table whose records have that size. */
static inline size_t image_count(const struct image_writer *w, enum gomalloc_section_id id,
                                 size_t size) {
    return w->table[id].len / size;
}

/* image_string returns the offset in section "string" of a copy of the n bytes at s. */
uint32_t image_string(struct image_writer *w, const char *s, size_t n);

/* image_scratch is memory for anybody who gathers, until he returns. */
#define IMAGE_SCRATCH IMAGE_OUT_BUFFER
static inline char *image_scratch(struct image_writer *w) {
    return w->out.buf;
}

/* What fills the tables. */
void image_gather_process(struct image_writer *w);
void image_gather_mappings(struct image_writer *w);
void image_gather_size_classes(struct image_writer *w);
void image_gather_spans(struct image_writer *w);
void image_gather_threads(struct image_writer *w);
void image_gather_mcaches(struct image_writer *w);
void image_gather_mcache_classes(struct image_writer *w);
void image_gather_mcentrals(struct image_writer *w);
void image_gather_chunks(struct image_writer *w);
void image_gather_summaries(struct image_writer *w);
void image_gather_arenas(struct image_writer *w);
void image_gather_mheap(struct image_writer *w);
void image_gather_scavenger(struct image_writer *w);
void image_gather_resident(struct image_writer *w); /* and "backing" */
void image_gather_memstats(struct image_writer *w);
void image_gather_transitions(struct image_writer *w);
void image_gather_counters(struct image_writer *w);
void image_gather_leaks(struct image_writer *w);
void image_gather_why(struct image_writer *w);
void image_gather_history(struct image_writer *w); /* "tick" and "history" */
void image_gather_escapes(struct image_writer *w); /* "escape" and "outlived" */
void image_gather_handovers(struct image_writer *w);

/* image_read_comm fills in the name of a thread of process pid; what is not known stays as it is.
 */
void image_read_comm(int pid, uint32_t tid, char comm[16]);

/* What is recorded of a live object at p. */
struct image_recorded {
    uint32_t site;      /* 0: nothing is */
    uint32_t born;      /* as gomalloc_slot.born */
    uint64_t requested; /* bytes, 0: not recorded */
};
struct image_recorded image_recorded_at(uintptr_t p);

/* image_find_chunk returns the gathered record of the chunk that holds an address, or NULL. */
struct gomalloc_chunk *image_find_chunk(const struct image_writer *w, uintptr_t addr);

/* Section "backing".  image_backing_start makes it anew: nothing is resident; image_backing_none,
 * empty: not known.  image_backing_page tells of the page of the kernel's at addr, in a chunk of
 * section "chunk"; image_backing_huge, once these are told, that `huge` bytes of the mapping from
 * start to end are in huge pages. */
void image_backing_start(struct image_writer *w);
void image_backing_none(struct image_writer *w);
void image_backing_page(struct image_writer *w, const struct gomalloc_chunk *c, uint64_t addr,
                        bool resident, bool swapped);
void image_backing_huge(struct image_writer *w, uint64_t start, uint64_t end, uint64_t huge);

struct span_owner;

/* image_count_pending counts the spans on an owner's list of those with marks.  The list may change
 * meanwhile: then the count is some number that is not larger than that of all spans. */
uint32_t image_count_pending(const struct span_owner *o);

/* What is read while it is written.  Each returns the number of records. */
uint64_t image_stream_slots(struct image_writer *w);
uint64_t image_stream_frames(struct image_writer *w);
uint64_t image_stream_sites(struct image_writer *w);

/* image_note_start and image_note_fork remember the times that section "process" tells: the
 * library's start, and that of a forked child. */
void image_note_start(void);
void image_note_fork(void);

/* image_resident returns the resident bytes of this process, 0 = not known. */
uint64_t image_resident(void);

/* image_was_forked tells whether this process was forked by one that had the library. */
bool image_was_forked(void);

#endif
