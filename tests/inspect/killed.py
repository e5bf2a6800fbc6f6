#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""killed.py: a program that writes a snapshot is killed by SIGKILL at a random moment.

Whatever the moment, what has the file's name afterwards is the old file or the new one, whole; and
what else lies there is gone after the next snapshot into the same file.

    GOMALLOC_KILL_ROUNDS=1000   so many moments instead of 60
    GOMALLOC_TEST_SEED=N        other ones
"""
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time

GOINSPECT = os.environ["GOINSPECT"]
LIBRARY = os.environ["LIBGOMALLOC"]
ROUNDS = int(os.environ.get("GOMALLOC_KILL_ROUNDS", "60"))
SEED = int(os.environ.get("GOMALLOC_TEST_SEED", str(random.randrange(1 << 32))))
PYTHON = "/usr/bin/python3"

work = tempfile.mkdtemp()
os.environ["GOMALLOC_DIR"] = work + "/run"
os.environ["XDG_CACHE_HOME"] = work + "/cache"
os.environ["GOMALLOC_GOINSPECT"] = GOINSPECT
os.mkdir(work + "/run", 0o700)
server_log = open(work + "/log", "w")


def under(options):
    return dict(os.environ, LD_PRELOAD=LIBRARY, GOMALLOC=options)


def goinspect(*words):
    return subprocess.run([GOINSPECT, *words], capture_output=True, text=True, check=False)


def fail(why):
    sys.exit(f"{why} (GOMALLOC_TEST_SEED={SEED}, in {work})")


def sound_database(path):
    """The number of snapshots, all of them whole; plain SQLite rolls back what was begun."""
    db = sqlite3.connect(path)
    if db.execute("PRAGMA integrity_check").fetchone() != ("ok",):
        fail(f"{path}: integrity_check")
    if db.execute("PRAGMA foreign_key_check").fetchall():
        fail(f"{path}: references to nothing")
    bad = db.execute("SELECT snapshot_id, what FROM v1_balance WHERE NOT holds").fetchall()
    if bad:
        fail(f"{path}: sums differ: {bad}")
    rows = db.execute("SELECT snapshot_id, live_objects FROM v1_snapshot").fetchall()
    if any(objects == 0 for _, objects in rows):
        fail(f"{path}: a snapshot without its spans")
    db.close()
    return len(rows)


def sound_image(path):
    if goinspect("sql", path, "SELECT count(*) FROM v1_site").returncode != 0:
        fail(f"{path}: is no whole image")
    return 1


class Case:
    """A way to write a file.  old: there is one before."""

    def __init__(self, name, suffix, command, environment=None, old=False):
        self.folder = f"{work}/{name}"
        os.mkdir(self.folder)
        self.path = f"{self.folder}/heap{suffix}"
        self.command = command + ([self.path] if environment is None else [])
        self.environment = under(environment + self.path) if environment else None
        self.sound = sound_database if suffix == ".db" else sound_image
        self.name, self.old = name, old
        self.before = None
        self.killed = self.written = 0
        self.write() # names are looked up now, and then are known
        if not old:
            os.unlink(self.path)
        begin = time.monotonic()
        self.write()
        self.seconds = time.monotonic() - begin
        if os.listdir(self.folder) != ["heap" + suffix]:
            fail(f"{name}: wrote {os.listdir(self.folder)}")

    def start(self):
        return subprocess.Popen(self.command, env=self.environment, stdout=subprocess.DEVNULL,
                                stderr=server_log, start_new_session=True)

    def write(self):
        if self.start().wait() != 0:
            fail(f"{self.name}: it failed without being killed")

    def round(self):
        """Kills one in the middle."""
        if not self.old:
            for name in os.listdir(self.folder):
                if os.path.join(self.folder, name) == self.path:
                    os.unlink(self.path) # what else there is stays
        stamp = os.stat(self.path).st_ino if self.old else None
        count = self.sound(self.path) if self.old else 0
        process = self.start()
        # Most is done at the end, but not all.
        time.sleep(random.uniform(random.choice((0, 0.6)), 1.1) * self.seconds)
        done = process.poll() is not None
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        process.wait()
        self.killed += not done
        if not os.path.exists(self.path):
            if self.old:
                fail(f"{self.name}: the old file is gone")
            return
        now = self.sound(self.path)
        if self.path.endswith(".db") and now not in (count, count + 1, 3):
            fail(f"{self.name}: {count} snapshots became {now}")
        self.written += now != count or os.stat(self.path).st_ino != stamp

    def finish(self):
        self.write()
        if os.listdir(self.folder) != [os.path.basename(self.path)]:
            fail(f"{self.name}: left {os.listdir(self.folder)}")
        self.sound(self.path)
        print(f"{self.name}: {self.killed} killed, {self.written} written")


def main():
    random.seed(SEED)
    server = subprocess.Popen(
        [PYTHON, "-c", "import time\nkept = [bytes(700) for _ in range(2000)]\ntime.sleep(10000)"],
        env=under("rate=1"), stdout=server_log, stderr=server_log)
    try:
        for _ in range(1200):
            if goinspect("status", str(server.pid)).returncode == 0:
                break
            time.sleep(0.05)
        snapshot = [GOINSPECT, "snapshot", str(server.pid)]
        program = [PYTHON, "-S", "-c", "kept = [bytes(700) for _ in range(2000)]"]
        cases = [
            Case("new_database", ".db", snapshot + ["-o"]),
            Case("old_database", ".db", snapshot + ["--keep", "3", "-o"], old=True),
            Case("new_image", ".gmi", snapshot + ["-o"]),
            Case("old_image", ".gmi", snapshot + ["-o"], old=True),
            Case("exit_image", ".gmi", program, "rate=1,exit="),
            Case("exit_old_image", ".gmi", program, "rate=1,exit=", old=True),
        ]
        for i in range(ROUNDS):
            cases[i % len(cases)].round()
        for case in cases:
            case.finish()
    finally:
        server.kill()
        server.wait()
    shutil.rmtree(work)


main()
