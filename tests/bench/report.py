# SPDX-License-Identifier: BSD-3-Clause
"""The tables of a benchmark, as Markdown, and what is said of its targets."""

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


def absolute(value, figure):
    return f"{value / 2**20:.1f} MiB" if figure == "rss" else f"{value:.2f} s"


def ratio_table(results, base, figure):
    """A row a program: what the base needs, and the ratio of each contender to it."""
    others = [c for c in results.contenders if c != base]
    rows = [["program", base] + [f"{c} / {base}" for c in others]]
    for program in results.runs:
        rows.append([program, absolute(results.median(program, base, figure), figure)]
                    + [f"{results.ratio(program, c, base, figure):.3f}" for c in others])
    rows.append(["geometric mean", ""] + [f"{results.geomean(c, base, figure):.3f}" for c in others])
    return table(rows)


def ratio_tables(results, base):
    rounds = min(len(runs) for by in results.runs.values() for runs in by.values())
    parts = [f"Medians of {rounds} interleaved rounds; less is better."]
    for figure, heading in HEADINGS.items():
        parts.append(f"### {heading}\n\n{ratio_table(results, base, figure)}")
    return "\n\n".join(parts)


def target(text, value, limit):
    """One line that says whether a measured value is within its limit."""
    return f"- {text}: {value:.3f}, target {limit:.2f}: {'met' if value <= limit else 'MISSED'}"
