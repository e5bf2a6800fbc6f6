-- SPDX-License-Identifier: BSD-3-Clause
--
-- Views of crashes: what ended a process, and where.

-- One row for each snapshot that was taken because a signal ended the process.
CREATE VIEW v1_crash AS
SELECT c.snapshot_id,
       CASE c.signal WHEN 4 THEN 'SIGILL' WHEN 5 THEN 'SIGTRAP' WHEN 6 THEN 'SIGABRT'
            WHEN 7 THEN 'SIGBUS' WHEN 8 THEN 'SIGFPE' WHEN 11 THEN 'SIGSEGV' WHEN 31 THEN 'SIGSYS'
            ELSE 'signal ' || c.signal END AS signal,
       CASE WHEN c.signal = 6 THEN 'abort'
            WHEN c.code <= 0 THEN 'sent by process ' || c.sender
            WHEN c.signal = 11 AND c.code = 1 THEN 'nothing mapped there'
            WHEN c.signal = 11 AND c.code = 2 THEN 'access not allowed there'
            WHEN c.signal = 11 THEN 'address out of range, or access not allowed'
            WHEN c.signal = 7 AND c.code = 1 THEN 'misaligned address'
            WHEN c.signal = 7 AND c.code = 2 THEN 'no memory behind it: a file too short, or a full disk'
            WHEN c.signal = 7 AND c.code IN (4, 5) THEN 'broken memory'
            WHEN c.signal = 8 AND c.code = 1 THEN 'integer division by zero'
            WHEN c.signal = 8 AND c.code = 2 THEN 'integer overflow'
            WHEN c.signal = 8 THEN 'floating-point exception'
            WHEN c.signal = 4 THEN 'illegal instruction'
            WHEN c.signal = 5 THEN 'trap or breakpoint'
            WHEN c.signal = 31 THEN 'system call not allowed'
            ELSE 'code ' || c.code END AS reason,
       CASE WHEN c.code > 0 AND c.signal IN (7, 11) THEN printf('0x%x', c.address) END AS address,
       c.tid, c.comm,
       (SELECT y.function FROM stack k JOIN symbol y ON y.frame_id = k.frame_id
        WHERE k.stack_id = c.stack_id AND c.stack_id <> 0 AND y.inline_depth = 0) AS function,
       (SELECT y.file || ':' || y.line FROM stack k JOIN symbol y ON y.frame_id = k.frame_id
        WHERE k.stack_id = c.stack_id AND c.stack_id <> 0 AND y.inline_depth = 0) AS location,
       printf('0x%x', c.pc) AS pc, printf('0x%x', c.sp) AS sp, c.stopped, c.signal AS signal_number,
       c.code, c.sender, c.stack_id
FROM crash c;

-- One row for each function on the stack of the thread that a signal came to; frame 0 is the
-- innermost.
CREATE VIEW v1_crash_stack AS
SELECT c.snapshot_id, l.frame, l.inline_depth, l.function, l.file, l.line, l.module,
       l.module_offset, l.inlined, l.text
FROM crash c CROSS JOIN stack_line l
WHERE l.stack_id = c.stack_id;
