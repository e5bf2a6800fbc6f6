# SPDX-License-Identifier: BSD-3-Clause
"""Which charts are drawn from which measurements."""

import chart
import report
import stats
from measure import OURS

GROWTH = [("local", "Free and malloc of 64 neighbours", "nanoseconds each", 1, False),
          ("pages", "Malloc and free of 72 KiB to 1 MiB, heap full of holes", "nanoseconds", 1, False),
          ("random", "Free and malloc of one object at random", "nanoseconds, the processor's misses included", 1, False),
          ("overhead", "Resident memory beyond what was asked for", "% of the live bytes", 100, True)]


def growth(suite):
    sizes, panels = suite["sizes_mib"], []
    for figure, title, unit, scale, zero in GROWTH:
        lines = {}
        for name, points in suite["points"].items():
            lines[name] = [(s, stats.median(points[str(s)][figure]) * scale) for s in sizes]
        panels.append({"title": title, "unit": unit, "x": "live heap", "log_x": True, "zero": zero, "lines": lines,
                       "ticks": [(s, report.size_text(s)) for s in sizes if s < 1000 or s in (1000, 10240, sizes[-1])]})
    return chart.draw(panels)


def threads(suite):
    panels = []
    for load, by in suite["throughput"].items():
        counts = [int(n) for n in by[OURS]]
        lines = {name: [(int(n), stats.median(v) / 1e6) for n, v in values.items()] for name, values in by.items()}
        pairs = load == "exchange"
        panels.append({"title": "Producers and consumers (exchange)" if pairs else "A server's threads (larson)",
                       "unit": "millions of objects a second; more is better", "log_x": False, "zero": True,
                       "x": "pairs of threads" if pairs else "threads", "lines": lines,
                       "ticks": [(n, str(n)) for n in counts]})
    return chart.draw(panels)


OF = {"growth": growth, "threads": threads}
