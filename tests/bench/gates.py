# SPDX-License-Identifier: BSD-3-Clause
"""What the measurements are held against.

Every gate is a ratio of medians of one run.  Which cells a gate is about, where one might differ:

 - "the best of the four" is, for a cell of the micro benchmark, that of glibc, jemalloc, mimalloc and
   tcmalloc whose median is least there.
 - A gate of the micro benchmark on a pattern is on the geometric mean over the sizes to 1,024 bytes,
   unless it names others: larger ones are other paths.
 - For real programs, the best peer in time is that of the four with the least geometric mean over the
   programs, and single programs are compared with the same peer; the leanest in memory is that of
   jemalloc, mimalloc and tcmalloc, chosen likewise.  Ratios to the best of each single program are
   in the table, but no gate: nobody can run each program under another allocator.
 - Time is CPU time, and wall time too; threads that wait show only in the latter.
"""

import stats
from measure import GLIBC, OURS, PEERS

SMALL = 1024  # bytes: up to here the small paths


def gate(text, value, limit, what="at most"):
    met = value <= limit if what == "at most" else value >= limit
    return {"text": text, "value": value, "limit": limit, "what": what, "met": met}


def line(g):
    return f"- {g['text']}: {g['value']:.3g}, {g['what']} {g['limit']:.4g}: {'met' if g['met'] else 'MISSED'}"


# ---- micro --------------------------------------------------------------------------------------


def best_of_four(cell):
    return stats.best(cell["ns"], (GLIBC, *PEERS))


def cell_ratio(cell, base):
    return stats.ratio(cell["ns"][OURS], cell["ns"][base])


def pattern_ratio(cells, base, pattern, least=0, most=SMALL):
    """Geometric mean over the pattern's sizes; None if there is nothing to compare."""
    chosen = [c for c in cells if c["pattern"] == pattern and least <= c["size"] <= most and base in c["ns"]]
    return stats.geomean([cell_ratio(c, base) for c in chosen]) if chosen else None


MICRO = [  # pattern, sizes, against glibc, against mimalloc
    ("immediate", 0, SMALL, 0.65, 0.85),
    ("fifo", 0, SMALL, 0.68, 1.15),
    ("mixed", 0, SMALL, 0.52, 1.25),
    ("replace", 0, SMALL, 0.60, 0.50),
    ("cross", 0, SMALL, 0.25, 0.60),
    ("immediate", 40960, 1 << 20, 1.0, None),
]


def _sizes(pattern, least, most):
    if pattern == "mixed":
        return "mixed sizes"
    if pattern == "replace":
        return "random replacement over 100,000 live, 64-1,024 B"
    return f"{pattern}, {'40 KiB-1 MiB' if least else '8-1,024 B'}"


def of_malloc(suite):
    cells = suite["cells"]
    found = []
    for pattern, least, most, glibc, mimalloc in MICRO:
        for base, limit in ((GLIBC, glibc), ("mimalloc", mimalloc)):
            value = pattern_ratio(cells, base, pattern, least, most)
            if limit is not None and value is not None:
                found.append(gate(f"{_sizes(pattern, least, most)}, against {base}", value, limit))
    for pattern in dict.fromkeys(c["pattern"] for c in cells):
        mean = stats.geomean([cell_ratio(c, best_of_four(c)) for c in cells if c["pattern"] == pattern])
        found.append(gate(f"{pattern}, all sizes, against the best of the four at each, geometric mean", mean, 1.0))
    worst = max(cells, key=lambda c: cell_ratio(c, best_of_four(c)))
    found.append(gate(f"worst cell ({worst['pattern']} {worst['size']}, {best_of_four(worst)})",
                      cell_ratio(worst, best_of_four(worst)), 1.25))
    for row in suite["instructions"]:
        total = row["total"].get(OURS)
        if (row["pattern"], row["size"]) == ("immediate", 64) and total and row["loop"] is not None:
            found.append(gate("instructions of malloc and free, 64 B, immediate", total - row["loop"], 60))
    return found


# ---- real programs ------------------------------------------------------------------------------


def program_ratio(programs, name, base, figure, ours=OURS):
    by = programs[name]
    return stats.ratio(by[ours][figure], by[base][figure])


def program_geomean(programs, base, figure, ours=OURS):
    return stats.geomean([program_ratio(programs, p, base, figure, ours) for p in programs])


def contenders(programs):
    return list(next(iter(programs.values())))


def best_peer(programs, figure, among):
    present = [n for n in among if n in contenders(programs)]
    return min(present, key=lambda n: program_geomean(programs, GLIBC, figure, n))


def worst_program(programs, base, figure, ours=OURS):
    return max(programs, key=lambda p: program_ratio(programs, p, base, figure, ours))


def _worst(programs, base, figure, heading, limit):
    name = worst_program(programs, base, figure)
    return gate(f"{heading} against {base}, the worst program ({name})",
                program_ratio(programs, name, base, figure), limit)


def of_macro(suite):
    programs, found = suite["programs"], []
    for figure, heading in (("cpu", "CPU time"), ("wall", "wall time")):
        peer = best_peer(programs, figure, (GLIBC, *PEERS))
        found.append(gate(f"{heading} against the best peer, {peer}, geometric mean",
                          program_geomean(programs, peer, figure), 1.0))
        found.append(_worst(programs, peer, figure, heading, 1.15))
    if any(p in contenders(programs) for p in PEERS):
        peer = best_peer(programs, "rss", PEERS)
        found.append(gate(f"peak RSS against the leanest peer, {peer}, geometric mean",
                          program_geomean(programs, peer, "rss"), 1.0))
        found.append(_worst(programs, peer, "rss", "peak RSS", 1.2))
    found.append(gate("peak RSS against glibc, geometric mean", program_geomean(programs, GLIBC, "rss"), 1.10))
    if "mimalloc" in contenders(programs):
        found.append(_worst(programs, "mimalloc", "rss", "peak RSS", 1.0))
    return found


def overhead(programs, name, who):
    """What a contender's wall time is above glibc's, as a part of that; never none at all."""
    return max(program_ratio(programs, name, GLIBC, "wall", who) - 1, 0.001)


def rss_ratio(suite, name):
    """What recording takes of memory, against what it may: 8 bytes a live object, and 1 MiB for 10,000 stacks."""
    by, recorded = suite["programs"][name], suite["recorded"][name]
    extra = stats.median([a - b for a, b in zip(by["rate=1"]["rss"], by["rate=0"]["rss"])])
    return extra / (8 * recorded["objects"] + (1 << 20) * recorded["stacks"] / 10000)


def of_record(suite):
    programs = suite["programs"]
    name = worst_program(programs, GLIBC, "wall", "rate=1")
    found = [gate("every allocation recorded, against glibc without, wall time, geometric mean",
                  program_geomean(programs, GLIBC, "wall", "rate=1"), 1.25),
             gate(f"the same, the worst program ({name})", program_ratio(programs, name, GLIBC, "wall", "rate=1"), 2.0),
             gate("CPU time at the default rate against rate=0, geometric mean",
                  program_geomean(programs, "rate=0", "cpu", "default rate"), 1.02)]
    if "heaptrack" in contenders(programs):
        ratio = {p: overhead(programs, p, "heaptrack") / overhead(programs, p, "rate=1") for p in programs}
        name = min(ratio, key=ratio.get)
        found.append(gate(f"heaptrack's wall time above glibc's, against that of rate=1, the worst program ({name})",
                          ratio[name], 4.0, "at least"))
    name = max(programs, key=lambda p: rss_ratio(suite, p))
    found.append(gate(f"peak RSS of rate=1 above rate=0, against 8 B a live object and 1 MiB for 10,000 stacks, "
                      f"the worst program ({name})", rss_ratio(suite, name), 1.0))
    return found


# ---- growth and threads -------------------------------------------------------------------------


def growth_base(suite):
    """What the largest heap is compared with: 100 MiB, which fits no cache of the processor's."""
    return next((s for s in suite["sizes_mib"] if s >= 100), suite["sizes_mib"][0])


def growth_ratio(suite, contender, figure):
    """The figure at the largest heap, divided by that at growth_base."""
    points, last = suite["points"][contender], suite["sizes_mib"][-1]
    return stats.median(points[str(last)][figure]) / stats.median(points[str(growth_base(suite))][figure])


def of_growth(suite):
    first, last = growth_base(suite), suite["sizes_mib"][-1]
    found = [gate(f"{text}, {last} MiB of heap against {first}", growth_ratio(suite, OURS, figure), limit)
             for figure, text, limit in (("fill", "malloc while growing", 1.25),
                                         ("local", "free and malloc of 64 neighbours", 1.5),
                                         ("pages", "pages for a large object", 1.25),
                                         ("meta", "metadata for a live byte", 1.05))]
    meta = max(stats.median(p["meta"]) for p in suite["points"][OURS].values())
    return found + [gate("metadata for a live byte, the worst size", meta, 0.05)]


def of_threads(suite):
    found = []
    for load, by in suite["throughput"].items():
        ours = {int(n): stats.median(v) for n, v in by[OURS].items()}
        most, two = max(ours), 2 if 2 in ours else min(ours)
        found.append(gate(f"{load}, {most} against {two}, throughput", ours[most] / ours[two], 0.8, "at least"))
        best = max(stats.median(v[str(most)]) for n, v in by.items() if n != OURS)
        found.append(gate(f"{load}, {most}, throughput against the best peer", ours[most] / best, 1.0, "at least"))
    return found


# ---- captures -----------------------------------------------------------------------------------


def capture_ratio(by, ours, theirs):
    """The median over the rounds of the sums' ratio."""
    total = lambda names: [sum(values) for values in zip(*(by[n] for n in names))]
    return stats.ratio(total(ours), total(theirs))


def of_capture(suite):
    found = []
    for text, ours, theirs, each, mean in (
            ("a capture against unw_backtrace", ["replay"], ["unwind"], 0.40, 0.30),
            ("capture and table against unw_backtrace and a trie", ["replay", "intern"], ["unwind", "trie"], 0.50, 0.33)):
        ratios = {name: capture_ratio(by, ours, theirs) for name, by in suite["programs"].items()}
        found += [gate(f"{text}, {name}", ratio, each) for name, ratio in ratios.items()]
        if ratios:
            found.append(gate(f"{text}, geometric mean", stats.geomean(list(ratios.values())), mean))
    for depth, by in suite["hot"].items():
        found.append(gate(f"a capture against unw_backtrace, the same {depth} frames again",
                          capture_ratio(by, ["replay"], ["unwind"]), 0.12))
    return found + [gate("the first capture in a new thread, us", stats.median(suite["first_us"]), 5)]


# ---- leak checks --------------------------------------------------------------------------------


def pause_limit_ms(by):
    """What a thread may stall: a bare fork copies page tables, too."""
    return 1 + 1.3 * stats.median(by["fork"]) / 1e3


def mark_s_per_gib(by):
    return stats.median(by["mark"]) / 1e6 / (by["bytes"] / 2**30)


def of_pause(suite):
    found, heaps = [], suite["heaps"]
    for name, by in heaps.items():
        if name.endswith((" KiB", "huge")):
            found.append(gate(f"a leak check's longest stall, {name} pages, ms", stats.median(by["stall"]) / 1e3,
                              pause_limit_ms(by)))
    if "LeakSanitizer" in heaps and "4M blocks" in heaps:
        ours, theirs = (stats.median(heaps[name]["stall"]) for name in ("4M blocks", "LeakSanitizer"))
        found.append(gate("the same at 4 million blocks, against LeakSanitizer", ours / theirs, 0.1))
    if "graph" in heaps:
        found.append(gate("the mark of a random graph, s for a GiB", mark_s_per_gib(heaps["graph"]), 2.0))
    return found


OF = {"malloc": of_malloc, "macro": of_macro, "record": of_record, "growth": of_growth, "threads": of_threads,
      "capture": of_capture, "pause": of_pause}
