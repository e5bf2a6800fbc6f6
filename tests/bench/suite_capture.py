# SPDX-License-Identifier: BSD-3-Clause
"""The capture of a stack, by the library and by unw_backtrace; with finding it in a table, that of
the library and a trie that is gone through frame by frame (capture_both.c, capture.c).

In real programs both are done at each allocation, in turns, so a ratio is one of sums over the same
stacks; on a stack that stays the same, in turns as well.
"""

import os
import subprocess

import measure
import programs
from measure import Contender, say

PROGRAMS = ["python3", "sqlite3", "cc1", "cc1plus"]
DEPTHS = [20, 40]
FIGURES = ["captures", "replay", "intern", "unwind", "trie"]


def _sums(program, contender, file):
    program.run(contender)
    with open(file) as f:  # a line a process
        lines = [[int(word) for word in line.split()] for line in f]
    os.unlink(file)
    return [sum(column) for column in zip(*lines)]


def _measure(capture, *words):
    return subprocess.run([capture, *words], stdout=subprocess.PIPE, check=True, text=True,
                          env=measure.clean_environment()).stdout.split()


def run(args, runner):
    capture = os.path.join(args.build_dir, "tests/bench/capture")
    file = os.path.join(runner.cwd, "sums")
    both = Contender("both", os.path.join(args.build_dir, "tests/bench/libbench_capture_both.so"))
    both.env["BENCH_CAPTURE"] = file
    made = programs.make_programs(runner, args.build_dir, args.quick)
    chosen = [p for p in made if p.name in PROGRAMS and args.only in (None, p.name)]
    result = {"programs": {}, "hot": {}, "first_us": []}
    for number in measure.rounds_within(args.rounds or (1 if args.quick else 5), 240):
        say(f"  round {number + 1}")
        for program in chosen:
            by = result["programs"].setdefault(program.name, {})
            for figure, value in zip(FIGURES, _sums(program, both, file)):
                by.setdefault(figure, []).append(value)
        for depth in DEPTHS:
            _, replay, unwind = _measure(capture, "hot", str(depth))
            by = result["hot"].setdefault(str(depth), {"replay": [], "unwind": []})
            by["replay"].append(float(replay))
            by["unwind"].append(float(unwind))
        result["first_us"].append(float(_measure(capture, "first")[0]))
    return result
