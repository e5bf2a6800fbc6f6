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

-- The same, as parts of the one figure that is counted for all spans: the two differ if pages came or
-- went between, or if pages of zeroes could not be told from those shared with a child.  Slack is
-- resident as the objects are; it is estimated where allocations are sampled.
CREATE VIEW span_content AS
SELECT r.snapshot_id, r.resident_bytes AS bytes,
       CAST(round(coalesce(c.slack * r.resident_bytes / s.resident, 0)) AS INTEGER) AS slack,
       CAST(round(coalesce(1.0 * (s.free - s.cached) * r.resident_bytes / s.resident, 0))
            AS INTEGER) AS free,
       CAST(round(coalesce(1.0 * s.cached * r.resident_bytes / s.resident, 0)) AS INTEGER) AS cached,
       CAST(round(coalesce(1.0 * (s.resident - s.live - s.free) * r.resident_bytes / s.resident, 0))
            AS INTEGER) AS tails
FROM resident r
JOIN span_resident s ON s.snapshot_id = r.snapshot_id
LEFT JOIN (SELECT snapshot_id,
                  sum(1.0 * internal_bytes * live_resident / nullif(live_bytes, 0)) AS slack
           FROM class_figure GROUP BY snapshot_id) c ON c.snapshot_id = r.snapshot_id
WHERE r.name = 'heap.spans';

-- The rows of the account, without shares.  The spans are walked once for all rows.
CREATE VIEW resident_row AS
WITH c AS MATERIALIZED (SELECT * FROM span_content)
SELECT snapshot_id, 1 AS ord, 'live' AS item,
       bytes - slack - free - cached - tails AS bytes,
       'live objects: bytes asked for' AS meaning FROM c
UNION ALL SELECT snapshot_id, 2, 'slack', slack,
       'live objects: given beyond what was asked for' FROM c
UNION ALL SELECT snapshot_id, 3, 'free_slots', free,
       'free slots in spans that no thread owns' FROM c
UNION ALL SELECT r.snapshot_id, 4, 'thread_caches', coalesce(c.cached, 0) + r.resident_bytes,
       'threads'' caches: free slots in their spans, and pages'
       FROM resident r LEFT JOIN c ON c.snapshot_id = r.snapshot_id
       WHERE r.name = 'heap.page_cache'
UNION ALL SELECT snapshot_id, 5, 'tails', tails, 'ends of spans that hold no slot'
       FROM c
UNION ALL SELECT r.snapshot_id, m.ord, m.item, r.resident_bytes, m.meaning
       FROM (SELECT 6 AS ord, 'heap.free' AS name, 'free_pages' AS item,
                    'free pages of the heap, not given back' AS meaning
             UNION ALL SELECT 7, 'heap.stacks', 'coroutines',
                    'stacks of gomalloc_stack_alloc'
             UNION ALL SELECT 8, 'metadata', 'metadata', 'the allocator''s own tables'
             UNION ALL SELECT 9, 'recorder', 'recorder', 'the recorder''s tables'
             UNION ALL SELECT 10, 'agent', 'agent', 'what answers goinspect, this answer included'
             UNION ALL SELECT 11, 'library', 'library', 'the library''s code and data'
             UNION ALL SELECT 12, 'stacks', 'stacks', 'threads'' stacks'
             UNION ALL SELECT 13, 'code', 'code', 'code of mapped files'
             UNION ALL SELECT 14, 'data', 'data', 'data of mapped files, with bss'
             UNION ALL SELECT 15, 'shared', 'shared', 'shared memory, and files mapped shared'
             UNION ALL SELECT 16, 'anonymous', 'anonymous', 'other memory that the program mapped')
            m
       CROSS JOIN resident r ON r.name = m.name;

-- One row for each part of the resident set; bytes of all rows but the last add up to its, which is
-- the kernel's figure.  The row 'difference' is what the others lack of that.
CREATE VIEW v1_resident AS
WITH r AS MATERIALIZED (
    SELECT * FROM resident_row
    WHERE snapshot_id IN (SELECT snapshot_id FROM resident WHERE name = 'kernel')
), k AS MATERIALIZED (SELECT snapshot_id, resident_bytes AS rss FROM resident WHERE name = 'kernel')
SELECT r.snapshot_id, r.ord, r.item, r.bytes, 100.0 * r.bytes / nullif(k.rss, 0) AS share_percent,
       r.meaning
FROM r JOIN k ON k.snapshot_id = r.snapshot_id
UNION ALL
SELECT k.snapshot_id, 17, 'difference', k.rss - s.bytes,
       100.0 * (k.rss - s.bytes) / nullif(k.rss, 0), 'what came or went while this was counted'
FROM k JOIN (SELECT snapshot_id, sum(bytes) AS bytes FROM r GROUP BY snapshot_id) s
     ON s.snapshot_id = k.snapshot_id
UNION ALL
SELECT snapshot_id, 18, 'rss', rss, 100.0, 'the kernel''s figure of the resident set' FROM k;
