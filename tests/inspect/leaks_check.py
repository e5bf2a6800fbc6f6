#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
#
# leaks_check.py [-v] [OPTION...] -- PROGRAM ARGUMENT...
# leaks_check.py [-v] --seeds A-B -- PROGRAM PLUGIN
#
# Starts a program with planted leaks (leak_world.h) under the library, asks for its leaks, and
# compares: every object that it says it has lost must be there, and nothing else.  Options are
# passed on to "goinspect leaks".  With --seeds, it is run once for each seed.

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
    done = subprocess.run([os.environ["GOINSPECT"], "leaks", str(pid), "--objects", "-o", "csv"] + options,
                          capture_output=True, text=True)
    if done.returncode not in (0, 1) or "incomplete" in done.stderr:
        sys.exit("goinspect leaks: %d\n%s" % (done.returncode, done.stderr))
    rows = {int(r["address"], 16): r for r in csv.DictReader(io.StringIO(done.stdout))}
    if done.returncode != (1 if rows else 0):
        sys.exit("goinspect leaks: %d with %d rows" % (done.returncode, len(rows)))
    return rows, done.stderr


def check(command, options, verbose):
    """Returns lost, found, false alarms."""
    environment = dict(os.environ, LD_PRELOAD=os.environ["LIBGOMALLOC"],
                       GOMALLOC=os.environ.get("LEAKS_OPTIONS", "rate=1"))
    program = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    try:
        lost, kept, pid = planted(program)
        found, said = ask(pid, options)
    finally:
        program.kill()
        program.wait()
    if verbose or lost.keys() != found.keys():
        print(said, end="")
    for address in lost.keys() - found.keys():
        print("missed: %s 0x%x" % (lost[address], address))
    for address in found.keys() - lost.keys():
        print("false alarm: %s 0x%x %s" % (kept.get(address, "?"), address, found[address]))
    return len(lost), len(lost.keys() & found.keys()), len(found.keys() - lost.keys())


def main():
    words = sys.argv[1:]
    at = words.index("--")
    options, command = words[:at], words[at + 1:]
    verbose = "-v" in options
    options = [o for o in options if o != "-v"]
    runs = [command]
    if "--seeds" in options:
        i = options.index("--seeds")
        first, last = options[i + 1].split("-")
        runs = [[command[0], str(seed), command[1]] for seed in range(int(first), int(last) + 1)]
        options = options[:i] + options[i + 2:]
    lost = found = false = 0
    for run in runs:
        n, hits, alarms = check(run, options, verbose)
        if hits < n or alarms:
            print("%s: %d of %d found, %d false alarms" % (" ".join(run), hits, n, alarms))
        lost, found, false = lost + n, found + hits, false + alarms
    print("programs %d lost %d found %d false %d" % (len(runs), lost, found, false))
    sys.exit(found < lost or false > 0)


main()
