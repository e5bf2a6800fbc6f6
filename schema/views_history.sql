-- SPDX-License-Identifier: BSD-3-Clause
--
-- The v1_* views of the history: what each site held at moments of the past, and which sites grow.

-- One row for each tick: what all sites together held then.
CREATE VIEW v1_tick AS
SELECT t.snapshot_id, t.tick,
       strftime('%Y-%m-%d %H:%M:%S', t.when_ns / 1000000000, 'unixepoch') AS time_utc,
       CAST(round(t.live_bytes) AS INTEGER) AS live_bytes,
       CAST(round(t.live_objects) AS INTEGER) AS live_objects,
       (t.alloc_bytes - lag(t.alloc_bytes) OVER w) * 1e9
       / nullif(t.when_ns - lag(t.when_ns) OVER w, 0) AS alloc_bytes_per_s,
       CAST(nullif(t.rss_bytes, 0) AS INTEGER) AS rss_bytes,
       CAST(round(t.alloc_bytes) AS INTEGER) AS alloc_bytes, t.when_ns
FROM tick t
WINDOW w AS (PARTITION BY t.snapshot_id ORDER BY t.tick);

-- The history's rows with the allocations since the row before, without names.
CREATE VIEW history_step AS
SELECT h.snapshot_id, h.site_id, h.tick, t.when_ns, h.live_bytes, h.live_objects, h.alloc_bytes,
       h.alloc_bytes - lag(h.alloc_bytes) OVER w AS alloc_step,
       t.when_ns - lag(t.when_ns) OVER w AS step_ns
FROM history h JOIN tick t ON t.snapshot_id = h.snapshot_id AND t.tick = h.tick
WINDOW w AS (PARTITION BY h.snapshot_id, h.site_id ORDER BY h.tick);

-- One row for each site that is followed and each tick since it is.  Site 0 is all others: what it
-- has allocated falls when a site comes to be followed, and no rate is told then.
CREATE VIEW v1_history AS
SELECT h.snapshot_id, h.site_id, h.tick,
       strftime('%Y-%m-%d %H:%M:%S', h.when_ns / 1000000000, 'unixepoch') AS time_utc,
       CASE WHEN h.site_id = 0 THEN '(other sites)' WHEN s.stack_id = 0 THEN '(no stack)'
            ELSE coalesce(n.function, n.location) END AS function,
       n.location,
       CAST(round(h.live_bytes) AS INTEGER) AS live_bytes,
       CAST(round(h.live_objects) AS INTEGER) AS live_objects,
       CASE WHEN h.alloc_step >= 0 THEN h.alloc_step * 1e9 / nullif(h.step_ns, 0) END
       AS alloc_bytes_per_s,
       CAST(round(h.alloc_bytes) AS INTEGER) AS alloc_bytes, h.when_ns
FROM history_step h
JOIN site s ON s.snapshot_id = h.snapshot_id AND s.site_id = h.site_id
JOIN stack_name n ON n.stack_id = s.stack_id;

-- For each site its first and newest tick, and the sampling error between the two: the square of
-- what the figures would differ by, on average, if nothing had changed.  Each sample stands for a
-- stretch of bytes that is `rate` long on average, so the variance of a sum is rate times the sum,
-- and less where objects are larger than the rate: x / (exp(x) - 1) of that, x = size / rate, of
-- which the divisor below is the beginning of the series.
CREATE VIEW history_ends AS
SELECT e.snapshot_id, e.site_id, e.ticks, b.tick, f.tick AS from_tick, f.when_ns AS from_ns,
       l.when_ns, a.live_bytes AS from_bytes, b.live_bytes, b.live_objects,
       (b.alloc_bytes - a.alloc_bytes) * 1e9 / nullif(l.when_ns - f.when_ns, 0)
       AS alloc_bytes_per_s,
       CASE WHEN r.rate = 1 THEN 0 ELSE
           r.stretch * (a.live_bytes + b.live_bytes)
           / (1 + b.live_bytes / max(b.live_objects, 1) / r.stretch
              * (0.5 + b.live_bytes / max(b.live_objects, 1) / r.stretch / 6.0)) END AS variance
FROM (SELECT snapshot_id, rate, CASE rate WHEN 0 THEN 524288.0 ELSE rate * 1.0 END AS stretch
      FROM snapshot) r
JOIN (SELECT snapshot_id, site_id, count(*) AS ticks, min(tick) AS first, max(tick) AS last
      FROM history GROUP BY snapshot_id, site_id) e ON e.snapshot_id = r.snapshot_id
JOIN history a ON a.snapshot_id = e.snapshot_id AND a.site_id = e.site_id AND a.tick = e.first
JOIN history b ON b.snapshot_id = e.snapshot_id AND b.site_id = e.site_id AND b.tick = e.last
JOIN tick f ON f.snapshot_id = e.snapshot_id AND f.tick = e.first
JOIN tick l ON l.snapshot_id = e.snapshot_id AND l.tick = e.last;

-- The same, with Kendall's S: of all pairs of ticks, in how many more the later one is the higher.
-- Asked only where what was gained is more than three times the sampling error.  DISTINCT, here and
-- below, changes no row: it has SQLite find s once for each, and not again wherever it is named.
CREATE VIEW history_rise AS
SELECT DISTINCT e.*,
       CASE WHEN e.live_bytes > e.from_bytes
                 AND (e.live_bytes - e.from_bytes) * (e.live_bytes - e.from_bytes) > 9 * e.variance
            THEN (SELECT sum((q.live_bytes > p.live_bytes) - (q.live_bytes < p.live_bytes))
                  FROM history p
                  JOIN history q ON q.snapshot_id = p.snapshot_id AND q.site_id = p.site_id
                       AND q.tick > p.tick
                  WHERE p.snapshot_id = e.snapshot_id AND p.site_id = e.site_id)
       END AS s
FROM history_ends e;

-- One row for each site that is followed: whether it grows, and how.  It grows if it has gained more
-- than three times the sampling error, and if later ticks are the higher ones more often than 2.5
-- standard deviations of chance (Mann and Kendall), for which there must be six ticks at least.
-- bytes_per_hour is the median of the slopes between all pairs of ticks (Theil and Sen), so neither
-- a peak nor a start-up counts as growth, however high.  since_utc is the last tick at which it held
-- least.  bytes_variance is the square of the standard error of grown_bytes, 0 where it is exact.
CREATE VIEW v1_site_trend AS
SELECT t.snapshot_id, t.site_id,
       CASE WHEN t.site_id = 0 THEN '(other sites)' WHEN k.stack_id = 0 THEN '(no stack)'
            ELSE coalesce(n.function, n.location) END AS function,
       n.location,
       coalesce(t.bytes_per_hour > 0, 0) AS grows,
       CAST(round(t.live_bytes) AS INTEGER) AS live_bytes,
       CAST(round(t.live_bytes) AS INTEGER) - CAST(round(t.from_bytes) AS INTEGER) AS grown_bytes,
       t.bytes_per_hour,
       strftime('%Y-%m-%d %H:%M:%S', t.since_ns / 1000000000, 'unixepoch') AS since_utc,
       CAST(round(t.live_objects) AS INTEGER) AS live_objects,
       t.alloc_bytes_per_s, t.ticks, t.from_ns, t.since_ns, t.when_ns,
       (SELECT group_concat(((p.when_ns - t.from_ns) / 1000000000) || ':'
                            || CAST(round(p.live_bytes) AS INTEGER), ' ')
        FROM (SELECT c.when_ns, h.live_bytes
              FROM history h JOIN tick c ON c.snapshot_id = h.snapshot_id AND c.tick = h.tick
              WHERE h.snapshot_id = t.snapshot_id AND h.site_id = t.site_id ORDER BY h.tick) p)
       AS points,
       n.file, n.line, n.module, n.module_offset,
       CASE t.site_id WHEN 0 THEN NULL ELSE k.stack_id END AS stack_id, n.col,
       t.variance AS bytes_variance
FROM (SELECT DISTINCT r.*,
             (SELECT max(c.when_ns)
              FROM history h JOIN tick c ON c.snapshot_id = h.snapshot_id AND c.tick = h.tick
              WHERE h.snapshot_id = r.snapshot_id AND h.site_id = r.site_id
                    AND h.live_bytes = (SELECT min(m.live_bytes) FROM history m
                                        WHERE m.snapshot_id = r.snapshot_id
                                              AND m.site_id = r.site_id)) AS since_ns,
             CASE WHEN r.s > 1 AND (r.s - 1) * (r.s - 1) * 18.0
                                   >= 6.25 * r.ticks * (r.ticks - 1) * (2 * r.ticks + 5)
                  THEN (SELECT avg(slope)
                        FROM (SELECT slope, row_number() OVER (ORDER BY slope) AS place,
                                     count(*) OVER () AS n
                              FROM (SELECT (q.live_bytes - p.live_bytes) * 3.6e12
                                           / (d.when_ns - c.when_ns) AS slope
                                    FROM history p
                                    JOIN history q ON q.snapshot_id = p.snapshot_id
                                         AND q.site_id = p.site_id AND q.tick > p.tick
                                    JOIN tick c ON c.snapshot_id = p.snapshot_id AND c.tick = p.tick
                                    JOIN tick d ON d.snapshot_id = q.snapshot_id AND d.tick = q.tick
                                    WHERE p.snapshot_id = r.snapshot_id AND p.site_id = r.site_id
                                          AND d.when_ns > c.when_ns))
                        WHERE place IN ((n + 1) / 2, (n + 2) / 2))
             END AS bytes_per_hour
      FROM history_rise r) t
JOIN site k ON k.snapshot_id = t.snapshot_id AND k.site_id = t.site_id
JOIN stack_name n ON n.stack_id = k.stack_id;
