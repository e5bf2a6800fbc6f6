-- SPDX-License-Identifier: BSD-3-Clause
--
-- The v1_* views of fragmentation: where the heap's memory is, beside in what was asked for.
--
-- Of a span's bytes, some are given to live objects, some are free slots (external fragmentation:
-- only objects of the same class can use them), and some are the end that holds no slot.  Of what is
-- given, some was not asked for (internal fragmentation).  Beside spans the heap has free pages.

-- Objects whose size is known, by class: bytes given and asked for, weighted as estimates are.
CREATE VIEW class_request AS
SELECT l.snapshot_id, coalesce(c.size_class, 0) AS size_class,
       sum(l.objects * l.given) AS recorded_bytes,
       sum(l.objects * l.weight * l.given) AS given,
       sum(l.objects * l.weight * l.requested) AS requested
FROM site_live l
LEFT JOIN size_class c ON c.snapshot_id = l.snapshot_id AND c.bytes = l.given AND c.size_class > 0
WHERE l.requested IS NOT NULL
GROUP BY l.snapshot_id, coalesce(c.size_class, 0);

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

-- The two together.  What is known of the recorded objects of a class is taken for all of it.
CREATE VIEW class_figure AS
SELECT c.snapshot_id, c.size_class, c.spans, c.span_bytes, c.live_objects, c.live_bytes,
       CAST(round(c.live_bytes * (1 - r.requested / r.given)) AS INTEGER) AS internal_bytes,
       min(coalesce(r.recorded_bytes, 0), c.live_bytes) AS recorded_bytes,
       c.external_bytes, c.tail_bytes, c.empty_bytes, c.empty_spans, c.cached_bytes,
       c.resident_bytes, c.swapped_bytes, c.live_resident, c.free_objects, c.noscan_spans
FROM class_content c
LEFT JOIN class_request r ON r.snapshot_id = c.snapshot_id AND r.size_class = c.size_class;

-- What the spans consist of that begin in an arena.  What was asked for is known of the recorded
-- objects only.
CREATE VIEW arena_content AS
SELECT s.snapshot_id, s.base - s.base % 67108864 AS arena,
       sum(s.live) AS live_objects,
       sum(s.nelems - s.live) AS free_objects,
       sum((s.nelems - s.live) * s.elem_size) AS external_bytes,
       sum(s.npages * 8192 - s.nelems * s.elem_size) AS tail_bytes,
       sum(f.recorded_objects * s.elem_size) AS recorded_bytes,
       nullif(sum(f.requested_bytes), 0) AS requested_bytes
FROM span s
LEFT JOIN span_figure f ON f.snapshot_id = s.snapshot_id AND f.base = s.base
WHERE s.state = 1
GROUP BY s.snapshot_id, s.base - s.base % 67108864;

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

-- One row for each size class that has spans, and one for the heap, where size_class is NULL.
-- internal_bytes is an estimate unless every object is recorded, and NULL where none is: then the
-- sums go without.  wasted_bytes is all but what was asked for; frag_percent, without the internal
-- part, is exact.  Spans of stacks are not counted.
CREATE VIEW v1_fragmentation AS
WITH f AS MATERIALIZED (SELECT * FROM class_figure)
SELECT f.snapshot_id, f.size_class, z.bytes AS slot_bytes, f.spans, f.span_bytes, f.live_objects,
       f.live_bytes, f.internal_bytes, f.external_bytes, f.tail_bytes,
       NULL AS free_page_bytes, NULL AS returned_bytes, f.resident_bytes,
       coalesce(f.internal_bytes, 0) + f.external_bytes + f.tail_bytes AS wasted_bytes,
       100.0 * (f.external_bytes + f.tail_bytes) / nullif(f.span_bytes, 0) AS frag_percent,
       100.0 * f.recorded_bytes / nullif(f.live_bytes, 0) AS recorded_percent,
       f.empty_bytes, f.cached_bytes
FROM f JOIN size_class z ON z.snapshot_id = f.snapshot_id AND z.size_class = f.size_class
UNION ALL
SELECT g.snapshot_id, NULL, NULL, coalesce(t.spans, 0), coalesce(t.span_bytes, 0),
       coalesce(t.live_objects, 0), coalesce(t.live_bytes, 0), t.internal_bytes,
       coalesce(t.external_bytes, 0), coalesce(t.tail_bytes, 0),
       g.free_page_bytes, g.returned_bytes, g.resident_bytes,
       coalesce(t.internal_bytes, 0) + coalesce(t.external_bytes + t.tail_bytes, 0)
           + g.free_page_bytes,
       100.0 * (coalesce(t.external_bytes + t.tail_bytes, 0) + g.free_page_bytes)
           / nullif(coalesce(t.span_bytes, 0) + g.free_page_bytes, 0),
       100.0 * t.recorded_bytes / nullif(t.live_bytes, 0),
       coalesce(t.empty_bytes, 0), coalesce(t.cached_bytes, 0)
FROM page_figure g
LEFT JOIN (SELECT snapshot_id, sum(spans) AS spans, sum(span_bytes) AS span_bytes,
                  sum(live_objects) AS live_objects, sum(live_bytes) AS live_bytes,
                  sum(internal_bytes) AS internal_bytes, sum(recorded_bytes) AS recorded_bytes,
                  sum(external_bytes) AS external_bytes, sum(tail_bytes) AS tail_bytes,
                  sum(empty_bytes) AS empty_bytes, sum(cached_bytes) AS cached_bytes
           FROM f GROUP BY snapshot_id) t ON t.snapshot_id = g.snapshot_id;
