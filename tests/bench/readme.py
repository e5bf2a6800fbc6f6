# SPDX-License-Identifier: BSD-3-Clause
"""The README's section on how it compares, made from the last measurements.

It stands between two markers, and everything between them is replaced.
"""

import gates
import report
import stats
from measure import GLIBC, OURS, PEERS

BEGIN, END = "<!-- bench: begin -->", "<!-- bench: end -->"


def _machine(suites):
    newest = max(suites.values(), key=lambda s: s["when"])
    m = newest["machine"]
    return (f"{m['cpu']}, {m['processors']} processors, {m['memory_bytes'] / 2**30:.0f} GiB, Linux {m['kernel']}, "
            f"{m['libc']}; measured {newest['when'][:10]} by `./dev bench`, this section written by `./dev bench report`.")


def _micro(suite):
    cells = suite["cells"]
    bases = [n for n in (GLIBC, *PEERS) if n in cells[0]["ns"]]
    rows = [["a malloc and a free, time, gomalloc against"] + bases + ["best of each size", "worst size"]]
    for pattern in dict.fromkeys(c["pattern"] for c in cells):
        chosen = [c for c in cells if c["pattern"] == pattern]
        against = [gates.cell_ratio(c, gates.best_of_four(c)) for c in chosen]
        rows.append([pattern] + [f"{stats.geomean([gates.cell_ratio(c, b) for c in chosen]):.2f}" for b in bases]
                    + [f"{stats.geomean(against):.2f}", f"{max(against):.2f}"])
    return report.table(rows)


def _programs(suite):
    programs = suite["programs"]
    names = [n for n in gates.contenders(programs) if n != GLIBC]
    rows = [["real programs, against glibc"] + names]
    for figure, heading in (("cpu", "CPU time"), ("wall", "wall time"), ("rss", "peak RSS")):
        rows.append([heading] + [f"{gates.program_geomean(programs, GLIBC, figure, n):.2f}" for n in names])
    each = [["gomalloc against glibc"] + ["CPU time", "wall time", "peak RSS"]]
    each += [[p] + [f"{gates.program_ratio(programs, p, GLIBC, f):.2f}" for f in ("cpu", "wall", "rss")]
             for p in programs]
    return report.table(rows) + "\n\n" + report.table(each)


def _record(suite):
    programs = suite["programs"]
    ratio = lambda who, base, figure: gates.program_geomean(programs, base, figure, who)
    text = (f"Recording at the default rate: {ratio('default rate', 'rate=0', 'cpu'):.3f} of the CPU time without; "
            f"every allocation recorded: {ratio('rate=1', GLIBC, 'wall'):.2f} of the wall time with glibc")
    if "heaptrack" in gates.contenders(programs):
        text += f" (heaptrack: {ratio('heaptrack', GLIBC, 'wall'):.1f})"
    return text + "."


def _growth(suite):
    meta = [stats.median(suite["points"][OURS][str(s)]["meta"]) * 100 for s in suite["sizes_mib"]]
    first, last = suite["sizes_mib"][0], suite["sizes_mib"][-1]
    return (f"From {report.size_text(first)} to {report.size_text(last)} of heap the library's own data goes from "
            f"{meta[0]:.1f} % to {meta[-1]:.1f} % of the live bytes, and finding pages for a large object takes "
            f"{gates.growth_ratio(suite, OURS, 'pages'):.2f} times as long as at {report.size_text(gates.growth_base(suite))}.")


def _pause(suite):
    rows = [["a leak check, 50 threads, ms", "a bare fork", "the longest stall"]]
    for name, by in suite["heaps"].items():
        rows.append([name, f"{stats.median(by['fork']) / 1e3:.1f}", f"{stats.median(by['stall']) / 1e3:.1f}"])
    text = report.table(rows)
    if "graph" in suite["heaps"]:
        text += f"\n\nThe mark of a random graph takes {gates.mark_s_per_gib(suite['heaps']['graph']):.1f} s for a GiB."
    return text


PARTS = {"malloc": _micro, "macro": _programs, "record": _record, "growth": _growth, "threads": report.threads,
         "capture": report.capture, "pause": _pause}


def _gates(suites):
    found = [g for name, suite in suites.items() for g in gates.OF[name](suite)]
    missed = [gates.line(g) for g in found if not g["met"]]
    text = f"{len(found) - len(missed)} of {len(found)} targets are met (`tests/bench/gates.py`)"
    return text + (".\n" if not missed else "; those that are not:\n\n" + "\n".join(missed) + "\n")


def section(suites):
    suites = {name: suites[name] for name in PARTS if name in suites}
    parts = [_machine(suites), "Geometric means of ratios of medians of interleaved rounds, recording off; less is better."]
    if any(s["quick"] for s in suites.values()):
        parts.append("**From a quick run: figures that mean nothing.**")
    parts += [PARTS[name](suite) for name, suite in suites.items()]
    return "\n\n".join(parts + [_gates(suites)])


def replace(path, text):
    """Puts text between the markers of the file."""
    with open(path) as f:
        old = f.read()
    if old.count(BEGIN) != 1 or old.count(END) != 1 or old.index(END) < old.index(BEGIN):
        raise RuntimeError(f"{path} does not have the two lines {BEGIN} and {END}")
    before, after = old[: old.index(BEGIN) + len(BEGIN)], old[old.index(END) :]
    with open(path, "w") as f:
        f.write(f"{before}\n{text}{after}")
