-- SPDX-License-Identifier: BSD-3-Clause
--
-- The v1_* views of pins: who keeps memory that is mostly free.

-- The pins of all units, with names.
CREATE VIEW pin_name AS
SELECT p.snapshot_id, p.unit, printf('0x%x', p.base) AS address, p.site_id,
       CASE WHEN p.site_id = 0 THEN '(not recorded)' WHEN s.stack_id = 0 THEN '(no stack)'
            ELSE coalesce(n.function, n.location) END AS function,
       n.location, p.bytes, p.objects, p.block_sites = 1 AS sole,
       100.0 * p.block_used / nullif(p.block_bytes, 0) AS used_percent,
       p.block_bytes, p.block_used, p.block_objects, p.block_sites, p.base, n.file, n.line,
       n.module, n.module_offset,
       CASE p.site_id WHEN 0 THEN NULL ELSE s.stack_id END AS stack_id
FROM pin p
JOIN site s ON s.snapshot_id = p.snapshot_id AND s.site_id = p.site_id
JOIN stack_name n ON n.stack_id = s.stack_id;

-- One row for each site and span that is mostly free and has objects of the site.  bytes is what
-- would come back if they were gone: all of it where sole is 1, else the site's share.
CREATE VIEW v1_pin AS
SELECT snapshot_id, address, site_id, function, location, bytes, objects, sole, used_percent,
       block_bytes, block_used, block_objects, block_sites, base, file, line, module,
       module_offset, stack_id
FROM pin_name WHERE unit = 0;

-- The same for the 2 MiB that a huge page covers.
CREATE VIEW v1_pin_huge AS
SELECT snapshot_id, address, site_id, function, location, bytes, objects, sole, used_percent,
       block_bytes, block_used, block_objects, block_sites, base, file, line, module,
       module_offset, stack_id
FROM pin_name WHERE unit = 1;

-- The same for arenas of 64 MiB.
CREATE VIEW v1_pin_arena AS
SELECT snapshot_id, address, site_id, function, location, bytes, objects, sole, used_percent,
       block_bytes, block_used, block_objects, block_sites, base, file, line, module,
       module_offset, stack_id
FROM pin_name WHERE unit = 2;
