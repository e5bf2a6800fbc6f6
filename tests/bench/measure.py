# SPDX-License-Identifier: BSD-3-Clause
"""Runs programs and takes their figures: wall time, CPU time, peak RSS.

Machines are not quiet.  So contenders are interleaved: a round runs each of them once, in an order
that rotates; see stats.py for what is made of the rounds.  CPU time is that of the process and all
children it waited for (wait4), so compilers and a profiler's helpers count; peak RSS is that of the
largest of them (launch.c).
"""

import glob
import os
import platform
import subprocess
import sys
import time

GLIBC, OURS, PEERS = "glibc", "gomalloc", ("jemalloc", "mimalloc", "tcmalloc")


class Contender:
    """A way to run a program: an environment, and perhaps a command in front."""

    def __init__(self, name, preload=None, gomalloc=None, wrapper=()):
        self.name, self.wrapper, self.env = name, list(wrapper), {}
        if preload:
            self.env["LD_PRELOAD"] = preload
        if gomalloc is not None:
            self.env["GOMALLOC"] = gomalloc

    def environment(self):
        return {**clean_environment(), **self.env}


def say(text):
    print(text, file=sys.stderr, flush=True)


def clean_environment():
    return {k: v for k, v in os.environ.items() if k not in ("LD_PRELOAD", "GOMALLOC")}


def find_library(pattern):
    for folder in ("/usr/lib/x86_64-linux-gnu", "/usr/lib64", "/usr/lib"):
        found = sorted(glob.glob(os.path.join(folder, pattern)))
        if found:
            return found[0]
    return None


def glibc():
    """glibc is preloaded as well, because programs that link another allocator (redis-server:
    jemalloc) would run with that."""
    return Contender(GLIBC, find_library("libc.so.6"))


def allocators(library):
    """glibc, ours, and those of the others that are installed."""
    found = [glibc(), Contender(OURS, library, "rate=0")]
    for name, pattern in zip(PEERS, ("libjemalloc.so.2", "libmimalloc.so.[23]*", "libtcmalloc_minimal.so.4")):
        path = find_library(pattern)
        if path:
            found.append(Contender(name, path))
        else:
            say(f"{name} is not installed: left out")
    return found


def _package_versions():
    listed = subprocess.run(
        ["dpkg-query", "-W", "-f", "${Package} ${Version}\n", "libc6", "libjemalloc2", "libmimalloc*",
         "libtcmalloc-minimal4*"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False)
    return [line for line in listed.stdout.splitlines() if len(line.split()) == 2 and "-dev" not in line]


def machine():
    """What the figures depend on and the reader can't know."""
    with open("/proc/cpuinfo") as f:
        model = next((line.split(":")[1].strip() for line in f if line.startswith("model name")), "unknown")
    try:
        packages = _package_versions()
    except FileNotFoundError:
        packages = []
    return {"cpu": model, "processors": os.cpu_count(), "kernel": platform.release(),
            "memory_bytes": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
            "libc": " ".join(platform.libc_ver()), "load": os.getloadavg()[0], "packages": packages}


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
                return {"wall": float(wall), "cpu": float(cpu), "rss": int(rss)}
        with open(self._path("stderr"), errors="replace") as f:
            say(f.read()[-2000:])
        raise RuntimeError(f"{what} failed")

    def run(self, argv, contender, stdin=None, env=None):
        process = self.start(argv, contender, stdin, env)
        return self.finish(process, f"{argv[0]} under {contender.name}")

    def _path(self, name):
        return os.path.join(self.cwd, name)


def rotated(contenders, number):
    shift = number % len(contenders)
    return contenders[shift:] + contenders[:shift]


def rounds_within(rounds, budget):
    """Counts rounds.  None is begun that would most likely end after `budget` seconds; two are always
    run when more than one was asked for."""
    begin = time.monotonic()
    for number in range(rounds):
        spent = time.monotonic() - begin
        if number >= 2 and spent + spent / number > budget:
            say(f"  {number} rounds in {spent:.0f} s: no time for more")
            return
        yield number


def interleave(programs, contenders, rounds, budget):
    """Runs every program under every contender, round by round.  Returns program -> contender ->
    {"wall": seconds, "cpu": seconds, "rss": bytes}, each a list of an entry a round."""
    results = {}
    for number in rounds_within(rounds, budget):
        for program in programs:
            say(f"  round {number + 1} of {rounds}: {program.name}")
            by = results.setdefault(program.name, {c.name: {} for c in contenders})
            for contender in rotated(contenders, number):
                for figure, value in program.run(contender).items():
                    by[contender.name].setdefault(figure, []).append(value)
    return results
