-- SPDX-License-Identifier: BSD-3-Clause
--
-- The tables of the allocator's structures, below the spans: caches, central lists, the heap, the
-- scavenger, transitions of address space.  user_version 1 did not have them; a snapshot of an image
-- without these sections has no rows in them.  Units as in tables.sql.

-- A row is what a thread's cache is at, beside its spans.
CREATE TABLE mcache (
    snapshot_id       INTEGER NOT NULL REFERENCES snapshot,
    mcache            INTEGER NOT NULL CHECK (mcache >= 0),           -- index, as in thread
    attached          INTEGER NOT NULL CHECK (attached IN (0, 1)),    -- 1: a living thread uses it
    orphan            INTEGER NOT NULL CHECK (orphan IN (0, 1)),      -- 1: its thread was lost in a fork
    next_sample       INTEGER,           -- bytes until the recorder looks, NULL = at once, or never
    tiny              INTEGER NOT NULL,  -- address of the tiny block in use, 0 = none
    tiny_offset       INTEGER NOT NULL,  -- bytes of it that are used
    pcache_base       INTEGER NOT NULL,  -- page cache: address of its 64 pages, 0 = empty
    pcache_free       INTEGER NOT NULL,  -- bit i: page i is free and this cache's
    pcache_scavenged  INTEGER NOT NULL,  -- of these, given back or never backed
    pcache_npages     INTEGER NOT NULL,  -- bits in pcache_free
    pcache_nscavenged INTEGER NOT NULL,  -- bits in pcache_scavenged
    nlarge            INTEGER NOT NULL,  -- freed large spans kept for reuse
    npending          INTEGER NOT NULL,  -- spans on its list of those with marks
    large_bytes       INTEGER NOT NULL,  -- bytes of the large spans kept
    flush_gen         INTEGER NOT NULL,  -- sweepgen when its empty spans were last given back
    nrefill           INTEGER NOT NULL,  -- refills since it was made
    nspan_alloc       INTEGER NOT NULL,  -- spans taken from the heap
    nspan_free        INTEGER NOT NULL,  -- spans given back
    nstacks           INTEGER NOT NULL,  -- free stacks kept for reuse
    stack_bytes       INTEGER NOT NULL,  -- their bytes, without guards
    PRIMARY KEY (snapshot_id, mcache)
) STRICT, WITHOUT ROWID;

-- A row is a span class of a cache in which there is something.
CREATE TABLE mcache_class (
    snapshot_id   INTEGER NOT NULL,
    mcache        INTEGER NOT NULL,  -- index
    size_class    INTEGER NOT NULL CHECK (size_class BETWEEN 0 AND 67), -- of its spans
    noscan        INTEGER NOT NULL CHECK (noscan IN (0, 1)), -- 1: objects hold no pointers
    current       INTEGER NOT NULL,  -- address of the span that it allocates from, 0 = none
    current_free  INTEGER NOT NULL,  -- free slots of that
    search        INTEGER NOT NULL,  -- slot of it at which the next search begins
    nhints        INTEGER NOT NULL,  -- slots freed last, to be used first
    hint_capacity INTEGER NOT NULL,  -- at most so many
    nlisted       INTEGER NOT NULL,  -- spans on its list of those with free slots
    listed_free   INTEGER NOT NULL,  -- free slots in them
    nheld         INTEGER NOT NULL,  -- its other spans: full, or only hints or marks tell of free slots
    held_free     INTEGER NOT NULL,  -- free slots in them
    PRIMARY KEY (snapshot_id, mcache, size_class, noscan),
    FOREIGN KEY (snapshot_id, mcache) REFERENCES mcache,
    CHECK (nhints <= hint_capacity)
) STRICT, WITHOUT ROWID;

-- A row is the central list of a span class: spans that no thread owns, in four sets.
CREATE TABLE mcentral (
    snapshot_id          INTEGER NOT NULL REFERENCES snapshot,
    size_class           INTEGER NOT NULL CHECK (size_class BETWEEN 0 AND 67), -- of the spans
    noscan               INTEGER NOT NULL CHECK (noscan IN (0, 1)), -- 1: objects hold no pointers
    npending             INTEGER NOT NULL,  -- spans with new marks, in no unswept set yet
    partial_swept        INTEGER NOT NULL,  -- spans with free slots
    partial_unswept      INTEGER NOT NULL,  -- the same, with marks since their last sweep
    full_swept           INTEGER NOT NULL,  -- spans without a free slot
    full_unswept         INTEGER NOT NULL,  -- the same, but for marks
    partial_swept_free   INTEGER NOT NULL,  -- free slots in that set, marked ones included
    partial_unswept_free INTEGER NOT NULL,  -- free slots in that set
    full_swept_free      INTEGER NOT NULL,  -- free slots in that set: marks that have just come
    full_unswept_free    INTEGER NOT NULL,  -- free slots in that set
    ncache               INTEGER NOT NULL,  -- spans given to caches since the start
    nuncache             INTEGER NOT NULL,  -- spans taken from caches
    PRIMARY KEY (snapshot_id, size_class, noscan)
) STRICT, WITHOUT ROWID;

-- A row is the heap itself: one in each snapshot.
CREATE TABLE mheap (
    snapshot_id     INTEGER PRIMARY KEY REFERENCES snapshot,
    sweepgen        INTEGER NOT NULL,  -- of the sweep cycle; two more at each
    search_addr     INTEGER,           -- no page below is free, but in page caches; NULL = none at all
    arena_hint      INTEGER NOT NULL,  -- address at which the next arena is asked for
    cur_arena       INTEGER NOT NULL,  -- address from which the heap grows next
    cur_arena_end   INTEGER NOT NULL,  -- address up to which it grows without another arena
    chunk_start     INTEGER NOT NULL,  -- no chunk lies below this address
    chunk_end       INTEGER NOT NULL,  -- and none from here on
    pages_in_use    INTEGER NOT NULL,  -- pages in spans
    reclaim_at      INTEGER NOT NULL,  -- pages in use at which empty spans are looked for
    pages_grown     INTEGER NOT NULL,  -- pages ever made part of the heap
    pages_taken     INTEGER NOT NULL,  -- of these, in spans and in page caches
    pages_scavenged INTEGER NOT NULL,  -- of the free ones, given back or never backed
    summary_bytes   INTEGER NOT NULL,  -- of the radix tree's summaries, mapped
    nspan_alloc     INTEGER NOT NULL,  -- spans made since the start
    nspan_free      INTEGER NOT NULL,  -- and freed
    nlarge          INTEGER NOT NULL,  -- large objects allocated
    ngrow           INTEGER NOT NULL,  -- calls of grow
    nreclaim        INTEGER NOT NULL,  -- times that empty spans were looked for
    nheaders        INTEGER NOT NULL   -- span headers, used or for reuse
) STRICT;

-- A row is the scavenger, which gives free pages back to the kernel: one in each snapshot.
CREATE TABLE scavenger (
    snapshot_id    INTEGER PRIMARY KEY REFERENCES snapshot,
    goal_bytes     INTEGER NOT NULL,  -- the heap should retain at most so much
    retained_bytes INTEGER NOT NULL,  -- it retains: pages in use, or free and not given back
    peak_pages     INTEGER NOT NULL,  -- most pages in use in this window
    last_peak      INTEGER NOT NULL,  -- and in the window before, 0 = none has ended
    released_pages INTEGER NOT NULL,  -- given back since the start
    reused_pages   INTEGER NOT NULL,  -- of these, taken into use again
    ncalls         INTEGER NOT NULL,  -- runs of pages given back: system calls
    nwindows       INTEGER NOT NULL,  -- windows ended
    nregrets       INTEGER NOT NULL,  -- of these, in which too much came back into use
    window_ns      INTEGER NOT NULL,  -- length of a window
    window_left_ns INTEGER NOT NULL,  -- until this one ends, 0 = it is over
    worked_ns      INTEGER NOT NULL,  -- time spent giving back in the background
    working        INTEGER NOT NULL CHECK (working IN (0, 1)),  -- 1: above the goal and at work
    regretful      INTEGER NOT NULL CHECK (regretful IN (0, 1)) -- 1: the last window was regretted
) STRICT;

-- A row is the memory of one purpose that went from one state of address space to another.
CREATE TABLE transition (
    snapshot_id INTEGER NOT NULL REFERENCES snapshot,
    purpose     TEXT NOT NULL,     -- as memstat.name
    name        TEXT NOT NULL,     -- Go's: 'sysReserve', 'sysMap', ...
    from_state  INTEGER NOT NULL CHECK (from_state BETWEEN 0 AND 3), -- 0 none, 1 reserved, 2 prepared, 3 ready
    to_state    INTEGER NOT NULL CHECK (to_state BETWEEN 0 AND 3),   -- the same
    ncalls      INTEGER NOT NULL,  -- times
    bytes       INTEGER NOT NULL,  -- moved since the start
    PRIMARY KEY (snapshot_id, purpose, from_state, to_state)
) STRICT, WITHOUT ROWID;
