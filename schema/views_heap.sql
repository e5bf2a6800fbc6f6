-- SPDX-License-Identifier: BSD-3-Clause
--
-- The v1_* views of the allocator's structures, as views.sql's of the rest: a stable interface.  The
-- words are Go's (mcache, mcentral, mheap, pallocSum, searchAddr, scavenger).

-- Spans of each cache by what they are to it; a cache that has none has a row, too.
CREATE VIEW cache_span AS
SELECT DISTINCT snapshot_id, mcache, sum(current_spans) OVER w AS current_spans,
       sum(listed_spans) OVER w AS listed_spans, sum(held_spans) OVER w AS held_spans,
       sum(hints) OVER w AS hints
FROM (SELECT snapshot_id, mcache, 0 AS current_spans, 0 AS listed_spans, 0 AS held_spans,
             0 AS hints FROM mcache
      UNION ALL
      SELECT snapshot_id, mcache, current <> 0, nlisted, nheld, nhints FROM mcache_class)
WINDOW w AS (PARTITION BY snapshot_id, mcache);

-- One row for each thread's cache: what it holds.
CREATE VIEW v1_cache AS
SELECT m.snapshot_id, m.mcache, t.tid,
       CASE t.tid WHEN 0 THEN '(idle)' ELSE t.comm END AS name,
       CASE WHEN m.attached THEN 'attached' WHEN m.orphan THEN 'orphan' ELSE 'idle' END AS state,
       t.nspans AS spans,
       c.current_spans, c.listed_spans, c.held_spans,
       t.cached_bytes AS free_bytes,
       c.hints,
       m.pcache_npages AS page_cache_pages,
       m.pcache_npages * 8192 AS page_cache_bytes,
       m.pcache_nscavenged AS page_cache_scavenged,
       m.nlarge AS large_spans,
       m.large_bytes,
       t.cached_bytes + m.pcache_npages * 8192 + m.large_bytes + m.stack_bytes AS kept_bytes,
       m.npending AS pending_spans,
       m.nrefill AS refills,
       m.nspan_alloc AS spans_taken,
       m.nspan_free AS spans_given,
       m.flush_gen,
       (h.sweepgen - m.flush_gen) / 2 AS cycles_behind,
       CASE m.tiny WHEN 0 THEN NULL ELSE printf('0x%x', m.tiny) END AS tiny_block,
       m.tiny_offset,
       CASE m.pcache_base WHEN 0 THEN NULL ELSE printf('0x%x', m.pcache_base) END AS page_cache,
       printf('%016x', m.pcache_free) AS page_cache_free,
       printf('%016x', m.pcache_scavenged) AS page_cache_scav,
       m.next_sample, m.nstacks AS stacks, m.stack_bytes
FROM mcache m
JOIN thread t ON t.snapshot_id = m.snapshot_id AND t.mcache = m.mcache
JOIN cache_span c ON c.snapshot_id = m.snapshot_id AND c.mcache = m.mcache
LEFT JOIN mheap h ON h.snapshot_id = m.snapshot_id;

-- One row for each span class of each cache in which there is something.
CREATE VIEW v1_cache_class AS
SELECT k.snapshot_id, k.mcache, t.tid, CASE t.tid WHEN 0 THEN '(idle)' ELSE t.comm END AS name,
       k.size_class, k.noscan, z.bytes AS slot_bytes, z.nelems AS span_slots,
       CASE k.current WHEN 0 THEN NULL ELSE printf('0x%x', k.current) END AS current,
       k.current_free, k.search, k.nhints AS hints, k.hint_capacity,
       k.nlisted AS listed_spans, k.listed_free, k.nheld AS held_spans, k.held_free,
       (k.current <> 0) + k.nlisted + k.nheld AS spans,
       k.current_free + k.listed_free + k.held_free AS free_slots,
       (k.current_free + k.listed_free + k.held_free) * z.bytes AS free_bytes
FROM mcache_class k
JOIN thread t ON t.snapshot_id = k.snapshot_id AND t.mcache = k.mcache
JOIN size_class z ON z.snapshot_id = k.snapshot_id AND z.size_class = k.size_class;

-- One row for the central list of each span class that has or had spans: Go's four sets.
CREATE VIEW v1_central AS
SELECT m.snapshot_id, m.size_class, m.noscan, z.bytes AS slot_bytes, z.nelems AS span_slots,
       m.partial_swept + m.partial_unswept + m.full_swept + m.full_unswept AS spans,
       m.partial_swept, m.partial_unswept, m.full_swept, m.full_unswept,
       m.partial_swept_free + m.partial_unswept_free + m.full_swept_free + m.full_unswept_free
           AS free_slots,
       (m.partial_swept_free + m.partial_unswept_free + m.full_swept_free + m.full_unswept_free)
           * z.bytes AS free_bytes,
       m.npending AS pending_spans, m.ncache AS spans_given, m.nuncache AS spans_taken,
       m.partial_swept_free, m.partial_unswept_free, m.full_swept_free, m.full_unswept_free,
       h.sweepgen
FROM mcentral m
JOIN size_class z ON z.snapshot_id = m.snapshot_id AND z.size_class = m.size_class
LEFT JOIN mheap h ON h.snapshot_id = m.snapshot_id;

-- One row for each set of each central list.
CREATE VIEW central_set AS
SELECT snapshot_id, size_class, noscan, slot_bytes, 1 AS ord, 'partial swept' AS set_name,
       partial_swept AS spans, partial_swept_free AS free_slots,
       'free slots: taken first' AS meaning FROM v1_central
UNION ALL SELECT snapshot_id, size_class, noscan, slot_bytes, 2, 'partial unswept',
       partial_unswept, partial_unswept_free, 'free slots, more once swept' FROM v1_central
UNION ALL SELECT snapshot_id, size_class, noscan, slot_bytes, 3, 'full swept',
       full_swept, full_swept_free, 'no free slot' FROM v1_central
UNION ALL SELECT snapshot_id, size_class, noscan, slot_bytes, 4, 'full unswept',
       full_unswept, full_unswept_free, 'free slots once swept' FROM v1_central;

-- One row for each snapshot: the heap itself.
CREATE VIEW v1_heap AS
SELECT snapshot_id, sweepgen, sweepgen / 2 - 1 AS sweep_cycles,
       CASE WHEN search_addr IS NOT NULL THEN printf('0x%x', search_addr) END AS search_address,
       printf('0x%x', chunk_start) AS chunks_from, printf('0x%x', chunk_end) AS chunks_to,
       printf('0x%x', cur_arena) AS grows_from, printf('0x%x', cur_arena_end) AS grows_to,
       printf('0x%x', arena_hint) AS next_arena,
       pages_in_use, reclaim_at, pages_grown, pages_taken, pages_scavenged, summary_bytes,
       nspan_alloc AS spans_made, nspan_free AS spans_freed, nlarge AS large_objects,
       ngrow AS grows, nreclaim AS reclaims, nheaders AS span_headers, search_addr
FROM mheap;

-- One row for each snapshot: the scavenger's pace, and what it gave back.  time_percent is of one
-- CPU since the library's start.
CREATE VIEW v1_scavenger AS
SELECT s.snapshot_id, s.goal_bytes, s.retained_bytes,
       max(s.retained_bytes - s.goal_bytes, 0) AS surplus_bytes,
       s.released_pages * p.page_size AS released_bytes,
       s.reused_pages * p.page_size AS reused_bytes,
       s.ncalls AS calls, s.nwindows AS windows, s.nregrets AS regrets, s.window_ns,
       s.window_left_ns, s.worked_ns,
       CASE WHEN p.captured_ns > p.start_ns
            THEN 100.0 * s.worked_ns / (p.captured_ns - p.start_ns) END AS time_percent,
       s.working, s.regretful, s.peak_pages * p.page_size AS peak_bytes,
       s.last_peak * p.page_size AS last_peak_bytes
FROM scavenger s JOIN snapshot p ON p.snapshot_id = s.snapshot_id;

-- One row for each purpose and transition between two states of address space, in bytes since the
-- start.
CREATE VIEW v1_transition AS
SELECT snapshot_id, purpose, name,
       CASE from_state WHEN 0 THEN 'None' WHEN 1 THEN 'Reserved' WHEN 2 THEN 'Prepared'
            ELSE 'Ready' END AS from_state,
       CASE to_state WHEN 0 THEN 'None' WHEN 1 THEN 'Reserved' WHEN 2 THEN 'Prepared'
            ELSE 'Ready' END AS to_state,
       ncalls AS calls, bytes, from_state AS from_number, to_state AS to_number
FROM transition;

-- What a state has by the transitions: moved in less moved out.
CREATE VIEW transition_total AS
SELECT snapshot_id, purpose,
       sum(CASE to_state WHEN 1 THEN bytes ELSE 0 END)
           - sum(CASE from_state WHEN 1 THEN bytes ELSE 0 END) AS reserved_bytes,
       sum(CASE to_state WHEN 2 THEN bytes ELSE 0 END)
           - sum(CASE from_state WHEN 2 THEN bytes ELSE 0 END) AS prepared_bytes,
       sum(CASE to_state WHEN 3 THEN bytes ELSE 0 END)
           - sum(CASE from_state WHEN 3 THEN bytes ELSE 0 END) AS ready_bytes
FROM transition GROUP BY snapshot_id, purpose;

-- The states of each purpose's memory now, and what each of Go's functions has moved.
CREATE VIEW state_figure AS
SELECT m.snapshot_id, m.name, m.reserved_bytes, m.prepared_bytes, m.ready_bytes, m.used_bytes,
       coalesce(sum(CASE t.name WHEN 'sysReserve' THEN t.bytes END), 0) AS sys_reserve,
       coalesce(sum(CASE t.name WHEN 'sysMap' THEN t.bytes END), 0) AS sys_map,
       coalesce(sum(CASE t.name WHEN 'sysUsed' THEN t.bytes END), 0) AS sys_used,
       coalesce(sum(CASE t.name WHEN 'sysUnused' THEN t.bytes END), 0) AS sys_unused,
       coalesce(sum(CASE t.name WHEN 'sysFault' THEN t.bytes END), 0) AS sys_fault,
       coalesce(sum(CASE t.name WHEN 'sysAlloc' THEN t.bytes END), 0) AS sys_alloc,
       coalesce(sum(CASE t.name WHEN 'sysFree' THEN t.bytes END), 0) AS sys_free
FROM memstat m LEFT JOIN transition t ON t.snapshot_id = m.snapshot_id AND t.purpose = m.name
GROUP BY m.snapshot_id, m.name;

-- One row for each transition, all purposes together.
CREATE VIEW transition_figure AS
SELECT snapshot_id, name, from_state, to_state, sum(calls) AS calls,
       sum(CASE purpose WHEN 'heap' THEN bytes ELSE 0 END) AS heap_bytes,
       sum(CASE purpose WHEN 'heap' THEN 0 ELSE bytes END) AS other_bytes,
       CASE name WHEN 'sysFree' THEN 100 WHEN 'sysAlloc' THEN 90 ELSE 0 END
           + CASE WHEN from_number < to_number THEN from_number ELSE 10 + from_number END AS ord
FROM v1_transition
GROUP BY snapshot_id, from_number, to_number;

-- The spans of a snapshot by where they are kept.
CREATE VIEW span_place AS
SELECT h.snapshot_id, count(s.base) AS spans, coalesce(sum(s.nelems - s.live), 0) AS free_slots,
       coalesce(sum(s.place = 1), 0) AS current, coalesce(sum(s.place = 2 AND s.state = 1), 0) AS listed,
       coalesce(sum(s.place = 3), 0) AS partial_swept,
       coalesce(sum(s.place = 4), 0) AS partial_unswept,
       coalesce(sum(s.place = 5), 0) AS full_swept, coalesce(sum(s.place = 6), 0) AS full_unswept,
       -- those that the heap keeps are nobody else's
       coalesce(sum(s.place = 7 AND s.owner < 4294967294), 0) AS large,
       coalesce(sum(CASE WHEN s.place = 7 AND s.owner < 4294967294 THEN s.npages * 8192 ELSE 0 END),
                0) AS large_bytes,
       coalesce(sum(s.owner = 4294967294), 0) AS heap_spans,
       coalesce(sum(CASE s.owner WHEN 4294967294 THEN s.nelems - s.live ELSE 0 END), 0)
           AS heap_free_slots
FROM mheap h LEFT JOIN span s ON s.snapshot_id = h.snapshot_id
GROUP BY h.snapshot_id;

-- The same as the caches and the central lists count it themselves.
CREATE VIEW structure_total AS
SELECT DISTINCT snapshot_id,
       sum(current) OVER w AS current, sum(listed) OVER w AS listed, sum(held) OVER w AS held,
       sum(cache_free) OVER w AS cache_free, sum(partial_swept) OVER w AS partial_swept,
       sum(partial_unswept) OVER w AS partial_unswept, sum(full_swept) OVER w AS full_swept,
       sum(full_unswept) OVER w AS full_unswept, sum(central_free) OVER w AS central_free,
       sum(large) OVER w AS large, sum(large_bytes) OVER w AS large_bytes,
       sum(cached_pages) OVER w AS cached_pages
FROM (SELECT snapshot_id, current <> 0 AS current, nlisted AS listed, nheld AS held,
             current_free + listed_free + held_free AS cache_free, 0 AS partial_swept,
             0 AS partial_unswept, 0 AS full_swept, 0 AS full_unswept, 0 AS central_free,
             0 AS large, 0 AS large_bytes, 0 AS cached_pages
      FROM mcache_class
      UNION ALL
      SELECT snapshot_id, 0, 0, 0, 0, partial_swept, partial_unswept, full_swept, full_unswept,
             partial_swept_free + partial_unswept_free + full_swept_free + full_unswept_free,
             0, 0, 0
      FROM mcentral
      UNION ALL
      SELECT snapshot_id, 0, 0, 0, 0, 0, 0, 0, 0, 0, nlarge, large_bytes, pcache_npages FROM mcache
      UNION ALL
      SELECT snapshot_id, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 FROM mheap)
WINDOW w AS (PARTITION BY snapshot_id);

-- Figures for v1_balance, of which those with one ord are summed up: what the structures count
-- themselves (a), against the spans, the chunks and the states of address space (b).  Each source is
-- read once: json_each() makes as many rows of one.
CREATE VIEW heap_balance AS
SELECT t.snapshot_id, i.value AS ord,
       CASE i.value WHEN 11 THEN t.current WHEN 12 THEN t.listed WHEN 13 THEN t.partial_swept
            WHEN 14 THEN t.partial_unswept WHEN 15 THEN t.full_swept WHEN 16 THEN t.full_unswept
            WHEN 17 THEN t.current + t.listed + t.held + t.partial_swept + t.partial_unswept
                         + t.full_swept + t.full_unswept
            WHEN 18 THEN t.cache_free + t.central_free WHEN 19 THEN t.large
            WHEN 20 THEN t.large_bytes WHEN 21 THEN t.cached_pages END AS a,
       CASE i.value WHEN 23 THEN t.cached_pages END AS b
FROM structure_total t CROSS JOIN json_each('[11,12,13,14,15,16,17,18,19,20,21,23]') i
UNION ALL
SELECT p.snapshot_id, i.value,
       CASE i.value WHEN 17 THEN p.heap_spans WHEN 18 THEN p.heap_free_slots END,
       CASE i.value WHEN 11 THEN p.current WHEN 12 THEN p.listed WHEN 13 THEN p.partial_swept
            WHEN 14 THEN p.partial_unswept WHEN 15 THEN p.full_swept WHEN 16 THEN p.full_unswept
            WHEN 17 THEN p.spans WHEN 18 THEN p.free_slots WHEN 19 THEN p.large
            WHEN 20 THEN p.large_bytes END
FROM span_place p CROSS JOIN json_each('[11,12,13,14,15,16,17,18,19,20]') i
UNION ALL
SELECT snapshot_id, 21, NULL, cached_pages FROM v1_chunk
UNION ALL
SELECT h.snapshot_id, i.value, CASE i.value WHEN 22 THEN h.pages_in_use WHEN 23 THEN h.pages_taken END,
       CASE i.value WHEN 24 THEN 0 END
FROM mheap h CROSS JOIN json_each('[22,23,24]') i
UNION ALL
SELECT t.snapshot_id, i.value, NULL, t.span_pages
FROM span_total t CROSS JOIN json_each('[22,23]') i
UNION ALL
SELECT snapshot_id, 24,
       2 * length(below) - length(replace(below, '.', '')) - length(replace(below, '_', '')), NULL
FROM (SELECT h.snapshot_id,
             substr(c.map, 1, min(512, max(0, (coalesce(h.search_addr, c.base + 4194304) - c.base)
                                              / 8192))) AS below
      FROM mheap h JOIN chunk c ON c.snapshot_id = h.snapshot_id)
UNION ALL
SELECT t.snapshot_id, i.value,
       CASE i.value WHEN 25 THEN t.reserved_bytes WHEN 26 THEN t.prepared_bytes
            WHEN 27 THEN t.ready_bytes END, NULL
FROM transition_total t CROSS JOIN json_each('[25,26,27]') i
UNION ALL
SELECT m.snapshot_id, i.value, NULL,
       CASE i.value WHEN 25 THEN m.reserved_bytes WHEN 26 THEN m.prepared_bytes
            WHEN 27 THEN m.ready_bytes END
FROM memstat m CROSS JOIN json_each('[25,26,27]') i
WHERE EXISTS (SELECT 1 FROM transition t
              WHERE t.snapshot_id = m.snapshot_id AND t.purpose = m.name)
UNION ALL
SELECT h.snapshot_id, i.value,
       CASE i.value WHEN 28 THEN a.reserved_bytes WHEN 29 THEN a.prepared_bytes
            WHEN 30 THEN a.ready_bytes END, NULL
FROM mheap h JOIN arena a ON a.snapshot_id = h.snapshot_id CROSS JOIN json_each('[28,29,30]') i
UNION ALL
SELECT m.snapshot_id, i.value, NULL,
       CASE i.value WHEN 28 THEN m.reserved_bytes WHEN 29 THEN m.prepared_bytes
            WHEN 30 THEN m.ready_bytes END
FROM memstat m CROSS JOIN json_each('[28,29,30]') i WHERE m.name = 'heap';
