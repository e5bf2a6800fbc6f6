-- SPDX-License-Identifier: BSD-3-Clause
--
-- The v1_* views of two snapshots of one file: what there is more of in one than in the other.  Each
-- holds all pairs; a query says which one with WHERE snapshot_a = ... AND snapshot_b = ..., and reads
-- no others; sums over such a query are the growth of the whole.  goinspect diff puts the figures of any two targets into tables called diff_site,
-- diff_moment and v1_class, and asks the same views.
--
-- The error of an estimate.  Each object is recorded or not by a throw of its own, with probability
-- 1 / weight, so the variance of a sum over objects of `size` bytes is estimated by the sum of
-- weight * (weight - 1) * size * size over the recorded ones; it is 0 where every object is recorded.
-- Of a difference it is what both sums have, if the two are of different processes.  Of one process
-- most objects are often in both snapshots: they cancel out, and are no error.  How many are, the
-- number n of recordings between the snapshots says: no more than n objects of the later one are new,
-- and the others were in the earlier one.  So at most n recorded objects have come, and at most
-- a - b + n have gone, and each adds the largest term of its site at most.

-- The sites of each snapshot with unrounded sums and their variances, and how large one object's
-- part in a variance is at most.  stack_id is that of the caller of malloc or of its wrappers; NULL
-- stands for what is not recorded.
CREATE VIEW diff_site AS
SELECT s.snapshot_id, s.site_id,
       CASE WHEN s.site_id = 0 THEN NULL WHEN k.caller_id = 0 THEN s.stack_id
            ELSE k.caller_id END AS stack_id,
       coalesce(sum(l.objects * l.weight), 0.0) AS objects,
       coalesce(sum(l.objects * l.weight * coalesce(l.requested, l.given)), 0.0) AS bytes,
       coalesce(sum(l.objects), 0) AS recorded,
       s.samples,
       coalesce(sum(l.objects * l.weight * (l.weight - 1)), 0.0) AS objects_variance,
       coalesce(sum(l.objects * l.weight * (l.weight - 1) * l.requested * l.requested), 0.0)
       AS bytes_variance,
       coalesce(max(l.weight * (l.weight - 1)), 0.0) AS objects_most,
       coalesce(max(l.weight * (l.weight - 1) * l.requested * l.requested), 0.0) AS bytes_most
FROM snapshot p
JOIN site s ON s.snapshot_id = p.snapshot_id
JOIN stack k ON k.stack_id = s.stack_id
LEFT JOIN site_live l ON l.snapshot_id = s.snapshot_id AND l.site_id = s.site_id
GROUP BY s.snapshot_id, s.site_id
HAVING s.site_id > 0 OR (p.rate <= 1 AND sum(l.objects) > 0);

-- The snapshots as far as the views below ask about them.
CREATE VIEW diff_moment AS
SELECT snapshot_id, process_id, start_ns, rate, rss_bytes FROM snapshot;

-- The sites of both snapshots of each pair, one below the other.  What is not recorded is compared
-- only where both snapshots say of everything else how much it is.  A half takes the number of its
-- snapshot from diff_site, so that a query for one pair sums up no other sites.
CREATE VIEW diff_pair AS
SELECT s.snapshot_id AS snapshot_a, b.snapshot_id AS snapshot_b, s.stack_id,
       s.site_id AS site_a, NULL AS site_b,
       s.objects AS objects_a, 0 AS objects_b, s.bytes AS bytes_a, 0 AS bytes_b,
       s.recorded AS recorded_a, 0 AS recorded_b, s.samples AS samples_a, 0 AS samples_b,
       s.objects_variance AS objects_variance_a, 0 AS objects_variance_b,
       s.bytes_variance AS bytes_variance_a, 0 AS bytes_variance_b,
       s.objects_most, s.bytes_most,
       a.process_id = b.process_id AND a.start_ns = b.start_ns AS one_run
FROM diff_moment a JOIN diff_moment b ON b.snapshot_id <> a.snapshot_id
JOIN diff_site s ON s.snapshot_id = a.snapshot_id
WHERE s.site_id > 0 OR (a.rate <= 1 AND b.rate <= 1)
UNION ALL
SELECT a.snapshot_id, s.snapshot_id, s.stack_id, NULL, s.site_id, 0, s.objects, 0, s.bytes,
       0, s.recorded, 0, s.samples, 0, s.objects_variance, 0, s.bytes_variance,
       s.objects_most, s.bytes_most, a.process_id = b.process_id AND a.start_ns = b.start_ns
FROM diff_moment a JOIN diff_moment b ON b.snapshot_id <> a.snapshot_id
JOIN diff_site s ON s.snapshot_id = b.snapshot_id
WHERE s.site_id > 0 OR (a.rate <= 1 AND b.rate <= 1);

-- The call stacks of each pair, with how many recorded objects may be in one snapshot only.  A window
-- and not GROUP BY: SQLite hands a condition on a window's partition down to what is below, so that a
-- query for one pair reads no others.
CREATE VIEW diff_stack AS
SELECT DISTINCT snapshot_a, snapshot_b, stack_id,
       min(site_a) OVER w AS site_a, min(site_b) OVER w AS site_b,
       sum(objects_a) OVER w AS objects_a, sum(objects_b) OVER w AS objects_b,
       sum(bytes_a) OVER w AS bytes_a, sum(bytes_b) OVER w AS bytes_b,
       sum(recorded_a) OVER w AS recorded_a, sum(recorded_b) OVER w AS recorded_b,
       sum(objects_variance_a) OVER w AS objects_variance_a,
       sum(objects_variance_b) OVER w AS objects_variance_b,
       sum(bytes_variance_a) OVER w AS bytes_variance_a,
       sum(bytes_variance_b) OVER w AS bytes_variance_b,
       max(objects_most) OVER w AS objects_most, max(bytes_most) OVER w AS bytes_most,
       CASE WHEN NOT one_run THEN sum(recorded_a) OVER w
            WHEN sum(samples_b) OVER w >= sum(samples_a) OVER w
            THEN max(0, sum(recorded_a - recorded_b + samples_b - samples_a) OVER w)
            ELSE sum(samples_a - samples_b) OVER w END AS only_a,
       CASE WHEN NOT one_run THEN sum(recorded_b) OVER w
            WHEN sum(samples_b) OVER w >= sum(samples_a) OVER w
            THEN sum(samples_b - samples_a) OVER w
            ELSE max(0, sum(recorded_b - recorded_a + samples_a - samples_b) OVER w) END AS only_b
FROM diff_pair
WINDOW w AS (PARTITION BY snapshot_a, snapshot_b, stack_id);

-- The same in whole numbers, with the variance of the growth.
CREATE VIEW diff_figure AS
SELECT snapshot_a, snapshot_b, stack_id, site_a, site_b,
       CAST(round(objects_a) AS INTEGER) AS live_objects_a,
       CAST(round(objects_b) AS INTEGER) AS live_objects_b,
       CAST(round(bytes_a) AS INTEGER) AS live_bytes_a,
       CAST(round(bytes_b) AS INTEGER) AS live_bytes_b,
       recorded_a, recorded_b,
       min(bytes_variance_a, only_a * bytes_most) + min(bytes_variance_b, only_b * bytes_most)
       AS bytes_variance,
       min(objects_variance_a, only_a * objects_most)
       + min(objects_variance_b, only_b * objects_most) AS objects_variance
FROM diff_stack
WHERE recorded_a > 0 OR recorded_b > 0;

-- One row for each call stack with live objects in snapshot_a or snapshot_b: how much more there is
-- in b.  Ask with WHERE snapshot_a = ... AND snapshot_b = ...  Call stacks are matched from the caller
-- of malloc or of its wrappers on, by module, build-id and offset.  change is 'new' or 'gone' where
-- one of the two holds nothing.  bytes_variance and objects_variance are the squares of the standard
-- errors of the growth, 0 where it is exact; significant is 1 if a growth in bytes as large as this is
-- expected by chance in less than 5 of 100 cases, and NULL where it is exact.
CREATE VIEW v1_diff AS
SELECT f.snapshot_a, f.snapshot_b,
       CASE WHEN f.stack_id IS NULL THEN '(not recorded)' WHEN f.stack_id = 0 THEN '(no stack)'
            ELSE coalesce(n.function, n.location) END AS function,
       n.location,
       f.live_bytes_b - f.live_bytes_a AS grown_bytes,
       f.live_objects_b - f.live_objects_a AS grown_objects,
       CASE WHEN f.recorded_a = 0 THEN 'new' WHEN f.recorded_b = 0 THEN 'gone' END AS change,
       f.live_bytes_a, f.live_bytes_b, f.live_objects_a, f.live_objects_b,
       f.bytes_variance, f.objects_variance,
       CASE WHEN f.bytes_variance > 0
            THEN 1.0 * (f.live_bytes_b - f.live_bytes_a) * (f.live_bytes_b - f.live_bytes_a)
                 > 3.841459 * f.bytes_variance END AS significant,
       f.recorded_a, f.recorded_b, n.file, n.line, n.module, n.module_offset, f.stack_id,
       f.site_a, f.site_b
FROM diff_figure f JOIN stack_name n ON n.stack_id = coalesce(f.stack_id, 0);

-- One row for each size class and pair of snapshots: objects, the bytes given to them, and spans.
-- All of these are counted, not sampled.
CREATE VIEW v1_diff_class AS
SELECT a.snapshot_id AS snapshot_a, b.snapshot_id AS snapshot_b, a.size_class, a.slot_bytes,
       b.live_bytes - a.live_bytes AS grown_bytes,
       b.live_objects - a.live_objects AS grown_objects,
       b.spans - a.spans AS grown_spans, b.span_bytes - a.span_bytes AS grown_span_bytes,
       b.free_bytes - a.free_bytes AS grown_free_bytes,
       a.live_bytes AS live_bytes_a, b.live_bytes AS live_bytes_b,
       a.live_objects AS live_objects_a, b.live_objects AS live_objects_b,
       a.spans AS spans_a, b.spans AS spans_b,
       a.span_bytes AS span_bytes_a, b.span_bytes AS span_bytes_b,
       a.free_bytes AS free_bytes_a, b.free_bytes AS free_bytes_b
FROM v1_class a JOIN v1_class b ON b.size_class = a.size_class AND b.snapshot_id <> a.snapshot_id;
