# SPDX-License-Identifier: BSD-3-Clause
"""Real programs: under each allocator (macro), and with the recorder at work (record)."""

import os
import shutil

import measure
import programs
from measure import Contender, say


def _chosen(args, runner, leave_out=()):
    made = programs.make_programs(runner, args.build_dir, args.quick)
    found = [p for p in made if p.name not in leave_out and args.only in (None, p.name)]
    if not found:
        raise RuntimeError(f"no program named {args.only}; there are: " + ", ".join(p.name for p in made))
    return found


def run_macro(args, runner):
    contenders = measure.allocators(args.library)
    return {"programs": measure.interleave(_chosen(args, runner), contenders,
                                           args.rounds or (1 if args.quick else 7), 620)}


def run_record(args, runner):
    file = os.path.join(runner.cwd, "exit")
    contenders = [Contender("rate=0", args.library, "rate=0"),
                  Contender("default rate", args.library),
                  Contender("rate=1", args.library, f"rate=1,exit={file}.%p.gmi")]
    if shutil.which("heaptrack"):
        contenders.append(Contender("heaptrack", wrapper=["heaptrack", "-o", file]))
    else:
        say("heaptrack is not installed: left out")
    # Those with a load from outside, or so many allocations that only rate=1 would be measured.
    leave_out = ("redis-server", "larson", "exchange", "stress", "bignum")
    chosen = _chosen(args, runner, leave_out)
    if args.quick:  # heaptrack takes a second to start
        chosen = [p for p in chosen if p.name in ("sqlite3", "git log", "json", args.only)]
    return {"programs": measure.interleave(chosen, contenders, args.rounds or (1 if args.quick else 7), 240)}
