-- SPDX-License-Identifier: BSD-3-Clause
--
-- The v1_* views of what became of objects: see views.sql and tables_escape.sql.

-- One row for each site and two threads, of which one freed what the other had allocated.
CREATE VIEW v1_handover AS
SELECT h.snapshot_id, h.site_id, h.from_comm AS allocated_by, h.to_comm AS freed_by, h.objects,
       CASE WHEN h.site_id = 0 THEN '(other sites)' WHEN s.stack_id = 0 THEN '(no stack)'
            ELSE coalesce(n.function, n.location) END AS function,
       n.location, h.from_tid, h.to_tid
FROM handover h
JOIN site s ON s.snapshot_id = h.snapshot_id AND s.site_id = h.site_id
JOIN stack_name n ON n.stack_id = s.stack_id;
