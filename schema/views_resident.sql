-- SPDX-License-Identifier: BSD-3-Clause
--
-- The v1_* view of what is resident: rows that add up to the resident set.

-- What the heap's spans are made of, beside what is resident of them: their pages are counted by the
-- kernel, their bytes by the spans.  Slack is estimated where allocations are sampled.
CREATE VIEW span_content AS
SELECT t.snapshot_id, t.live_bytes, t.free_bytes, t.tail_bytes,
       (SELECT coalesce(sum(f.internal_bytes), 0) FROM class_figure f
        WHERE f.snapshot_id = t.snapshot_id) AS slack_bytes,
       min(t.free_bytes,
           (SELECT coalesce(sum(cached_bytes), 0) FROM thread h
            WHERE h.snapshot_id = t.snapshot_id)) AS cached_bytes
FROM span_total t;

-- The rows of the account, without shares.
CREATE VIEW resident_row AS
SELECT c.snapshot_id, 1 AS ord, 'live' AS item, c.live_bytes - c.slack_bytes AS bytes,
       'live objects: bytes asked for' AS meaning FROM span_content c
UNION ALL SELECT snapshot_id, 2, 'slack', slack_bytes,
       'live objects: given beyond what was asked for' FROM span_content
UNION ALL SELECT snapshot_id, 3, 'free_slots', free_bytes - cached_bytes,
       'free slots in spans that no thread owns' FROM span_content
UNION ALL SELECT c.snapshot_id, 4, 'thread_caches', c.cached_bytes + coalesce(r.resident_bytes, 0),
       'threads'' caches: free slots in their spans, and pages'
       FROM span_content c
       LEFT JOIN resident r ON r.snapshot_id = c.snapshot_id AND r.name = 'heap.page_cache'
UNION ALL SELECT snapshot_id, 5, 'tails', tail_bytes, 'ends of spans that hold no slot'
       FROM span_content
UNION ALL SELECT c.snapshot_id, 6, 'untouched',
       r.resident_bytes - c.live_bytes - c.free_bytes - c.tail_bytes,
       'of these five, in pages that are not resident: never touched'
       FROM span_content c
       JOIN resident r ON r.snapshot_id = c.snapshot_id AND r.name = 'heap.spans'
UNION ALL SELECT r.snapshot_id, m.ord, m.item, r.resident_bytes, m.meaning
       FROM (SELECT 7 AS ord, 'heap.free' AS name, 'free_pages' AS item,
                    'free pages of the heap, not given back' AS meaning
             UNION ALL SELECT 8, 'heap.stacks', 'coroutines',
                    'stacks of gomalloc_stack_alloc'
             UNION ALL SELECT 9, 'metadata', 'metadata', 'the allocator''s own tables'
             UNION ALL SELECT 10, 'recorder', 'recorder', 'the recorder''s tables'
             UNION ALL SELECT 11, 'agent', 'agent', 'what answers goinspect, this answer included'
             UNION ALL SELECT 12, 'library', 'library', 'the library''s code and data'
             UNION ALL SELECT 13, 'stacks', 'stacks', 'threads'' stacks'
             UNION ALL SELECT 14, 'code', 'code', 'code of mapped files'
             UNION ALL SELECT 15, 'data', 'data', 'data of mapped files, with bss'
             UNION ALL SELECT 16, 'shared', 'shared', 'shared memory, and files mapped shared'
             UNION ALL SELECT 17, 'anonymous', 'anonymous', 'other memory that the program mapped')
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
SELECT k.snapshot_id, 18, 'difference', k.rss - s.bytes,
       100.0 * (k.rss - s.bytes) / nullif(k.rss, 0), 'what came or went while this was counted'
FROM k JOIN (SELECT snapshot_id, sum(bytes) AS bytes FROM r GROUP BY snapshot_id) s
     ON s.snapshot_id = k.snapshot_id
UNION ALL
SELECT snapshot_id, 19, 'rss', rss, 100.0, 'the kernel''s figure of the resident set' FROM k;
