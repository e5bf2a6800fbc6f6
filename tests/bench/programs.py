# SPDX-License-Identifier: BSD-3-Clause
"""The real programs that are measured, and their input, which is generated.

Each takes about a second with glibc's malloc, is bounded, and does the same each time.  Most are the
programs of tests/preload, where their output is compared; here only their cost is.
"""

import os
import shutil
import subprocess
import time

from measure import clean_environment

SQLITE = """
CREATE TABLE word (id INTEGER PRIMARY KEY, text TEXT NOT NULL);
CREATE TABLE row (id INTEGER PRIMARY KEY, word INTEGER NOT NULL, n INTEGER, note TEXT);
WITH RECURSIVE i(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM i WHERE i < 4999)
INSERT INTO word SELECT i, printf('w%x-%d', i * 2654435761 % 4294967296, i) FROM i;
WITH RECURSIVE i(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM i WHERE i < {rows} - 1)
INSERT INTO row SELECT i, i * 7919 % 5000, i * 104729 % 1000003,
    CASE WHEN i % 10 = 0 THEN printf('note %d of %s', i, hex(i * 31)) END FROM i;
SELECT count(*), sum(n), total(length(note)) FROM row;
SELECT w.text, count(*) FROM row r JOIN word w ON w.id = r.word GROUP BY w.text ORDER BY 2, 1 LIMIT 9;
SELECT length(group_concat(upper(note), '|')) FROM row WHERE note IS NOT NULL;
"""

PYTHON = """
import collections, json, random, re
random.seed(7)
for n in range({n}):
    words = ["".join(random.choices("abcdefgh", k=random.randrange(1, 12))) for _ in range({words})]
    tree = {{w: [words[i:i + 3], {{"n": i, "f": i / 7}}] for i, w in enumerate(words)}}
    assert json.loads(json.dumps(tree)) == tree
    collections.Counter(words).most_common(10)
    sorted((tuple(w), len(w)) for w in words)
    re.sub("(ab+c|h(?=a))", lambda m: m.group(0).upper(), " ".join(words))
"""

PERL = """
use strict; my ($x, %count, @rows) = (1);
sub rnd {{ $x = ($x * 1103515245 + 12345) % 2147483648; return $x % $_[0] }}
for my $i (0 .. {n}) {{
    my $word = join '', map {{ chr(97 + rnd(7)) }} 1 .. 1 + rnd(6);
    $count{{$word}}++;
    push @rows, {{ id => $i, word => $word, tags => [ map {{ rnd(100) }} 0 .. $i % 4 ] }} if $i % 3 == 0;
}}
my @sorted = sort {{ $a->{{word}} cmp $b->{{word}} || $b->{{id}} <=> $a->{{id}} }} @rows;
my $text = join ',', map {{ sprintf '%d:%s', $_->{{id}}, $_->{{word}} }} @sorted;
$text =~ s/(\\d+):([a-c]+)([d-g]*)/<$3|$2|$1>/g;
my %by; push @{{ $by{{$_->{{word}}}} }}, $_ for @sorted;
print length($text), ' ', scalar(keys %by), "\\n";
"""

CC = """
#include <bits/stdc++.h>
template <int N> struct chain : chain<N - 1> {
    std::map<std::string, std::vector<std::array<int, N % 7 + 1>>> m;
    std::function<int(int)> f = [this](int x) { return x + N + int(m.size()); };
    int sum(int x) { return chain<N - 1>::sum(f(x)); }
};
template <> struct chain<0> { int sum(int x) { return x; } };
int main() { chain<6> c; std::cout << c.sum(1) << '\\n'; }
"""


class Command:
    """A command that runs from its start to its end."""

    def __init__(self, runner, name, argv, stdin=None, env=None):
        self.runner, self.name, self.argv, self.stdin, self.env = runner, name, argv, stdin, env

    def run(self, contender):
        return self.runner.run(self.argv, contender, self.stdin, self.env)


class Redis:
    """redis-server under a contender, loaded by redis-benchmark, which is not.  The wall time is
    the load's; CPU time and memory are the server's."""

    name = "redis-server"
    tests = "set,get,incr,lpush,rpush,lpop,sadd,hset,spop,zadd,mset"

    def __init__(self, runner, requests):
        self.runner, self.requests = runner, requests

    def run(self, contender):
        socket = os.path.join(self.runner.cwd, "redis.sock")
        process = self.runner.start(["redis-server", "--port", "0", "--unixsocket", socket, "--save", "",
                                     "--dir", self.runner.cwd], contender)
        try:
            for _ in range(400):
                if self._cli(socket, "ping") == b"PONG\n":
                    break
                time.sleep(0.02)
            start = time.monotonic()
            subprocess.run(
                ["redis-benchmark", "-s", socket, "-q", "-t", self.tests, "-n", str(self.requests),
                 "-r", "100000", "-P", "30", "-c", "20", "-d", "80"],
                check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=clean_environment())
            wall = time.monotonic() - start
        finally:
            self._cli(socket, "shutdown", "nosave")
        figures = self.runner.finish(process, f"redis-server under {contender.name}")
        figures["wall"] = wall
        return figures

    @staticmethod
    def _cli(socket, *words):
        return subprocess.run(["redis-cli", "-s", socket, *words], stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, env=clean_environment(), check=False).stdout


def generate_c(path, functions):
    """A C file of many functions, for cc1."""
    with open(path, "w") as f:
        f.write("#include <stdio.h>\n#include <string.h>\n")
        for i in range(functions):
            f.write(f"struct s{i} {{ int a[{i % 7 + 1}]; double d; char *text; struct s{i} *next; }};\n"
                    f"int f{i}(struct s{i} *s, int n) {{ int sum = {i};\n"
                    f"for (int k = 0; k < n; k++) switch ((k * {i + 3}) & 15) {{\n")
            for c in range(16):
                f.write(f"case {c}: sum += s->a[{c % (i % 7 + 1)}] * {c * i} + (sum >> {c % 5}); "
                        + ("break;\n" if c % 3 else "if (s->next) s = s->next;\n"))
            f.write(f"}} s->d = sum * {i}.5; if (s->text) sum += strlen(s->text); return sum; }}\n")


def generate_json(path, rows):
    with open(path, "w") as f:
        f.write("[" + ",\n".join(
            f'{{"id":{i},"group":"g{i * 7919 % 101}","value":{i / 7:.3f},"tags":["t{i % 13}",null,true],'
            f'"nested":{{"text":"line {i}","list":[{i * 3},[{i}]]}}}}' for i in range(rows)) + "]\n")


def generate_repository(path, commits):
    """A git repository of text files that change."""
    stream = []
    for c in range(1, commits + 1):
        stream.append(f"commit refs/heads/main\nmark :{c}\ncommitter A <a@example.org> "
                      f"{1600000000 + c * 600} +0000\ndata 2\nc\n")
        if c > 1:
            stream.append(f"from :{c - 1}\n")
        for f in range(6):
            n = (c * 7 + f * 13) % 90
            text = "".join(f"line {i} of {n} version {c if i % 11 == c % 11 else 0} {i * n}\n"
                           for i in range(150))
            stream.append(f"M 100644 inline dir{n % 9}/file{n}.txt\ndata {len(text)}\n{text}\n")
    subprocess.run(["git", "init", "-q", "--bare", path], check=True)
    subprocess.run(["git", "--git-dir", path, "fast-import", "--quiet"], check=True,
                   input="".join(stream).encode())


def compilers_proper(runner, part):
    """cc1 and cc1plus without their drivers, which allocate little, on preprocessed source."""
    work = runner.cwd
    generate_c(os.path.join(work, "large.c"), 90 // part)
    with open(os.path.join(work, "heavy.cc"), "w") as f:
        f.write(CC if part == 1 else "#include <string>\nint main() {}\n")
    found = []
    for name, driver, source, preprocessed in (("cc1", "gcc", "large.c", "large.i"),
                                               ("cc1plus", "g++", "heavy.cc", "heavy.ii")):
        if not shutil.which(driver):
            continue
        path = subprocess.run([driver, f"-print-prog-name={name}"], stdout=subprocess.PIPE, text=True,
                              check=True).stdout.strip()
        subprocess.run([driver, "-E", source, "-o", preprocessed], cwd=work, check=True)
        found.append(Command(runner, name, [path, "-quiet", "-O1", "-fpreprocessed", preprocessed,
                                            "-o", os.devnull]))
    return found


# A product of two primes, which takes some 10^5 steps to factor, and one that takes few.
SEMIPRIME, SMALL_SEMIPRIME = "6300000001320000000037", "7000024000009"


def own_programs(runner, build_dir, part):
    """Programs of this folder: after larson, xmalloc-test, mstress and cfrac, and a JSON printer."""
    at = lambda name: os.path.join(build_dir, "tests/bench", name)
    return [Command(runner, "larson", [at("larson"), "4", str(8 / part)]),
            Command(runner, "exchange", [at("exchange"), "2", str(6 / part)]),
            Command(runner, "stress", [at("stress"), "4", str(40 // part)]),
            Command(runner, "bignum", [at("bignum"), SEMIPRIME if part == 1 else SMALL_SEMIPRIME]),
            Command(runner, "json", [at("json"), os.path.join(runner.cwd, "data.json"), "6"])]


def make_programs(runner, build_dir, quick):
    """The programs that are installed, with their input in the runner's folder."""
    work = runner.cwd
    part = 40 if quick else 1  # how much less than the whole is done
    path = lambda name: os.path.join(work, name)

    def write(name, text):
        with open(path(name), "w") as f:
            f.write(text)
        return path(name)

    programs = []

    def add(name, argv, **more):
        if shutil.which(argv[0]):
            programs.append(Command(runner, name, argv, **more))

    add("sqlite3", ["sqlite3", "-batch", ":memory:"],
        stdin=write("rows.sql", SQLITE.format(rows=1000000 // part)))
    add("python3", ["/usr/bin/python3", write("words.py", PYTHON.format(n=1 if quick else 6, words=25000 // part))],
        env={"PYTHONMALLOC": "malloc", "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"})
    add("perl", ["perl", write("words.pl", PERL.format(n=300000 // part))], env={"PERL_HASH_SEED": "0"})
    programs += compilers_proper(runner, part)
    generate_json(path("data.json"), 24000 // part)
    add("jq", ["jq", "group_by(.group) | map({group: .[0].group, sum: (map(.value) | add), "
               "list: map(.nested.list | flatten | map(tostring))})", path("data.json")])
    if shutil.which("git"):
        generate_repository(path("source.git"), 200 // part)
        add("git", ["git", "--git-dir", path("source.git"), "-c", "pack.threads=1", "pack-objects",
                    "--all", "--stdout", "-q", "--no-reuse-delta", "--depth=30", "--window=10"])
        add("git log", ["git", "--git-dir", path("source.git"), "log", "-p", "--stat", "main"])
    threads = os.path.join(build_dir, "tests/preload/threads")
    if os.path.exists(threads):
        add("C++ threads", [threads, "1" if quick else "6"])
    programs += own_programs(runner, build_dir, part)
    if shutil.which("redis-server") and shutil.which("redis-benchmark"):
        programs.append(Redis(runner, 60000 // part))
    return programs


def recorded_programs(runner, build_dir, quick):
    """Those that the cost of recording is measured on: of the above, and a C++ program of two threads."""
    names = ("redis-server", "python3", "sqlite3", "cc1", "jq")
    found = [p for p in make_programs(runner, build_dir, quick) if p.name in names]
    return found + [Command(runner, "C++ index", [os.path.join(build_dir, "tests/bench/index"), "2" if quick else "150"])]
