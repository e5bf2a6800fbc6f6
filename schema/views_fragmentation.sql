-- SPDX-License-Identifier: BSD-3-Clause
--
-- The v1_* views of fragmentation: where the heap's memory is, beside in what was asked for.
--
-- Of a span's bytes, some are given to live objects, some are free slots (external fragmentation:
-- only objects of the same class can use them), and some are the end that holds no slot.  Of what is
-- given, some was not asked for (internal fragmentation).  Beside spans the heap has free pages.

-- A file may hold many snapshots, and a query for one of them is to read no others.  SQLite hands a
-- condition on snapshot_id down to the tables of a GROUP BY, through UNION ALL and through windows that
-- are partitioned by it, but neither into the right side of a LEFT JOIN nor into what is MATERIALIZED,
-- recursive, or a view that a GROUP BY reads.  So what belongs to one row is put one below the other
-- here, a part from each source, and summed up by a window.

-- Objects whose size is known, by that: bytes given and asked for, weighted as estimates are.
CREATE VIEW given_request AS
SELECT snapshot_id, given AS slot_bytes,
       sum(objects * given) AS recorded_bytes,
       sum(objects * weight * given) AS given,
       sum(objects * weight * requested) AS requested
FROM site_live
WHERE requested IS NOT NULL
GROUP BY snapshot_id, given;

-- Spans by class.
CREATE VIEW class_content AS
SELECT s.snapshot_id, s.size_class,
       count(*) AS spans,
       sum(s.npages * p.page_size) AS span_bytes,
       sum(s.live) AS live_objects,
       sum(s.live * s.elem_size) AS live_bytes,
       sum(s.nelems - s.live) AS free_objects,
       sum((s.nelems - s.live) * s.elem_size) AS external_bytes,
       sum(s.npages * p.page_size - s.nelems * s.elem_size) AS tail_bytes,
       sum(s.noscan) AS noscan_spans,
       sum(CASE s.live WHEN 0 THEN s.npages * p.page_size ELSE 0 END) AS empty_bytes,
       sum(s.live = 0) AS empty_spans,
       sum(CASE WHEN s.owner < 4294967294 THEN (s.nelems - s.live) * s.elem_size ELSE 0 END)
           AS cached_bytes,
       sum(f.resident_bytes) AS resident_bytes, sum(f.swapped_bytes) AS swapped_bytes,
       sum(coalesce(f.live_resident, s.live * s.elem_size)) AS live_resident
FROM snapshot p JOIN span s ON s.snapshot_id = p.snapshot_id
LEFT JOIN span_figure f ON f.snapshot_id = s.snapshot_id AND f.base = s.base
WHERE s.state = 1
GROUP BY s.snapshot_id, s.size_class;

-- What is known of a class, one below the other: what it is, its spans, its recorded objects.
CREATE VIEW class_part AS
SELECT snapshot_id, size_class, bytes AS slot_bytes, npages AS span_pages, nelems AS span_slots,
       0 AS spans, 0 AS span_bytes, 0 AS live_objects, 0 AS live_bytes, 0 AS free_objects,
       0 AS external_bytes, 0 AS tail_bytes, 0 AS noscan_spans, 0 AS empty_bytes, 0 AS empty_spans,
       0 AS cached_bytes, NULL AS resident_bytes, NULL AS swapped_bytes, 0 AS live_resident,
       0 AS recorded_bytes, NULL AS given, NULL AS requested
FROM size_class
UNION ALL
SELECT snapshot_id, size_class, NULL, NULL, NULL, spans, span_bytes, live_objects, live_bytes,
       free_objects, external_bytes, tail_bytes, noscan_spans, empty_bytes, empty_spans,
       cached_bytes, resident_bytes, swapped_bytes, live_resident, 0, NULL, NULL
FROM class_content
UNION ALL
SELECT r.snapshot_id, coalesce(c.size_class, 0), NULL, NULL, NULL, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
       NULL, NULL, 0, r.recorded_bytes, r.given, r.requested
FROM given_request r
LEFT JOIN size_class c ON c.snapshot_id = r.snapshot_id AND c.bytes = r.slot_bytes
     AND c.size_class > 0;

-- Together, for each class.  What is known of the recorded objects of a class is taken for all of it.
CREATE VIEW class_figure AS
SELECT DISTINCT snapshot_id, size_class, max(slot_bytes) OVER w AS slot_bytes,
       max(span_pages) OVER w AS span_pages, max(span_slots) OVER w AS span_slots,
       sum(spans) OVER w AS spans, sum(span_bytes) OVER w AS span_bytes,
       sum(live_objects) OVER w AS live_objects, sum(live_bytes) OVER w AS live_bytes,
       CAST(round(sum(live_bytes) OVER w * (1 - sum(requested) OVER w / sum(given) OVER w))
            AS INTEGER) AS internal_bytes,
       min(sum(recorded_bytes) OVER w, sum(live_bytes) OVER w) AS recorded_bytes,
       sum(external_bytes) OVER w AS external_bytes, sum(tail_bytes) OVER w AS tail_bytes,
       sum(empty_bytes) OVER w AS empty_bytes, sum(empty_spans) OVER w AS empty_spans,
       sum(cached_bytes) OVER w AS cached_bytes, sum(resident_bytes) OVER w AS resident_bytes,
       sum(swapped_bytes) OVER w AS swapped_bytes, sum(live_resident) OVER w AS live_resident,
       sum(free_objects) OVER w AS free_objects, sum(noscan_spans) OVER w AS noscan_spans
FROM class_part
WINDOW w AS (PARTITION BY snapshot_id, size_class);

-- What the spans consist of that begin in an arena, and their pages there.  A page is 8192 bytes, an
-- arena 67108864.
CREATE VIEW arena_span AS
SELECT s.snapshot_id, s.base - s.base % 67108864 AS base,
       sum(CASE s.state WHEN 0 THEN 0
                        ELSE min(s.npages, (67108864 - s.base % 67108864) / 8192) END)
           AS span_pages,
       sum(CASE s.state WHEN 0 THEN 0 ELSE s.live * s.elem_size END) AS live_bytes,
       sum(CASE s.state WHEN 1 THEN s.live ELSE 0 END) AS live_objects,
       sum(CASE s.state WHEN 1 THEN s.nelems - s.live ELSE 0 END) AS free_objects,
       sum(CASE s.state WHEN 1 THEN (s.nelems - s.live) * s.elem_size ELSE 0 END)
           AS external_bytes,
       sum(CASE s.state WHEN 1 THEN s.npages * 8192 - s.nelems * s.elem_size ELSE 0 END)
           AS tail_bytes,
       sum(CASE s.state WHEN 1 THEN f.recorded_objects * s.elem_size END) AS recorded_bytes,
       sum(CASE s.state WHEN 1 THEN f.requested_bytes END) AS requested_bytes
FROM span s
LEFT JOIN span_figure f ON f.snapshot_id = s.snapshot_id AND f.base = s.base
GROUP BY s.snapshot_id, s.base - s.base % 67108864;

-- What is known of an arena, one below the other: that it is there, its spans, the pages of spans that
-- begin in another, its runs of free pages.
CREATE VIEW arena_part AS
SELECT snapshot_id, base, 0 AS span_pages, 0 AS live_bytes, 0 AS live_objects, 0 AS free_objects,
       0 AS external_bytes, 0 AS tail_bytes, 0 AS recorded_bytes, NULL AS requested_bytes,
       0 AS longest_run
FROM arena
UNION ALL
SELECT snapshot_id, base, span_pages, live_bytes, live_objects, free_objects, external_bytes,
       tail_bytes, coalesce(recorded_bytes, 0), requested_bytes, 0
FROM arena_span
UNION ALL
SELECT a.snapshot_id, a.base, min(s.npages - (a.base - s.base) / 8192, 8192),
       0, 0, 0, 0, 0, 0, NULL, 0
FROM span s
CROSS JOIN arena a ON a.snapshot_id = s.snapshot_id AND a.base > s.base
     AND a.base < s.base + s.npages * 8192
WHERE s.state <> 0 AND s.base % 67108864 + s.npages * 8192 > 67108864
UNION ALL
SELECT snapshot_id, arena, 0, 0, 0, 0, 0, 0, 0, NULL, longest FROM free_run WHERE arena <> 0;

-- Together, for each arena.  What was asked for is known of the recorded objects only.
CREATE VIEW arena_content AS
SELECT DISTINCT snapshot_id, base, sum(span_pages) OVER w AS span_pages,
       sum(live_bytes) OVER w AS live_bytes, sum(live_objects) OVER w AS live_objects,
       sum(free_objects) OVER w AS free_objects, sum(external_bytes) OVER w AS external_bytes,
       sum(tail_bytes) OVER w AS tail_bytes, sum(recorded_bytes) OVER w AS recorded_bytes,
       nullif(sum(requested_bytes) OVER w, 0) AS requested_bytes,
       max(longest_run) OVER w AS longest_run
FROM arena_part
WINDOW w AS (PARTITION BY snapshot_id, base);

-- Free pages of the heap: those in threads' page caches are free, too.
CREATE VIEW page_figure AS
SELECT p.snapshot_id,
       coalesce(sum(a.free_pages - a.scavenged_pages), 0) * p.page_size AS free_page_bytes,
       coalesce(sum(a.scavenged_pages), 0) * p.page_size AS returned_bytes,
       sum(g.resident_bytes) AS resident_bytes
FROM snapshot p
LEFT JOIN arena a ON a.snapshot_id = p.snapshot_id
LEFT JOIN arena_figure g ON g.snapshot_id = a.snapshot_id AND g.base = a.base
GROUP BY p.snapshot_id;

-- One row for each length of the heap's runs of free pages, as a whole (address is NULL) and by
-- arena, where they end at its edges.  A page in a thread's page cache is not free here.
CREATE VIEW v1_free_run AS
SELECT r.snapshot_id, CASE r.arena WHEN 0 THEN NULL ELSE printf('0x%x', r.arena) END AS address,
       r.min_pages, CASE WHEN r.min_pages < 512 THEN 2 * r.min_pages - 1 END AS max_pages,
       r.runs, r.pages, r.pages * p.page_size AS bytes, r.returned_pages * p.page_size AS returned_bytes,
       r.longest AS longest_run, nullif(r.arena, 0) AS base
FROM snapshot p JOIN free_run r ON r.snapshot_id = p.snapshot_id;

-- The classes, and the free pages, one below the other: the heap's sums.
CREATE VIEW heap_part AS
SELECT snapshot_id, spans, span_bytes, live_objects, live_bytes, internal_bytes, external_bytes,
       tail_bytes, 0 AS free_page_bytes, 0 AS returned_bytes, NULL AS resident_bytes,
       recorded_bytes, empty_bytes, cached_bytes
FROM class_figure WHERE spans > 0
UNION ALL
SELECT snapshot_id, 0, 0, 0, 0, NULL, 0, 0, free_page_bytes, returned_bytes, resident_bytes, 0, 0, 0
FROM page_figure;

-- Together, for each heap.
CREATE VIEW heap_figure AS
SELECT DISTINCT snapshot_id, sum(spans) OVER w AS spans, sum(span_bytes) OVER w AS span_bytes,
       sum(live_objects) OVER w AS live_objects, sum(live_bytes) OVER w AS live_bytes,
       sum(internal_bytes) OVER w AS internal_bytes, sum(external_bytes) OVER w AS external_bytes,
       sum(tail_bytes) OVER w AS tail_bytes, sum(free_page_bytes) OVER w AS free_page_bytes,
       sum(returned_bytes) OVER w AS returned_bytes, sum(resident_bytes) OVER w AS resident_bytes,
       sum(recorded_bytes) OVER w AS recorded_bytes, sum(empty_bytes) OVER w AS empty_bytes,
       sum(cached_bytes) OVER w AS cached_bytes
FROM heap_part
WINDOW w AS (PARTITION BY snapshot_id);

-- One row for each size class that has spans, and one for the heap, where size_class is NULL.
-- internal_bytes is an estimate unless every object is recorded, and NULL where none is: then the
-- sums go without.  wasted_bytes is all but what was asked for; frag_percent, without the internal
-- part, is exact.  Spans of stacks are not counted.
CREATE VIEW v1_fragmentation AS
SELECT snapshot_id, size_class, slot_bytes, spans, span_bytes, live_objects,
       live_bytes, internal_bytes, external_bytes, tail_bytes,
       NULL AS free_page_bytes, NULL AS returned_bytes, resident_bytes,
       coalesce(internal_bytes, 0) + external_bytes + tail_bytes AS wasted_bytes,
       100.0 * (external_bytes + tail_bytes) / nullif(span_bytes, 0) AS frag_percent,
       100.0 * recorded_bytes / nullif(live_bytes, 0) AS recorded_percent,
       empty_bytes, cached_bytes
FROM class_figure WHERE spans > 0
UNION ALL
SELECT snapshot_id, NULL, NULL, spans, span_bytes, live_objects, live_bytes, internal_bytes,
       external_bytes, tail_bytes, free_page_bytes, returned_bytes, resident_bytes,
       coalesce(internal_bytes, 0) + external_bytes + tail_bytes + free_page_bytes,
       100.0 * (external_bytes + tail_bytes + free_page_bytes)
           / nullif(span_bytes + free_page_bytes, 0),
       100.0 * recorded_bytes / nullif(live_bytes, 0),
       empty_bytes, cached_bytes
FROM heap_figure;
