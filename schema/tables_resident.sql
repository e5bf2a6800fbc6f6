-- SPDX-License-Identifier: BSD-3-Clause
--
-- The table of what is resident: user_versions 1 and 2 did not have it.

-- A row is a kind of memory of the process, and how much of it is resident.  The row 'kernel' is the
-- kernel's own figure of the whole; the others have the same sum, but for what came or went
-- meanwhile.
CREATE TABLE resident (
    snapshot_id    INTEGER NOT NULL REFERENCES snapshot,
    name           TEXT NOT NULL,     -- 'heap.spans', 'metadata', 'stacks', 'code', ..., 'kernel'
    mapped_bytes   INTEGER NOT NULL,  -- address space, 'kernel': 0
    resident_bytes INTEGER NOT NULL,  -- of these, resident
    swapped_bytes  INTEGER NOT NULL,  -- and swapped out: a mapping of several kinds counts with its largest
    huge_bytes     INTEGER NOT NULL,  -- of the resident ones, in huge pages: the same
    PRIMARY KEY (snapshot_id, name)
) STRICT, WITHOUT ROWID;
