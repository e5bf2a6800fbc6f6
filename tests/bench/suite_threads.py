# SPDX-License-Identifier: BSD-3-Clause
"""Throughput of 1 to 8 threads, on as many processors as there are: larson.c and exchange.c.

More threads than processors can't be faster; what is looked for is whether they are slower: a
thread that is preempted while it holds a lock, or spins for one.
"""

import os
import subprocess

import measure
from measure import say

THREADS = [1, 2, 3, 4, 6, 8]


def run(args, runner):
    del runner
    loads = {"larson": ([1, 2, 4] if args.quick else THREADS, 0.05 if args.quick else 4),
             "exchange": ([1, 2] if args.quick else [1, 2, 4], 0.02 if args.quick else 2)}
    contenders = measure.allocators(args.library)
    result = {}  # load -> contender -> threads -> [operations a second]
    for number in measure.rounds_within(args.rounds or (1 if args.quick else 5), 120):
        for load, (counts, millions) in loads.items():
            if args.only not in (None, load):
                continue
            say(f"  round {number + 1}: {load}")
            program = os.path.join(args.build_dir, "tests/bench", load)
            for n in counts:
                for contender in measure.rotated(contenders, number):
                    out = subprocess.run([program, str(n), str(millions)], env=contender.environment(),
                                         stdout=subprocess.PIPE, check=True, text=True).stdout
                    by = result.setdefault(load, {}).setdefault(contender.name, {})
                    by.setdefault(str(n), []).append(float(out))
    return {"throughput": result}
