# SPDX-License-Identifier: BSD-3-Clause
"""The measurements as Markdown: everything for who runs a suite, and a summary for the README."""

import gates
import stats
from measure import GLIBC, OURS, PEERS

HEADINGS = {"cpu": "CPU time, user and system, of the process and its children",
            "wall": "Wall time",
            "rss": "Peak RSS"}


def table(rows):
    """Markdown: the first row is the heading, the first column is text."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for n, row in enumerate(rows):
        cells = [row[0].ljust(widths[0])] + [c.rjust(w) for c, w in zip(row[1:], widths[1:])]
        lines.append("| " + " | ".join(cells) + " |")
        if n == 0:
            lines.append("|" + "|".join(["-" * (widths[0] + 2)] + ["-" * (w + 1) + ":" for w in widths[1:]])
                         + "|")
    return "\n".join(lines)


def bytes_text(n):
    return f"{n // 1024} KiB" if n >= 10240 and n % 1024 == 0 else f"{n:,} B"


def _ratio_cell(a, b):
    return f"{stats.ratio(a, b):.2f} ±{stats.spread(a, b) * 100:.0f}%"


def _rounds(values):
    return f"medians of {len(values)} interleaved rounds" if len(values) > 1 else "one round: no figure to rely on"


# ---- a malloc and a free --------------------------------------------------------------------------


def _size_text(cell):
    sizes = {"mixed": "8-1,031 B", "replace": "64-1,024 B"}
    size = sizes.get(cell["pattern"]) or bytes_text(cell["size"])
    return size + (f", {cell['live']:,} live" if cell["pattern"] == "random" and cell["live"] != 100000 else "")


def _micro_rows(cells):
    names = list(cells[0]["ns"])
    rows = [["pattern", "size", *names, "gomalloc / glibc", "/ best", "the best"]]
    for c in cells:
        best = gates.best_of_four(c)
        rows.append([c["pattern"], _size_text(c)] + [f"{stats.median(c['ns'][n]):.1f}" for n in names]
                    + [_ratio_cell(c["ns"][OURS], c["ns"][b]) for b in (GLIBC, best)] + [best])
    return rows


def _instruction_rows(rows):
    names = list(rows[0]["total"])
    text = lambda x: "-" if x is None else f"{x:.0f}"
    out = [["pattern", "size", "the loop alone"] + [f"{n}: with loop, without" for n in names]]
    for r in rows:
        loop = r["loop"]
        out.append([r["pattern"], bytes_text(r["size"]), text(loop)]
                   + [f"{text(t)}, {text(None if t is None or loop is None else t - loop)}"
                      for t in r["total"].values()])
    return out


def malloc(suite):
    cells = suite["cells"]
    parts = [f"Nanoseconds for a malloc and a free, {_rounds(cells[0]['ns'][OURS])}; ± is the median absolute "
             "deviation of the ratio.\n\n" + table(_micro_rows(cells))]
    if suite["instructions"]:
        parts.append("Instructions for a malloc and a free, by callgrind.\n\n"
                     + table(_instruction_rows(suite["instructions"])))
    return "\n\n".join(parts)


# ---- real programs --------------------------------------------------------------------------------


def absolute(value, figure):
    return f"{value / 2**20:.1f} MiB" if figure == "rss" else f"{value:.2f} s"


def _program_table(programs, base, figure):
    """A row a program: what the base needs, and the ratio of each contender to it."""
    names = gates.contenders(programs)
    others = [n for n in names if n != base]
    peers = [n for n in names if n not in (OURS, base)]
    rows = [["program", base] + [f"{n} / {base}" for n in others] + (["gomalloc / best"] if OURS in names else [])]
    for name, by in programs.items():
        row = [name, absolute(stats.median(by[base][figure]), figure)]
        row += [_ratio_cell(by[n][figure], by[base][figure]) for n in others]
        if OURS in names:
            best = stats.best({n: by[n][figure] for n in [base, *peers]}, [base, *peers])
            row.append(f"{stats.ratio(by[OURS][figure], by[best][figure]):.2f} ({best})")
        rows.append(row)
    mean = [f"{gates.program_geomean(programs, base, figure, n):.3f}" for n in others]
    rows.append(["geometric mean", "", *mean] + ([""] if OURS in names else []))
    return table(rows)


def _program_tables(programs, base):
    some = next(iter(next(iter(programs.values())).values()))["cpu"]
    parts = [f"Ratios, {_rounds(some)}; less is better; ± is the median absolute deviation of the ratio."]
    parts += [f"### {heading}\n\n{_program_table(programs, base, figure)}" for figure, heading in HEADINGS.items()]
    return "\n\n".join(parts)


def macro(suite):
    return _program_tables(suite["programs"], GLIBC)


def record(suite):
    rows = [["program", "live objects", "stacks", "peak RSS above rate=0", "allowed"]]
    for name, by in suite["programs"].items():
        recorded = suite["recorded"][name]
        extra = stats.median([a - b for a, b in zip(by["rate=1"]["rss"], by["rate=0"]["rss"])])
        rows.append([name, f"{recorded['objects']:,.0f}", f"{recorded['stacks']:,}", absolute(extra, "rss"),
                     absolute(extra / gates.rss_ratio(suite, name) if extra else 0, "rss")])
    return ("rate=1 with a heap image at exit, heaptrack with its file.\n\n" + _program_tables(suite["programs"], GLIBC)
            + "\n\n### Memory for records\n\nLive objects: the most that were seen in one of some moments, or at the end.\n\n" + table(rows))


# ---- growth and threads -----------------------------------------------------------------------------

GROWTH = [("fill", "malloc while growing, ns", "{:.0f}", 1),
          ("local", "free and malloc of 64 neighbours, ns each", "{:.0f}", 1),
          ("random", "free and malloc of one at random, ns", "{:.0f}", 1),
          ("pages", "malloc and free of 72 KiB-1 MiB, ns", "{:.0f}", 1),
          ("overhead", "resident beyond live bytes, %", "{:.1f}", 100),
          ("meta", "metadata for live bytes, %", "{:.2f}", 100)]


def size_text(mib):
    return f"{mib / 1024:.0f} GiB" if mib >= 1000 else f"{mib} MiB"


def growth(suite):
    parts = []
    for figure, heading, form, scale in GROWTH:
        rows = [[heading] + [size_text(s) for s in suite["sizes_mib"]]]
        for name, points in suite["points"].items():
            values = [stats.median(points[str(s)][figure]) for s in suite["sizes_mib"]]
            if figure != "meta" or name == OURS:
                rows.append([name] + [form.format(v * scale) for v in values])
        parts.append(table(rows))
    return "\n\n".join(parts)


def threads(suite):
    parts = []
    for load, by in suite["throughput"].items():
        counts = list(by[OURS])
        what = "threads" if load == "larson" else "pairs of threads"
        rows = [[f"{load}, {what}"] + counts]
        for name, values in by.items():
            rows.append([name] + [f"{stats.median(values[n]) / 1e6:.1f}" for n in counts])
        parts.append("Millions of objects a second; more is better.\n\n" + table(rows))
    return "\n\n".join(parts)


# ---- captures ---------------------------------------------------------------------------------------


def capture(suite):
    rows = [["program", "captures", "capture / unw_backtrace", "with table / with trie"]]
    for name, by in suite["programs"].items():
        rows.append([name, f"{stats.median(by['captures']):,.0f}",
                     f"{gates.capture_ratio(by, ['replay'], ['unwind']):.2f}",
                     f"{gates.capture_ratio(by, ['replay', 'intern'], ['unwind', 'trie']):.2f}"])
    for depth, by in suite["hot"].items():
        rows.append([f"the same {depth} frames again", "", f"{gates.capture_ratio(by, ['replay'], ['unwind']):.2f}", ""])
    return table(rows)


# ---- leak checks ------------------------------------------------------------------------------------


def _ms(values):
    return f"{stats.median(values) / 1e3:.2f}"


def _pause_rows(suite):
    rows = [["heap", "objects", "a bare fork", "stall by it", "by nothing", "by a leak check", "at most", ""]]
    for name, by in suite["heaps"].items():
        row = [name, f"{by['objects']:,}", _ms(by["fork"]), _ms(by["forked"]), _ms(by["quiet"]), _ms(by["stall"])]
        met = stats.median(by["stall"]) / 1e3 <= gates.pause_limit_ms(by)
        limited = name != "LeakSanitizer"
        rows.append(row + ([f"{gates.pause_limit_ms(by):.2f}", "met" if met else "MISSED"] if limited else ["", ""]))
    return rows


def _check_rows(suite):
    rows = [["of a leak check", "stopping, ms", "copying, ms", "to the last thread, ms", "mark, s", "mark, s/GiB",
             "leaks, s"]]
    for name, by in suite["heaps"].items():
        if name != "LeakSanitizer":
            rows.append([name] + [_ms(by[f]) for f in ("stopping", "copying", "longest")]
                        + [f"{stats.median(by['mark']) / 1e6:.2f}", f"{gates.mark_s_per_gib(by):.2f}",
                           f"{stats.median(by['group']) / 1e6:.2f}"])
    return rows


def pause(suite):
    some = next(iter(suite["heaps"].values()))["stall"]
    return (f"The longest stall of 50 threads, as they see it, in ms; {_rounds(some)}.  What a leak check may take is "
            "1 ms and 1.3 times the bare fork of the same process.\n\n" + table(_pause_rows(suite)) + "\n\n"
            + table(_check_rows(suite)))


SUITES = {"malloc": ("A malloc and a free", malloc), "macro": ("Real programs, recording off (rate=0)", macro),
          "record": ("Recording", record), "growth": ("Growth", growth), "threads": ("Threads", threads),
          "capture": ("The capture of a stack", capture), "pause": ("What a leak check makes a program wait", pause)}


def full(name, suite):
    """All that was measured in one suite, and what it is held against."""
    heading, render = SUITES[name]
    lines = "\n".join(gates.line(g) for g in gates.OF[name](suite))
    return f"## {heading}\n\n{render(suite)}\n\n{lines}\n"
