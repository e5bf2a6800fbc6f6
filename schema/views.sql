-- SPDX-License-Identifier: BSD-3-Clause
--
-- The v1_* views: what goinspect's commands show, and the stable interface for everybody else.
-- They read the tables of tables.sql, or over a single image the views of live.sql, and say the
-- same on both.  A column is never removed from a v1_* view and never changes its meaning; new ones
-- are added at the end.  Views without v1_ in their name are scaffolding.
--
-- Sampling.  Unless the rate is 1, live_* and alloc_* of a site are estimates: each recorded object
-- stands for 1 / (1 - exp(-size / rate)) objects (site_live.weight).  At rate 1 the weight is 1,
-- and the figures of sites, spans, classes and status add up exactly: see v1_balance.

-- The first function on each stack that is neither malloc nor a wrapper.  Inner joins only, which
-- find rows by key over virtual tables, too, and in this order: so over an image names are looked
-- up for what is asked about and for nothing else.
CREATE VIEW stack_name AS
SELECT k.stack_id,
       f.frame_id,
       y.function,
       y.file,
       CASE f.frame_id WHEN 0 THEN NULL ELSE y.line END AS line,
       CASE f.frame_id WHEN 0 THEN NULL ELSE f.module END AS module,
       CASE f.frame_id WHEN 0 THEN NULL ELSE f.module_offset END AS module_offset,
       CASE WHEN f.frame_id = 0 THEN NULL
            WHEN y.file IS NOT NULL THEN
                replace(y.file, rtrim(y.file, replace(y.file, '/', '')), '') || ':' || y.line
            WHEN f.module <> '' THEN
                replace(f.module, rtrim(f.module, replace(f.module, '/', '')), '')
                || printf('+0x%x', f.module_offset)
            ELSE printf('0x%x', f.module_offset)
       END AS location,
       y.col
FROM stack k
CROSS JOIN stack c ON c.stack_id = CASE k.caller_id WHEN 0 THEN k.stack_id ELSE k.caller_id END
CROSS JOIN frame f ON f.frame_id = c.frame_id
CROSS JOIN symbol y ON y.frame_id = f.frame_id
     AND y.inline_depth = coalesce((SELECT min(z.inline_depth) FROM symbol z
                                    WHERE z.frame_id = f.frame_id AND z.allocator = 0), 0);

-- Sites as whole numbers, without names.
CREATE VIEW site_figure AS
SELECT s.snapshot_id, s.site_id, s.stack_id,
       CAST(round(coalesce(sum(l.objects * l.weight), 0)) AS INTEGER) AS live_objects,
       CAST(round(coalesce(sum(l.objects * l.weight * coalesce(l.requested, l.given)), 0))
            AS INTEGER) AS live_bytes,
       CAST(round(coalesce(sum(l.objects * l.weight * l.given), 0)) AS INTEGER) AS live_given_bytes,
       coalesce(sum(l.objects), 0) AS recorded_objects,
       CAST(round(s.alloc_objects) AS INTEGER) AS alloc_objects,
       CAST(round(s.alloc_bytes) AS INTEGER) AS alloc_bytes,
       s.samples, s.truncated, s.stopped
FROM snapshot p
JOIN site s ON s.snapshot_id = p.snapshot_id
LEFT JOIN site_live l ON l.snapshot_id = s.snapshot_id AND l.site_id = s.site_id
GROUP BY s.snapshot_id, s.site_id
HAVING s.site_id > 0 OR (p.rate <= 1 AND sum(l.objects) > 0);

-- One row for each snapshot: what it is a snapshot of, and its main figures.
CREATE VIEW v1_snapshot AS
SELECT s.snapshot_id, s.process_id, p.host, p.pid, s.comm,
       strftime('%Y-%m-%d %H:%M:%S', s.captured_ns / 1000000000, 'unixepoch') AS captured_utc,
       CASE WHEN s.at_exit THEN 'exit'
            WHEN EXISTS (SELECT 1 FROM crash c WHERE c.snapshot_id = s.snapshot_id) THEN 'crash'
            WHEN s.live THEN 'live' ELSE 'saved' END AS kind,
       s.rate, s.rss_bytes, s.nthreads,
       (SELECT count(*) FROM span a WHERE a.snapshot_id = s.snapshot_id AND a.state = 1) AS spans,
       (SELECT coalesce(sum(live), 0) FROM span a
        WHERE a.snapshot_id = s.snapshot_id AND a.state = 1) AS live_objects,
       (SELECT coalesce(sum(live * elem_size), 0) FROM span a
        WHERE a.snapshot_id = s.snapshot_id AND a.state = 1) AS live_bytes,
       s.partial, s.cut, s.exe, s.cmdline, s.captured_ns, s.capture_time_ns, s.exact_since_ns,
       s.start_ns, s.forked_ns, p.boot_id, p.start_ticks, s.image_id, s.library_version, s.unwinder,
       s.stored_objects
FROM snapshot s JOIN process p ON p.process_id = s.process_id;

-- One row for each span.
CREATE VIEW v1_span AS
SELECT s.snapshot_id,
       printf('0x%x', s.base) AS address,
       s.npages,
       s.size_class,
       s.noscan,
       s.elem_size,
       s.nelems,
       s.live AS live_objects,
       s.live * s.elem_size AS live_bytes,
       s.nelems - s.live AS free_objects,
       (s.nelems - s.live) * s.elem_size AS free_bytes,
       s.marked AS unswept_objects,
       CASE s.state WHEN 0 THEN 'dead' WHEN 1 THEN 'in use' ELSE 'manual' END AS state,
       CASE s.owner WHEN 4294967295 THEN 'central' WHEN 4294967294 THEN 'heap'
            ELSE coalesce((SELECT CASE t.tid WHEN 0 THEN 'idle cache ' || t.mcache
                                       ELSE 'thread ' || t.tid END
                           FROM thread t
                           WHERE t.snapshot_id = s.snapshot_id AND t.mcache = s.owner),
                          'cache ' || s.owner) END AS owner,
       CASE s.place WHEN 1 THEN 'current' WHEN 2 THEN 'listed' WHEN 3 THEN 'partial swept'
            WHEN 4 THEN 'partial unswept' WHEN 5 THEN 'full swept' WHEN 6 THEN 'full unswept'
            WHEN 7 THEN 'cached large' ELSE '-' END AS place,
       s.recorded,
       s.needzero, s.sweepgen, s.freeindex, s.base, s.npages * p.page_size AS span_bytes,
       s.owner AS owner_number,
       CASE WHEN s.state <> 1 THEN NULL WHEN s.live = 0 THEN 'empty'
            WHEN s.live = s.nelems THEN 'full' ELSE 'partial' END AS fill,
       CASE s.state WHEN 1 THEN s.npages * p.page_size - s.nelems * s.elem_size END AS tail_bytes,
       coalesce(f.recorded_objects, 0) AS recorded_objects,
       CASE WHEN f.recorded_objects > 0 THEN f.requested_bytes END AS requested_bytes,
       CASE WHEN f.recorded_objects > 0
            THEN f.recorded_objects * s.elem_size - f.requested_bytes END AS internal_bytes,
       f.resident_bytes, f.swapped_bytes
FROM snapshot p JOIN span s ON s.snapshot_id = p.snapshot_id
LEFT JOIN span_figure f ON f.snapshot_id = s.snapshot_id AND f.base = s.base;

-- One row for each size class; class 0 is the large objects, a span each.
CREATE VIEW v1_class AS
SELECT snapshot_id, size_class, slot_bytes, span_pages, span_slots, spans, live_objects, live_bytes,
       free_objects, external_bytes AS free_bytes, tail_bytes, span_bytes, noscan_spans,
       round(100.0 * live_bytes / nullif(span_bytes, 0), 1) AS used_percent,
       internal_bytes, recorded_bytes, resident_bytes, swapped_bytes, empty_spans, cached_bytes
FROM class_figure;

-- One row for each arena.  in_use_pages is the library's count, span_pages is counted from the
-- spans; what a span that reaches over several arenas consists of stands in its first.
CREATE VIEW v1_arena AS
SELECT c.snapshot_id, printf('0x%x', a.base) AS address, a.size,
       a.reserved_bytes, a.prepared_bytes, a.ready_bytes,
       a.in_use_pages, a.free_pages, a.scavenged_pages,
       c.span_pages, c.live_bytes, a.zeroed_base, a.base, c.live_objects, c.free_objects,
       c.external_bytes, c.tail_bytes, c.recorded_bytes,
       c.recorded_bytes - c.requested_bytes AS internal_bytes, c.longest_run,
       g.resident_bytes, g.swapped_bytes, g.huge_bytes, g.huge_exact, g.free_resident_bytes
FROM arena_content c
JOIN arena a ON a.snapshot_id = c.snapshot_id AND a.base = c.base
LEFT JOIN arena_figure g ON g.snapshot_id = a.snapshot_id AND g.base = a.base;

-- One row for each entry of the radix tree that is not all zero.
CREATE VIEW v1_page_summary AS
SELECT snapshot_id, level, idx, printf('0x%x', base) AS address, npages, start_free, max_free,
       end_free, base
FROM radix_summary;

-- One row for each level of the radix tree.
CREATE VIEW v1_page_level AS
SELECT snapshot_id, level, count(*) AS entries, min(npages) AS entry_pages,
       max(max_free) AS max_free, sum(max_free = npages) AS wholly_free
FROM radix_summary
GROUP BY snapshot_id, level;

-- One row for each chunk; map has a character for each of its 512 pages: '#' in use, '.' free,
-- '_' free and given back, 'c' in a page cache, 'C' in a page cache and given back, '-' not of the
-- heap.
CREATE VIEW v1_chunk AS
SELECT snapshot_id, idx, printf('0x%x', base) AS address,
       512 - length(replace(map, '#', '')) AS in_use_pages,
       2048 - length(replace(map, '.', '')) - length(replace(map, '_', ''))
            - length(replace(map, 'c', '')) - length(replace(map, 'C', '')) AS free_pages,
       1024 - length(replace(map, '_', '')) - length(replace(map, 'C', '')) AS scavenged_pages,
       1024 - length(replace(map, 'c', '')) - length(replace(map, 'C', '')) AS cached_pages,
       map, base
FROM chunk;

-- One row for each site: function and location are those of the first frame outside of the
-- allocator.  Site 0, when there is one, is what is live and not recorded.
CREATE VIEW v1_site AS
SELECT s.snapshot_id, s.site_id,
       CASE WHEN s.site_id = 0 THEN '(not recorded)' WHEN s.stack_id = 0 THEN '(no stack)'
            ELSE coalesce(n.function, n.location) END AS function,
       n.location,
       s.live_objects, s.live_bytes, s.alloc_objects, s.alloc_bytes,
       s.live_given_bytes, s.recorded_objects, s.samples,
       n.file, n.line, n.module, n.module_offset,
       CASE s.site_id WHEN 0 THEN NULL ELSE s.stack_id END AS stack_id,
       s.truncated, s.stopped, n.col
FROM site_figure s JOIN stack_name n ON n.stack_id = s.stack_id;

-- One row for each function on a stack; frame 0 is the innermost.  Ask with WHERE stack_id = ..., and
-- it walks up that one only.
CREATE VIEW stack_line AS
SELECT t.stack_id, w.key AS frame, y.inline_depth, y.function, y.file, y.line, f.module,
       f.module_offset, y.inlined, y.allocator,
       printf('#%d %s', w.key, coalesce(y.function, '??'))
       || coalesce(' at ' || y.file || ':' || y.line, '')
       || CASE WHEN f.module = '' THEN printf(' (0x%x)', f.module_offset)
               ELSE printf(' (%s+0x%x)',
                           replace(f.module, rtrim(f.module, replace(f.module, '/', '')), ''),
                           f.module_offset) END
       || CASE y.inlined WHEN 1 THEN ' inlined' ELSE '' END AS text,
       y.col
FROM stack t
CROSS JOIN json_each((
    WITH RECURSIVE up(stack_id) AS (
        SELECT t.stack_id WHERE t.stack_id <> 0
        UNION ALL
        SELECT k.parent_id FROM up CROSS JOIN stack k ON k.stack_id = up.stack_id
        WHERE k.parent_id <> 0)
    SELECT '[' || group_concat(stack_id) || ']' FROM up)) w
CROSS JOIN stack k ON k.stack_id = w.value
CROSS JOIN frame f ON f.frame_id = k.frame_id
CROSS JOIN symbol y ON y.frame_id = f.frame_id;

-- One row for each function on the stack of each site, from the innermost outwards.  frame counts
-- frames; functions inlined into one frame have the same frame and count in inline_depth.  A stack is
-- followed for the sites that are asked about only: json_each() makes rows of what a subquery found.
CREATE VIEW v1_stack AS
SELECT s.snapshot_id, s.site_id, l.frame, l.inline_depth, l.function, l.file, l.line, l.module,
       l.module_offset, l.inlined, l.allocator, l.text, l.col
FROM site s CROSS JOIN stack_line l
WHERE l.stack_id = s.stack_id;

-- One row for each live object that is stored: those of an image are all there, in a file those
-- that the import was asked to store (v1_snapshot.stored_objects).  sum(weight) is the number of
-- live objects, or estimates it.
CREATE VIEW v1_object AS
SELECT o.snapshot_id, printf('0x%x', o.address) AS address, o.given, o.requested, o.site_id,
       CASE WHEN o.site_id = 0 THEN '(not recorded)' WHEN s.stack_id = 0 THEN '(no stack)'
            ELSE coalesce(n.function, n.location) END AS function,
       n.location, printf('0x%x', o.span) AS span, o.slot, o.address AS address_number,
       o.weight
FROM object o
JOIN site s ON s.snapshot_id = o.snapshot_id AND s.site_id = o.site_id
JOIN stack_name n ON n.stack_id = s.stack_id;

-- The sites of snapshot_a and those of snapshot_b, one below the other, for each pair.  A half takes
-- the number of its snapshot from site_figure, so that a query for one pair sums up no other sites.
CREATE VIEW site_pair AS
SELECT s.snapshot_id AS snapshot_a, b.snapshot_id AS snapshot_b,
       CASE s.site_id WHEN 0 THEN NULL ELSE s.stack_id END AS stack_id,
       s.site_id AS site_a, NULL AS site_b,
       s.live_objects AS live_objects_a, 0 AS live_objects_b,
       s.live_bytes AS live_bytes_a, 0 AS live_bytes_b,
       s.alloc_objects AS alloc_objects_a, 0 AS alloc_objects_b,
       s.alloc_bytes AS alloc_bytes_a, 0 AS alloc_bytes_b
FROM snapshot a JOIN snapshot b ON b.snapshot_id <> a.snapshot_id
JOIN site_figure s ON s.snapshot_id = a.snapshot_id
UNION ALL
SELECT a.snapshot_id, s.snapshot_id, CASE s.site_id WHEN 0 THEN NULL ELSE s.stack_id END,
       NULL, s.site_id, 0, s.live_objects, 0, s.live_bytes, 0, s.alloc_objects, 0, s.alloc_bytes
FROM snapshot a JOIN snapshot b ON b.snapshot_id <> a.snapshot_id
JOIN site_figure s ON s.snapshot_id = b.snapshot_id;

-- One row for each call stack and pair of snapshots: what grew from snapshot_a to snapshot_b.  Ask
-- with WHERE snapshot_a = ... AND snapshot_b = ...  Sites are matched by their stack (module and
-- offset of each frame), so the snapshots may be of different processes of the same program.
CREATE VIEW v1_site_growth AS
SELECT g.snapshot_a, g.snapshot_b,
       CASE WHEN g.stack_id IS NULL THEN '(not recorded)' WHEN g.stack_id = 0 THEN '(no stack)'
            ELSE coalesce(n.function, n.location) END AS function,
       n.location,
       g.live_objects_b - g.live_objects_a AS grown_objects,
       g.live_bytes_b - g.live_bytes_a AS grown_bytes,
       g.live_objects_a, g.live_objects_b, g.live_bytes_a, g.live_bytes_b,
       g.alloc_objects_b - g.alloc_objects_a AS alloc_objects,
       g.alloc_bytes_b - g.alloc_bytes_a AS alloc_bytes,
       n.file, n.line, n.module, n.module_offset, g.stack_id, g.site_a, g.site_b
FROM (SELECT DISTINCT snapshot_a, snapshot_b, stack_id, min(site_a) OVER w AS site_a,
             min(site_b) OVER w AS site_b,
             sum(live_objects_a) OVER w AS live_objects_a,
             sum(live_objects_b) OVER w AS live_objects_b,
             sum(live_bytes_a) OVER w AS live_bytes_a, sum(live_bytes_b) OVER w AS live_bytes_b,
             sum(alloc_objects_a) OVER w AS alloc_objects_a,
             sum(alloc_objects_b) OVER w AS alloc_objects_b,
             sum(alloc_bytes_a) OVER w AS alloc_bytes_a, sum(alloc_bytes_b) OVER w AS alloc_bytes_b
      FROM site_pair WINDOW w AS (PARTITION BY snapshot_a, snapshot_b, stack_id)) g
JOIN stack_name n ON n.stack_id = coalesce(g.stack_id, 0);

-- One row for each thread's cache.
CREATE VIEW v1_thread AS
SELECT snapshot_id, mcache, tid, CASE tid WHEN 0 THEN '(idle)' ELSE comm END AS name, nspans,
       cached_bytes
FROM thread;

-- One row for each purpose that the library has memory for.
CREATE VIEW v1_memory AS
SELECT snapshot_id, name, reserved_bytes, prepared_bytes, ready_bytes, used_bytes FROM memstat;

-- One row for each counter.
CREATE VIEW v1_counter AS
SELECT snapshot_id, name, value, unit FROM counter;

-- One row for each named mapping.
CREATE VIEW v1_mapping AS
SELECT snapshot_id, printf('0x%x', start) AS address, end - start AS size, file_offset,
       CASE WHEN prot & 1 THEN 'r' ELSE '-' END || CASE WHEN prot & 2 THEN 'w' ELSE '-' END
       || CASE WHEN prot & 4 THEN 'x' ELSE '-' END AS prot,
       path, build_id, start, end
FROM mapping;

-- Sums over the spans of a snapshot.
CREATE VIEW span_total AS
SELECT p.snapshot_id,
       sum(s.state = 1) AS spans,
       sum(CASE s.state WHEN 1 THEN s.live ELSE 0 END) AS live_objects,
       sum(CASE s.state WHEN 1 THEN s.live * s.elem_size ELSE 0 END) AS live_bytes,
       sum(CASE s.state WHEN 1 THEN s.nelems - s.live ELSE 0 END) AS free_objects,
       sum(CASE s.state WHEN 1 THEN (s.nelems - s.live) * s.elem_size ELSE 0 END) AS free_bytes,
       sum(CASE s.state WHEN 1 THEN s.marked ELSE 0 END) AS unswept_objects,
       sum(CASE s.state WHEN 1 THEN s.npages * p.page_size - s.nelems * s.elem_size ELSE 0 END) AS tail_bytes,
       sum(CASE s.state WHEN 2 THEN s.npages * p.page_size ELSE 0 END) AS manual_bytes,
       sum(CASE s.state WHEN 2 THEN s.live ELSE 0 END) AS live_stacks,
       sum(CASE s.state WHEN 2 THEN s.nelems - s.live ELSE 0 END) AS free_stacks,
       sum(CASE s.state WHEN 0 THEN 0 ELSE s.npages END) AS span_pages
FROM snapshot p JOIN span s ON s.snapshot_id = p.snapshot_id
GROUP BY p.snapshot_id;

-- One row for each figure of the summary; item is a stable name, meaning a text for people.
CREATE VIEW v1_status AS
SELECT snapshot_id, 1 AS ord, 'process.rss' AS item, rss_bytes AS value, 'bytes' AS unit,
       'resident set of the whole process, before it was asked' AS meaning FROM snapshot
UNION ALL SELECT snapshot_id, 2, 'process.threads', nthreads, 'threads',
       'threads, the library''s own included' FROM snapshot
UNION ALL SELECT snapshot_id, 3, 'rss.' || item, bytes, 'bytes', meaning FROM v1_resident
UNION ALL SELECT snapshot_id, 10, 'heap.reserved', sum(reserved_bytes), 'bytes',
       'arenas: address space only' FROM arena GROUP BY snapshot_id
UNION ALL SELECT snapshot_id, 11, 'heap.prepared', sum(prepared_bytes), 'bytes',
       'arenas: not backed, never touched or given back' FROM arena GROUP BY snapshot_id
UNION ALL SELECT snapshot_id, 12, 'heap.ready', sum(ready_bytes), 'bytes',
       'arenas: backed as soon as touched' FROM arena GROUP BY snapshot_id
UNION ALL SELECT a.snapshot_id, 13, 'heap.spans', sum(a.in_use_pages) * p.page_size, 'bytes',
       'pages in spans' FROM snapshot p JOIN arena a ON a.snapshot_id = p.snapshot_id
       GROUP BY a.snapshot_id
UNION ALL SELECT a.snapshot_id, 14, 'heap.free', sum(a.free_pages) * p.page_size, 'bytes',
       'free pages' FROM snapshot p JOIN arena a ON a.snapshot_id = p.snapshot_id
       GROUP BY a.snapshot_id
UNION ALL SELECT a.snapshot_id, 15, 'heap.scavenged', sum(a.scavenged_pages) * p.page_size, 'bytes',
       'of the free pages, given back to the kernel'
       FROM snapshot p JOIN arena a ON a.snapshot_id = p.snapshot_id GROUP BY a.snapshot_id
UNION ALL SELECT snapshot_id, 16, 'scavenger.goal', goal_bytes, 'bytes',
       'the heap should retain at most so much' FROM v1_scavenger
UNION ALL SELECT snapshot_id, 17, 'scavenger.retained', retained_bytes, 'bytes',
       'in use, or free and not given back' FROM v1_scavenger
UNION ALL SELECT snapshot_id, 18, 'scavenger.released', released_bytes, 'bytes',
       'given back to the kernel since the start' FROM v1_scavenger
UNION ALL SELECT snapshot_id, 19, 'scavenger.reused', reused_bytes, 'bytes',
       'of these, taken into use again' FROM v1_scavenger
UNION ALL SELECT snapshot_id, 19, 'scavenger.time', worked_ns, 'ns',
       'spent on it in the background' FROM v1_scavenger
UNION ALL SELECT snapshot_id, 20, 'objects.live', live_objects, 'objects',
       'live objects' FROM span_total
UNION ALL SELECT snapshot_id, 21, 'objects.live_bytes', live_bytes, 'bytes',
       'given to live objects' FROM span_total
UNION ALL SELECT snapshot_id, 22, 'objects.recorded', coalesce(sum(objects), 0), 'objects',
       'live objects with a site recorded' FROM site_live WHERE site_id > 0 GROUP BY snapshot_id
UNION ALL SELECT snapshot_id, 23, 'objects.recorded_bytes', sum(objects * given), 'bytes',
       'given to the recorded objects' FROM site_live WHERE site_id > 0 GROUP BY snapshot_id
UNION ALL SELECT snapshot_id, 24, 'objects.recorded_requested', sum(objects * requested), 'bytes',
       'of these, asked for: the rest is slack' FROM site_live WHERE site_id > 0
       GROUP BY snapshot_id
UNION ALL SELECT snapshot_id, 30, 'spans.count', spans, 'spans', 'spans in use' FROM span_total
UNION ALL SELECT snapshot_id, 31, 'spans.free_slots', free_objects, 'slots',
       'free slots in spans' FROM span_total
UNION ALL SELECT snapshot_id, 32, 'spans.free_bytes', free_bytes, 'bytes',
       'free slots in spans' FROM span_total
UNION ALL SELECT snapshot_id, 33, 'spans.unswept_slots', unswept_objects, 'slots',
       'of the free slots, freed by other threads and not swept' FROM span_total
UNION ALL SELECT snapshot_id, 34, 'spans.cached_bytes', sum(cached_bytes), 'bytes',
       'of the free slots, in threads'' caches' FROM thread GROUP BY snapshot_id
UNION ALL SELECT snapshot_id, 35, 'spans.tail_bytes', tail_bytes, 'bytes',
       'ends of spans that hold no slot' FROM span_total
UNION ALL SELECT snapshot_id, 36, 'spans.manual_bytes', manual_bytes, 'bytes',
       'spans of stacks, which hold no objects' FROM span_total
UNION ALL SELECT snapshot_id, 37, 'coroutines.live', live_stacks, 'stacks',
       'stacks of gomalloc_stack_alloc in use' FROM span_total
UNION ALL SELECT snapshot_id, 38, 'coroutines.free', free_stacks, 'stacks',
       'free ones of these' FROM span_total
UNION ALL SELECT snapshot_id, 40, 'memory.' || name, ready_bytes, 'bytes',
       'ready memory of the library: ' || name FROM memstat
UNION ALL SELECT snapshot_id, 50, 'recorder.rate', rate, 'bytes',
       'mean distance of samples; 1 = every allocation, 0 = off' FROM snapshot
UNION ALL SELECT snapshot_id, 51, 'recorder.sites', sum(site_id > 0), 'sites',
       'call stacks that have allocated' FROM site GROUP BY snapshot_id
UNION ALL SELECT snapshot_id, 52, 'recorder.samples', sum(samples), 'samples',
       'allocations recorded since the start' FROM site GROUP BY snapshot_id
UNION ALL SELECT snapshot_id, 53, name, value, unit,
       'stacks deeper than the bound (stack=): some of their frames are missing' FROM counter
       WHERE name = 'recorder.truncated'
UNION ALL SELECT snapshot_id, 54, name, value, unit,
       'allocations without a stack: the stack table was full (frames=)' FROM counter
       WHERE name = 'recorder.stack_table_full';

-- Bits set in the bitmap of each span, counted digit by digit of its hexadecimal form.
CREATE VIEW span_bits AS
SELECT snapshot_id, base,
       32 * length(h) - length(replace(h, '1', '')) - length(replace(h, '2', ''))
       - 2 * length(replace(h, '3', '')) - length(replace(h, '4', ''))
       - 2 * length(replace(h, '5', '')) - 2 * length(replace(h, '6', ''))
       - 3 * length(replace(h, '7', '')) - length(replace(h, '8', ''))
       - 2 * length(replace(h, '9', '')) - 2 * length(replace(h, 'A', ''))
       - 3 * length(replace(h, 'B', '')) - 2 * length(replace(h, 'C', ''))
       - 3 * length(replace(h, 'D', '')) - 3 * length(replace(h, 'E', ''))
       - 4 * length(replace(h, 'F', '')) AS bits
FROM (SELECT snapshot_id, base, hex(bitmap) AS h FROM span WHERE state = 1);

-- Figures for v1_balance: see heap_balance.  b is what the spans say.
CREATE VIEW balance_part AS
SELECT snapshot_id, 1 AS ord, sum(bits) AS a, NULL AS b FROM span_bits GROUP BY snapshot_id
UNION ALL
SELECT t.snapshot_id, i.value, NULL,
       CASE WHEN i.value IN (1, 2, 4) THEN t.live_objects WHEN i.value IN (3, 5) THEN t.live_bytes
            ELSE t.span_pages END
FROM span_total t CROSS JOIN json_each('[1,2,3,4,5,6,7]') i
UNION ALL
SELECT c.snapshot_id, i.value, CASE i.value WHEN 2 THEN c.live_objects ELSE c.live_bytes END, NULL
FROM class_figure c CROSS JOIN json_each('[2,3]') i
UNION ALL
SELECT s.snapshot_id, i.value, CASE i.value WHEN 4 THEN s.live_objects ELSE s.live_given_bytes END,
       NULL
FROM site_figure s JOIN snapshot p ON p.snapshot_id = s.snapshot_id
CROSS JOIN json_each('[4,5]') i
WHERE p.rate <= 1
UNION ALL
SELECT a.snapshot_id, i.value,
       CASE i.value WHEN 6 THEN a.in_use_pages WHEN 8 THEN a.free_pages ELSE a.scavenged_pages END,
       NULL
FROM arena a CROSS JOIN json_each('[6,8,9]') i
UNION ALL
SELECT c.snapshot_id, i.value, CASE i.value WHEN 7 THEN c.in_use_pages END,
       CASE i.value WHEN 8 THEN c.free_pages WHEN 9 THEN c.scavenged_pages END
FROM v1_chunk c CROSS JOIN json_each('[7,8,9]') i
UNION ALL
SELECT snapshot_id, ord, a, b FROM heap_balance;

-- What each ord of balance_part is: a JSON array, the first being 1.
CREATE VIEW balance_pair AS
SELECT key + 1 AS ord, value AS what FROM json_each('[
    "live objects: bitmaps, spans",
    "live objects: classes, spans",
    "live bytes: classes, spans",
    "live objects: sites, spans",
    "live bytes: sites, spans",
    "pages: arenas, spans",
    "pages: chunks in use, spans",
    "free pages: arenas, chunks",
    "scavenged pages: arenas, chunks",
    "",
    "current spans: caches, spans",
    "listed spans: caches, spans",
    "partial swept spans: central lists, spans",
    "partial unswept spans: central lists, spans",
    "full swept spans: central lists, spans",
    "full unswept spans: central lists, spans",
    "spans: caches, central lists and heap, all",
    "free slots: caches, central lists and heap, spans",
    "large spans kept: caches, spans",
    "large bytes kept: caches, spans",
    "cached pages: caches, chunks",
    "pages in use: heap, spans",
    "pages taken: heap, spans and page caches",
    "free pages below the search address: chunks, none",
    "reserved bytes: transitions, purposes",
    "prepared bytes: transitions, purposes",
    "ready bytes: transitions, purposes",
    "reserved bytes: arenas, heap",
    "prepared bytes: arenas, heap",
    "ready bytes: arenas, heap"]');

-- One row for each pair of figures that must be equal in a process at rest; holds is 1 if they are.
CREATE VIEW v1_balance AS
SELECT f.snapshot_id, i.what, f.a, f.b, f.a = f.b AS holds
FROM (SELECT DISTINCT snapshot_id, ord, sum(a) OVER w AS a, sum(b) OVER w AS b FROM balance_part
      WINDOW w AS (PARTITION BY snapshot_id, ord)) f
CROSS JOIN balance_pair i ON i.ord = f.ord
WHERE f.a IS NOT NULL AND f.b IS NOT NULL;
