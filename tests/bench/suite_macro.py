# SPDX-License-Identifier: BSD-3-Clause
"""Real programs: under each allocator (macro), and with the recorder at work (record)."""

import glob
import json
import os
import shutil
import subprocess
import threading

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


def _record_contenders(args, runner):
    file = os.path.join(runner.cwd, "exit")
    contenders = [measure.glibc(), Contender("rate=0", args.library, "rate=0"),
                  Contender("default rate", args.library),
                  Contender("rate=1", args.library, f"rate=1,exit={file}.%p.gmi")]
    if shutil.which("heaptrack"):
        contenders.append(Contender("heaptrack", wrapper=["heaptrack", "-o", file]))
    else:
        say("heaptrack is not installed: left out")
    return contenders


LIVE = "SELECT (SELECT count(*) FROM image_site) AS stacks, " \
       "(SELECT ifnull(sum(live), 0) FROM image_span WHERE state = 1) AS objects"


def _ask(goinspect, folder, *words):
    """The rows of an answer; none if there is none: the process may have ended."""
    done = subprocess.run([goinspect, *words, "--json"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                          env={**measure.clean_environment(), "GOMALLOC_DIR": folder}, check=False)
    return json.loads(done.stdout)["rows"] if done.returncode == 0 else []


def _watch(goinspect, folder, seen, ended):
    """Looks at the processes of a folder some times a second."""
    while not ended.wait(0.05):
        for socket in glob.glob(os.path.join(folder, "*.sock")):
            seen.extend(_ask(goinspect, folder, "sql", os.path.basename(socket)[:-len(".sock")], LIVE))


def _recorded(args, runner, program):
    """How much a program gives to record: distinct stacks, and the most objects that were seen to live
    while it ran or when it ended.  Not measured."""
    goinspect = os.path.join(args.build_dir, "inspect/goinspect")
    folder = os.path.join(runner.cwd, "sockets")
    os.makedirs(folder, mode=0o700)  # or it is not trusted
    contender = Contender("rate=1", args.library, f"rate=1,exit={folder}/%p.gmi")
    contender.env["GOMALLOC_DIR"] = folder
    seen, ended = [], threading.Event()
    watcher = threading.Thread(target=_watch, args=(goinspect, folder, seen, ended))
    watcher.start()
    program.run(contender)
    ended.set()
    watcher.join()
    for image in glob.glob(os.path.join(folder, "*.gmi")):
        seen.extend(_ask(goinspect, folder, "sql", image, LIVE))
    shutil.rmtree(folder)
    return {"stacks": max(s["stacks"] for s in seen), "objects": max(s["objects"] for s in seen)}


def run_record(args, runner):
    made = programs.recorded_programs(runner, args.build_dir, args.quick)
    chosen = [p for p in made if args.only in (None, p.name)]
    if not chosen:
        raise RuntimeError(f"no program named {args.only}; there are: " + ", ".join(p.name for p in made))
    if args.quick and not args.only:  # heaptrack takes a second to start
        chosen = [p for p in chosen if p.name in ("sqlite3", "jq", "C++ index")]
    rounds = args.rounds or (1 if args.quick else 7)
    return {"recorded": {p.name: _recorded(args, runner, p) for p in chosen},
            "programs": measure.interleave(chosen, _record_contenders(args, runner), rounds, 400)}
