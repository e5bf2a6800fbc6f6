# SPDX-License-Identifier: BSD-3-Clause
"""The cost of one malloc and one free: nanoseconds (micro.c), and instructions counted by callgrind.

Instructions are the difference of two run lengths, so that starting up cancels out; and the loop's
own, counted with malloc and free replaced by stubs of three instructions in all, are given beside
them, so that it can be told what the two functions take.
"""

import os
import re
import shutil
import subprocess

import measure
from measure import say

PATTERNS = ["immediate", "fifo", "random", "batch", "mixed", "replace", "cross"]
COUNTED = [("immediate", 64), ("immediate", 1024), ("fifo", 64), ("random", 64)]
STUB_INSTRUCTIONS = 3  # of stub_alloc and stub_release together


def _cells(micro, pattern, contender, seconds):
    out = subprocess.run([micro, "--seconds", str(seconds), pattern], env=contender.environment(),
                         stdout=subprocess.PIPE, check=True, text=True).stdout
    for line in out.splitlines():
        name, size, live, ns = line.split()
        yield (name, int(size), int(live)), float(ns)


def _instructions(env, micro, pattern, size, pairs, *options):
    done = subprocess.run(["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", micro, *options,
                           "--pairs", str(pairs), pattern, str(size)], env=env,
                          stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False)
    found = re.search(r"Collected : (\d+)", done.stderr)
    return int(found.group(1)) if done.returncode == 0 and found else None


def _per_pair(env, micro, pattern, size, pairs, *options):
    few = _instructions(env, micro, pattern, size, pairs, *options)
    many = _instructions(env, micro, pattern, size, 3 * pairs, *options)
    return (many - few) / (2 * pairs) if few and many else None


def _count(contenders, micro, quick):
    rows, pairs = [], 2000 if quick else 20000
    if quick:  # valgrind takes a second to start
        contenders = [c for c in contenders if c.name == measure.OURS]
    for pattern, size in COUNTED[: 1 if quick else None]:
        say(f"  counting instructions: {pattern} {size}")
        stubbed = _per_pair(measure.clean_environment(), micro, pattern, size, pairs, "--stub")
        row = {"pattern": pattern, "size": size, "total": {},
               "loop": None if stubbed is None else stubbed - STUB_INSTRUCTIONS}
        for contender in contenders:
            row["total"][contender.name] = _per_pair(contender.environment(), micro, pattern, size, pairs)
        rows.append(row)
    return rows


def run(args, runner):
    del runner
    contenders = measure.allocators(args.library)
    micro = os.path.join(args.build_dir, "tests/bench/micro")
    patterns = [p for p in PATTERNS if args.only in (None, p)]
    cells = {}  # (pattern, size, live) -> contender -> [ns]
    for number in measure.rounds_within(args.rounds or (1 if args.quick else 7), 300):
        say(f"  round {number + 1}")
        for pattern in patterns:
            for contender in measure.rotated(contenders, number):
                for key, ns in _cells(micro, pattern, contender, 0.0001 if args.quick else 0.05):
                    cells.setdefault(key, {}).setdefault(contender.name, []).append(ns)
    result = {"cells": [{"pattern": p, "size": s, "live": n, "ns": by} for (p, s, n), by in cells.items()],
              "instructions": []}
    if shutil.which("valgrind"):
        result["instructions"] = _count(contenders, micro, args.quick)
    else:
        say("valgrind is not installed: instructions are not counted")
    return result
