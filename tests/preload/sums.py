#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Do the figures add up?  sums.py GOINSPECT TARGET exact|sampled

TARGET is a process at rest, a heap image, or a database with one snapshot.  The bitmap of every span
is counted here, bit by bit, without the help of goinspect's views, and compared with

  - the span's own figure, and the live objects of the span one by one (not in a database, which
    holds only what has a site)
  - what the verbs spans, classes and status say, and if every allocation is recorded, sites
  - arenas x pages = pages in spans + free pages + pages that were never the heap's
  - of manual spans (stacks), only that their pages are among those, and that no object is theirs
  - the radix tree's leaves and the chunks' maps, against the spans

Exits with 1 and a line for each sum that is not equal.
"""

import json
import subprocess
import sys

PAGE, ARENA_PAGES, CHUNK_PAGES = 8192, 8192, 512
wrong = []


def goinspect(*words):
    done = subprocess.run([sys.argv[1], *words, "-o", "json"], stdout=subprocess.PIPE, check=True)
    data = json.loads(done.stdout)
    # rows stand in one array, under whatever name
    if isinstance(data, dict):
        data = next(v for v in data.values() if isinstance(v, list))
    return data


def sql(target, query):
    return goinspect("sql", target, query)


def same(what, a, b):
    if a != b:
        wrong.append(f"{what}: {a} is not {b}")


def check_spans(target, is_database):
    spans = sql(target, "SELECT base, npages, nelems, live, elem_size, state, size_class, "
                "hex(bitmap) AS bits FROM span")
    objects = {}
    if not is_database:
        objects = {r["span"]: r["n"] for r in
                   sql(target, "SELECT span, count(*) AS n FROM object GROUP BY span")}
    for s in spans:
        s["bits"] = bin(int(s["bits"] or "0", 16)).count("1")
        same(f"span {s['base']:#x}: bits and live", s["bits"], s["live"])
        if not is_database:
            same(f"span {s['base']:#x}: bits and objects", s["bits"] if s["state"] == 1 else 0,
                 objects.get(s["base"], 0))
    end = 0
    for s in sorted(spans, key=lambda s: s["base"]):
        if s["base"] < end:
            wrong.append(f"span {s['base']:#x} lies in another")
        end = s["base"] + s["npages"] * PAGE
    return [s for s in spans if s["state"] == 1], spans


def check_verbs(target, spans, exact):
    objects = sum(s["bits"] for s in spans)
    nbytes = sum(s["bits"] * s["elem_size"] for s in spans)
    rows = sql(target, "SELECT sum(live_objects) AS o, sum(live_bytes) AS b FROM v1_span "
               "WHERE state = 'in use'")
    same("spans: objects", rows[0]["o"], objects)
    same("spans: bytes", rows[0]["b"], nbytes)
    for size_class in {s["size_class"] for s in spans}:
        rows = sql(target, f"SELECT live_objects AS o, spans AS n FROM v1_class "
                   f"WHERE size_class = {size_class}") if len(spans) < 500 else []
        mine = [s for s in spans if s["size_class"] == size_class]
        for r in rows:
            same(f"class {size_class}: objects", r["o"], sum(s["bits"] for s in mine))
            same(f"class {size_class}: spans", r["n"], len(mine))
    rows = goinspect("classes", target, "--columns=objects,live")
    same("goinspect classes: objects", sum(r["objects"] for r in rows), objects)
    same("goinspect classes: bytes", sum(r["live"] for r in rows), nbytes)
    rows = goinspect("spans", target, "--columns=objects,live", "--state=in-use")
    same("goinspect spans: objects", sum(r["objects"] for r in rows), objects)
    same("goinspect spans: bytes", sum(r["live"] for r in rows), nbytes)
    status = {r["item"]: r["value"] for r in goinspect("status", target)}
    same("goinspect status: objects.live", status["objects.live"], objects)
    same("goinspect status: objects.live_bytes", status["objects.live_bytes"], nbytes)
    same("goinspect status: spans.count", status["spans.count"], len(spans))
    if exact:
        rows = goinspect("sites", target, "--columns=objects,given")
        same("goinspect sites: objects", sum(r["objects"] for r in rows), objects)
        same("goinspect sites: bytes given", sum(r["given"] for r in rows), nbytes)


def check_pages(target, spans):
    in_spans = sum(s["npages"] for s in spans)
    arenas = sql(target, "SELECT * FROM arena")
    chunks = sql(target, "SELECT base, map FROM chunk")
    text = "".join(c["map"] for c in chunks)
    free = sum(text.count(c) for c in "._cC")
    same("arenas: pages in use and pages in spans", sum(a["in_use_pages"] for a in arenas), in_spans)
    same("arenas: free pages and those of the chunk maps", sum(a["free_pages"] for a in arenas), free)
    same("chunk maps: pages in use and pages in spans", text.count("#"), in_spans)
    same("arenas: bytes in the states and the size", sum(
        a["reserved_bytes"] + a["prepared_bytes"] + a["ready_bytes"] for a in arenas),
        sum(a["size"] for a in arenas))
    # arenas x pages = pages in spans + free pages + pages of no chunk yet
    grown = sum(512 - c["map"].count("-") for c in chunks)
    never = len(arenas) * ARENA_PAGES - grown
    same("arenas x pages, and spans + free + never grown", len(arenas) * ARENA_PAGES,
         in_spans + free + never)
    same("pages that the heap has, and spans + free", grown, in_spans + free)
    used = set()
    for s in spans:
        used.update(range(s["base"] // PAGE, s["base"] // PAGE + s["npages"]))
    drawn = {c["base"] // PAGE + i for c in chunks for i, ch in enumerate(c["map"]) if ch == "#"}
    same("pages of spans that the chunk maps do not draw", len(used - drawn), 0)
    same("pages that the chunk maps draw and no span has", len(drawn - used), 0)
    check_leaves(target, chunks)


def check_leaves(target, chunks):
    """A leaf of the radix tree says what its chunk's map shows: cached pages are not free to it."""
    leaves = {r["base"]: r for r in sql(target, "SELECT * FROM radix_summary WHERE level = 4")}
    for c in chunks:
        free = "".join("1" if ch in "._" else "0" for ch in c["map"])
        longest = max(len(run) for run in free.split("0"))
        leaf = leaves.get(c["base"], {"start_free": 0, "max_free": 0, "end_free": 0})
        same(f"chunk {c['base']:#x}: start", leaf["start_free"], len(free) - len(free.lstrip("1")))
        same(f"chunk {c['base']:#x}: longest run", leaf["max_free"], longest)
        same(f"chunk {c['base']:#x}: end", leaf["end_free"], len(free) - len(free.rstrip("1")))


def main():
    target, exact = sys.argv[2], sys.argv[3] == "exact"
    spans, all_spans = check_spans(target, target.endswith(".db"))
    if sum(s["bits"] for s in spans) == 0:
        wrong.append("no live objects at all: nothing was checked")
    check_verbs(target, spans, exact)
    check_pages(target, all_spans)
    for r in sql(target, "SELECT what, a, b FROM v1_balance WHERE holds IS NOT 1"):
        wrong.append(f"v1_balance: {r}")
    for line in wrong[:40]:
        print(f"{target}: {line}", file=sys.stderr)
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
