-- SPDX-License-Identifier: BSD-3-Clause
--
-- The v1_* views of what became of objects: see views.sql and tables_escape.sql.
--
-- What a person reads is made here, too, in plain SQL: so a live process, an image, a file and any
-- program that reads SQLite give the same answer.
--
-- Wrappers.  Frames are counted from malloc's caller, f0; of them, `wrappers` are xmalloc and the
-- like (stack.caller_id), and f(wrappers) is the function that the site is called after.  An object
-- of which f0 to f(frames - 1) had ended escapes frames - wrappers calls up from there; with
-- frames <= wrappers it was not seen to escape.  All of which f0 is proved to be another activation
-- (reentered) have escaped from f0: where f0 is a wrapper that says nothing of its caller.
--
-- 4294967295 frames stand for all numbers that have no row.  If each number up to `wrappers` has
-- one, these objects have escaped; else it is not told.

-- One row for each site and two threads, of which one freed what the other had allocated.
CREATE VIEW v1_handover AS
SELECT h.snapshot_id, h.site_id, h.from_comm AS allocated_by, h.to_comm AS freed_by, h.objects,
       CASE WHEN h.site_id = 0 THEN '(other sites)' WHEN s.stack_id = 0 THEN '(no stack)'
            ELSE coalesce(n.function, n.location) END AS function,
       n.location, h.from_tid, h.to_tid
FROM handover h
JOIN site s ON s.snapshot_id = h.snapshot_id AND s.site_id = h.site_id
JOIN stack_name n ON n.stack_id = s.stack_id;

-- Judged sites, with the frames of wrappers in front of each.  Cross joins keep the order in which
-- each row is found by its key.
CREATE VIEW escape_site AS
SELECT v.*, s.stack_id, s.alloc_objects, s.alloc_bytes, s.samples, s.sample_bytes,
       CASE k.caller_id WHEN 0 THEN k.stack_id ELSE k.caller_id END AS caller_id,
       CASE k.caller_id WHEN 0 THEN 0 ELSE k.depth - c.depth END AS wrappers
FROM verdict v
CROSS JOIN site s ON s.snapshot_id = v.snapshot_id AND s.site_id = v.site_id
CROSS JOIN stack k ON k.stack_id = s.stack_id
CROSS JOIN stack c ON c.stack_id = k.caller_id;

-- Sums over the rows of outlived, for each site that has any.  usual_* are of the number of frames
-- beyond the wrappers that most objects outlived, the least if there are several: max() chooses the
-- row that bare columns are of.
CREATE VIEW escape_sum AS
SELECT d.snapshot_id, d.site_id,
       sum(CASE WHEN o.frames <= d.wrappers THEN o.objects ELSE 0 END) AS within,
       sum(CASE WHEN o.frames <= d.wrappers THEN o.proved ELSE 0 END) AS within_proved,
       sum(CASE WHEN o.frames > d.wrappers AND o.frames < 4294967295 THEN o.objects
                ELSE 0 END) AS outlived,
       sum(CASE WHEN o.frames = 4294967295 THEN o.objects ELSE 0 END) AS others,
       sum(o.frames <= d.wrappers) = d.wrappers + 1 AS others_escape,
       max(CASE WHEN o.frames > d.wrappers AND o.frames < 4294967295
                THEN o.objects * 65536 - o.frames END) AS rank,
       o.objects AS usual_objects, o.proved AS usual_proved, o.frames AS usual_frames
FROM outlived o
CROSS JOIN escape_site d ON d.snapshot_id = o.snapshot_id AND d.site_id = o.site_id
GROUP BY d.snapshot_id, d.site_id;

-- For each site the thread that freed most of what others had allocated there.
CREATE VIEW escape_thread AS
SELECT snapshot_id, site_id, max(objects) AS objects, to_comm, to_tid, count(*) AS pairs
FROM handover WHERE site_id > 0
GROUP BY snapshot_id, site_id;

-- What is known of each site beside its verdict, one below the other, and then together: see
-- views_fragmentation.sql.  Each half has one row of a site at most, so max() is its figure.
CREATE VIEW escape_part AS
SELECT snapshot_id, site_id, within, within_proved, outlived, others, others_escape, rank,
       usual_objects, usual_proved, usual_frames, NULL AS recorded, NULL AS to_comm,
       NULL AS to_tid, NULL AS pairs, NULL AS leaked
FROM escape_sum
UNION ALL
SELECT snapshot_id, site_id, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, sum(objects),
       NULL, NULL, NULL, NULL
FROM site_live GROUP BY snapshot_id, site_id
UNION ALL
SELECT snapshot_id, site_id, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
       to_comm, to_tid, pairs, NULL
FROM escape_thread
UNION ALL
SELECT snapshot_id, site_id, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
       NULL, NULL, NULL, count(*)
FROM leak GROUP BY snapshot_id, site_id
UNION ALL
SELECT snapshot_id, site_id, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
       NULL, NULL, NULL
FROM verdict;

-- A row is a site of which anything is known; those without a verdict are of no use.
CREATE VIEW escape_whole AS
SELECT DISTINCT snapshot_id, site_id, max(within) OVER w AS within,
       max(within_proved) OVER w AS within_proved, max(outlived) OVER w AS outlived,
       max(others) OVER w AS others, max(others_escape) OVER w AS others_escape,
       max(rank) OVER w AS rank, max(usual_objects) OVER w AS usual_objects,
       max(usual_proved) OVER w AS usual_proved, max(usual_frames) OVER w AS usual_frames,
       max(recorded) OVER w AS recorded, max(to_comm) OVER w AS to_comm,
       max(to_tid) OVER w AS to_tid, max(pairs) OVER w AS pairs, max(leaked) OVER w AS leaked
FROM escape_part WINDOW w AS (PARTITION BY snapshot_id, site_id);

-- The figures of each judged site, with the stack of the frame that was still there when most of
-- what outlived its caller was freed: 0 = none, or its frame is among those left out of the stack,
-- whose addresses are numbers from 0x800000000000 on.
CREATE VIEW escape_figure AS
SELECT m.snapshot_id, d.site_id, d.stack_id, d.caller_id, d.wrappers,
       CAST(round(d.alloc_objects) AS INTEGER) AS objects,
       CAST(round(d.alloc_bytes) AS INTEGER) AS bytes,
       d.samples, d.sample_bytes,
       d.samples - coalesce(m.recorded, 0) AS samples_freed,
       d.judged, d.freed, d.judged - d.freed AS live, d.other_thread,
       CASE d.wrappers WHEN 0 THEN d.reentered ELSE 0 END AS reentered,
       coalesce(m.within, 0) AS within, coalesce(m.within_proved, 0) AS within_proved,
       coalesce(m.outlived, 0) + CASE m.others_escape WHEN 1 THEN m.others ELSE 0 END AS outlived,
       d.unknown_switched + d.unknown_stopped + d.unknown_deep
       + CASE d.wrappers WHEN 0 THEN 0 ELSE d.reentered END
       + CASE m.others_escape WHEN 0 THEN m.others ELSE 0 END AS unknown,
       d.unknown_switched, d.unknown_stopped, d.unknown_deep,
       CASE WHEN m.rank IS NOT NULL THEN m.usual_frames - d.wrappers END AS calls_up,
       CASE WHEN m.rank IS NOT NULL THEN m.usual_objects END AS calls_up_objects,
       CASE WHEN m.rank IS NOT NULL THEN m.usual_proved END AS calls_up_proved,
       CASE WHEN m.rank IS NULL THEN 0 ELSE coalesce(
           (WITH RECURSIVE up(id, n) AS (
                SELECT d.caller_id, 0
                UNION ALL
                SELECT k.parent_id, up.n + 1
                FROM up CROSS JOIN stack k ON k.stack_id = up.id
                CROSS JOIN frame f ON f.frame_id = k.frame_id
                WHERE up.n < m.usual_frames - d.wrappers AND k.parent_id > 0
                      AND f.module_offset / 17592186044416 <> 8)
            SELECT up.id FROM up WHERE up.n = m.usual_frames - d.wrappers), 0) END AS owner_id,
       m.to_comm, m.to_tid, m.pairs AS thread_pairs,
       nullif(d.life_ns_p50, 0) AS life_ns_p50, nullif(d.life_ns_p99, 0) AS life_ns_p99,
       CASE WHEN d.life_ns_p99 > 0 THEN d.life_bytes_p50 END AS life_bytes_p50,
       CASE WHEN d.life_ns_p99 > 0 THEN d.life_bytes_p99 END AS life_bytes_p99,
       d.chains, d.growths,
       nullif(d.final_size_p50, 0) AS final_size_p50, nullif(d.final_size_p99, 0) AS final_size_p99,
       CASE WHEN c.snapshot_id IS NOT NULL THEN coalesce(m.leaked, 0) END AS leaked
FROM escape_whole m
CROSS JOIN escape_site d ON d.snapshot_id = m.snapshot_id AND d.site_id = m.site_id
LEFT JOIN leak_check c ON c.snapshot_id = m.snapshot_id;

-- The same with names: of the site, of the function that a local would be in, and of the one that an
-- escaping object ends with.  An activation is that of a whole function, not of one inlined into it:
-- hence inlined = 0.
CREATE VIEW escape_named AS
SELECT e.*, p.rate, p.at_exit, p.captured_ns - p.start_ns AS age_ns,
       CASE e.stack_id WHEN 0 THEN '(no stack)' ELSE coalesce(n.function, n.location) END
           AS function,
       n.location || CASE WHEN n.file IS NOT NULL AND n.col > 0 THEN ':' || n.col ELSE '' END
           AS location,
       n.file, n.line, n.col, n.module, n.module_offset,
       CASE e.caller_id WHEN 0 THEN NULL ELSE coalesce(cy.function, n.function, n.location) END
           AS local_function,
       oy.function AS owner_function,
       CASE WHEN e.owner_id = 0 THEN NULL
            WHEN oy.file IS NOT NULL THEN
                replace(oy.file, rtrim(oy.file, replace(oy.file, '/', '')), '') || ':' || oy.line
            WHEN oc.module <> '' THEN
                replace(oc.module, rtrim(oc.module, replace(oc.module, '/', '')), '')
                || printf('+0x%x', oc.module_offset)
            ELSE printf('0x%x', oc.module_offset)
       END AS owner_location
FROM snapshot p
CROSS JOIN escape_figure e ON e.snapshot_id = p.snapshot_id
CROSS JOIN stack_name n ON n.stack_id = e.stack_id
CROSS JOIN stack ck ON ck.stack_id = e.caller_id
CROSS JOIN symbol cy ON cy.frame_id = ck.frame_id AND cy.inlined = 0
CROSS JOIN stack ok ON ok.stack_id = e.owner_id
CROSS JOIN frame oc ON oc.frame_id = ok.frame_id
CROSS JOIN symbol oy ON oy.frame_id = ok.frame_id AND oy.inlined = 0;

-- The same, with sums over the sites of a place whose objects escaped to one owner.  A view of its own,
-- as SQLite hands nothing down to windows of different partitions.
CREATE VIEW escape_owner AS
SELECT *, min(calls_up) OVER owner AS o_calls_up, max(calls_up) OVER owner AS o_calls_up_max,
       sum(calls_up_objects) OVER owner AS o_objects, sum(calls_up_proved) OVER owner AS o_proved
FROM escape_named
WINDOW owner AS (PARTITION BY snapshot_id, function, location, module, owner_function,
                 owner_location);

-- The same for places, which are lines of source or, without names, addresses: stacks that allocate at
-- the same one are summed up.  Lifetimes and final sizes are those of the stack with the most objects
-- freed, which also stands for the place as its site; calls_up is of the owner that most objects
-- escaped to.
CREATE VIEW escape_place AS
SELECT *, row_number() OVER (PARTITION BY snapshot_id, function, location, module
                             ORDER BY o_objects DESC, owner_function, owner_location, site_id) AS rank
FROM (SELECT snapshot_id, rate, at_exit, age_ns, function,
             location, file, line, col, module,
             count(*) OVER place AS stacks,
             sum(objects) OVER place AS p_objects, sum(bytes) OVER place AS p_bytes,
             sum(samples) OVER place AS p_samples, sum(sample_bytes) OVER place AS p_sample_bytes,
             sum(samples_freed) OVER place AS p_samples_freed, sum(judged) OVER place AS p_judged,
             sum(freed) OVER place AS p_freed, sum(live) OVER place AS p_live,
             sum(other_thread) OVER place AS p_other_thread,
             sum(reentered) OVER place AS p_reentered, sum(within) OVER place AS p_within,
             sum(within_proved) OVER place AS p_within_proved,
             sum(outlived) OVER place AS p_outlived, sum(unknown) OVER place AS p_unknown,
             sum(unknown_switched) OVER place AS p_unknown_switched,
             sum(unknown_stopped) OVER place AS p_unknown_stopped,
             sum(unknown_deep) OVER place AS p_unknown_deep, sum(chains) OVER place AS p_chains,
             sum(growths) OVER place AS p_growths, sum(leaked) OVER place AS p_leaked,
             first_value(site_id) OVER most AS m_site_id,
             first_value(stack_id) OVER most AS m_stack_id,
             first_value(wrappers) OVER most AS m_wrappers,
             first_value(module_offset) OVER most AS m_module_offset,
             first_value(local_function) OVER most AS m_local_function,
             first_value(life_ns_p50) OVER most AS m_life_ns_p50,
             first_value(life_ns_p99) OVER most AS m_life_ns_p99,
             first_value(life_bytes_p50) OVER most AS m_life_bytes_p50,
             first_value(life_bytes_p99) OVER most AS m_life_bytes_p99,
             first_value(final_size_p50) OVER most AS m_final_size_p50,
             first_value(final_size_p99) OVER most AS m_final_size_p99,
             first_value(to_comm) OVER thread AS t_to_comm,
             first_value(to_tid) OVER thread AS t_to_tid,
             first_value(thread_pairs) OVER thread AS t_thread_pairs,
             o_calls_up, o_calls_up_max, o_objects, o_proved,
             site_id, owner_id, owner_function, owner_location
      FROM escape_owner
      WINDOW place AS (PARTITION BY snapshot_id, function, location, module),
             most AS (PARTITION BY snapshot_id, function, location, module
                      ORDER BY freed DESC, objects DESC, site_id
                      ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING),
             thread AS (PARTITION BY snapshot_id, function, location, module
                        ORDER BY other_thread DESC, site_id
                        ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING));

-- Both, one below the other: by_place says which.
CREATE VIEW escape_row AS
SELECT 0 AS by_place, 1 AS stacks,
       snapshot_id, rate, at_exit, age_ns, function, location, file, line, col, module, objects,
       bytes, samples, sample_bytes, samples_freed, judged, freed, live, other_thread, reentered,
       within, within_proved, outlived, unknown, unknown_switched, unknown_stopped, unknown_deep,
       chains, growths, site_id, stack_id, wrappers, module_offset, local_function, life_ns_p50,
       life_ns_p99, life_bytes_p50, life_bytes_p99, final_size_p50, final_size_p99, calls_up,
       calls_up_max, calls_up_objects, calls_up_proved, owner_id, owner_function, owner_location,
       to_comm, to_tid, thread_pairs, leaked
FROM (SELECT *, calls_up AS calls_up_max FROM escape_named)
UNION ALL
SELECT 1, stacks,
       snapshot_id, rate, at_exit, age_ns, function, location, file, line, col, module, p_objects,
       p_bytes, p_samples, p_sample_bytes, p_samples_freed, p_judged, p_freed, p_live,
       p_other_thread, p_reentered, p_within, p_within_proved, p_outlived, p_unknown,
       p_unknown_switched, p_unknown_stopped, p_unknown_deep, p_chains, p_growths, m_site_id,
       m_stack_id, m_wrappers, m_module_offset, m_local_function, m_life_ns_p50, m_life_ns_p99,
       m_life_bytes_p50, m_life_bytes_p99, m_final_size_p50, m_final_size_p99, o_calls_up,
       o_calls_up_max, o_objects, o_proved, owner_id, owner_function, owner_location, t_to_comm,
       t_to_tid, t_thread_pairs, p_leaked
FROM escape_place WHERE rank = 1;

-- The verdict on each, and pieces of text.  One proved escape is enough for "escapes".
-- at_most_percent is the rule of three: where none of n objects escaped, with 95 % confidence at most
-- 3 / n of them do; rounded up to one digit.
CREATE VIEW escape_verdict AS
SELECT e.*,
       other_thread + reentered + outlived AS escaped,
       CASE WHEN freed = 0 AND samples_freed > 0 THEN 'unknown'
            WHEN freed = 0 THEN 'never freed'
            WHEN 2 * chains >= freed THEN 'realloc chain'
            WHEN other_thread > 0 AND other_thread >= reentered AND other_thread >= outlived
                THEN 'escapes to thread'
            WHEN outlived > 0 AND outlived >= reentered THEN 'escapes'
            WHEN reentered > 0 THEN 're-entered'
            WHEN within > 0 THEN 'no escape observed'
            ELSE 'unknown' END AS verdict,
       CASE WHEN within < 3 OR other_thread + reentered + outlived > 0 THEN NULL
            WHEN within <= 300 THEN (300 + within - 1) / within * 1.0
            WHEN within <= 3000 THEN (3000 + within - 1) / within / 10.0
            WHEN within <= 30000 THEN (30000 + within - 1) / within / 100.0
            WHEN within <= 300000 THEN (300000 + within - 1) / within / 1000.0
            WHEN within <= 3000000 THEN (3000000 + within - 1) / within / 10000.0
            ELSE (30000000 + within - 1) / within / 100000.0 END AS at_most_percent,
       CASE WHEN samples = 0 THEN NULL ELSE
           CASE WHEN sample_bytes % samples = 0 THEN '' ELSE '~' END
           || CASE WHEN sample_bytes / samples < 1024 THEN (sample_bytes / samples) || ' B'
                   WHEN sample_bytes / samples < 1048576 THEN
                       replace(printf('%.1f KiB', sample_bytes / 1024.0 / samples), '.0 ', ' ')
                   ELSE replace(printf('%.1f MiB', sample_bytes / 1048576.0 / samples), '.0 ', ' ')
              END END AS size_text,
       CASE WHEN final_size_p50 < 1024 THEN printf('%d B', final_size_p50)
            WHEN final_size_p50 < 1048576 THEN
                replace(printf('%.1f KiB', final_size_p50 / 1024), '.0 ', ' ')
            ELSE replace(printf('%.1f MiB', final_size_p50 / 1048576), '.0 ', ' ')
       END AS final_text,
       CASE WHEN thread_pairs IS NULL THEN 'another thread'
            ELSE 'thread "' || CASE to_comm WHEN '' THEN to_tid ELSE to_comm END || '"'
                 || CASE WHEN thread_pairs > 1 THEN ' and others' ELSE '' END END AS thread_text
FROM escape_row e;

-- Clauses of a sentence.  The main one tells of the objects that the verdict is about, `also` of all
-- others: ", 30 to thread "io-2", 100 live".
CREATE VIEW escape_clause AS
SELECT e.*,
       printf('%s%,d object%s', CASE WHEN rate > 1 THEN '~' ELSE '' END, objects,
              CASE objects WHEN 1 THEN '' ELSE 's' END)
       || CASE WHEN judged < objects AND verdict <> 'never freed'
               THEN printf(' (%,d judged)', judged) ELSE '' END
       || CASE WHEN stacks > 1 THEN printf(' from %,d stacks', stacks) ELSE '' END
       || coalesce(', ' || size_text, '') || ': ' AS subject,
       CASE WHEN calls_up IS NULL THEN 'escapes'
            ELSE 'escapes ' || calls_up
                 || CASE WHEN calls_up_max > calls_up THEN ' to ' || calls_up_max ELSE '' END
                 || CASE calls_up_max WHEN 1 THEN ' call up' ELSE ' calls up' END
                 || coalesce(', to ' || owner_function || ' (' || owner_location || ')',
                             ', to ' || owner_location, '') END AS upwards,
       CASE WHEN tells_upwards AND outlived > coalesce(calls_up_objects, outlived)
            THEN printf(', %,d to other callers', outlived - calls_up_objects) ELSE '' END
       || CASE WHEN NOT tells_upwards AND outlived > 0
               THEN printf(', %,d to callers', outlived) ELSE '' END
       || CASE WHEN verdict <> 'escapes to thread' AND other_thread > 0
               THEN printf(', %,d to %s', other_thread, thread_text) ELSE '' END
       || CASE WHEN verdict <> 're-entered' AND reentered > 0
               THEN printf(', %,d freed by a later call', reentered) ELSE '' END
       || CASE WHEN verdict <> 'no escape observed' AND within > 0
               THEN printf(', %,d not seen to escape (%,d proved)', within, within_proved)
               ELSE '' END
       || CASE WHEN verdict <> 'unknown' AND unknown > 0 THEN printf(', %,d not told', unknown)
               ELSE '' END
       || CASE WHEN verdict <> 'never freed' AND live > 0 THEN printf(', %,d live', live)
               ELSE '' END
       || CASE WHEN verdict <> 'never freed' AND leaked > 0 THEN printf(', %,d leaked', leaked)
               ELSE '' END AS also,
       CASE WHEN leaked IS NULL THEN NULL
            WHEN leaked = 0 THEN 'still reachable'
            WHEN leaked >= samples - samples_freed THEN 'unreachable (leaked)'
            ELSE printf('%,d of %,d unreachable (leaked), the others still reachable', leaked,
                        samples - samples_freed) END AS fate,
       CASE verdict WHEN 'escapes' THEN coalesce(calls_up_objects, outlived)
                    WHEN 'escapes to thread' THEN other_thread
                    WHEN 're-entered' THEN reentered END AS share
FROM (SELECT *, verdict = 'escapes' OR (verdict = 'realloc chain' AND outlived > 0
                AND outlived >= other_thread AND outlived >= reentered) AS tells_upwards,
             final_size_p50 * samples < sample_bytes AS shrinks
      FROM escape_verdict) e;

-- Figures and words, of sites and places.
CREATE VIEW escape_text AS
SELECT by_place, stacks, snapshot_id, site_id, function, location, verdict,
       CASE verdict
       WHEN 'no escape observed' THEN
           printf('no escape observed in %,d object%s (%,d proved; ', within,
                  CASE within WHEN 1 THEN '' ELSE 's' END, within_proved)
           || CASE WHEN at_most_percent IS NULL THEN 'too few to tell)'
                   ELSE printf('<= %g %% at 95 %%)', at_most_percent) END
           || CASE WHEN stacks > 1 THEN printf(' from %,d stacks', stacks) ELSE '' END
           || CASE WHEN judged < objects
                   THEN printf(', %,d of %s%,d judged', judged,
                               CASE WHEN rate > 1 THEN '~' ELSE '' END, objects) ELSE '' END
           || also
       WHEN 'never freed' THEN
           subject || 'never freed: ' || coalesce(fate, 'live')
           || CASE WHEN at_exit THEN ' at the end'
           ELSE CASE WHEN fate IS NULL THEN ' for up to ' ELSE ', up to ' END
                || CASE WHEN age_ns < 10000000000 THEN printf('%.1f s', age_ns / 1e9)
                        WHEN age_ns < 600000000000 THEN printf('%d s', age_ns / 1000000000)
                        WHEN age_ns < 36000000000000 THEN printf('%d min', age_ns / 60000000000)
                        ELSE printf('%d h', age_ns / 3600000000000) END
                || CASE WHEN fate IS NULL THEN '' ELSE ' old' END END
       WHEN 'realloc chain' THEN
           subject || printf('realloc chain: %s %,d time%s, final median %s',
                             CASE WHEN shrinks THEN 'resized' ELSE 'grew' END,
                             (2 * growths + chains) / (2 * chains),
                             CASE (2 * growths + chains) / (2 * chains) WHEN 1 THEN '' ELSE 's' END,
                             final_text)
           || CASE WHEN tells_upwards THEN '; ' || upwards ELSE '' END
           || CASE also WHEN '' THEN '' ELSE ' (' || substr(also, 3) || ')' END
       WHEN 'unknown' THEN
           subject || CASE WHEN freed = 0 THEN printf('unknown: %,d freed, none of them judged',
                                                      samples_freed)
           ELSE 'unknown: '
                || substr(CASE WHEN unknown_switched > 0
                               THEN printf(', of %,d the thread had changed stacks', unknown_switched)
                               ELSE '' END
                          || CASE WHEN unknown_stopped > 0
                                  THEN printf(', of %,d no stack was to be had', unknown_stopped)
                                  ELSE '' END
                          || CASE WHEN unknown_deep > 0
                                  THEN printf(', of %,d the stack was too deep', unknown_deep)
                                  ELSE '' END
                          || CASE WHEN unknown > unknown_switched + unknown_stopped + unknown_deep
                                  THEN printf(', of %,d only the wrapper is known to have ended',
                                              unknown - unknown_switched - unknown_stopped
                                              - unknown_deep)
                                  ELSE '' END, 3) END || also
       ELSE
           subject || CASE verdict WHEN 'escapes' THEN upwards
                                   WHEN 'escapes to thread' THEN 'escapes to ' || thread_text
                                   ELSE 're-entered: escapes to a later call of ' || local_function
                                   END
           || CASE WHEN share < freed THEN printf(', in %,d of %,d', share, freed) ELSE '' END
           || CASE also WHEN '' THEN '' ELSE ' (' || substr(also, 3) || ')' END
       END AS text,
       CASE WHEN verdict = 'realloc chain' AND shrinks THEN NULL
            WHEN verdict = 'realloc chain' THEN 'begin with ' || final_text
            WHEN verdict = 'escapes to thread' THEN
                'a pool that both threads use would save the malloc and the free'
            WHEN verdict = 're-entered' THEN 'keep the buffer for the next call'
            WHEN verdict = 'no escape observed' AND within < 3 THEN NULL
            WHEN verdict = 'no escape observed' AND sample_bytes <= 16384 * samples THEN
                CASE WHEN within_proved > 0 THEN 'could be a local of '
                     ELSE 'perhaps a local of ' END || size_text || ' in ' || local_function
                || CASE WHEN local_function <> function
                        THEN ', into which ' || function || ' is inlined' ELSE '' END
            WHEN verdict = 'no escape observed' THEN
                'could be one buffer of ' || local_function || ', kept between calls'
            WHEN verdict = 'escapes' AND owner_function = 'main' THEN 'only main outlives it'
            WHEN verdict = 'escapes' AND owner_id > 0 AND 2 * calls_up_objects >= freed
                 AND calls_up_objects >= 8 THEN
                'one arena per ' || coalesce(owner_function, 'call there') || ' would do'
                || CASE WHEN calls_up_proved > 0
                        THEN printf(' (proved of %,d)', calls_up_proved) ELSE '' END
       END AS suggestion,
       objects, bytes,
       CASE WHEN samples > 0 THEN sample_bytes * 1.0 / samples END AS mean_size,
       judged, freed, live, escaped, outlived, calls_up, calls_up_objects, owner_function,
       owner_location, other_thread, CASE WHEN other_thread > 0 THEN thread_text END AS thread,
       reentered, within, within_proved, at_most_percent, unknown, unknown_switched,
       unknown_stopped, unknown_deep, life_ns_p50, life_ns_p99, life_bytes_p50, life_bytes_p99,
       chains, growths, final_size_p50, final_size_p99, wrappers, local_function, file, line, col,
       module, module_offset, nullif(stack_id, 0) AS stack_id, leaked
FROM escape_clause;

-- One row for each site of which objects were judged: what became of them, in figures and in words
-- like those of go build -gcflags=-m.  text says what was observed, suggestion what could be done.
-- leaked is NULL without a leak check.
CREATE VIEW v1_escape AS
SELECT snapshot_id, site_id, function, location, verdict, text, suggestion, objects, bytes,
       mean_size, judged, freed, live, escaped, outlived, calls_up, calls_up_objects,
       owner_function, owner_location, other_thread, thread, reentered, within, within_proved,
       at_most_percent, unknown, unknown_switched, unknown_stopped, unknown_deep, life_ns_p50,
       life_ns_p99, life_bytes_p50, life_bytes_p99, chains, growths, final_size_p50,
       final_size_p99, wrappers, local_function, file, line, col, module, module_offset, stack_id,
       leaked
FROM escape_text WHERE by_place = 0;

-- One row for each place: a line of source, or an address without one, at which objects were judged,
-- with the call stacks that lead to it summed up.  site_id, stack_id, lifetimes and final sizes are
-- those of the stack of which most objects were freed.
CREATE VIEW v1_escape_place AS
SELECT snapshot_id, site_id, function, location, verdict, text, suggestion, objects, bytes,
       mean_size, judged, freed, live, escaped, outlived, calls_up, calls_up_objects,
       owner_function, owner_location, other_thread, thread, reentered, within, within_proved,
       at_most_percent, unknown, unknown_switched, unknown_stopped, unknown_deep, life_ns_p50,
       life_ns_p99, life_bytes_p50, life_bytes_p99, chains, growths, final_size_p50,
       final_size_p99, wrappers, local_function, file, line, col, module, module_offset, stack_id,
       stacks, leaked
FROM escape_text WHERE by_place = 1;

-- One row for each site and number of calls up that its objects escaped, as far as can be seen; 0 =
-- not at all, the function that is named is the one that would have had to end.  calls_up is NULL
-- for the sum of all further numbers.
CREATE VIEW v1_outlived AS
SELECT o.snapshot_id, o.site_id,
       CASE WHEN o.frames < 4294967295 THEN max(0, o.frames - o.wrappers) END AS calls_up,
       sum(o.objects) AS objects, sum(o.proved) AS proved, y.function,
       CASE WHEN o.owner_id = 0 THEN NULL
            WHEN y.file IS NOT NULL THEN
                replace(y.file, rtrim(y.file, replace(y.file, '/', '')), '') || ':' || y.line
            WHEN f.module <> '' THEN
                replace(f.module, rtrim(f.module, replace(f.module, '/', '')), '')
                || printf('+0x%x', f.module_offset)
            ELSE printf('0x%x', f.module_offset)
       END AS location
FROM (SELECT d.snapshot_id, d.site_id, d.wrappers, o.frames, o.objects, o.proved,
             CASE o.frames WHEN 4294967295 THEN 0 ELSE coalesce(
                 (WITH RECURSIVE up(id, n) AS (
                      SELECT d.caller_id, d.wrappers
                      UNION ALL
                      SELECT k.parent_id, up.n + 1
                      FROM up CROSS JOIN stack k ON k.stack_id = up.id
                      CROSS JOIN frame f ON f.frame_id = k.frame_id
                      WHERE up.n < o.frames AND k.parent_id > 0
                            AND f.module_offset / 17592186044416 <> 8)
                  SELECT up.id FROM up WHERE up.n >= o.frames), 0) END AS owner_id
      FROM outlived o
      CROSS JOIN escape_site d ON d.snapshot_id = o.snapshot_id AND d.site_id = o.site_id) o
CROSS JOIN stack k ON k.stack_id = o.owner_id
CROSS JOIN frame f ON f.frame_id = k.frame_id
CROSS JOIN symbol y ON y.frame_id = f.frame_id AND y.inlined = 0
GROUP BY o.snapshot_id, o.site_id, 3;
