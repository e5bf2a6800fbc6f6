/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The heap image: one format for a live process, an exit record and a saved file.
 *
 * An image is a little-endian, mmap-able file of fixed-width records.  The library writes it
 * (into a memfd for goinspect, or into a file); goinspect and anybody else reads it.  The same
 * text, field by field, is gomalloc-image(5).
 *
 *      0 +---------------------------+
 *        | struct gomalloc_image     |  128 bytes, the same in every version up to `checksum`
 *    128 +---------------------------+
 *        | struct gomalloc_section   |  `nsections` entries of 64 bytes: the directory
 *        | ...                       |
 *        +---------------------------+  every section starts at a multiple of 8;
 *        | records of section 0      |  the gap between sections is zero
 *        +---------------------------+
 *        | records of section 1      |
 *        | ...                       |
 *        +---------------------------+  file_size, a multiple of 8
 *
 * Checksums.  gomalloc_image.checksum covers the header (with this field as zero) and the
 * directory; gomalloc_section.checksum covers the section's bytes up to the next multiple of 8.
 * The function is gomalloc_checksum() below: each 8-byte word changes the state by a bijection, so
 * one changed byte anywhere is always noticed.  Gaps do not exist other than the padding to 8,
 * which is covered: hence no byte of an image can change unseen.
 *
 * Versions.  `version` grows when a reader of the old one would misread; such a file is refused
 * (exit status 5 of goinspect).  New sections, and new fields at the end of a record, do not grow
 * it: a reader takes the first sizeof(its struct) bytes of each record_size bytes, and treats
 * fields it knows beyond record_size as zero.
 *
 * Strings.  A `uint32_t ..._str` is an offset into the section "string", whose bytes are
 * NUL-terminated strings; offset 0 is the empty string.
 */
#ifndef GOMALLOC_IMAGE_H
#define GOMALLOC_IMAGE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define GOMALLOC_IMAGE_MAGIC   "GMIMAGE\n" /* 8 bytes, no terminator in the file */
#define GOMALLOC_IMAGE_VERSION 1u

/* Header. */
struct gomalloc_image {
    char magic[8];            /* GOMALLOC_IMAGE_MAGIC */
    uint32_t version;         /* GOMALLOC_IMAGE_VERSION */
    uint32_t header_size;     /* sizeof(struct gomalloc_image) = offset of the directory */
    uint64_t checksum;        /* of header and directory, this field taken as 0 */
    uint64_t file_size;       /* bytes, a multiple of 8 */
    uint32_t nsections;       /* entries in the directory */
    uint32_t section_size;    /* sizeof(struct gomalloc_section) */
    uint64_t flags;           /* GOMALLOC_IMAGE_* */
    uint8_t image_id[16];     /* random; the same image imported twice is known by it */
    uint64_t captured_ns;     /* CLOCK_REALTIME when the capture began, ns since 1970 */
    uint64_t capture_time_ns; /* how long the capture took */
    uint64_t reserved[6];     /* 0 */
};

/* gomalloc_image.flags */
#define GOMALLOC_IMAGE_LIVE                                                                        \
    0x1u                            /* threads ran while it was captured: figures of different     \
                                       spans may be some microseconds apart */
#define GOMALLOC_IMAGE_EXIT    0x2u /* written when the program ended */
#define GOMALLOC_IMAGE_PARTIAL 0x4u /* only the sections asked for */
#define GOMALLOC_IMAGE_CUT     0x8u /* a bound was met and records are missing: see counters */

#define GOMALLOC_IMAGE_FATAL 0x10u /* written because a signal ends the program: see "crash" */

/* Directory entry. */
struct gomalloc_section {
    char name[16];        /* NUL-padded, one of GOMALLOC_SECTIONS */
    uint32_t record_size; /* bytes of one record */
    uint32_t reserved0;   /* 0 */
    uint64_t count;       /* records */
    uint64_t offset;      /* of the first record from the start of the file; multiple of 8 */
    uint64_t checksum;    /* of the record bytes, padded with zero to a multiple of 8 */
    uint64_t reserved[2]; /* 0 */
};

/*
 * The sections: X(id, name, record type).  The id is the bit in a request's section mask: new ones
 * come at the end.
 */
#define GOMALLOC_SECTIONS(X)                                                                       \
    X(STRING, "string", char)                                                                      \
    X(PROCESS, "process", struct gomalloc_process)                                                 \
    X(THREAD, "thread", struct gomalloc_thread)                                                    \
    X(MAPPING, "mapping", struct gomalloc_mapping)                                                 \
    X(SIZE_CLASS, "size_class", struct gomalloc_size_class)                                        \
    X(ARENA, "arena", struct gomalloc_arena)                                                       \
    X(SPAN, "span", struct gomalloc_span)                                                          \
    X(BITMAP, "bitmap", uint64_t)                                                                  \
    X(SLOT, "slot", struct gomalloc_slot)                                                          \
    X(SUMMARY, "summary", struct gomalloc_summary)                                                 \
    X(CHUNK, "chunk", struct gomalloc_chunk)                                                       \
    X(FRAME, "frame", struct gomalloc_frame)                                                       \
    X(SITE, "site", struct gomalloc_site)                                                          \
    X(MEMSTAT, "memstat", struct gomalloc_memstat)                                                 \
    X(COUNTER, "counter", struct gomalloc_counter)                                                 \
    X(MCACHE, "mcache", struct gomalloc_mcache)                                                    \
    X(MCACHE_CLASS, "mcache_class", struct gomalloc_mcache_class)                                  \
    X(MCENTRAL, "mcentral", struct gomalloc_mcentral)                                              \
    X(MHEAP, "mheap", struct gomalloc_mheap)                                                       \
    X(SCAVENGER, "scavenger", struct gomalloc_scavenger)                                           \
    X(TRANSITION, "transition", struct gomalloc_transition)                                        \
    X(ESCAPE, "escape", struct gomalloc_escape)                                                    \
    X(OUTLIVED, "outlived", struct gomalloc_outlived)                                              \
    X(HANDOVER, "handover", struct gomalloc_handover)                                              \
    X(TICK, "tick", struct gomalloc_tick)                                                          \
    X(HISTORY, "history", struct gomalloc_history)                                                 \
    X(LEAK, "leak", struct gomalloc_leak)                                                          \
    X(LEAK_CHECK, "leak_check", struct gomalloc_leak_check)                                        \
    X(ROOT, "root", struct gomalloc_root)                                                          \
    X(RESIDENT, "resident", struct gomalloc_resident)                                              \
    X(WHY, "why", struct gomalloc_why)                                                             \
    X(WHY_STEP, "why_step", struct gomalloc_holder)                                                \
    X(REFERRER, "referrer", struct gomalloc_holder)                                                \
    X(BACKING, "backing", struct gomalloc_backing)                                                 \
    X(CRASH, "crash", struct gomalloc_crash)                                                       \
    X(HELD, "held", struct gomalloc_held)

enum gomalloc_section_id {
#define GOMALLOC_SECTION_ID(id, name, type) GOMALLOC_SECTION_##id,
    GOMALLOC_SECTIONS(GOMALLOC_SECTION_ID)
#undef GOMALLOC_SECTION_ID
        GOMALLOC_NSECTIONS
};

/* process: exactly one record. */
struct gomalloc_process {
    uint32_t pid;            /* in the process's own pid namespace */
    uint32_t ppid;           /* parent when captured */
    uint32_t uid;            /* effective user */
    uint32_t nthreads;       /* threads of the process, the library's own included */
    uint64_t start_ticks;    /* /proc/PID/stat field 22: with pid and boot_id, the identity */
    uint8_t boot_id[16];     /* /proc/sys/kernel/random/boot_id */
    uint64_t start_ns;       /* CLOCK_REALTIME when the library started, ns since 1970 */
    uint64_t rate;           /* sampling rate in bytes; 1 = every allocation, 0 = off */
    uint64_t rss_bytes;      /* /proc/self/statm when captured */
    uint64_t page_size;      /* of the heap: 8192 */
    uint64_t os_page_size;   /* of the kernel: 4096 */
    uint64_t forked_ns;      /* CLOCK_REALTIME of the fork that made this process, 0 if exec'd */
    uint32_t host_str;       /* node name */
    uint32_t exe_str;        /* /proc/self/exe */
    uint32_t cmdline_str;    /* arguments, separated by one space */
    uint32_t comm_str;       /* /proc/self/comm */
    uint32_t version_str;    /* of the library */
    uint32_t unwinder_str;   /* "libunwind", "none", ... */
    uint64_t exact_since_ns; /* CLOCK_REALTIME since when rate has been 1 without a break and
                                every live object has a slot record, 0 if not so */
};

/* thread: one record for each mcache, idle ones (whose thread has ended) included. */
struct gomalloc_thread {
    uint32_t mcache;       /* index: gomalloc_span.owner refers to it */
    uint32_t tid;          /* kernel thread id of the thread attached, 0 = idle */
    char comm[16];         /* thread name, NUL-padded, empty if idle */
    uint64_t cached_bytes; /* free slots in the spans it owns, in bytes */
    uint64_t nspans;       /* spans it owns */
};

/* mapping: one record for each mapping of /proc/self/maps that is file-backed and executable or
 * named; enough to tell which module and file offset a pc belongs to. */
struct gomalloc_mapping {
    uint64_t start;       /* address */
    uint64_t end;         /* address after the last byte */
    uint64_t file_offset; /* bytes */
    uint64_t inode;
    uint32_t dev_major;
    uint32_t dev_minor;
    uint32_t prot;         /* PROT_READ 1 | PROT_WRITE 2 | PROT_EXEC 4 */
    uint32_t path_str;     /* empty: anonymous */
    uint32_t build_id_len; /* bytes used of build_id, 0 = none or not read */
    uint8_t build_id[20];  /* GNU build-id */
};

/* size_class: 68 records, class 0 (large objects) first. */
struct gomalloc_size_class {
    uint32_t size_class;
    uint32_t bytes;  /* of a slot; 0 for class 0 */
    uint32_t npages; /* of a span */
    uint32_t nelems; /* slots in a span */
};

/* arena: one record for each heapArena (64 MiB of address space). */
struct gomalloc_arena {
    uint64_t base;            /* address */
    uint64_t size;            /* bytes: 64 MiB */
    uint64_t reserved_bytes;  /* address space only; reserved + prepared + ready = size */
    uint64_t prepared_bytes;  /* may be used, not backed: never touched, or scavenged */
    uint64_t ready_bytes;     /* backed by the kernel as soon as touched */
    uint64_t in_use_pages;    /* heap pages in spans */
    uint64_t free_pages;      /* heap pages grown and in no span */
    uint64_t scavenged_pages; /* of the free ones, those given back to the kernel */
    uint64_t zeroed_base;     /* offset of the first byte never used since mmap */
};

/* gomalloc_span.state, Go's mSpanState */
enum gomalloc_span_state {
    GOMALLOC_SPAN_DEAD = 0,
    GOMALLOC_SPAN_IN_USE = 1, /* holds objects */
    GOMALLOC_SPAN_MANUAL = 2  /* stacks: see gomalloc_stack_alloc.  A slot is a stack, live while in
                                 use; one with a guard is the only slot, guard and all */
};
/* gomalloc_span.place: where the span is kept */
enum gomalloc_span_place {
    GOMALLOC_PLACE_NONE = 0,          /* full and owned by a thread, or large */
    GOMALLOC_PLACE_CURRENT = 1,       /* an mcache allocates from it */
    GOMALLOC_PLACE_LISTED = 2,        /* on its owner's list of spans with free slots */
    GOMALLOC_PLACE_PARTIAL_SWEPT = 3, /* mcentral's four span sets */
    GOMALLOC_PLACE_PARTIAL_UNSWEPT = 4,
    GOMALLOC_PLACE_FULL_SWEPT = 5,
    GOMALLOC_PLACE_FULL_UNSWEPT = 6,
    GOMALLOC_PLACE_CACHED_LARGE = 7 /* freed large span, kept for reuse */
};
#define GOMALLOC_OWNER_CENTRAL 0xffffffffu /* gomalloc_span.owner: mcentral */
#define GOMALLOC_OWNER_HEAP    0xfffffffeu /* mheap itself (large objects, manual spans) */

/* span: one record for each span in use. */
struct gomalloc_span {
    uint64_t base;         /* address of the first byte */
    uint64_t npages;       /* of 8 KiB */
    uint64_t elem_size;    /* bytes given to each object; large: npages * 8192 */
    uint32_t nelems;       /* slots */
    uint32_t live;         /* slots allocated: the ones in its bitmap */
    uint32_t marked;       /* of the free slots, those freed by other threads and not yet swept */
    uint32_t owner;        /* mcache index, or GOMALLOC_OWNER_* */
    uint16_t span_class;   /* size class * 2 + noscan */
    uint8_t state;         /* enum gomalloc_span_state */
    uint8_t place;         /* enum gomalloc_span_place */
    uint8_t needzero;      /* 1: free slots may hold old data */
    uint8_t reserved0[3];  /* 0 */
    uint32_t sweepgen;     /* sweep cycle in which it was last swept */
    uint32_t freeindex;    /* slot at which the next search begins */
    uint64_t bitmap_index; /* its first word in section "bitmap": (nelems + 63) / 64 words */
    uint64_t slot_index;   /* its first record in section "slot", nelems records; or
                              GOMALLOC_NO_SLOTS: nothing recorded in this span */
    uint64_t large_requested; /* class 0 only: bytes asked for, 0 = not recorded */
};
#define GOMALLOC_NO_SLOTS UINT64_MAX

/* bitmap: 64-bit words, bit i of word w of a span = slot w * 64 + i is live. */

/* slot: what is recorded of one slot; meaningful where the bitmap says live. */
struct gomalloc_slot {
    uint32_t site;  /* site id, 0 = not sampled */
    uint32_t slack; /* bytes given beyond those asked for: requested = elem_size - slack */
    uint32_t born;  /* seconds from process.start_ns to its allocation, plus 1; 0 = not known.
                       To a second or so, and after hours to a part in 4,096; 10 s where the
                       process had been idle */
    uint32_t rate;  /* sampling rate under which it was recorded, in bytes, at most 2^32 - 1; 0 = as
                       process.rate */
};

/* summary: the radix tree's entries that are not all zero (a zero entry: nothing free, or nothing
 * grown, there), Go's pallocSum unpacked. */
struct gomalloc_summary {
    uint32_t level;    /* 0 = root ... 4 = leaf (one chunk of 4 MiB) */
    uint32_t reserved; /* 0 */
    uint64_t index;    /* entry in its level */
    uint64_t base;     /* address that it covers from */
    uint64_t npages;   /* pages that it covers */
    uint64_t start;    /* free pages at its start */
    uint64_t max;      /* longest run of free pages */
    uint64_t end;      /* free pages at its end */
};

/* chunk: one record for each chunk (512 pages, 4 MiB) that has been grown. */
struct gomalloc_chunk {
    uint64_t index;        /* Go's chunkIdx */
    uint64_t base;         /* address */
    uint64_t alloc[8];     /* bit p: page p is in use, or not grown, or in a page cache */
    uint64_t scavenged[8]; /* bit p: page p has been given back, or was never backed */
    uint64_t grown[8];     /* bit p: page p belongs to the heap */
    uint64_t cached[8];    /* bit p: page p is free in some mcache's page cache */
};

/* frame: a node of the stack trie; node n is record n - 1; node 0 is the root (no frame). */
struct gomalloc_frame {
    uint64_t pc;     /* return address (of the caller's next instruction), or frames left out */
    uint32_t parent; /* node of the caller, < own number; 0 = outermost */
    uint32_t depth;  /* frames from here outwards, this one included */
};
/* A pc of this plus n stands for n frames (from 16 on: at least n) that were left out there of a
 * stack deeper than the bound. */
#define GOMALLOC_FRAME_OMITTED 0x800000000000u

/* site: an interned stack that has allocated. */
struct gomalloc_site {
    uint32_t site;         /* id, 1 and up */
    uint32_t frame;        /* node of the innermost frame (the caller of malloc), 0 = no stack */
    uint32_t flags;        /* GOMALLOC_SITE_* */
    uint32_t reserved;     /* 0 */
    uint64_t samples;      /* allocations recorded since start */
    uint64_t sample_bytes; /* bytes they asked for */
    double alloc_objects;  /* estimate of all allocations since start: sum over the samples of
                              1 / (1 - exp(-size / rate)); exact at rate=1 */
    double alloc_bytes;    /* the same, weighted with the bytes asked for */
};
#define GOMALLOC_SITE_TRUNCATED 0x1u /* deeper than the bound: some frames are missing */
#define GOMALLOC_SITE_STOPPED   0x2u /* the unwinder gave up before the outermost frame */

/* memstat: the library's memory by purpose; the four address-space states in bytes. */
struct gomalloc_memstat {
    char name[24];     /* "heap", "span", "bitmap", "summary", "chunk", "mcache", "recorder", ... */
    uint64_t reserved; /* Reserved: address space only */
    uint64_t prepared; /* Prepared: may be used, not backed */
    uint64_t ready;    /* Ready: in use */
    uint64_t used;     /* of Ready, handed out by the purpose's own allocator */
};

/* counter: everything else that is counted. */
struct gomalloc_counter {
    char name[40]; /* "heap.grow", "recorder.dropped", ... lower case, dotted */
    char unit[16]; /* "bytes", "objects", "calls", "ns", ... */
    uint64_t value;
};

/* mcache: what a thread's cache is at, beside its spans; a record for each record of "thread". Read
 * while its thread goes on: exact if that rests. */
struct gomalloc_mcache {
    uint32_t mcache;            /* index, as in section "thread" */
    uint32_t flags;             /* GOMALLOC_MCACHE_* */
    uint64_t next_sample;       /* bytes until the recorder looks at an allocation; or
                                   GOMALLOC_NO_SAMPLE: at the next one, or never */
    uint64_t tiny;              /* address of the tiny block in use, 0 = none */
    uint64_t tiny_offset;       /* bytes of it that are used */
    uint64_t pcache_base;       /* page cache: address of the first of its 64 pages, 0 = empty */
    uint64_t pcache_free;       /* bit i: page i is free and this cache's */
    uint64_t pcache_scavenged;  /* of these, given back, or never backed */
    uint32_t pcache_npages;     /* bits in pcache_free */
    uint32_t pcache_nscavenged; /* bits in pcache_scavenged */
    uint32_t nlarge;            /* freed large spans kept for reuse */
    uint32_t npending;          /* spans on its list of those with marks by other threads */
    uint64_t large_bytes;       /* bytes of the large spans kept */
    uint32_t flush_gen;         /* sweepgen when its empty spans were last given back */
    uint32_t nstacks;           /* free stacks kept for reuse */
    uint64_t nrefill;           /* refills since it was made */
    uint64_t nspan_alloc;       /* spans taken from the heap */
    uint64_t nspan_free;        /* spans given back, to an mcentral or the heap */
    uint64_t stack_bytes;       /* their bytes, without guards */
};
#define GOMALLOC_MCACHE_ATTACHED 0x1u /* a living thread uses it */
#define GOMALLOC_MCACHE_ORPHAN   0x2u /* its thread was lost in a fork, its spans are to be found */
#define GOMALLOC_NO_SAMPLE       UINT64_MAX

/* mcache_class: a span class of an mcache in which there is something.  What is counted in slots is
 * found in the spans, what is counted in spans and hints in the mcache. */
struct gomalloc_mcache_class {
    uint32_t mcache;        /* index */
    uint32_t span_class;    /* size class * 2 + noscan */
    uint64_t current;       /* address of the span that it allocates from, 0 = none */
    uint32_t current_free;  /* free slots of that */
    uint32_t search;        /* slot of it at which the next search begins */
    uint32_t nhints;        /* slots freed last, to be used first */
    uint32_t hint_capacity; /* at most so many */
    uint64_t nlisted;       /* spans on its list of those with free slots */
    uint64_t listed_free;   /* free slots in them */
    uint64_t nheld;         /* its other spans: full, or with free slots that only hints or marks
                               tell of */
    uint64_t held_free;     /* free slots in them */
};

/* mcentral: the spans of a span class that no thread owns, in Go's four sets; and each class that
 * ever had any. */
struct gomalloc_mcentral {
    uint32_t span_class;         /* size class * 2 + noscan */
    uint32_t npending;           /* spans with new marks, not moved to an unswept set yet */
    uint64_t partial_swept;      /* spans with free slots */
    uint64_t partial_unswept;    /* the same, and marks since they were last swept */
    uint64_t full_swept;         /* spans without a free slot */
    uint64_t full_unswept;       /* the same, but for marks */
    uint64_t partial_swept_free; /* free slots in each of the sets, marked ones included */
    uint64_t partial_unswept_free;
    uint64_t full_swept_free;
    uint64_t full_unswept_free;
    uint64_t ncache;   /* spans given to mcaches since the start */
    uint64_t nuncache; /* spans taken from mcaches */
};

/* mheap: the heap itself, one record. */
struct gomalloc_mheap {
    uint64_t sweepgen;      /* of the sweep cycle; two more at each */
    uint64_t search_addr;   /* no page below is free, but in page caches; or
                               GOMALLOC_NOTHING_FREE */
    uint64_t arena_hint;    /* address at which the next arena is asked for */
    uint64_t cur_arena;     /* from here on the heap grows next */
    uint64_t cur_arena_end; /* up to here, before it needs another arena */
    uint64_t chunk_start;   /* all chunks lie in [chunk_start, chunk_end) */
    uint64_t chunk_end;
    uint64_t pages_in_use; /* in spans */
    uint64_t reclaim_at;   /* pages in use at which empty spans are looked for before growing */
    uint64_t pages_grown;  /* ever made part of the heap */
    uint64_t pages_taken;  /* of these, not free to the page allocator: in spans and page caches */
    uint64_t pages_scavenged; /* of the free ones, given back, or never backed */
    uint64_t summary_bytes;   /* of the radix tree's summaries, mapped */
    uint64_t nspan_alloc;     /* spans made since the start */
    uint64_t nspan_free;      /* and freed */
    uint64_t nlarge;          /* large objects allocated */
    uint64_t ngrow;           /* calls of grow */
    uint64_t nreclaim;        /* times that empty spans were looked for */
    uint64_t nheaders;        /* span headers, used or for reuse */
};
#define GOMALLOC_NOTHING_FREE UINT64_MAX

/* scavenger: what gives free pages back to the kernel, one record. */
struct gomalloc_scavenger {
    uint64_t goal_bytes;     /* the heap should retain at most so much */
    uint64_t retained_bytes; /* it retains: pages in use, or free and not given back */
    uint64_t peak_pages;     /* most pages in use in this window */
    uint64_t last_peak;      /* and in the window before, 0 = none has ended */
    uint64_t released_pages; /* given back since the start */
    uint64_t reused_pages;   /* of these, taken into use again */
    uint64_t ncalls;         /* runs of pages given back: system calls */
    uint64_t nwindows;       /* windows ended */
    uint64_t nregrets;       /* of these, in which too much came back into use */
    uint64_t window_ns;      /* length of a window */
    uint64_t window_left_ns; /* until this one ends, 0 = it is over, or none has begun */
    uint64_t worked_ns;      /* time spent giving back in the background */
    uint32_t working;        /* 1: above the goal and at work */
    uint32_t regretful;      /* 1: the last window was regretted; nothing is given back on growth */
};

/* gomalloc_transition.from and .to: Go's states of address space */
enum gomalloc_memory_state {
    GOMALLOC_MEMORY_NONE = 0,     /* not the library's */
    GOMALLOC_MEMORY_RESERVED = 1, /* address space only */
    GOMALLOC_MEMORY_PREPARED = 2, /* may be used, not backed */
    GOMALLOC_MEMORY_READY = 3     /* in use */
};

/* transition: the memory of one purpose that went from one state to another; a record for each
 * purpose of "memstat" and transition. */
struct gomalloc_transition {
    char purpose[24]; /* as memstat.name */
    char name[16];    /* Go's: "sysReserve", "sysMap", ... */
    uint32_t from;    /* enum gomalloc_memory_state */
    uint32_t to;      /* the same */
    uint64_t ncalls;  /* times */
    uint64_t bytes;   /* since the start */
};

/* escape: what became of the objects of a site, as far as they were judged (gomalloc.7, ESCAPE); a
 * record for each site of which any was.  freed = other_thread + reentered + unknown_* + the
 * objects of the site's records in "outlived"; judged - freed are live.  Frames are numbered from
 * malloc's caller, f0, outwards. */
struct gomalloc_escape {
    uint32_t site;
    uint32_t reserved;     /* 0 */
    uint64_t judged;       /* objects watched from their allocation on */
    uint64_t freed;        /* of these */
    uint64_t other_thread; /* freed by another thread (proved) */
    uint64_t reentered;    /* freed where the stack is as it was at the allocation, but by another
                              activation of f0 (proved) */
    uint64_t unknown_switched; /* the thread had changed stacks meanwhile */
    uint64_t unknown_stopped;  /* the stack was not to be had, at the one end or the other */
    uint64_t unknown_deep;     /* a stack deeper than is remembered */
    double life_ns_p50; /* from allocation to free: median and 99th percentile; 0 = none freed */
    double life_ns_p99;
    double life_bytes_p50; /* the same, in bytes that the process has allocated meanwhile */
    double life_bytes_p99;
    uint64_t chains;       /* of the freed, objects that realloc had resized or moved */
    uint64_t growths;      /* times that it did so, in all of these */
    double final_size_p50; /* bytes: median size at the end of these, 0 = none */
    double final_size_p99;
};

/* outlived: of the objects that the thread freed which had allocated them, those for which the
 * activations f0 to f(frames - 1), and no more, had ended. */
struct gomalloc_outlived {
    uint32_t site;
    uint32_t frames;  /* 0: not even f0 had, as far as can be seen; or GOMALLOC_OUTLIVED_MORE */
    uint64_t objects; /* that f0 to f(frames - 1) had ended is proved of each */
    uint64_t proved;  /* of these, those of which it is proved that f(frames) had not */
};
#define GOMALLOC_OUTLIVED_MORE 0xffffffffu /* all numbers that have no record of their own */

/* handover: objects that one thread allocated and another freed. */
struct gomalloc_handover {
    uint32_t site;     /* 0: the rest, of all sites for which there was no room */
    uint32_t reserved; /* 0 */
    uint64_t objects;  /* judged ones */
    uint32_t from_tid; /* kernel thread id: may be another thread's by now */
    uint32_t to_tid;
    char from_comm[16]; /* the threads' names, as of the last 2^n-th of the objects, NUL-padded */
    char to_comm[16];
};

/* tick: a moment at which the history was written; from the oldest to the newest. */
struct gomalloc_tick {
    uint32_t tick;       /* number, grows */
    uint32_t reserved;   /* 0 */
    uint64_t when_ns;    /* CLOCK_REALTIME */
    double live_bytes;   /* of all sites: estimate, as in goinspect sites */
    double live_objects; /* the same */
    double alloc_bytes;  /* since the start */
    double rss_bytes;    /* resident */
};

/* history: a site at a tick.  A site has a record at each tick from the first at which it was
 * followed.  In the order of the sites' numbers; those of a site from the oldest to the newest. */
struct gomalloc_history {
    uint32_t site;     /* 0: all sites that are not followed */
    uint32_t tick;     /* refers to section "tick" */
    double live_bytes; /* estimates */
    double live_objects;
    double alloc_bytes; /* since the start */
};

/* leak, leak_check, root, held: a leak check.  These sections are there if they were asked for by
 * name; the whole image is then that of a copy of the process, made while its threads were stopped.
 */

/* leak: an object that nothing leads to, ordered by address. */
struct gomalloc_leak {
    uint64_t address;
    uint64_t head;      /* address of the leaked object that it is counted under; its own: nothing
                           that has leaked leads to it, but perhaps what it leads to (a direct leak) */
    uint64_t size;      /* bytes given */
    uint64_t requested; /* bytes asked for, 0 = not recorded */
    uint32_t site;      /* 0 = not recorded */
    uint32_t born;      /* as gomalloc_slot.born */
};

/* leak_check: exactly one record. */
struct gomalloc_leak_check {
    uint32_t flags;           /* GOMALLOC_LEAK_* */
    uint32_t nstopped;        /* threads */
    uint32_t nmissing;        /* threads that did not stop in time: what only they know of may be in
                                 section "leak" */
    uint32_t longest_tid;     /* the thread that stood longest */
    uint64_t longest_ns;      /* for so long; 0 = not known */
    uint64_t stopping_ns;     /* until all had stopped */
    uint64_t copying_ns;      /* the copy-on-write copy */
    uint64_t mark_ns;         /* in the copy */
    uint64_t group_ns;        /* the same: finding heads */
    uint64_t live_objects;    /* in all */
    uint64_t reached_objects; /* live_objects - reached_objects = records of "leak" */
    uint64_t direct;          /* records whose head they are themselves */
    uint64_t words;           /* looked at */
    uint64_t unreadable_bytes; /* of roots */
    uint64_t dead_stacks;      /* stacks of ended threads, passed over */
    uint64_t unknown_ranges; /* the library's own memory that it has lost count of, taken for roots:
                                may hide leaks */
    uint32_t missing_tids[16]; /* the first of them, 0 = no more */
    uint64_t ignored_objects;  /* alive, that the program has leak checks ignore */
    uint64_t spared_objects;   /* reached from these alone, and some of these: no leaks therefore */
    uint64_t held_objects;     /* reached from words on stacks and in registers alone, see "held" */
    uint64_t held_bytes;       /* given to these */
};
#define GOMALLOC_LEAK_INTERIOR  0x1u /* addresses within an object keep it */
#define GOMALLOC_LEAK_UNALIGNED 0x2u /* words at any address do */
#define GOMALLOC_LEAK_MAPPED    0x4u /* memory that the program has mapped is a root */
#define GOMALLOC_LEAK_IN_PLACE  0x8u /* the threads waited for the whole check */

/* root: where the mark began; a record for each kind. */
struct gomalloc_root {
    uint32_t kind;     /* enum gomalloc_root_kind */
    uint32_t reserved; /* 0 */
    uint64_t ranges;
    uint64_t bytes;   /* read */
    uint64_t objects; /* that a word there was the first to lead to */
};
enum gomalloc_root_kind {
    GOMALLOC_ROOT_DATA = 0,     /* data and bss of loaded objects */
    GOMALLOC_ROOT_STACK = 1,    /* stacks in use, with what stands behind them */
    GOMALLOC_ROOT_REGISTER = 2, /* registers of threads */
    GOMALLOC_ROOT_MAPPED = 3,   /* other memory of the program */
    GOMALLOC_ROOT_REGION = 4    /* named by the program */
};

/* held: a word on a thread's stack or in a register that was the first to lead to an object which
 * no other root leads to.  It may be left over from a call that has ended: then it hides a leak.
 * Those of a stack are in the order of addresses; 16384 at most. */
struct gomalloc_held {
    uint64_t address;   /* of the object */
    uint64_t size;      /* bytes given to it */
    uint64_t requested; /* bytes asked for, 0 = not recorded */
    uint64_t objects;   /* this one and what only it leads to, as far as no word before does */
    uint64_t bytes;     /* given to these */
    uint64_t word;      /* address of the word; a register's: where it had been stored */
    uint32_t site;      /* 0 = not recorded */
    uint32_t born;      /* as gomalloc_slot.born */
    uint32_t frame; /* a node without caller: the function whose frame the word is in, 0 = none */
    uint32_t tid;   /* the thread, 0 = not known */
    uint32_t kind;  /* GOMALLOC_ROOT_STACK or GOMALLOC_ROOT_REGISTER */
    char reg[8];    /* name of the register */
    uint32_t reserved; /* 0 */
};

/* resident: what the resident set consists of, and at the end, as "kernel", the kernel's own figure
 * of it: the records before have the same sum, but for what came or went meanwhile.  The section is
 * there if it was asked for by name, and in images of the program's end; without records if a copy
 * of the process wrote the image. */
struct gomalloc_resident {
    char name[24]; /* "heap.spans", "heap.stacks", "heap.page_cache", "heap.free", "metadata",
                      "recorder", "agent", "library", "stacks", "code", "data", "shared",
                      "anonymous", "kernel" */
    uint64_t mapped_bytes;   /* address space; "kernel": 0 */
    uint64_t resident_bytes; /* of these */
    uint64_t swapped_bytes;  /* and these; a mapping of several kinds counts with its largest */
    uint64_t huge_bytes;     /* of the resident ones, in huge pages: the same */
};

/* why: exactly one record, in the answer to GOMALLOC_VERB_WHY; nowhere else. */
struct gomalloc_why {
    uint64_t asked;     /* the address */
    uint64_t address;   /* first byte of the object or the free slot that it is in, 0 = of none */
    uint64_t size;      /* bytes given */
    uint64_t requested; /* bytes asked for, 0 = not recorded */
    uint32_t site;      /* 0 = not recorded */
    uint32_t born;      /* as gomalloc_slot.born */
    uint32_t state;     /* enum gomalloc_why_state */
    uint32_t flags;     /* GOMALLOC_WHY_* */
    uint64_t head;      /* LEAKED: the leak that it is counted under; 0 = memory was short */
    uint64_t length;    /* steps of the chain in all; section "why_step" has the first and the last
                           512 of a longer one */
    uint64_t words;     /* that point to the object, those in itself left out */
    uint64_t leaked_words; /* of these, in objects that have leaked */
};
enum gomalloc_why_state {
    GOMALLOC_WHY_REACHABLE = 0,
    GOMALLOC_WHY_LEAKED = 1,  /* nothing leads to it */
    GOMALLOC_WHY_IGNORED = 2, /* nothing but objects of gomalloc_ignore; or it is one */
    GOMALLOC_WHY_OUTSIDE = 3, /* the address is not in the heap */
    GOMALLOC_WHY_OWN = 4,     /* in memory of the library itself */
    GOMALLOC_WHY_NO_SPAN = 5, /* in a free page */
    GOMALLOC_WHY_STACK = 6,   /* in a stack of gomalloc_stack_alloc */
    GOMALLOC_WHY_NO_SLOT = 7, /* in what is left over at the end of a span */
    GOMALLOC_WHY_FREE = 8     /* in a free slot */
};
#define GOMALLOC_WHY_TINY 0x1u /* a block of several objects under 16 bytes, perhaps */

/* why_step: the chain, in its order: a root (LEAKED: the head; IGNORED: the object that the program
 * ignores), objects, the object asked for.
 * referrer: what points to the object, roots first; words that are alike have one record. */
struct gomalloc_holder {
    uint64_t number; /* why_step: from the root, 0, on; referrer: words that it stands for */
    uint64_t word;   /* address of the word that leads on (referrer: of the first); 0 = none, this
                        is the object asked for.  A register's: where it had been stored */
    uint64_t value;  /* the word, 0 = not known */
    uint64_t start;  /* of the object, or of the root's range of memory */
    uint64_t end;    /* behind its last byte */
    uint64_t requested; /* of an object: bytes asked for, 0 = not recorded */
    uint64_t tp;        /* of a thread's variable: the thread's pointer, 0 = not known */
    uint64_t pc;       /* of a word on a stack: in the function whose frame it is in, 0 = in none */
    uint32_t kind;     /* enum gomalloc_root_kind, or GOMALLOC_HOLDER_OBJECT */
    uint32_t site;     /* of an object: 0 = not recorded */
    uint32_t born;     /* of an object: as gomalloc_slot.born */
    uint32_t tid;      /* of a stack, register or variable: the thread, 0 = not known */
    uint32_t flags;    /* GOMALLOC_HOLDER_* */
    char reg[8];       /* name of the register */
    char comm[16];     /* of the thread, NUL-padded */
    uint32_t reserved; /* 0 */
};
#define GOMALLOC_HOLDER_OBJECT 0xffu /* kind */
#define GOMALLOC_HOLDER_LEAKED 0x1u  /* flag: nothing leads to the objects either */
#define GOMALLOC_HOLDER_VARIABLE                                                                   \
    0x2u /* flag: of kind STACK, but a static thread-local variable, or libc's own data of the     \
            thread */

/* backing: what the kernel has behind the pages of a chunk; a record for each record of "chunk", in
 * the same order, together with section "resident".  Without records: not known. */
struct gomalloc_backing {
    uint64_t base;         /* address */
    uint64_t resident[16]; /* bit p: page p, of process.os_page_size = 4096 bytes, is resident */
    uint64_t swapped[16];  /* and is swapped out */
    uint64_t huge_bytes;   /* of the resident ones, in huge pages */
    uint32_t flags;        /* GOMALLOC_BACKING_* */
    uint32_t reserved;     /* 0 */
};
#define GOMALLOC_BACKING_HUGE_SHARE                                                                \
    0x1u /* huge_bytes is the chunk's share of what the kernel says of a larger mapping */

/* crash: exactly one record, in an image of GOMALLOC_IMAGE_FATAL. */
struct gomalloc_crash {
    uint32_t signal;
    int32_t code;     /* si_code of sigaction(2): above 0, the kernel found a fault */
    uint32_t tid;     /* thread that it came to */
    uint32_t sender;  /* pid of the process that sent it, 0 = none did */
    uint64_t address; /* that the fault is about, 0 = none */
    uint64_t pc;      /* instruction that was interrupted */
    uint64_t sp;      /* its stack pointer */
    uint32_t frame;   /* node of section "frame": the thread's stack, 0 = not known.  Innermost is
                         pc + 1: as if that were a return address */
    uint32_t flags;   /* GOMALLOC_CRASH_* */
    char comm[16];    /* name of the thread, NUL-padded */
};
#define GOMALLOC_CRASH_STOPPED 0x1u /* outer frames are missing */

/*
 * gomalloc_checksum returns the checksum of n bytes at p (n a multiple of 8), continuing from h
 * (0 to begin).  Every word is mixed in by a bijection of the state.
 */
static inline uint64_t gomalloc_checksum(uint64_t h, const void *p, size_t n) {
    const unsigned char *b = (const unsigned char *)p;
    for (size_t i = 0; i + 8 <= n; i += 8) {
        uint64_t w;
        __builtin_memcpy(&w, b + i, 8);
        h ^= w;
        h = (h << 29) | (h >> 35);
        h = h * 0x9e3779b97f4a7c15u + 0x632be59bd9b4e019u;
    }
    return h;
}

#ifdef __cplusplus
}
#endif
#endif
