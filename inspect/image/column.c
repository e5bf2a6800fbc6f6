/* SPDX-License-Identifier: BSD-3-Clause
 *
 * One column table for each section of the image.  To add a field of a record: one line here.
 */
#include "image/column.h"

#include <assert.h>
#include <string.h>

/* Columns that are fields of struct type. */
#define FIELD(type, kind, column, field, text)                                                     \
    { column, COLUMN_##kind, offsetof(struct type, field), sizeof(((struct type *)0)->field), text }
#define TABLE(id, table, type, columns, key, text)                                                 \
    {                                                                                              \
        "image_" table, text, GOMALLOC_SECTION_##id, sizeof(type), columns,                        \
            sizeof(columns) / sizeof(columns)[0], key                                              \
    }

/* column_uint finds the length there. */
static_assert(offsetof(struct gomalloc_mapping, build_id) ==
                  offsetof(struct gomalloc_mapping, build_id_len) + sizeof(uint32_t),
              "a COLUMN_BUILD_ID follows its length");

#define F(kind, column, field, text) FIELD(gomalloc_image, kind, column, field, text)
static const struct image_column header_columns[] = {
    F(HEX, "image_id", image_id, "random, hex: the same image is known by it"),
    F(UINT, "version", version, "of the format"),
    F(UINT, "flags", flags, "1 live | 2 at exit | 4 partial | 8 cut | 16 at a fatal signal"),
    F(UINT, "captured_ns", captured_ns, "when the capture began, ns since 1970"),
    F(UINT, "capture_time_ns", capture_time_ns, "how long it took, ns"),
    F(UINT, "file_size", file_size, "bytes"),
};
#undef F

#define F(kind, column, field, text) FIELD(gomalloc_process, kind, column, field, text)
static const struct image_column process_columns[] = {
    F(UINT, "pid", pid, "in the process's own pid namespace"),
    F(UINT, "ppid", ppid, "parent's pid"),
    F(UINT, "uid", uid, "effective user"),
    F(UINT, "nthreads", nthreads, "threads, the library's own included"),
    F(UINT, "start_ticks", start_ticks, "/proc/PID/stat field 22, clock ticks since boot"),
    F(HEX, "boot_id", boot_id, "kernel's boot id, hex"),
    F(UINT, "start_ns", start_ns, "when the library started, ns since 1970"),
    F(UINT, "rate", rate, "bytes between samples; 1 = every allocation, 0 = off"),
    F(UINT, "rss_bytes", rss_bytes, "resident set, bytes"),
    F(UINT, "page_size", page_size, "of the heap, bytes: 8192"),
    F(UINT, "os_page_size", os_page_size, "of the kernel, bytes"),
    F(UINT, "forked_ns", forked_ns, "when a fork made the process, ns since 1970, 0 = exec'd"),
    F(STRING, "host", host_str, "node name"),
    F(STRING, "exe", exe_str, "path of the program"),
    F(STRING, "cmdline", cmdline_str, "arguments, separated by one space"),
    F(STRING, "comm", comm_str, "command name, at most 15 bytes"),
    F(STRING, "library_version", version_str, "of libgomalloc"),
    F(STRING, "unwinder", unwinder_str, "who took the stacks"),
    F(UINT, "exact_since_ns", exact_since_ns,
      "since when every live object is recorded, ns since 1970, 0 = not so"),
};
#undef F

#define F(kind, column, field, text) FIELD(gomalloc_thread, kind, column, field, text)
static const struct image_column thread_columns[] = {
    F(UINT, "mcache", mcache, "index; image_span.owner refers to it"),
    F(UINT, "tid", tid, "kernel thread id, 0 = idle cache"),
    F(CHARS, "comm", comm, "thread name, '' = idle"),
    F(UINT, "cached_bytes", cached_bytes, "free slots in the spans it owns, bytes"),
    F(UINT, "nspans", nspans, "spans it owns"),
};
#undef F

#define F(kind, column, field, text) FIELD(gomalloc_mapping, kind, column, field, text)
static const struct image_column mapping_columns[] = {
    F(BITS, "start", start, "address"),
    F(BITS, "end", end, "address after the last byte"),
    F(UINT, "file_offset", file_offset, "where it begins in the file, bytes"),
    F(UINT, "inode", inode, "0 = not a file"),
    F(UINT, "dev_major", dev_major, "device"),
    F(UINT, "dev_minor", dev_minor, "device"),
    F(UINT, "prot", prot, "PROT_READ 1 | PROT_WRITE 2 | PROT_EXEC 4"),
    F(STRING, "path", path_str, "'' = anonymous"),
    F(BUILD_ID, "build_id", build_id, "GNU build-id, hex, '' = none or not read"),
};
#undef F

#define F(kind, column, field, text) FIELD(gomalloc_size_class, kind, column, field, text)
static const struct image_column size_class_columns[] = {
    F(UINT, "size_class", size_class, "0 = large objects"),
    F(UINT, "bytes", bytes, "of a slot, 0 for class 0"),
    F(UINT, "npages", npages, "of a span, pages of 8 KiB"),
    F(UINT, "nelems", nelems, "slots in a span"),
};
#undef F

#define F(kind, column, field, text) FIELD(gomalloc_arena, kind, column, field, text)
static const struct image_column arena_columns[] = {
    F(UINT, "base", base, "address"),
    F(UINT, "size", size, "bytes: 64 MiB"),
    F(UINT, "reserved_bytes", reserved_bytes, "address space only"),
    F(UINT, "prepared_bytes", prepared_bytes, "may be used, not backed: untouched or given back"),
    F(UINT, "ready_bytes", ready_bytes, "backed by the kernel as soon as touched"),
    F(UINT, "in_use_pages", in_use_pages, "pages of 8 KiB in spans"),
    F(UINT, "free_pages", free_pages, "pages grown and in no span"),
    F(UINT, "scavenged_pages", scavenged_pages, "of the free ones, given back to the kernel"),
    F(UINT, "zeroed_base", zeroed_base, "offset of the first byte never used"),
};
#undef F

#define F(kind, column, field, text) FIELD(gomalloc_span, kind, column, field, text)
static const struct image_column span_columns[] = {
    F(UINT, "base", base, "address of the first byte"),
    F(UINT, "npages", npages, "of 8 KiB"),
    F(UINT, "elem_size", elem_size, "bytes given to each object"),
    F(UINT, "nelems", nelems, "slots"),
    F(UINT, "live", live, "slots allocated"),
    F(UINT, "marked", marked, "free slots whose free is not swept yet"),
    F(UINT, "owner", owner, "mcache; 4294967295 = central list, 4294967294 = page heap"),
    F(UINT, "span_class", span_class, "size class * 2 + noscan"),
    F(UINT, "state", state, "0 dead, 1 in use, 2 manual"),
    F(UINT, "place", place, "where it is kept: enum gomalloc_span_place"),
    F(UINT, "needzero", needzero, "1: free slots may hold old data"),
    F(UINT, "sweepgen", sweepgen, "sweep cycle in which it was last swept"),
    F(UINT, "freeindex", freeindex, "slot at which the next search begins"),
    F(BITS, "bitmap_index", bitmap_index, "rowid - 1 of its first word in image_bitmap"),
    F(INDEX, "slot_index", slot_index, "rowid - 1 of its first record in image_slot, NULL = none"),
    F(UINT, "large_requested", large_requested, "class 0: bytes asked for, 0 = not recorded"),
    F(BITMAP, "bitmap", bitmap_index, "bit i % 8 of byte i / 8: slot i is live"),
};
#undef F

static const struct image_column bitmap_columns[] = {
    {"word", COLUMN_BITS, 0, 8, "bit i of word w of a span: slot 64 * w + i is live"},
};

#define F(kind, column, field, text) FIELD(gomalloc_slot, kind, column, field, text)
static const struct image_column slot_columns[] = {
    F(UINT, "site", site, "0 = not recorded; means nothing unless the slot is live"),
    F(UINT, "slack", slack, "bytes given beyond those asked for"),
    F(UINT, "born", born, "seconds from start_ns to its allocation, plus 1; 0 = not known"),
    F(UINT, "rate", rate, "bytes between samples when it was recorded; 0 = as process.rate"),
};
#undef F

#define F(kind, column, field, text) FIELD(gomalloc_summary, kind, column, field, text)
static const struct image_column summary_columns[] = {
    F(UINT, "level", level, "0 = root, 4 = leaf: one chunk"),
    F(UINT, "idx", index, "entry in its level"),
    F(UINT, "base", base, "address that it covers from"),
    F(UINT, "npages", npages, "pages that it covers"),
    F(UINT, "start_free", start, "free pages at its start"),
    F(UINT, "max_free", max, "longest run of free pages"),
    F(UINT, "end_free", end, "free pages at its end"),
};
#undef F

#define F(kind, column, field, text) FIELD(gomalloc_chunk, kind, column, field, text)
static const struct image_column chunk_columns[] = {
    F(UINT, "idx", index, "chunk number in the address space"),
    F(UINT, "base", base, "address"),
    F(HEX, "alloc", alloc, "little-endian bits, hex: in use, or not grown, or in a page cache"),
    F(HEX, "scavenged", scavenged, "the same: given back, or never backed"),
    F(HEX, "grown", grown, "the same: belongs to the heap"),
    F(HEX, "cached", cached, "the same: free in some page cache"),
    F(MAP, "map", alloc,
      "a character a page: # in use, . free, _ free and given back, c in a page cache, "
      "C in a page cache and given back, - not of the heap"),
};
#undef F

#define F(kind, column, field, text) FIELD(gomalloc_frame, kind, column, field, text)
static const struct image_column frame_columns[] = {
    F(BITS, "pc", pc, "return address"),
    F(UINT, "parent", parent, "rowid of the caller's frame, 0 = outermost"),
    F(UINT, "depth", depth, "frames from here outwards"),
};
#undef F

#define F(kind, column, field, text) FIELD(gomalloc_site, kind, column, field, text)
static const struct image_column site_columns[] = {
    F(UINT, "site", site, "id, 1 and up"),
    F(UINT, "frame", frame, "rowid of the innermost frame, 0 = no stack"),
    F(UINT, "flags", flags, "1 deeper than the bound | 2 the unwinder gave up"),
    F(UINT, "samples", samples, "allocations recorded since the start"),
    F(UINT, "sample_bytes", sample_bytes, "bytes they asked for"),
    F(REAL, "alloc_objects", alloc_objects, "estimate of all allocations since the start"),
    F(REAL, "alloc_bytes", alloc_bytes, "the same in bytes asked for"),
};
#undef F

#define F(kind, column, field, text) FIELD(gomalloc_memstat, kind, column, field, text)
static const struct image_column memstat_columns[] = {
    F(CHARS, "name", name, "purpose"),
    F(UINT, "reserved_bytes", reserved, "address space only"),
    F(UINT, "prepared_bytes", prepared, "may be used, not backed"),
    F(UINT, "ready_bytes", ready, "backed by the kernel as soon as touched"),
    F(UINT, "used_bytes", used, "of the ready ones, handed out"),
};
#undef F

#define F(kind, column, field, text) FIELD(gomalloc_counter, kind, column, field, text)
static const struct image_column counter_columns[] = {
    F(CHARS, "name", name, "what is counted"),
    F(CHARS, "unit", unit, "of value"),
    F(UINT, "value", value, "count"),
};
#undef F

#define F(kind, column, field, text) FIELD(gomalloc_mcache, kind, column, field, text)
static const struct image_column mcache_columns[] = {
    F(UINT, "mcache", mcache, "index; image_thread.mcache"),
    F(UINT, "flags", flags, "1 a living thread uses it | 2 its thread was lost in a fork"),
    F(INDEX, "next_sample", next_sample,
      "bytes until the recorder looks at an allocation, NULL = at the next one, or never"),
    F(UINT, "tiny", tiny, "address of the tiny block in use, 0 = none"),
    F(UINT, "tiny_offset", tiny_offset, "bytes of it that are used"),
    F(UINT, "pcache_base", pcache_base, "page cache: address of its 64 pages, 0 = empty"),
    F(BITS, "pcache_free", pcache_free, "bit i: page i is free and this cache's"),
    F(BITS, "pcache_scavenged", pcache_scavenged, "of these, given back or never backed"),
    F(UINT, "pcache_npages", pcache_npages, "bits in pcache_free"),
    F(UINT, "pcache_nscavenged", pcache_nscavenged, "bits in pcache_scavenged"),
    F(UINT, "nlarge", nlarge, "freed large spans kept for reuse"),
    F(UINT, "npending", npending, "spans on its list of those with marks"),
    F(UINT, "large_bytes", large_bytes, "bytes of the large spans kept"),
    F(UINT, "flush_gen", flush_gen, "sweepgen when its empty spans were last given back"),
    F(UINT, "nrefill", nrefill, "refills since it was made"),
    F(UINT, "nspan_alloc", nspan_alloc, "spans taken from the heap"),
    F(UINT, "nspan_free", nspan_free, "spans given back"),
    F(UINT, "nstacks", nstacks, "free stacks kept for reuse"),
    F(UINT, "stack_bytes", stack_bytes, "their bytes, without guards"),
};
#undef F

#define F(kind, column, field, text) FIELD(gomalloc_mcache_class, kind, column, field, text)
static const struct image_column mcache_class_columns[] = {
    F(UINT, "mcache", mcache, "index; image_mcache.mcache"),
    F(UINT, "span_class", span_class, "size class * 2 + noscan"),
    F(UINT, "current", current, "address of the span that it allocates from, 0 = none"),
    F(UINT, "current_free", current_free, "free slots of that"),
    F(UINT, "search", search, "slot of it at which the next search begins"),
    F(UINT, "nhints", nhints, "slots freed last, to be used first"),
    F(UINT, "hint_capacity", hint_capacity, "at most so many"),
    F(UINT, "nlisted", nlisted, "spans on its list of those with free slots"),
    F(UINT, "listed_free", listed_free, "free slots in them"),
    F(UINT, "nheld", nheld, "its other spans"),
    F(UINT, "held_free", held_free, "free slots in them"),
};
#undef F

#define F(kind, column, field, text) FIELD(gomalloc_mcentral, kind, column, field, text)
static const struct image_column mcentral_columns[] = {
    F(UINT, "span_class", span_class, "size class * 2 + noscan"),
    F(UINT, "npending", npending, "spans with new marks, in no unswept set yet"),
    F(UINT, "partial_swept", partial_swept, "spans with free slots"),
    F(UINT, "partial_unswept", partial_unswept, "the same, with marks since their last sweep"),
    F(UINT, "full_swept", full_swept, "spans without a free slot"),
    F(UINT, "full_unswept", full_unswept, "the same, but for marks"),
    F(UINT, "partial_swept_free", partial_swept_free, "free slots in that set"),
    F(UINT, "partial_unswept_free", partial_unswept_free, "free slots in that set"),
    F(UINT, "full_swept_free", full_swept_free, "free slots in that set: marks just come"),
    F(UINT, "full_unswept_free", full_unswept_free, "free slots in that set"),
    F(UINT, "ncache", ncache, "spans given to mcaches since the start"),
    F(UINT, "nuncache", nuncache, "spans taken from mcaches"),
};
#undef F

#define F(kind, column, field, text) FIELD(gomalloc_mheap, kind, column, field, text)
static const struct image_column mheap_columns[] = {
    F(UINT, "sweepgen", sweepgen, "of the sweep cycle; two more at each"),
    F(INDEX, "search_addr", search_addr, "no page below is free, NULL = none at all"),
    F(UINT, "arena_hint", arena_hint, "address at which the next arena is asked for"),
    F(UINT, "cur_arena", cur_arena, "from here on the heap grows next"),
    F(UINT, "cur_arena_end", cur_arena_end, "up to here, before it needs another arena"),
    F(UINT, "chunk_start", chunk_start, "no chunk below"),
    F(UINT, "chunk_end", chunk_end, "no chunk from here on"),
    F(UINT, "pages_in_use", pages_in_use, "in spans"),
    F(UINT, "reclaim_at", reclaim_at, "pages in use at which empty spans are looked for"),
    F(UINT, "pages_grown", pages_grown, "ever made part of the heap"),
    F(UINT, "pages_taken", pages_taken, "of these, in spans and in page caches"),
    F(UINT, "pages_scavenged", pages_scavenged, "of the free ones, given back or never backed"),
    F(UINT, "summary_bytes", summary_bytes, "of the radix tree's summaries, mapped"),
    F(UINT, "nspan_alloc", nspan_alloc, "spans made since the start"),
    F(UINT, "nspan_free", nspan_free, "and freed"),
    F(UINT, "nlarge", nlarge, "large objects allocated"),
    F(UINT, "ngrow", ngrow, "calls of grow"),
    F(UINT, "nreclaim", nreclaim, "times that empty spans were looked for"),
    F(UINT, "nheaders", nheaders, "span headers, used or for reuse"),
};
#undef F

#define F(kind, column, field, text) FIELD(gomalloc_scavenger, kind, column, field, text)
static const struct image_column scavenger_columns[] = {
    F(UINT, "goal_bytes", goal_bytes, "the heap should retain at most so much"),
    F(UINT, "retained_bytes", retained_bytes, "pages in use, or free and not given back"),
    F(UINT, "peak_pages", peak_pages, "most pages in use in this window"),
    F(UINT, "last_peak", last_peak, "and in the window before, 0 = none has ended"),
    F(UINT, "released_pages", released_pages, "given back since the start"),
    F(UINT, "reused_pages", reused_pages, "of these, taken into use again"),
    F(UINT, "ncalls", ncalls, "runs of pages given back"),
    F(UINT, "nwindows", nwindows, "windows ended"),
    F(UINT, "nregrets", nregrets, "of these, in which too much came back into use"),
    F(UINT, "window_ns", window_ns, "length of a window"),
    F(UINT, "window_left_ns", window_left_ns, "until this one ends, 0 = it is over"),
    F(UINT, "worked_ns", worked_ns, "time spent giving back in the background"),
    F(UINT, "working", working, "1: above the goal and at work"),
    F(UINT, "regretful", regretful, "1: the last window was regretted"),
};
#undef F

#define F(kind, column, field, text) FIELD(gomalloc_transition, kind, column, field, text)
static const struct image_column transition_columns[] = {
    F(CHARS, "purpose", purpose, "image_memstat.name"),
    F(CHARS, "name", name, "Go's: sysReserve, sysMap, ..."),
    F(UINT, "from_state", from, "0 none, 1 reserved, 2 prepared, 3 ready"),
    F(UINT, "to_state", to, "the same"),
    F(UINT, "ncalls", ncalls, "times"),
    F(UINT, "bytes", bytes, "moved since the start"),
};
#undef F

#define F(kind, column, field, text) FIELD(gomalloc_escape, kind, column, field, text)
static const struct image_column escape_columns[] = {
    F(UINT, "site", site, "image_site.site"),
    F(UINT, "judged", judged, "objects watched from their allocation on"),
    F(UINT, "freed", freed, "of these"),
    F(UINT, "other_thread", other_thread, "freed by another thread"),
    F(UINT, "reentered", reentered, "freed by a later activation of f0"),
    F(UINT, "unknown_switched", unknown_switched, "not told: the thread had changed stacks"),
    F(UINT, "unknown_stopped", unknown_stopped, "not told: the stack was not to be had"),
    F(UINT, "unknown_deep", unknown_deep, "not told: a stack deeper than is remembered"),
    F(REAL, "life_ns_p50", life_ns_p50, "median time from allocation to free, ns, 0 = none freed"),
    F(REAL, "life_ns_p99", life_ns_p99, "99th percentile of the same, ns"),
    F(REAL, "life_bytes_p50", life_bytes_p50, "median of the bytes allocated meanwhile"),
    F(REAL, "life_bytes_p99", life_bytes_p99, "99th percentile of the same"),
    F(UINT, "chains", chains, "of the freed, objects that realloc had resized or moved"),
    F(UINT, "growths", growths, "times that it did so, in all of these"),
    F(REAL, "final_size_p50", final_size_p50, "median size at the end of these, 0 = none"),
    F(REAL, "final_size_p99", final_size_p99, "99th percentile of the same"),
};
#undef F

#define F(kind, column, field, text) FIELD(gomalloc_outlived, kind, column, field, text)
static const struct image_column outlived_columns[] = {
    F(UINT, "site", site, "image_site.site"),
    F(UINT, "frames", frames, "activations that had ended; 4294967295 = all other numbers"),
    F(UINT, "objects", objects, "freed after that"),
    F(UINT, "proved", proved, "of these, those of which it is proved that no more had ended"),
};
#undef F

#define F(kind, column, field, text) FIELD(gomalloc_handover, kind, column, field, text)
static const struct image_column handover_columns[] = {
    F(UINT, "site", site, "image_site.site, 0 = the rest of all sites"),
    F(UINT, "objects", objects, "that one thread allocated and another freed"),
    F(UINT, "from_tid", from_tid, "kernel thread id: may be another thread's by now"),
    F(UINT, "to_tid", to_tid, "of the thread that freed"),
    F(CHARS, "from_comm", from_comm, "thread name, as of the last 2^n-th of the objects"),
    F(CHARS, "to_comm", to_comm, "the same"),
};
#undef F

#define F(kind, column, field, text) FIELD(gomalloc_tick, kind, column, field, text)
static const struct image_column tick_columns[] = {
    F(UINT, "tick", tick, "number, grows"),
    F(UINT, "when_ns", when_ns, "ns since 1970"),
    F(REAL, "live_bytes", live_bytes, "of all sites: estimate"),
    F(REAL, "live_objects", live_objects, "the same"),
    F(REAL, "alloc_bytes", alloc_bytes, "since the start"),
    F(REAL, "rss_bytes", rss_bytes, "resident set"),
};
#undef F

#define F(kind, column, field, text) FIELD(gomalloc_history, kind, column, field, text)
static const struct image_column history_columns[] = {
    F(UINT, "site", site, "image_site.site, 0 = all sites that are not followed"),
    F(UINT, "tick", tick, "image_tick.tick"),
    F(REAL, "live_bytes", live_bytes, "estimate"),
    F(REAL, "live_objects", live_objects, "estimate"),
    F(REAL, "alloc_bytes", alloc_bytes, "since the start"),
};
#undef F

#define F(kind, column, field, text) FIELD(gomalloc_leak, kind, column, field, text)
static const struct image_column leak_columns[] = {
    F(UINT, "address", address, "of an object that nothing leads to"),
    F(UINT, "head", head, "of the one it is counted under; its own: a direct leak"),
    F(UINT, "size", size, "bytes given"),
    F(UINT, "requested", requested, "bytes asked for, 0 = not recorded"),
    F(UINT, "site", site, "image_site.site, 0 = not recorded"),
    F(UINT, "born", born, "seconds from start_ns to its allocation, plus 1; 0 = not known"),
};
#undef F

#define F(kind, column, field, text) FIELD(gomalloc_leak_check, kind, column, field, text)
static const struct image_column leak_check_columns[] = {
    F(UINT, "flags", flags,
      "1 interior addresses keep | 2 words at any address | 4 mapped memory is a root | 8 in "
      "place"),
    F(UINT, "nstopped", nstopped, "threads that stopped"),
    F(UINT, "nmissing", nmissing, "threads that did not in time"),
    F(UINT, "longest_tid", longest_tid, "the thread that stood longest, 0 = not known"),
    F(UINT, "longest_ns", longest_ns, "for so long, ns, 0 = not known"),
    F(UINT, "stopping_ns", stopping_ns, "until all had stopped, ns"),
    F(UINT, "copying_ns", copying_ns, "the copy-on-write copy, ns"),
    F(UINT, "mark_ns", mark_ns, "following pointers, ns"),
    F(UINT, "group_ns", group_ns, "finding what leaks are direct, ns"),
    F(UINT, "live_objects", live_objects, "in all"),
    F(UINT, "reached_objects", reached_objects, "of these; the others are in image_leak"),
    F(UINT, "direct", direct, "leaks that are their own head"),
    F(UINT, "words", words, "looked at"),
    F(UINT, "unreadable_bytes", unreadable_bytes, "of roots"),
    F(UINT, "dead_stacks", dead_stacks, "stacks of ended threads, passed over"),
    F(UINT, "unknown_ranges", unknown_ranges, "of the library's own that were taken for roots"),
    F(UINT, "ignored_objects", ignored_objects, "that the program has leak checks ignore"),
    F(UINT, "spared_objects", spared_objects, "of these, and led to by them alone: no leaks"),
    F(UINT, "held_objects", held_objects, "that words on stacks and in registers alone keep"),
    F(UINT, "held_bytes", held_bytes, "given to these"),
    F(NUMBERS, "missing_tids", missing_tids, "the first 16 threads that did not stop"),
};
#undef F

#define F(kind, column, field, text) FIELD(gomalloc_held, kind, column, field, text)
static const struct image_column held_columns[] = {
    F(UINT, "address", address, "of an object that a word on a stack or in a register keeps"),
    F(UINT, "size", size, "bytes given"),
    F(UINT, "requested", requested, "bytes asked for, 0 = not recorded"),
    F(UINT, "objects", objects, "this one and what only it leads to"),
    F(UINT, "bytes", bytes, "given to these"),
    F(UINT, "word", word, "address of the word"),
    F(UINT, "site", site, "image_site.site, 0 = not recorded"),
    F(UINT, "born", born, "seconds from start_ns to its allocation, plus 1; 0 = not known"),
    F(UINT, "frame", frame, "rowid of the function whose frame the word is in, 0 = none"),
    F(UINT, "tid", tid, "the thread, 0 = not known"),
    F(UINT, "kind", kind, "1 stack, 2 register"),
    F(CHARS, "reg", reg, "name of the register"),
};
#undef F

#define F(kind, column, field, text) FIELD(gomalloc_root, kind, column, field, text)
static const struct image_column root_columns[] = {
    F(UINT, "kind", kind, "0 data, 1 stack, 2 register, 3 mapped memory, 4 named by the program"),
    F(UINT, "ranges", ranges, "of memory"),
    F(UINT, "bytes", bytes, "read"),
    F(UINT, "objects", objects, "that a word there was the first to lead to"),
};
#undef F

#define F(kind, column, field, text) FIELD(gomalloc_resident, kind, column, field, text)
static const struct image_column resident_columns[] = {
    F(CHARS, "name", name, "kind of memory; kernel = the kernel's own sum"),
    F(UINT, "mapped_bytes", mapped_bytes, "address space"),
    F(UINT, "resident_bytes", resident_bytes, "of these, resident"),
    F(UINT, "swapped_bytes", swapped_bytes, "and swapped out"),
    F(UINT, "huge_bytes", huge_bytes, "of the resident ones, in huge pages"),
};
#undef F

#define F(kind, column, field, text) FIELD(gomalloc_why, kind, column, field, text)
static const struct image_column why_columns[] = {
    F(UINT, "asked", asked, "the address that was asked about"),
    F(UINT, "address", address, "of the object, or the free slot, that it is in, 0 = none"),
    F(UINT, "size", size, "bytes given"),
    F(UINT, "requested", requested, "bytes asked for, 0 = not recorded"),
    F(UINT, "site", site, "image_site.site, 0 = not recorded"),
    F(UINT, "born", born, "seconds from start_ns to its allocation, plus 1; 0 = not known"),
    F(UINT, "state", state,
      "0 reachable, 1 leaked, 2 ignored, 3 not in the heap, 4 the library's, 5 free page, 6 a "
      "stack, "
      "7 end of a span, 8 free slot"),
    F(UINT, "flags", flags, "1 a block of tiny objects"),
    F(UINT, "head", head, "leaked: the leak it is counted under, 0 = not known"),
    F(UINT, "length", length, "steps of the chain in all"),
    F(UINT, "words", words, "that point to it"),
    F(UINT, "leaked_words", leaked_words, "of these, in leaked objects"),
};
#undef F

#define F(kind, column, field, text) FIELD(gomalloc_holder, kind, column, field, text)
static const struct image_column holder_columns[] = {
    F(UINT, "number", number, "of the step, from 0; of a referrer: words that it stands for"),
    F(UINT, "word", word, "address of the word that leads on, 0 = none"),
    F(UINT, "value", value, "the word, 0 = not known"),
    F(UINT, "start", start, "of the object, or of the root's range"),
    F(UINT, "end", end, "behind its last byte"),
    F(UINT, "requested", requested, "of an object: bytes asked for, 0 = not recorded"),
    F(UINT, "tp", tp, "pointer of the thread whose variable it is, 0 = not known"),
    F(UINT, "pc", pc, "in the function whose frame the word is in, or 0"),
    F(UINT, "kind", kind,
      "0 data, 1 stack, 2 register, 3 mapped memory, 4 named by the program, 255 an object"),
    F(UINT, "site", site, "image_site.site, 0 = not recorded"),
    F(UINT, "born", born, "seconds from start_ns to its allocation, plus 1; 0 = not known"),
    F(UINT, "tid", tid, "thread of the stack, variable or register, 0 = not known"),
    F(UINT, "flags", flags, "1 nothing leads to the object | 2 no stack, a thread's variable"),
    F(CHARS, "reg", reg, "name of the register"),
    F(CHARS, "comm", comm, "name of the thread"),
};
#undef F

#define F(kind, column, field, text) FIELD(gomalloc_crash, kind, column, field, text)
static const struct image_column crash_columns[] = {
    F(UINT, "signal", signal, "number"),
    F(UINT, "code", code, "si_code, as an unsigned number of 32 bits"),
    F(UINT, "tid", tid, "thread that it came to"),
    F(UINT, "sender", sender, "pid of the process that sent it, 0 = none did"),
    F(BITS, "address", address, "that the fault is about, 0 = none"),
    F(BITS, "pc", pc, "instruction that was interrupted"),
    F(BITS, "sp", sp, "its stack pointer"),
    F(UINT, "frame", frame, "rowid of the innermost frame, 0 = not known"),
    F(UINT, "flags", flags, "1 outer frames are missing"),
    F(CHARS, "comm", comm, "name of the thread"),
};
#undef F

#define F(kind, column, field, text) FIELD(gomalloc_backing, kind, column, field, text)
static const struct image_column backing_columns[] = {
    F(UINT, "base", base, "address of the chunk"),
    F(HEX, "resident", resident, "little-endian bits, hex: pages of 4 KiB that are resident"),
    F(HEX, "swapped", swapped, "the same: swapped out"),
    F(UINT, "huge_bytes", huge_bytes, "of the resident ones, in huge pages"),
    F(UINT, "flags", flags, "1 huge_bytes is a share of what a larger mapping has"),
};
#undef F

const struct image_table image_tables[] = {
    {"image_header", "the image", GOMALLOC_NSECTIONS, sizeof(struct gomalloc_image), header_columns,
     sizeof header_columns / sizeof header_columns[0], -1},
    TABLE(PROCESS, "process", struct gomalloc_process, process_columns, -1, "the process"),
    TABLE(THREAD, "thread", struct gomalloc_thread, thread_columns, 0, "a thread's cache"),
    TABLE(MAPPING, "mapping", struct gomalloc_mapping, mapping_columns, 0, "a named mapping"),
    TABLE(SIZE_CLASS, "size_class", struct gomalloc_size_class, size_class_columns, 0,
          "a size class"),
    TABLE(ARENA, "arena", struct gomalloc_arena, arena_columns, 0, "64 MiB of address space"),
    TABLE(SPAN, "span", struct gomalloc_span, span_columns, 0, "a span"),
    TABLE(BITMAP, "bitmap", uint64_t, bitmap_columns, -1, "64 slots"),
    TABLE(SLOT, "slot", struct gomalloc_slot, slot_columns, -1, "a slot of a span with sites"),
    TABLE(SUMMARY, "summary", struct gomalloc_summary, summary_columns, -1,
          "an entry of the radix tree"),
    TABLE(CHUNK, "chunk", struct gomalloc_chunk, chunk_columns, 1, "a chunk of 512 pages"),
    TABLE(FRAME, "frame", struct gomalloc_frame, frame_columns, -1, "a node of the stack trie"),
    TABLE(SITE, "site", struct gomalloc_site, site_columns, 0, "a stack that has allocated"),
    TABLE(MEMSTAT, "memstat", struct gomalloc_memstat, memstat_columns, -1,
          "a purpose of the library's memory"),
    TABLE(COUNTER, "counter", struct gomalloc_counter, counter_columns, -1, "a counter"),
    TABLE(MCACHE, "mcache", struct gomalloc_mcache, mcache_columns, 0, "what a cache is at"),
    TABLE(MCACHE_CLASS, "mcache_class", struct gomalloc_mcache_class, mcache_class_columns, -1,
          "a span class of a cache"),
    TABLE(MCENTRAL, "mcentral", struct gomalloc_mcentral, mcentral_columns, 0,
          "the spans of a class that no thread owns"),
    TABLE(MHEAP, "mheap", struct gomalloc_mheap, mheap_columns, -1, "the heap"),
    TABLE(SCAVENGER, "scavenger", struct gomalloc_scavenger, scavenger_columns, -1,
          "what gives pages back"),
    TABLE(TRANSITION, "transition", struct gomalloc_transition, transition_columns, -1,
          "memory of a purpose that changed its state"),
    TABLE(ESCAPE, "escape", struct gomalloc_escape, escape_columns, 0,
          "what became of a site's objects"),
    TABLE(OUTLIVED, "outlived", struct gomalloc_outlived, outlived_columns, -1,
          "objects of a site that outlived so many activations"),
    TABLE(HANDOVER, "handover", struct gomalloc_handover, handover_columns, -1,
          "objects that one thread allocated and another freed"),
    TABLE(TICK, "tick", struct gomalloc_tick, tick_columns, 0, "a moment of the history"),
    TABLE(HISTORY, "history", struct gomalloc_history, history_columns, -1, "a site at a tick"),
    TABLE(LEAK, "leak", struct gomalloc_leak, leak_columns, 0, "an object that nothing leads to"),
    TABLE(LEAK_CHECK, "leak_check", struct gomalloc_leak_check, leak_check_columns, -1,
          "the leak check"),
    TABLE(ROOT, "root", struct gomalloc_root, root_columns, 0, "a kind of place it began at"),
    TABLE(RESIDENT, "resident", struct gomalloc_resident, resident_columns, -1,
          "a kind of memory that is resident"),
    TABLE(WHY, "why", struct gomalloc_why, why_columns, -1, "why an object lives"),
    TABLE(WHY_STEP, "why_step", struct gomalloc_holder, holder_columns, -1,
          "a step from a root to it"),
    TABLE(REFERRER, "referrer", struct gomalloc_holder, holder_columns, -1,
          "words that point to it"),
    TABLE(CRASH, "crash", struct gomalloc_crash, crash_columns, -1,
          "the signal that ended the process"),
    TABLE(HELD, "held", struct gomalloc_held, held_columns, -1,
          "an object that a word on a stack or in a register alone keeps"),
    TABLE(BACKING, "backing", struct gomalloc_backing, backing_columns, 0,
          "what the kernel has behind a chunk"),
};
const size_t nimage_tables = sizeof image_tables / sizeof image_tables[0];

const struct image_table *image_table_of(enum gomalloc_section_id section) {
    for (size_t i = 0; i < nimage_tables; i++)
        if (image_tables[i].section == section)
            return &image_tables[i];
    return NULL;
}

const char *column_sql_type(const struct image_column *column) {
    switch (column->type) {
    case COLUMN_UINT:
    case COLUMN_BITS:
    case COLUMN_INDEX:
    case COLUMN_DERIVED_INTEGER:
        return "INTEGER";
    case COLUMN_REAL:
    case COLUMN_DERIVED_REAL:
        return "REAL";
    case COLUMN_BITMAP:
        return "BLOB";
    case COLUMN_STRING:
    case COLUMN_CHARS:
    case COLUMN_HEX:
    case COLUMN_BUILD_ID:
    case COLUMN_NUMBERS:
    case COLUMN_MAP:
    case COLUMN_DERIVED_TEXT:
        break;
    }
    return "TEXT";
}

uint64_t column_uint(const struct image_column *column, const void *record) {
    uint64_t value = 0;
    memcpy(&value, (const char *)record + column->offset, column->width);
    return value; /* the format is little-endian, and so are we */
}

static bool page_bit(const uint64_t words[8], unsigned page) {
    return (words[page / 64] >> (page % 64)) & 1;
}

void chunk_map(const struct gomalloc_chunk *chunk, char map[CHUNK_PAGES]) {
    for (unsigned page = 0; page < CHUNK_PAGES; page++) {
        bool scavenged = page_bit(chunk->scavenged, page);
        if (!page_bit(chunk->grown, page))
            map[page] = '-';
        else if (page_bit(chunk->cached, page))
            map[page] = scavenged ? 'C' : 'c';
        else if (page_bit(chunk->alloc, page))
            map[page] = '#';
        else
            map[page] = scavenged ? '_' : '.';
    }
}
