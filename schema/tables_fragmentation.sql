-- SPDX-License-Identifier: BSD-3-Clause
--
-- The tables of what is found by looking at each object and page of the heap: user_versions 1 and 2
-- did not have them.

-- A row is a span, as in table span: what its objects asked for, and what the kernel has behind it.
CREATE TABLE span_figure (
    snapshot_id      INTEGER NOT NULL,
    base             INTEGER NOT NULL,  -- address
    resident_bytes   INTEGER,           -- of the span; a page only ever read may count, NULL = not known
    swapped_bytes    INTEGER,           -- of the span, swapped out, NULL = not known
    recorded_objects INTEGER NOT NULL,  -- live ones of which is known how much they asked for
    requested_bytes  INTEGER NOT NULL,  -- that these asked for
    live_resident    INTEGER,           -- of resident_bytes, in live objects, NULL = not known, or a span of stacks
    free_resident    INTEGER,           -- of resident_bytes, in free slots, NULL = the same
    PRIMARY KEY (snapshot_id, base),
    FOREIGN KEY (snapshot_id, base) REFERENCES span
) STRICT, WITHOUT ROWID;

-- A row is an arena of which is known what the kernel has behind it.
CREATE TABLE arena_figure (
    snapshot_id         INTEGER NOT NULL,
    base                INTEGER NOT NULL,  -- address
    resident_bytes      INTEGER NOT NULL,  -- of the arena
    swapped_bytes       INTEGER NOT NULL,  -- of the arena, swapped out
    huge_bytes          INTEGER NOT NULL,  -- of the resident ones, in huge pages
    huge_exact          INTEGER NOT NULL CHECK (huge_exact IN (0, 1)), -- 0: its share of what the kernel tells of a mapping
    free_resident_bytes INTEGER NOT NULL,  -- of the resident ones, in free pages
    PRIMARY KEY (snapshot_id, base),
    FOREIGN KEY (snapshot_id, base) REFERENCES arena
) STRICT, WITHOUT ROWID;

-- A row is the runs of free pages that are about as long, of the heap or of an arena.  A run goes
-- from a page that is not free to the next; in an arena it ends at the arena's edges.
CREATE TABLE free_run (
    snapshot_id    INTEGER NOT NULL REFERENCES snapshot,
    arena          INTEGER NOT NULL,                   -- its address, 0 = the heap as a whole
    min_pages      INTEGER NOT NULL CHECK (min_pages BETWEEN 1 AND 512), -- from so many, a power of two, to twice as many; 512: and more
    runs           INTEGER NOT NULL CHECK (runs > 0),  -- so many runs
    pages          INTEGER NOT NULL,                   -- in all of them, of 8 KiB
    returned_pages INTEGER NOT NULL CHECK (returned_pages <= pages), -- of these, given back or never backed
    longest        INTEGER NOT NULL,                   -- pages of the longest run
    PRIMARY KEY (snapshot_id, arena, min_pages)
) STRICT, WITHOUT ROWID;
