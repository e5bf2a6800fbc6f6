-- SPDX-License-Identifier: BSD-3-Clause
--
-- The v1_* view of what is resident: rows that add up to the resident set.

-- What the spans consist of, as far as it is resident; where that is not known page by page, all of
-- it.
CREATE VIEW span_resident AS
SELECT s.snapshot_id,
       sum(coalesce(f.resident_bytes, s.npages * p.page_size)) AS resident,
       sum(coalesce(f.live_resident, s.live * s.elem_size)) AS live,
       sum(coalesce(f.free_resident, (s.nelems - s.live) * s.elem_size)) AS free,
       sum(CASE WHEN s.owner < 4294967294
                THEN coalesce(f.free_resident, (s.nelems - s.live) * s.elem_size) ELSE 0 END) AS cached
FROM snapshot p JOIN span s ON s.snapshot_id = p.snapshot_id
LEFT JOIN span_figure f ON f.snapshot_id = s.snapshot_id AND f.base = s.base
WHERE s.state = 1
GROUP BY s.snapshot_id;

-- What is known of the spans' memory, one below the other: see views_fragmentation.sql.
CREATE VIEW span_part AS
SELECT snapshot_id, CASE name WHEN 'heap.spans' THEN resident_bytes END AS bytes,
       CASE name WHEN 'heap.page_cache' THEN resident_bytes END AS page_cache,
       NULL AS resident, NULL AS live, NULL AS free, NULL AS cached, NULL AS slack
FROM resident WHERE name IN ('heap.spans', 'heap.page_cache')
UNION ALL
SELECT snapshot_id, NULL, NULL, resident, live, free, cached, NULL FROM span_resident
UNION ALL
SELECT snapshot_id, NULL, NULL, NULL, NULL, NULL, NULL,
       1.0 * internal_bytes * live_resident / nullif(live_bytes, 0)
FROM class_figure;

-- Together: the spans as parts of the one figure that is counted for all of them.  The two differ if
-- pages came or went between, or if pages of zeroes could not be told from those shared with a child.
-- Slack is resident as the objects are; it is estimated where allocations are sampled.
CREATE VIEW span_content AS
SELECT snapshot_id, bytes, page_cache,
       CAST(round(coalesce(slack * bytes / resident, 0)) AS INTEGER) AS slack,
       CAST(round(coalesce(1.0 * (free - cached) * bytes / resident, 0)) AS INTEGER) AS free,
       CAST(round(coalesce(1.0 * cached * bytes / resident, 0)) AS INTEGER) AS cached,
       CAST(round(coalesce(1.0 * (resident - live - free) * bytes / resident, 0)) AS INTEGER)
           AS tails
FROM (SELECT DISTINCT snapshot_id, sum(bytes) OVER w AS bytes, sum(page_cache) OVER w AS page_cache,
             sum(resident) OVER w AS resident, sum(live) OVER w AS live, sum(free) OVER w AS free,
             sum(cached) OVER w AS cached, sum(slack) OVER w AS slack
      FROM span_part WINDOW w AS (PARTITION BY snapshot_id))
WHERE bytes IS NOT NULL;

-- The rows of the account, without shares; those of the spans first.  What 'difference' is follows
-- from the others.
CREATE VIEW resident_row AS
SELECT c.snapshot_id, i.value AS ord,
       CASE i.value WHEN 1 THEN 'live' WHEN 2 THEN 'slack' WHEN 3 THEN 'free_slots'
            WHEN 4 THEN 'thread_caches' ELSE 'tails' END AS item,
       CASE i.value WHEN 1 THEN c.bytes - c.slack - c.free - c.cached - c.tails WHEN 2 THEN c.slack
            WHEN 3 THEN c.free WHEN 4 THEN c.cached + coalesce(c.page_cache, 0) ELSE c.tails END
           AS bytes,
       CASE i.value WHEN 1 THEN 'live objects: bytes asked for'
            WHEN 2 THEN 'live objects: given beyond what was asked for'
            WHEN 3 THEN 'free slots in spans that no thread owns'
            WHEN 4 THEN 'threads'' caches: free slots in their spans, and pages'
            ELSE 'ends of spans that hold no slot' END AS meaning
FROM span_content c CROSS JOIN json_each('[1,2,3,4,5]') i
UNION ALL
SELECT r.snapshot_id, m.ord, m.item,
       CASE m.item WHEN 'difference' THEN 0 ELSE r.resident_bytes END, m.meaning
FROM resident r
CROSS JOIN (SELECT 6 AS ord, 'heap.free' AS name, 'free_pages' AS item,
                   'free pages of the heap, not given back' AS meaning
            UNION ALL SELECT 7, 'heap.stacks', 'coroutines', 'stacks of gomalloc_stack_alloc'
            UNION ALL SELECT 8, 'metadata', 'metadata', 'the allocator''s own tables'
            UNION ALL SELECT 9, 'recorder', 'recorder', 'the recorder''s tables'
            UNION ALL SELECT 10, 'agent', 'agent', 'what answers goinspect, this answer included'
            UNION ALL SELECT 11, 'library', 'library', 'the library''s code and data'
            UNION ALL SELECT 12, 'stacks', 'stacks', 'threads'' stacks'
            UNION ALL SELECT 13, 'code', 'code', 'code of mapped files'
            UNION ALL SELECT 14, 'data', 'data', 'data of mapped files, with bss'
            UNION ALL SELECT 15, 'shared', 'shared', 'shared memory, and files mapped shared'
            UNION ALL SELECT 16, 'anonymous', 'anonymous', 'other memory that the program mapped'
            UNION ALL SELECT 17, 'kernel', 'difference',
                             'what came or went while this was counted'
            UNION ALL SELECT 18, 'kernel', 'rss', 'the kernel''s figure of the resident set') m
     ON m.name = r.name;

-- One row for each part of the resident set; bytes of all rows but the last add up to its, which is
-- the kernel's figure.  The row 'difference' is what the others lack of that.
CREATE VIEW v1_resident AS
SELECT snapshot_id, ord, item, CASE item WHEN 'difference' THEN rss - parts ELSE bytes END AS bytes,
       100.0 * CASE item WHEN 'difference' THEN rss - parts ELSE bytes END / nullif(rss, 0)
           AS share_percent,
       meaning
FROM (SELECT snapshot_id, ord, item, bytes, meaning,
             sum(CASE item WHEN 'rss' THEN 0 ELSE bytes END) OVER w AS parts,
             sum(CASE item WHEN 'rss' THEN bytes END) OVER w AS rss
      FROM resident_row WINDOW w AS (PARTITION BY snapshot_id))
WHERE rss IS NOT NULL;
