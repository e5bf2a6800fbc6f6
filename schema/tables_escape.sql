-- SPDX-License-Identifier: BSD-3-Clause
--
-- The tables of what became of objects, and of history: user_versions 1 and 2 did not have them.  A
-- snapshot of an image without these sections has no rows in them.  Units as in tables.sql.
--
-- Frames are counted as in gomalloc(7): f0 is the caller of malloc, the innermost frame of the
-- site's stack, f1 its caller, and so on.

-- A row is a site of which objects were judged: what became of them.
-- freed = other_thread + reentered + unknown_* + sum(outlived.objects); judged - freed are live.
CREATE TABLE verdict (
    snapshot_id      INTEGER NOT NULL,
    site_id          INTEGER NOT NULL CHECK (site_id > 0), -- whose objects
    judged           INTEGER NOT NULL,  -- objects watched from their allocation on
    freed            INTEGER NOT NULL,  -- of these, objects
    other_thread     INTEGER NOT NULL,  -- objects freed by another thread: proved
    reentered        INTEGER NOT NULL,  -- objects freed by a later activation of f0: proved
    unknown_switched INTEGER NOT NULL,  -- objects not told: the thread had changed stacks
    unknown_stopped  INTEGER NOT NULL,  -- objects not told: the stack was not to be had
    unknown_deep     INTEGER NOT NULL,  -- objects not told: the stack is deeper than is remembered
    life_ns_p50      REAL NOT NULL,     -- median time from allocation to free, ns; 0 = none freed
    life_ns_p99      REAL NOT NULL,     -- 99th percentile of the same, ns
    life_bytes_p50   REAL NOT NULL,     -- median of the bytes that the process allocated meanwhile
    life_bytes_p99   REAL NOT NULL,     -- 99th percentile of the same
    chains           INTEGER NOT NULL,  -- of the freed, objects that realloc had resized or moved
    growths          INTEGER NOT NULL,  -- times that it did so, in all of these
    final_size_p50   REAL NOT NULL,     -- median size at the end of these, bytes; 0 = none
    final_size_p99   REAL NOT NULL,     -- 99th percentile of the same
    PRIMARY KEY (snapshot_id, site_id),
    FOREIGN KEY (snapshot_id, site_id) REFERENCES site,
    CHECK (freed <= judged AND chains <= freed)
) STRICT, WITHOUT ROWID;

-- A row says of how many objects, freed by the thread that had allocated them, the activations f0 to
-- f(frames - 1) had ended by then, and no more as far as can be seen.
CREATE TABLE outlived (
    snapshot_id INTEGER NOT NULL,
    site_id     INTEGER NOT NULL,  -- whose objects
    frames      INTEGER NOT NULL,  -- 0 = not even f0; 4294967295 = all numbers that have no row
    objects     INTEGER NOT NULL,  -- that these had ended is proved of each
    proved      INTEGER NOT NULL,  -- of these objects, those of which f(frames) is proved to go on
    PRIMARY KEY (snapshot_id, site_id, frames),
    FOREIGN KEY (snapshot_id, site_id) REFERENCES verdict,
    CHECK (proved <= objects)
) STRICT, WITHOUT ROWID;

-- A row is two threads, of which one freed what the other had allocated at a site.
CREATE TABLE handover (
    snapshot_id INTEGER NOT NULL,
    site_id     INTEGER NOT NULL,  -- 0 = the rest, of all sites for which there was no room
    from_tid    INTEGER NOT NULL,  -- who allocated: kernel thread id, may be another thread's by now
    to_tid      INTEGER NOT NULL,  -- who freed
    from_comm   TEXT NOT NULL,     -- its name, as of the last 2^n-th object
    to_comm     TEXT NOT NULL,     -- the same
    objects     INTEGER NOT NULL,  -- judged ones
    FOREIGN KEY (snapshot_id, site_id) REFERENCES site
) STRICT;

CREATE INDEX handover_site ON handover (snapshot_id, site_id);

-- A row is a moment at which the history was written.
CREATE TABLE tick (
    snapshot_id  INTEGER NOT NULL REFERENCES snapshot,
    tick         INTEGER NOT NULL,  -- number, grows
    when_ns      INTEGER NOT NULL,  -- time
    live_bytes   REAL NOT NULL,     -- of all sites: estimate
    live_objects REAL NOT NULL,     -- the same
    alloc_bytes  REAL NOT NULL,     -- since the start: estimate
    rss_bytes    REAL NOT NULL,     -- resident set
    PRIMARY KEY (snapshot_id, tick)
) STRICT, WITHOUT ROWID;

-- A row is a site at a tick.  A site has a row at each tick from the first at which it was followed.
CREATE TABLE history (
    snapshot_id  INTEGER NOT NULL,
    site_id      INTEGER NOT NULL,  -- 0 = all sites that are not followed
    tick         INTEGER NOT NULL,  -- when
    live_bytes   REAL NOT NULL,     -- estimate
    live_objects REAL NOT NULL,     -- the same
    alloc_bytes  REAL NOT NULL,     -- since the start: estimate
    PRIMARY KEY (snapshot_id, site_id, tick),
    FOREIGN KEY (snapshot_id, tick) REFERENCES tick,
    FOREIGN KEY (snapshot_id, site_id) REFERENCES site
) STRICT, WITHOUT ROWID;
