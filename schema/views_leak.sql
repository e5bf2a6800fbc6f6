-- SPDX-License-Identifier: BSD-3-Clause
--
-- The v1_* views of leak checks.  A snapshot for which none was asked has no rows in v1_leak_check;
-- one that found nothing has one there, and none in the others.

-- The names of sites, as in v1_site, of those that have no live objects, too.
CREATE VIEW leak_site_name AS
SELECT s.snapshot_id, s.site_id,
       CASE WHEN s.site_id = 0 THEN '(not recorded)' WHEN s.stack_id = 0 THEN '(no stack)'
            ELSE coalesce(n.function, n.location) END AS function,
       n.location, n.file, n.line, n.module, n.module_offset,
       CASE s.site_id WHEN 0 THEN NULL ELSE s.stack_id END AS stack_id, n.col,
       s.truncated, s.stopped
FROM site s JOIN stack_name n ON n.stack_id = s.stack_id;

-- One row for each leaked object.  Direct: no other leaked object leads to it (of a ring, one is
-- called so).  Indirect: its head, a direct one, leads to it.
CREATE VIEW v1_leak AS
SELECT l.snapshot_id, printf('0x%x', l.address) AS address,
       CASE l.address WHEN l.head THEN 'direct' ELSE 'indirect' END AS kind,
       printf('0x%x', l.head) AS head,
       l.size, l.requested,
       max((p.captured_ns - p.start_ns) / 1000000000 - l.born, 0) AS age_s,
       l.site_id, n.function, n.location, n.file, n.line, n.module, n.module_offset, n.stack_id,
       n.col,
       l.address AS address_number, l.head AS head_number, h.site_id AS head_site_id,
       max((p.captured_ns - p.start_ns) / 1000000000 - h.born, 0) AS head_age_s
FROM snapshot p
JOIN leak l ON l.snapshot_id = p.snapshot_id
CROSS JOIN leak h ON h.snapshot_id = l.snapshot_id AND h.address = l.head
JOIN leak_site_name n ON n.snapshot_id = l.snapshot_id AND n.site_id = l.site_id;

-- Sites of direct leaks as numbers, without names.
CREATE VIEW leak_site AS
SELECT l.snapshot_id, h.site_id,
       sum(l.address = l.head) AS objects,
       sum(CASE l.address WHEN l.head THEN coalesce(l.requested, l.size) ELSE 0 END) AS bytes,
       sum(l.address <> l.head) AS indirect_objects,
       sum(CASE l.address WHEN l.head THEN 0 ELSE coalesce(l.requested, l.size) END)
       AS indirect_bytes,
       min(h.born) AS first_born, max(h.born) AS last_born
FROM leak l CROSS JOIN leak h ON h.snapshot_id = l.snapshot_id AND h.address = l.head
GROUP BY l.snapshot_id, h.site_id;

-- One row for each site of direct leaks.  Bytes are those asked for, and those given where that is
-- not recorded.
CREATE VIEW v1_leak_site AS
SELECT f.snapshot_id, f.site_id, n.function, n.location,
       f.objects, f.bytes, f.indirect_objects, f.indirect_bytes,
       max((p.captured_ns - p.start_ns) / 1000000000 - f.first_born, 0) AS oldest_s,
       max((p.captured_ns - p.start_ns) / 1000000000 - f.last_born, 0) AS youngest_s,
       n.file, n.line, n.module, n.module_offset, n.stack_id, n.col, n.truncated, n.stopped
FROM snapshot p
JOIN leak_site f ON f.snapshot_id = p.snapshot_id
JOIN leak_site_name n ON n.snapshot_id = f.snapshot_id AND n.site_id = f.site_id;

-- One row for each leak check.  incomplete has a line for each thing that the check could not see.
CREATE VIEW v1_leak_check AS
SELECT c.snapshot_id, c.live_objects, c.reached_objects,
       c.live_objects - c.reached_objects AS leaked_objects, c.direct AS direct_objects,
       c.longest_ns AS pause_ns, c.nstopped AS threads, c.mark_ns, c.group_ns,
       nullif(ltrim(
           CASE WHEN c.nmissing > 0 THEN
               char(10) || printf('%d thread%s did not stop in time (%s%s): what only %s of may '
                                  || 'look leaked',
                                  c.nmissing, CASE c.nmissing WHEN 1 THEN '' ELSE 's' END,
                                  c.missing_tids, CASE WHEN c.nmissing > 16 THEN ' ...' ELSE '' END,
                                  CASE c.nmissing WHEN 1 THEN 'it knows' ELSE 'they know' END)
               ELSE '' END
           || CASE WHEN c.unreadable_bytes > 0 THEN
               char(10) || printf('%d bytes of the program''s memory could not be read: what only '
                                  || 'they lead to may look leaked', c.unreadable_bytes)
               ELSE '' END
           || CASE WHEN c.unknown_ranges > 0 THEN
               char(10) || printf('%d ranges of the library''s own memory were taken for the '
                                  || 'program''s: they may hide leaks', c.unknown_ranges)
               ELSE '' END
           || CASE p.cut WHEN 1 THEN char(10) || 'a bound was met: not all leaks are told'
               ELSE '' END, char(10)), '') AS incomplete,
       c.interior, c.unaligned, c.mapped, c.in_place, c.nmissing AS missing_threads, c.missing_tids,
       c.longest_tid AS pause_tid, c.stopping_ns, c.copying_ns, c.words, c.unreadable_bytes,
       c.dead_stacks, c.unknown_ranges, c.ignored_objects, c.spared_objects,
       c.held_objects, c.held_bytes
FROM leak_check c JOIN snapshot p ON p.snapshot_id = c.snapshot_id;

-- One row for each kind of root of a leak check.
CREATE VIEW v1_root AS
SELECT snapshot_id,
       CASE kind WHEN 0 THEN 'data' WHEN 1 THEN 'stack' WHEN 2 THEN 'register'
            WHEN 3 THEN 'mapped memory' WHEN 4 THEN 'named by the program' ELSE 'kind ' || kind END
       AS kind,
       ranges, bytes, objects, kind AS kind_number
FROM root;

-- One row for each word on a thread's stack or in a register that keeps an object which nothing else
-- leads to: the word may be left over, and the object lost.  holder: the function in whose frame it is.
CREATE VIEW v1_held AS
SELECT h.snapshot_id, printf('0x%x', h.address) AS address, h.objects, h.bytes, h.size, h.requested,
       max((p.captured_ns - p.start_ns) / 1000000000 - h.born, 0) AS age_s,
       CASE h.kind WHEN 1 THEN 'stack' ELSE 'register ' || h.reg END AS kind,
       h.tid, (SELECT t.comm FROM thread t WHERE t.snapshot_id = h.snapshot_id AND t.tid = h.tid
               AND t.tid <> 0) AS comm,
       CASE WHEN h.stack_id <> 0 THEN
           (SELECT coalesce(m.function, m.location) FROM stack_name m WHERE m.stack_id = h.stack_id)
       END AS holder,
       printf('0x%x', h.word) AS word,
       h.site_id, n.function, n.location, n.file, n.line, n.module, n.module_offset, n.stack_id,
       n.col, h.address AS address_number, h.word AS word_number
FROM snapshot p
JOIN held h ON h.snapshot_id = p.snapshot_id
JOIN leak_site_name n ON n.snapshot_id = h.snapshot_id AND n.site_id = h.site_id;
