# SPDX-License-Identifier: BSD-3-Clause
"""Runs programs and takes their figures: wall time, CPU time, peak RSS.

Machines are not quiet.  So contenders are interleaved: a round runs each of them once, in an order
that rotates, and what is compared is the ratio of two runs of one round.  The median over the
rounds is the result.  CPU time is that of the process and all children it waited for (wait4), so
compilers and a profiler's helpers count; peak RSS is that of the largest of them (launch.c).
"""

import math
import os
import statistics
import subprocess
import sys
import time


class Figures:
    """What one run cost: seconds, seconds, bytes."""

    def __init__(self, wall, cpu, rss):
        self.wall, self.cpu, self.rss = wall, cpu, rss


class Contender:
    """A way to run a program: an environment, and perhaps a command in front."""

    def __init__(self, name, preload=None, gomalloc=None, wrapper=()):
        self.name, self.wrapper, self.env = name, list(wrapper), {}
        if preload:
            self.env["LD_PRELOAD"] = preload
        if gomalloc is not None:
            self.env["GOMALLOC"] = gomalloc


def say(text):
    print(text, file=sys.stderr, flush=True)


def clean_environment():
    return {k: v for k, v in os.environ.items() if k not in ("LD_PRELOAD", "GOMALLOC")}


class Runner:
    """Starts programs by way of launch.c, in a folder."""

    def __init__(self, launcher, cwd):
        self.launcher, self.cwd = launcher, cwd

    def start(self, argv, contender, stdin=None, env=None):
        """Starts a command under a contender; finish() wants what this returns."""
        settings = [f"{k}={v}" for k, v in {**contender.env, **(env or {})}.items()]
        with open(stdin or os.devnull, "rb") as source, open(self._path("stderr"), "wb") as errors:
            return subprocess.Popen(
                [self.launcher, self._path("result"), *settings, "--", *contender.wrapper, *argv],
                stdin=source, stdout=subprocess.DEVNULL, stderr=errors, cwd=self.cwd,
                env=clean_environment())

    def finish(self, process, what):
        """Waits; a program that fails ends the benchmark, since its figures would mean nothing."""
        if process.wait() == 0:
            with open(self._path("result")) as f:
                status, wall, cpu, rss = f.read().split()
            if status == "0":
                return Figures(float(wall), float(cpu), int(rss))
        with open(self._path("stderr"), errors="replace") as f:
            say(f.read()[-2000:])
        raise RuntimeError(f"{what} failed")

    def run(self, argv, contender, stdin=None, env=None):
        process = self.start(argv, contender, stdin, env)
        return self.finish(process, f"{argv[0]} under {contender.name}")

    def _path(self, name):
        return os.path.join(self.cwd, name)


class Results:
    """The runs of several programs under several contenders, round by round."""

    def __init__(self, contenders):
        self.contenders = contenders
        self.runs = {}  # program -> contender -> [Figures], one for each round

    def add(self, program, contender, figures):
        self.runs.setdefault(program, {}).setdefault(contender, []).append(figures)

    def median(self, program, contender, figure):
        return statistics.median(getattr(f, figure) for f in self.runs[program][contender])

    def ratio(self, program, contender, base, figure):
        """The median over the rounds of contender / base."""
        pairs = zip(self.runs[program][contender], self.runs[program][base])
        return statistics.median(getattr(a, figure) / getattr(b, figure) for a, b in pairs)

    def geomean(self, contender, base, figure):
        ratios = [self.ratio(p, contender, base, figure) for p in self.runs]
        return math.exp(statistics.fmean(math.log(r) for r in ratios))

    def as_json(self):
        return {
            program: {
                contender: [{"wall_s": f.wall, "cpu_s": f.cpu, "peak_rss_bytes": f.rss} for f in runs]
                for contender, runs in by_contender.items()
            }
            for program, by_contender in self.runs.items()
        }


def interleave(programs, contenders, rounds, budget):
    """Runs every program under every contender, round by round, and returns the Results.

    No further round is begun that would most likely end after `budget` seconds; two are always run
    when more than one was asked for.
    """
    results = Results([c.name for c in contenders])
    begin = time.monotonic()
    for number in range(rounds):
        spent = time.monotonic() - begin
        if number >= 2 and spent + spent / number > budget:
            say(f"  {number} rounds in {spent:.0f} s: no time for more")
            break
        for program in programs:
            say(f"  round {number + 1} of {rounds}: {program.name}")
            shift = number % len(contenders)
            for contender in contenders[shift:] + contenders[:shift]:
                results.add(program.name, contender.name, program.run(contender))
    return results
