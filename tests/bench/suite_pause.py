# SPDX-License-Identifier: BSD-3-Clause
"""How long a leak check makes a program with 50 threads wait, and how long the mark takes (pause.c).

 - Heaps of 256 MiB to 4 GiB, in pages of 4 KiB and in huge ones: the longest stall of a thread, with
   a bare fork of the same process beside it, and the same time in which nothing is done.
 - 4 million blocks: the same under LeakSanitizer, whose threads wait for the whole of its check.
 - A random graph of 8 million objects, 1 GiB in all: the mark, in the copy.

Rounds are interleaved, and in each a process of each kind makes several checks.
"""

import os
import subprocess

import measure
from measure import say

FIGURES = ["fork", "forked", "quiet", "stall", "took", "longest", "stopping", "copying", "mark", "group", "lost",
           "interrupted"]
SIZES = [256, 1024, 4096]  # MiB
LSAN = "LeakSanitizer"


def _available_mib():
    with open("/proc/meminfo") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("MemAvailable")) // 1024


def _heaps(args):
    """name -> (what is run, kind, size, settings)"""
    quick = 40 if args.quick else 1
    most = min(args.max_mib, _available_mib() // 2)
    folder = os.path.join(args.build_dir, "tests/bench")
    ours = os.path.join(folder, "pause")
    heaps = {}
    for mib in SIZES:
        for pages, thp in (("4 KiB", "off"), ("huge", "on")):
            if mib // quick <= most:
                heaps[f"{mib} MiB, {pages}"] = (ours, "bytes", max(mib // quick, 8), f"rate=0,thp={thp}")
    heaps["4M blocks"] = (ours, "blocks", 4000000 // quick, "rate=0")
    if os.path.exists(os.path.join(folder, "pause_lsan")):
        heaps[LSAN] = (os.path.join(folder, "pause_lsan"), "blocks", 4000000 // quick, None)
    heaps["graph"] = (ours, "graph", 8000000 // quick, "rate=0")
    return {name: heap for name, heap in heaps.items() if args.only is None or args.only in name}


def _run(heap, checks, library, folder):
    """The lines of a process, each as words; None: it could not be measured."""
    program, kind, size, settings = heap
    env = {**measure.clean_environment(), "GOMALLOC_DIR": folder}
    if settings is not None:
        env.update(LD_PRELOAD=library, GOMALLOC=settings)
    done = subprocess.run([program, kind, str(size), str(checks)], env=env, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, check=False, text=True)
    if done.returncode == 0:
        return [line.split() for line in done.stdout.splitlines()]
    if settings is None:  # it traces its threads, which may not be allowed
        say(f"  {LSAN} does not work here, it is left out: {done.stderr.strip().splitlines()[-1:]}")
        return None
    raise RuntimeError(f"{os.path.basename(program)} {kind} {size} failed: {done.stderr.strip()[-500:]}")


def _add(by, lines):
    for what, *words in lines:
        if what == "heap":
            by["objects"], by["bytes"], by["resident"] = map(int, words)
        if what == "round":
            for figure, value in zip(FIGURES, words):
                by.setdefault(figure, []).append(float(value))


def run(args, runner):
    heaps, result = _heaps(args), {}
    checks = 1 if args.quick else 3
    for number in measure.rounds_within(args.rounds or (1 if args.quick else 5), 240):
        for name, heap in list(heaps.items()):
            say(f"  round {number + 1}: {name}")
            lines = _run(heap, checks, args.library, runner.cwd)
            if lines is None:
                del heaps[name]
            else:
                _add(result.setdefault(name, {}), lines)
    return {"heaps": result}
