-- SPDX-License-Identifier: BSD-3-Clause
--
-- The tables of leak checks: user_versions 1 and 2 did not have them.  A snapshot for which no check
-- was asked has no rows in them.  Units as in tables.sql.

-- A row is an object that nothing led to, neither a root nor an object that a root led to.
CREATE TABLE leak (
    snapshot_id INTEGER NOT NULL,
    address     INTEGER NOT NULL,  -- of its first byte
    head        INTEGER NOT NULL,  -- address of the leak it is counted under; its own = a direct leak
    size        INTEGER NOT NULL CHECK (size > 0), -- bytes given
    requested   INTEGER,           -- bytes asked for, NULL = not recorded
    site_id     INTEGER NOT NULL,  -- 0 = not recorded
    born        INTEGER,           -- seconds from snapshot.start_ns to its allocation, NULL = not known
    PRIMARY KEY (snapshot_id, address),
    FOREIGN KEY (snapshot_id, head) REFERENCES leak,
    FOREIGN KEY (snapshot_id, site_id) REFERENCES site,
    CHECK (requested BETWEEN 0 AND size)
) STRICT, WITHOUT ROWID;

-- A row is a leak check: what it cost, and what it could not see.
CREATE TABLE leak_check (
    snapshot_id      INTEGER PRIMARY KEY REFERENCES snapshot,
    interior         INTEGER NOT NULL CHECK (interior IN (0, 1)),  -- 1: an address within an object keeps it
    unaligned        INTEGER NOT NULL CHECK (unaligned IN (0, 1)), -- 1: also words not at multiples of 8 were looked at
    mapped           INTEGER NOT NULL CHECK (mapped IN (0, 1)),    -- 1: memory that the program mapped is a root
    in_place         INTEGER NOT NULL CHECK (in_place IN (0, 1)),  -- 1: made with the threads stopped, not in a copy
    nstopped         INTEGER NOT NULL,  -- threads that stopped
    nmissing         INTEGER NOT NULL,  -- threads that did not in time
    missing_tids     TEXT NOT NULL,     -- the first 16 of them, with spaces between
    longest_tid      INTEGER NOT NULL,  -- thread that stood longest, 0 = not known
    longest_ns       INTEGER NOT NULL,  -- for so long, ns; 0 = not known
    stopping_ns      INTEGER NOT NULL,  -- until all had stopped, ns
    copying_ns       INTEGER NOT NULL,  -- making the copy of the process, ns
    mark_ns          INTEGER NOT NULL,  -- following pointers, ns
    group_ns         INTEGER NOT NULL,  -- telling direct leaks from indirect ones, ns
    live_objects     INTEGER NOT NULL,  -- in all
    reached_objects  INTEGER NOT NULL,  -- of these, those that are no leaks
    direct           INTEGER NOT NULL,  -- leaks that are direct
    words            INTEGER NOT NULL,  -- looked at
    unreadable_bytes INTEGER NOT NULL,  -- of roots
    dead_stacks      INTEGER NOT NULL,  -- stacks of ended threads: no roots
    unknown_ranges   INTEGER NOT NULL,  -- of the library's own memory that were taken for roots
    ignored_objects  INTEGER NOT NULL,  -- alive, that the program has leak checks ignore
    spared_objects   INTEGER NOT NULL,  -- these and what only they lead to: no leaks therefore
    held_objects     INTEGER NOT NULL,  -- reached from words on stacks and in registers alone
    held_bytes       INTEGER NOT NULL,  -- given to these
    CHECK (reached_objects <= live_objects)
) STRICT;

-- A row is a word on a thread's stack or in a register which keeps an object that nothing else leads
-- to: it may be left over from a call that has ended.  What the object leads to is counted with it, or
-- with an earlier row.
CREATE TABLE held (
    snapshot_id INTEGER NOT NULL REFERENCES leak_check,
    number      INTEGER NOT NULL CHECK (number > 0), -- in the order in which they were found
    address     INTEGER NOT NULL,  -- of the object's first byte
    size        INTEGER NOT NULL CHECK (size > 0), -- bytes given to it
    requested   INTEGER,           -- bytes asked for, NULL = not recorded
    site_id     INTEGER NOT NULL,  -- 0 = not recorded
    born        INTEGER,           -- seconds from snapshot.start_ns to its allocation, NULL = not known
    objects     INTEGER NOT NULL CHECK (objects > 0), -- this one and what only it leads to
    bytes       INTEGER NOT NULL,  -- given to these
    kind        INTEGER NOT NULL CHECK (kind IN (1, 2)), -- 1 stack, 2 register
    word        INTEGER NOT NULL,  -- address of the word
    tid         INTEGER NOT NULL,  -- thread, 0 = not known
    reg         TEXT NOT NULL,     -- name of the register, '' = none
    stack_id    INTEGER NOT NULL REFERENCES stack, -- function whose frame it is in, 0 = not known
    PRIMARY KEY (snapshot_id, number),
    FOREIGN KEY (snapshot_id, site_id) REFERENCES site,
    CHECK (requested BETWEEN 0 AND size)
) STRICT, WITHOUT ROWID;

-- A row is a kind of place at which a leak check began.
CREATE TABLE root (
    snapshot_id INTEGER NOT NULL REFERENCES leak_check,
    kind        INTEGER NOT NULL,  -- 0 data, 1 stack, 2 register, 3 mapped memory, 4 named by the program
    ranges      INTEGER NOT NULL,  -- of memory
    bytes       INTEGER NOT NULL,  -- read
    objects     INTEGER NOT NULL,  -- that a word there was the first to lead to
    PRIMARY KEY (snapshot_id, kind)
) STRICT, WITHOUT ROWID;
