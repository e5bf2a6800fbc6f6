-- SPDX-License-Identifier: BSD-3-Clause
--
-- The tables of a gomalloc snapshot file (FILE.db), application_id 0x474D4C43 ("GMLC"),
-- user_version 3.  Described for users in gomalloc-schema(5); the stable interface are the v1_*
-- views of views.sql, the tables below may change with user_version.
--
-- A file holds any number of snapshots of any number of processes.  What was read from an image
-- has a snapshot_id; what holds across snapshots (process, frame, symbol, stack) is stored once, so
-- that the same call site has the same stack_id in every snapshot of the file.
--
-- Units: bytes unless a comment says otherwise; addresses are integers; times are nanoseconds since
-- 1970-01-01 UTC.  64-bit patterns above 2^63-1 appear as negative numbers.

-- A row is a process: one life of one pid.  pid and start_ticks name it within one boot of one
-- kernel, so they survive exec(2), and a pid used again is another process.
CREATE TABLE process (
    process_id  INTEGER PRIMARY KEY,                         -- number in this file
    boot_id     TEXT NOT NULL CHECK (length(boot_id) = 32),  -- kernel's boot id, hex
    pid         INTEGER NOT NULL CHECK (pid >= 0),           -- in the process's own pid namespace
    start_ticks INTEGER NOT NULL CHECK (start_ticks >= 0),   -- /proc/PID/stat field 22, clock ticks since boot
    host        TEXT NOT NULL,                               -- node name
    UNIQUE (boot_id, pid, start_ticks)
) STRICT;

-- A row is a snapshot: one heap image that was imported, with what the image says of the process
-- at that moment.
CREATE TABLE snapshot (
    snapshot_id     INTEGER PRIMARY KEY,                                -- number in this file
    process_id      INTEGER NOT NULL REFERENCES process,                -- whose heap it is
    image_id        TEXT NOT NULL UNIQUE CHECK (length(image_id) = 32), -- hex; an image is imported once
    captured_ns     INTEGER NOT NULL CHECK (captured_ns >= 0),          -- when the capture began
    capture_time_ns INTEGER NOT NULL CHECK (capture_time_ns >= 0),      -- how long it took, ns
    live            INTEGER NOT NULL CHECK (live IN (0, 1)),      -- 1: threads ran meanwhile
    at_exit         INTEGER NOT NULL CHECK (at_exit IN (0, 1)),   -- 1: written when the program ended
    partial         INTEGER NOT NULL CHECK (partial IN (0, 1)),   -- 1: some sections were not asked for
    cut             INTEGER NOT NULL CHECK (cut IN (0, 1)),       -- 1: a bound was met, records are missing
    ppid            INTEGER NOT NULL,                    -- parent's pid
    uid             INTEGER NOT NULL,                    -- effective user
    nthreads        INTEGER NOT NULL,                    -- threads, the library's own included
    start_ns        INTEGER NOT NULL,                    -- when the library started
    forked_ns       INTEGER NOT NULL,                    -- when a fork made the process, 0 = exec'd
    rate            INTEGER NOT NULL CHECK (rate >= 0),  -- bytes between samples; 1 = every allocation, 0 = off
    exact_since_ns  INTEGER NOT NULL,                    -- since when every live object is recorded, 0 = not so
    rss_bytes       INTEGER NOT NULL,                    -- resident set
    page_size       INTEGER NOT NULL,                    -- of the heap, 8192
    os_page_size    INTEGER NOT NULL,                    -- of the kernel
    comm            TEXT NOT NULL,                       -- command name, at most 15 bytes
    exe             TEXT NOT NULL,                       -- path of the program
    cmdline         TEXT NOT NULL,                       -- arguments, separated by one space
    library_version TEXT NOT NULL,                       -- of libgomalloc
    unwinder        TEXT NOT NULL,                       -- who took the stacks
    stored_objects  TEXT                                 -- which objects are rows of object; NULL = not known
                    CHECK (stored_objects IN ('all', 'recorded', 'sample', 'leaked', 'none'))
) STRICT;

CREATE INDEX snapshot_process ON snapshot (process_id, captured_ns);

-- A row is a thread's cache (mcache).  Caches outlive their threads and are used again: those whose
-- thread has ended have tid 0.
CREATE TABLE thread (
    snapshot_id  INTEGER NOT NULL REFERENCES snapshot,
    mcache       INTEGER NOT NULL CHECK (mcache >= 0),  -- index; span.owner refers to it
    tid          INTEGER NOT NULL CHECK (tid >= 0),     -- kernel thread id, 0 = idle cache
    comm         TEXT NOT NULL,                         -- thread name, '' = idle
    cached_bytes INTEGER NOT NULL,                      -- free slots in the spans it owns
    nspans       INTEGER NOT NULL,                      -- spans it owns
    PRIMARY KEY (snapshot_id, mcache)
) STRICT, WITHOUT ROWID;

-- A row is a mapping of the address space that is named: programs, libraries, files.
CREATE TABLE mapping (
    snapshot_id INTEGER NOT NULL REFERENCES snapshot,
    start       INTEGER NOT NULL,                 -- address
    end         INTEGER NOT NULL,                 -- address after the last byte
    file_offset INTEGER NOT NULL,                 -- where it begins in the file
    inode       INTEGER NOT NULL,                 -- 0 = not a file
    dev_major   INTEGER NOT NULL,                 -- of the device that the file is on
    dev_minor   INTEGER NOT NULL,                 -- of the same
    prot        INTEGER NOT NULL,                 -- PROT_READ 1 | PROT_WRITE 2 | PROT_EXEC 4
    path        TEXT NOT NULL,                    -- '' = anonymous
    build_id    TEXT NOT NULL,                    -- GNU build-id, hex, '' = none or not read
    PRIMARY KEY (snapshot_id, start),
    CHECK (start < end)
) STRICT, WITHOUT ROWID;

-- A row is a size class: 68 in each snapshot.
CREATE TABLE size_class (
    snapshot_id INTEGER NOT NULL REFERENCES snapshot,
    size_class  INTEGER NOT NULL CHECK (size_class BETWEEN 0 AND 67), -- 0 = large objects
    bytes       INTEGER NOT NULL,                 -- of a slot, 0 for class 0
    npages      INTEGER NOT NULL,                 -- of a span, pages of 8 KiB, 0 for class 0
    nelems      INTEGER NOT NULL,                 -- slots in a span, 0 for class 0
    PRIMARY KEY (snapshot_id, size_class)
) STRICT, WITHOUT ROWID;

-- A row is a heapArena: 64 MiB of address space from which spans are cut.
CREATE TABLE arena (
    snapshot_id     INTEGER NOT NULL REFERENCES snapshot,
    base            INTEGER NOT NULL,  -- address
    size            INTEGER NOT NULL,  -- 67108864
    reserved_bytes  INTEGER NOT NULL,  -- address space only
    prepared_bytes  INTEGER NOT NULL,  -- may be used, not backed: never touched, or given back
    ready_bytes     INTEGER NOT NULL,  -- backed by the kernel as soon as touched
    in_use_pages    INTEGER NOT NULL,  -- pages of 8 KiB in spans
    free_pages      INTEGER NOT NULL,  -- pages grown and in no span
    scavenged_pages INTEGER NOT NULL,  -- of the free ones, those given back to the kernel
    zeroed_base     INTEGER NOT NULL,  -- offset of the first byte never used
    PRIMARY KEY (snapshot_id, base)
) STRICT, WITHOUT ROWID;

-- A row is a span: pages in a row that hold objects of one size.
CREATE TABLE span (
    snapshot_id     INTEGER NOT NULL REFERENCES snapshot,
    base            INTEGER NOT NULL,                       -- address of the first byte
    npages          INTEGER NOT NULL CHECK (npages > 0),    -- of 8 KiB
    elem_size       INTEGER NOT NULL CHECK (elem_size >= 0), -- bytes given to each object
    nelems          INTEGER NOT NULL CHECK (nelems >= 0),   -- slots
    live            INTEGER NOT NULL,                       -- slots allocated
    marked          INTEGER NOT NULL,                       -- free slots whose free is not swept yet
    owner           INTEGER NOT NULL,                       -- thread.mcache; 4294967295 = central list, 4294967294 = page heap
    size_class      INTEGER NOT NULL CHECK (size_class BETWEEN 0 AND 67), -- 0 = one large object
    noscan          INTEGER NOT NULL CHECK (noscan IN (0, 1)), -- 1: objects hold no pointers
    state           INTEGER NOT NULL CHECK (state BETWEEN 0 AND 2), -- 0 dead, 1 in use, 2 manual
    place           INTEGER NOT NULL CHECK (place BETWEEN 0 AND 7), -- where it is kept: see v1_span
    needzero        INTEGER NOT NULL,                       -- 1: free slots may hold old data
    sweepgen        INTEGER NOT NULL,                       -- sweep cycle in which it was last swept
    freeindex       INTEGER NOT NULL,                       -- slot at which the next search begins
    recorded        INTEGER NOT NULL CHECK (recorded IN (0, 1)), -- 1: some slot has a site
    large_requested INTEGER NOT NULL,                       -- class 0: bytes asked for, 0 = not recorded
    bitmap          BLOB NOT NULL,                          -- bit i % 8 of byte i / 8: slot i is live
    PRIMARY KEY (snapshot_id, base),
    CHECK (live BETWEEN 0 AND nelems),
    CHECK (length(bitmap) >= nelems / 8)
) STRICT, WITHOUT ROWID;

-- A row is an entry of the page allocator's radix tree that is not all zero: what is free in a
-- stretch of address space.
CREATE TABLE radix_summary (
    snapshot_id INTEGER NOT NULL REFERENCES snapshot,
    level       INTEGER NOT NULL CHECK (level BETWEEN 0 AND 4), -- 0 = root, 4 = leaf: one chunk
    idx         INTEGER NOT NULL,  -- entry in its level
    base        INTEGER NOT NULL,  -- address that it covers from
    npages      INTEGER NOT NULL,  -- pages that it covers
    start_free  INTEGER NOT NULL,  -- free pages at its start
    max_free    INTEGER NOT NULL,  -- longest run of free pages
    end_free    INTEGER NOT NULL,  -- free pages at its end
    PRIMARY KEY (snapshot_id, level, idx),
    CHECK (start_free <= max_free AND end_free <= max_free AND max_free <= npages)
) STRICT, WITHOUT ROWID;

-- A row is a chunk: 512 pages (4 MiB), the page allocator's leaf.
CREATE TABLE chunk (
    snapshot_id INTEGER NOT NULL REFERENCES snapshot,
    idx         INTEGER NOT NULL,  -- chunk number in the address space
    base        INTEGER NOT NULL,  -- address
    map         TEXT NOT NULL CHECK (length(map) = 512), -- a character a page: '#' in use, '.' free,
                                   -- '_' free and given back, 'c' in a page cache, 'C' in a page
                                   -- cache and given back, '-' not of the heap
    PRIMARY KEY (snapshot_id, idx)
) STRICT, WITHOUT ROWID;

-- A row is a place in code from which a call was made: the same in every snapshot and process that
-- has the same file mapped.  Row 0 stands for no place.
CREATE TABLE frame (
    frame_id      INTEGER PRIMARY KEY, -- number in this file
    module        TEXT NOT NULL,     -- path of the mapped file, '' = none
    build_id      TEXT NOT NULL,     -- of the module, hex, '' = not known
    module_offset INTEGER NOT NULL,  -- of the return address in the module's file; without a module the address
    UNIQUE (module, build_id, module_offset)
) STRICT;

INSERT INTO frame VALUES (0, '', '', 0);

-- A row is a function at a frame: row 0 is the innermost; where functions were inlined there are
-- more, the last being the one that the compiler kept.  Found when the frame was first imported.
-- Each frame has at least row 0, if need be without a function.
CREATE TABLE symbol (
    frame_id     INTEGER NOT NULL REFERENCES frame, -- where the function is
    inline_depth INTEGER NOT NULL CHECK (inline_depth >= 0), -- 0 = innermost
    function     TEXT,              -- demangled, NULL = not known
    file         TEXT,              -- source file, NULL = not known
    line         INTEGER NOT NULL,  -- 0 = not known
    inlined      INTEGER NOT NULL CHECK (inlined IN (0, 1)),   -- 1: into the row that follows
    allocator    INTEGER NOT NULL CHECK (allocator IN (0, 1)), -- 1: malloc, operator new, or a wrapper
    col          INTEGER,           -- column in the line, NULL = not known
    PRIMARY KEY (frame_id, inline_depth)
) STRICT, WITHOUT ROWID;

INSERT INTO symbol VALUES (0, 0, NULL, NULL, 0, 0, 0, NULL);

-- A row is a call stack, as its innermost frame and the stack that called it; equal stacks are one
-- row.  Row 0 is the empty stack, the root of all.
CREATE TABLE stack (
    stack_id  INTEGER PRIMARY KEY,                 -- number in this file
    parent_id INTEGER REFERENCES stack,            -- the caller's stack, NULL for the root
    frame_id  INTEGER NOT NULL REFERENCES frame,   -- innermost frame, 0 for the root
    depth     INTEGER NOT NULL CHECK (depth >= 0), -- frames
    caller_id INTEGER NOT NULL REFERENCES stack,   -- itself without innermost frames of allocators; 0 = none is left
    UNIQUE (parent_id, frame_id)
) STRICT;

INSERT INTO stack VALUES (0, NULL, 0, 0, 0);

-- A row is a site: a call stack that has allocated.  Site 0, in every snapshot, stands for the
-- allocations of which nothing is recorded.
CREATE TABLE site (
    snapshot_id   INTEGER NOT NULL REFERENCES snapshot,
    site_id       INTEGER NOT NULL CHECK (site_id >= 0), -- number in its snapshot
    stack_id      INTEGER NOT NULL REFERENCES stack, -- 0 = no stack could be taken
    truncated     INTEGER NOT NULL CHECK (truncated IN (0, 1)), -- 1: some frames are missing, deeper than the bound
    stopped       INTEGER NOT NULL CHECK (stopped IN (0, 1)),   -- 1: outermost frames are missing, the unwinder gave up
    samples       INTEGER NOT NULL,  -- allocations recorded since the start
    sample_bytes  INTEGER NOT NULL,  -- bytes they asked for
    alloc_objects REAL NOT NULL,     -- estimate of all allocations since the start; exact at rate 1
    alloc_bytes   REAL NOT NULL,     -- the same in bytes asked for
    PRIMARY KEY (snapshot_id, site_id)
) STRICT, WITHOUT ROWID;

-- A row says how many live objects of one size a site has.
CREATE TABLE site_live (
    snapshot_id INTEGER NOT NULL,
    site_id     INTEGER NOT NULL,  -- 0 = not recorded
    given       INTEGER NOT NULL,  -- bytes of the slot
    requested   INTEGER,           -- bytes asked for, NULL = not recorded
    objects     INTEGER NOT NULL CHECK (objects > 0), -- live objects recorded; site 0: not recorded
    weight      REAL NOT NULL,     -- objects that each one stands for: 1 / (1 - exp(-requested / rate))
    UNIQUE (snapshot_id, site_id, given, requested),
    FOREIGN KEY (snapshot_id, site_id) REFERENCES site
) STRICT;

-- A row is a live object.  An import stores those with a site unless told otherwise: see
-- snapshot.stored_objects.
CREATE TABLE object (
    snapshot_id INTEGER NOT NULL,
    address     INTEGER NOT NULL,  -- of its first byte
    span        INTEGER NOT NULL,  -- base of its span
    slot        INTEGER NOT NULL,  -- in its span
    given       INTEGER NOT NULL,  -- bytes of the slot
    requested   INTEGER,           -- bytes asked for, NULL = not recorded
    site_id     INTEGER NOT NULL,  -- 0 = not recorded
    weight      REAL NOT NULL DEFAULT 1 CHECK (weight >= 1), -- live objects that it stands for
    PRIMARY KEY (snapshot_id, address),
    FOREIGN KEY (snapshot_id, span) REFERENCES span (snapshot_id, base),
    FOREIGN KEY (snapshot_id, site_id) REFERENCES site,
    CHECK (requested BETWEEN 0 AND given)
) STRICT, WITHOUT ROWID;

-- A row is a purpose for which the library has memory, and how much of it is in which state.
CREATE TABLE memstat (
    snapshot_id    INTEGER NOT NULL REFERENCES snapshot,
    name           TEXT NOT NULL,     -- 'heap', 'span', 'bitmap', 'recorder', ...
    reserved_bytes INTEGER NOT NULL,  -- address space only
    prepared_bytes INTEGER NOT NULL,  -- may be used, not backed
    ready_bytes    INTEGER NOT NULL,  -- backed by the kernel as soon as touched
    used_bytes     INTEGER NOT NULL,  -- of the ready ones, handed out
    PRIMARY KEY (snapshot_id, name)
) STRICT, WITHOUT ROWID;

-- A row is something else that the library counts.
CREATE TABLE counter (
    snapshot_id INTEGER NOT NULL REFERENCES snapshot,
    name        TEXT NOT NULL,     -- 'heap.grow', 'recorder.dropped', ...
    unit        TEXT NOT NULL,     -- 'bytes', 'objects', 'calls', 'ns', ...
    value       INTEGER NOT NULL,  -- the count
    PRIMARY KEY (snapshot_id, name)
) STRICT, WITHOUT ROWID;
