-- SPDX-License-Identifier: BSD-3-Clause
--
-- The table of crashes: user_versions 1 and 2 did not have it.

-- A row is the signal that ended the process; only a snapshot that was taken for it has one.
CREATE TABLE crash (
    snapshot_id INTEGER PRIMARY KEY REFERENCES snapshot,
    signal      INTEGER NOT NULL,           -- number
    code        INTEGER NOT NULL,           -- si_code; above 0: the kernel found a fault
    tid         INTEGER NOT NULL,           -- thread that it came to
    comm        TEXT NOT NULL,              -- the thread's name
    sender      INTEGER NOT NULL,           -- pid of the process that sent it, 0 = none did
    address     INTEGER NOT NULL,           -- that the fault is about, 0 = none
    pc          INTEGER NOT NULL,           -- instruction that was interrupted
    sp          INTEGER NOT NULL,           -- its stack pointer
    stack_id    INTEGER NOT NULL REFERENCES stack, -- of the thread, 0 = not known
    stopped     INTEGER NOT NULL CHECK (stopped IN (0, 1)) -- 1: outer frames are missing
) STRICT;
