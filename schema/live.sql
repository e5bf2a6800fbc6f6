-- SPDX-License-Identifier: BSD-3-Clause
--
-- The tables of tables.sql over one image: views of the same names and columns over goinspect's
-- virtual tables image_*, with snapshot_id = 1 and process_id = 1.  views.sql works on both.

CREATE VIEW process AS
SELECT 1 AS process_id, boot_id, pid, start_ticks, host FROM image_process;

CREATE VIEW snapshot AS
SELECT 1 AS snapshot_id, 1 AS process_id, h.image_id, h.captured_ns, h.capture_time_ns,
       h.flags & 1 AS live, (h.flags >> 1) & 1 AS at_exit, (h.flags >> 2) & 1 AS partial,
       (h.flags >> 3) & 1 AS cut, p.ppid, p.uid, p.nthreads, p.start_ns, p.forked_ns, p.rate,
       p.exact_since_ns, p.rss_bytes, p.page_size, p.os_page_size, p.comm, p.exe, p.cmdline,
       p.library_version, p.unwinder, 'all' AS stored_objects
FROM image_header h JOIN image_process p;

CREATE VIEW thread AS
SELECT 1 AS snapshot_id, mcache, tid, comm, cached_bytes, nspans FROM image_thread;

CREATE VIEW mapping AS
SELECT 1 AS snapshot_id, start, end, file_offset, inode, dev_major, dev_minor, prot, path, build_id
FROM image_mapping;

CREATE VIEW size_class AS
SELECT 1 AS snapshot_id, size_class, bytes, npages, nelems FROM image_size_class;

CREATE VIEW arena AS
SELECT 1 AS snapshot_id, base, size, reserved_bytes, prepared_bytes, ready_bytes, in_use_pages,
       free_pages, scavenged_pages, zeroed_base
FROM image_arena;

CREATE VIEW span AS
SELECT 1 AS snapshot_id, base, npages, elem_size, nelems, live, marked, owner,
       span_class >> 1 AS size_class, span_class & 1 AS noscan, state, place, needzero, sweepgen,
       freeindex, slot_index IS NOT NULL AS recorded, large_requested, bitmap
FROM image_span;

CREATE VIEW radix_summary AS
SELECT 1 AS snapshot_id, level, idx, base, npages, start_free, max_free, end_free
FROM image_summary;

CREATE VIEW chunk AS
SELECT 1 AS snapshot_id, idx, base, map FROM image_chunk;

CREATE VIEW frame AS
SELECT code AS frame_id, module, build_id, module_offset FROM image_code;

CREATE VIEW symbol AS
SELECT code AS frame_id, inline_depth, function, file, line, inlined, allocator, col
FROM image_symbol;

CREATE VIEW stack AS
SELECT stack AS stack_id, parent AS parent_id, code AS frame_id, depth, caller AS caller_id
FROM image_stack;

-- The casts say that keys are integers: without, a join by them would not find rows by an index.
CREATE VIEW site AS
SELECT 1 AS snapshot_id, CAST(0 AS INTEGER) AS site_id, CAST(0 AS INTEGER) AS stack_id,
       0 AS truncated, 0 AS stopped, 0 AS samples, 0 AS sample_bytes, 0.0 AS alloc_objects,
       0.0 AS alloc_bytes
UNION ALL
SELECT 1, site, frame, flags & 1, (flags >> 1) & 1, samples, sample_bytes, alloc_objects,
       alloc_bytes
FROM image_site;

CREATE VIEW site_live AS
SELECT 1 AS snapshot_id, site AS site_id, given, requested, objects, weight FROM image_site_live;

CREATE VIEW object AS
SELECT 1 AS snapshot_id, address, span, slot, given, requested, site AS site_id,
       1.0 AS weight
FROM image_object;

CREATE VIEW resident AS
SELECT 1 AS snapshot_id, name, mapped_bytes, resident_bytes, swapped_bytes, huge_bytes
FROM image_resident;

CREATE VIEW span_figure AS
SELECT 1 AS snapshot_id, base, resident_bytes, swapped_bytes, recorded_objects, requested_bytes,
       live_resident, free_resident
FROM image_span_figure;

CREATE VIEW arena_figure AS
SELECT 1 AS snapshot_id, base, resident_bytes, swapped_bytes, huge_bytes, huge_exact,
       free_resident_bytes
FROM image_arena_figure WHERE resident_bytes IS NOT NULL;

CREATE VIEW free_run AS
SELECT 1 AS snapshot_id, arena, min_pages, runs, pages, returned_pages, longest
FROM image_free_run;

CREATE VIEW pin AS
SELECT 1 AS snapshot_id, unit, base, site AS site_id, objects, bytes, block_bytes, block_used,
       block_objects, block_sites
FROM image_pin;

CREATE VIEW memstat AS
SELECT 1 AS snapshot_id, name, reserved_bytes, prepared_bytes, ready_bytes, used_bytes
FROM image_memstat;

CREATE VIEW counter AS
SELECT 1 AS snapshot_id, name, unit, value FROM image_counter;

CREATE VIEW mcache AS
SELECT 1 AS snapshot_id, mcache, flags & 1 AS attached, (flags >> 1) & 1 AS orphan, next_sample,
       tiny, tiny_offset, pcache_base, pcache_free, pcache_scavenged, pcache_npages,
       pcache_nscavenged, nlarge, npending, large_bytes, flush_gen, nrefill, nspan_alloc, nspan_free,
       nstacks, stack_bytes
FROM image_mcache;

CREATE VIEW mcache_class AS
SELECT 1 AS snapshot_id, mcache, span_class >> 1 AS size_class, span_class & 1 AS noscan, current,
       current_free, search, nhints, hint_capacity, nlisted, listed_free, nheld, held_free
FROM image_mcache_class;

CREATE VIEW mcentral AS
SELECT 1 AS snapshot_id, span_class >> 1 AS size_class, span_class & 1 AS noscan, npending,
       partial_swept, partial_unswept, full_swept, full_unswept, partial_swept_free,
       partial_unswept_free, full_swept_free, full_unswept_free, ncache, nuncache
FROM image_mcentral;

CREATE VIEW mheap AS
SELECT 1 AS snapshot_id, sweepgen, search_addr, arena_hint, cur_arena, cur_arena_end, chunk_start,
       chunk_end, pages_in_use, reclaim_at, pages_grown, pages_taken, pages_scavenged,
       summary_bytes, nspan_alloc, nspan_free, nlarge, ngrow, nreclaim, nheaders
FROM image_mheap;

CREATE VIEW scavenger AS
SELECT 1 AS snapshot_id, goal_bytes, retained_bytes, peak_pages, last_peak, released_pages,
       reused_pages, ncalls, nwindows, nregrets, window_ns, window_left_ns, worked_ns, working,
       regretful
FROM image_scavenger;

CREATE VIEW transition AS
SELECT 1 AS snapshot_id, purpose, name, from_state, to_state, ncalls, bytes FROM image_transition;

CREATE VIEW verdict AS
SELECT 1 AS snapshot_id, site AS site_id, judged, freed, other_thread, reentered, unknown_switched,
       unknown_stopped, unknown_deep, life_ns_p50, life_ns_p99, life_bytes_p50, life_bytes_p99,
       chains, growths, final_size_p50, final_size_p99
FROM image_escape;

CREATE VIEW outlived AS
SELECT 1 AS snapshot_id, site AS site_id, frames, objects, proved FROM image_outlived;

CREATE VIEW handover AS
SELECT 1 AS snapshot_id, site AS site_id, from_tid, to_tid, from_comm, to_comm, objects
FROM image_handover;

CREATE VIEW tick AS
SELECT 1 AS snapshot_id, tick, when_ns, live_bytes, live_objects, alloc_bytes, rss_bytes
FROM image_tick;

CREATE VIEW history AS
SELECT 1 AS snapshot_id, site AS site_id, tick, live_bytes, live_objects, alloc_bytes
FROM image_history;

CREATE VIEW leak AS
SELECT 1 AS snapshot_id, address, head, size, CASE site WHEN 0 THEN NULL ELSE requested END AS requested,
       site AS site_id, CASE born WHEN 0 THEN NULL ELSE born - 1 END AS born
FROM image_leak;

CREATE VIEW leak_check AS
SELECT 1 AS snapshot_id, flags & 1 AS interior, (flags >> 1) & 1 AS unaligned,
       (flags >> 2) & 1 AS mapped, (flags >> 3) & 1 AS in_place, nstopped, nmissing, missing_tids,
       longest_tid, longest_ns, stopping_ns, copying_ns, mark_ns, group_ns, live_objects,
       reached_objects, direct, words, unreadable_bytes, dead_stacks, unknown_ranges,
       ignored_objects, spared_objects, held_objects, held_bytes
FROM image_leak_check;

CREATE VIEW held AS
SELECT 1 AS snapshot_id, rowid AS number, address, size,
       CASE site WHEN 0 THEN NULL ELSE requested END AS requested, site AS site_id,
       CASE born WHEN 0 THEN NULL ELSE born - 1 END AS born, objects, bytes, kind, word, tid, reg,
       frame AS stack_id
FROM image_held;

CREATE VIEW root AS
SELECT 1 AS snapshot_id, kind, ranges, bytes, objects FROM image_root;

CREATE VIEW crash AS
SELECT 1 AS snapshot_id, signal, CASE WHEN code > 2147483647 THEN code - 4294967296 ELSE code END AS code,
       tid, comm, sender, address, pc, sp, frame AS stack_id, flags & 1 AS stopped
FROM image_crash;
