# SPDX-License-Identifier: BSD-3-Clause
"""What an operation and a byte cost as the heap grows from 10 MiB to 10 GiB (growth.c).

How far it goes is bounded by --max-mib, and by the memory that is available: small objects need all
of their heap in memory.
"""

import os
import subprocess

import measure
from measure import say

SIZES = [10, 30, 100, 300, 1000, 3000, 10240]  # MiB
QUICK_SIZES = [2, 4, 8]
OBJECT_FIGURES = ["fill", "local", "random", "overhead", "meta"]


def _available_mib():
    with open("/proc/meminfo") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("MemAvailable")) // 1024


def _lines(growth, mode, sizes, contender, operations):
    out = subprocess.run([growth, mode, *map(str, sizes)], stdout=subprocess.PIPE, check=True, text=True,
                         env={**contender.environment(), "GROWTH_OPERATIONS": str(operations)}).stdout
    return [line.split() for line in out.splitlines()]


def run(args, runner):
    del runner
    growth = os.path.join(args.build_dir, "tests/bench/growth")
    most = min(args.max_mib, int(_available_mib() * 0.7))
    sizes = QUICK_SIZES if args.quick else [s for s in SIZES if s <= most]
    operations = 4000 if args.quick else 400000
    points = {}  # contender -> MiB -> figure -> [value]
    contenders = measure.allocators(args.library)
    for number in measure.rounds_within(args.rounds or (1 if args.quick else 3), 240):
        for contender in measure.rotated(contenders, number):
            say(f"  round {number + 1}: {contender.name}, to {sizes[-1]} MiB")
            by = points.setdefault(contender.name, {str(s): {} for s in sizes})
            for mib, _, *values in _lines(growth, "objects", sizes, contender, operations):
                for figure, value in zip(OBJECT_FIGURES, values):
                    by[mib].setdefault(figure, []).append(float(value))
            for mib, _, ns in _lines(growth, "pages", sizes, contender, operations):
                by[mib].setdefault("pages", []).append(float(ns))
    return {"sizes_mib": sizes, "points": points}
