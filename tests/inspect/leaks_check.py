#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
#
# leaks_check.py [-v] [--stale N] [--held NAME,...] [OPTION...] -- PROGRAM ARGUMENT...
# leaks_check.py [-v] --seeds A-B -- PROGRAM PLUGIN
#
# Starts a program with planted leaks (leak_world.h) under the library, asks for its leaks, and
# compares: every object that it says it has lost must be there, and nothing else.  A lost object that
# a word on a stack or in a register leads to, of which nobody can know that it is left over, is
# counted apart, as stale; there must be N (0).  With --held, "leaks --stack-held" must tell of all
# objects that are so named, each by itself, of none else, and of the same sums.  Options are passed on to "goinspect leaks".  With
# --seeds, it is run once for each seed.

import csv
import io
import os
import subprocess
import sys
import time


def planted(program):
    """What the program says: its lost and kept objects, by address, and whom to ask: a child of its."""
    lost, kept, pid = {}, {}, program.pid
    for line in program.stdout:
        words = line.split()
        if words[0] == "ready":
            return lost, kept, pid
        if words[0] == "pid":
            pid = int(words[1])
            continue
        if words[0] == "failed":
            sys.exit(line)
        address = ~int(words[2], 16) & (2**64 - 1)
        (lost if words[0] == "lost" else kept)[address] = words[1]
    sys.exit("the program ended early")


def ask(pid, options):
    socket = "%s/%d.sock" % (os.environ["GOMALLOC_DIR"], pid)
    for _ in range(2000):
        if os.path.exists(socket):
            break
        time.sleep(0.01)
    for _ in range(20):
        done = subprocess.run([os.environ["GOINSPECT"], "leaks", str(pid), "--objects", "-o", "csv"] + options,
                              capture_output=True, text=True)
        # A machine that is busy may stop the agent between giving its socket a name and listening, or keep
        # a thread from stopping in time.
        if "no longer listens" not in done.stderr and "incomplete" not in done.stderr:
            break
        time.sleep(0.05)
    if done.returncode not in (0, 1) or "incomplete" in done.stderr:
        sys.exit("goinspect leaks: %d\n%s" % (done.returncode, done.stderr))
    rows = {int(r["address"], 16): r for r in csv.DictReader(io.StringIO(done.stdout))}
    if done.returncode != (1 if rows else 0):
        sys.exit("goinspect leaks: %d with %d rows" % (done.returncode, len(rows)))
    return rows, done.stderr


def check_held(pid, planted_objects, names, options):
    """Compares what only stacks and registers keep with the objects of these names."""
    done = subprocess.run([os.environ["GOINSPECT"], "leaks", str(pid), "--stack-held", "-o", "csv"] + options,
                          capture_output=True, text=True)
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    told = {int(r["address"], 16) for r in rows}
    want = {a for a, name in planted_objects.items() if name in names}
    for address in told ^ want:
        print("%s: %s 0x%x" % ("not held" if address in want else "held, not expected",
                               planted_objects.get(address, "?"), address))
    objects = sum(int(r["objects"]) for r in rows)
    if told != want or len(rows) != len(want) or objects != len(want) or \
            " in %d object%s; " % (objects, "" if objects == 1 else "s") not in done.stderr:
        sys.exit("--stack-held: %s\n%s" % (rows, done.stderr))


def root_of(pid, address, options):
    """The kind of root that leads to an object that the program has lost."""
    done = subprocess.run([os.environ["GOINSPECT"], "why", str(pid), hex(address), "-o", "csv"] + options,
                          capture_output=True, text=True)
    for row in csv.DictReader(io.StringIO(done.stdout)):
        if row["role"] == "chain" and row["step"] == "0":
            return row["kind"]
    return "nothing"


def check(command, options, verbose, held):
    """Returns lost, found, stale, false alarms."""
    environment = dict(os.environ, LD_PRELOAD=os.environ["LIBGOMALLOC"],
                       GOMALLOC=os.environ.get("LEAKS_OPTIONS", "rate=1"))
    program = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    try:
        lost, kept, pid = planted(program)
        found, said = ask(pid, options)
        if held:
            check_held(pid, {**lost, **kept}, held, options)
        roots = {a: root_of(pid, a, options) for a in lost.keys() - found.keys()}
    finally:
        program.kill()
        program.wait()
    if verbose or lost.keys() != found.keys():
        print(said, end="")
    for address, root in roots.items():
        print("missed: %s 0x%x, kept by: %s" % (lost[address], address, root))
    for address in found.keys() - lost.keys():
        print("false alarm: %s 0x%x %s" % (kept.get(address, "?"), address, found[address]))
    stale = sum(root in ("stack", "register") for root in roots.values())
    return len(lost), len(lost.keys() & found.keys()), stale, len(found.keys() - lost.keys())


def main():
    words = sys.argv[1:]
    at = words.index("--")
    options, command = words[:at], words[at + 1:]
    verbose = "-v" in options
    options = [o for o in options if o != "-v"]
    runs = [command]
    want, held = 0, None
    if "--held" in options:
        i = options.index("--held")
        held = options[i + 1].split(",")
        options = options[:i] + options[i + 2:]
    if "--stale" in options:
        i = options.index("--stale")
        want = int(options[i + 1])
        options = options[:i] + options[i + 2:]
    if "--seeds" in options:
        i = options.index("--seeds")
        first, last = options[i + 1].split("-")
        runs = [[command[0], str(seed), command[1]] for seed in range(int(first), int(last) + 1)]
        options = options[:i] + options[i + 2:]
    lost = found = stale = false = 0
    for run in runs:
        n, hits, left, alarms = check(run, options, verbose, held)
        if hits < n or alarms:
            print("%s: %d of %d found, %d stale, %d false alarms" % (" ".join(run), hits, n, left, alarms))
        lost, found, stale, false = lost + n, found + hits, stale + left, false + alarms
    print("programs %d lost %d found %d stale %d false %d" % (len(runs), lost, found, stale, false))
    sys.exit(found + stale < lost or stale != want or false > 0)


main()
