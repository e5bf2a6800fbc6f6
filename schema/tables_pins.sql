-- SPDX-License-Identifier: BSD-3-Clause
--
-- The table of pins: user_versions 1 and 2 did not have it.  It is made at the import, since only the
-- image says of each slot which site it is of.

-- A row is a site that has objects in a block (a span, 2 MiB, an arena) of whose bytes at most three
-- quarters are given to live objects.  The bytes of a block are divided among its sites by their
-- objects; the shares are whole numbers, and their sum is block_bytes.  Spans are those of size
-- classes: neither large objects nor stacks, which are objects of site 0 in the larger blocks.
CREATE TABLE pin (
    snapshot_id   INTEGER NOT NULL,
    unit          INTEGER NOT NULL CHECK (unit BETWEEN 0 AND 2), -- of the block: 0 span, 1 = 2 MiB, 2 arena
    base          INTEGER NOT NULL,  -- address of the block
    site_id       INTEGER NOT NULL,  -- whose objects keep it, 0 = not recorded
    objects       INTEGER NOT NULL CHECK (objects > 0), -- of the site that stand in it, if only in part
    bytes         INTEGER NOT NULL CHECK (bytes BETWEEN 0 AND block_bytes), -- its share of block_bytes
    block_bytes   INTEGER NOT NULL,  -- what goes back with it: a span's pages; else its pages in spans, and free ones still backed
    block_used    INTEGER NOT NULL,  -- of these, given to live objects
    block_objects INTEGER NOT NULL CHECK (block_objects >= objects), -- live objects of all sites
    block_sites   INTEGER NOT NULL,  -- sites that these are of
    PRIMARY KEY (snapshot_id, unit, base, site_id),
    FOREIGN KEY (snapshot_id, site_id) REFERENCES site
) STRICT, WITHOUT ROWID;
