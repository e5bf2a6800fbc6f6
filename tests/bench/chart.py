# SPDX-License-Identifier: BSD-3-Clause
"""Line charts as SVG, by hand: panels side by side, logarithmic axes, labels at the lines' ends.

No library, because what is needed is a hundred lines, and a chart must be readable both on white and
on black: the colours of text and grid come from a style sheet that asks which it is.
"""

import math
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 430, 330  # of a panel
LEFT, RIGHT, TOP, BOTTOM = 62, 92, 56, 48
LABEL_HEIGHT = 15

# Told apart by people who don't tell red from green, and by their markers: ours is the strong one.
LOOKS = {"gomalloc": ("#d1495b", 3.2, "circle"), "glibc": ("#8d99ae", 1.8, "square"),
         "jemalloc": ("#3d7ea6", 1.8, "triangle"), "mimalloc": ("#c98a1b", 1.8, "diamond"),
         "tcmalloc": ("#5a9367", 1.8, "cross")}

STYLE = """
text { font: 12px system-ui, sans-serif; fill: #24292f }
.title { font-weight: 600; font-size: 13.5px } .unit, .tick { fill: #57606a; font-size: 11.5px }
.grid { stroke: #d0d7de; stroke-width: 1 } .axis { stroke: #8c959f; stroke-width: 1 } .back { fill: #ffffff }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 } .unit, .tick { fill: #9da7b3 } .grid { stroke: #30363d } .axis { stroke: #6e7681 }
.back { fill: #0d1117 } }
"""


class Axis:
    """A logarithmic or linear scale from values to pixels."""

    def __init__(self, low, high, start, end, log):
        self.log, self.start, self.end = log, start, end
        self.low, self.high = low, high if high > low else low + 1

    def at(self, value):
        place = ((math.log(value / self.low) / math.log(self.high / self.low)) if self.log
                 else (value - self.low) / (self.high - self.low))
        return self.start + place * (self.end - self.start)


def _ticks(low, high):
    """1, 2, 5 times powers of ten, fewer if that would be many."""
    for steps in ((1, 2, 5), (1, 3), (1,)):
        found = [s * 10.0**e for e in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
                 for s in steps if low * 0.999 <= s * 10.0**e <= high * 1.001]
        if 2 <= len(found) <= 7:
            return found
    return found


def _log_limits(values):
    low, high = min(values) / 1.15, max(values) * 1.15
    while len(_ticks(low, high)) < 2:
        low, high = low / 1.3, high * 1.3
    return low, high


def _number(v):
    return f"{v:,.0f}" if v >= 10 else f"{v:g}"


def _marker(kind, x, y, colour):
    shapes = {"circle": f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.6" fill="{colour}"/>',
              "square": f'<rect x="{x - 3:.1f}" y="{y - 3:.1f}" width="6" height="6" fill="{colour}"/>'}
    paths = {"triangle": f"M{x:.1f} {y - 4:.1f}l4 7h-8z", "diamond": f"M{x:.1f} {y - 4.5:.1f}l4 4.5l-4 4.5l-4 -4.5z",
             "cross": f"M{x - 3.5:.1f} {y - 1.2:.1f}h2.3v-2.3h2.4v2.3h2.3v2.4h-2.3v2.3h-2.4v-2.3h-2.3z"}
    return shapes.get(kind) or f'<path d="{paths[kind]}" fill="{colour}"/>'


def spread_labels(places, low, high):
    """Moves labels apart that would lie on each other, in their order."""
    order = sorted(places, key=places.get)
    y = {}
    for n, name in enumerate(order):
        y[name] = max(places[name], y[order[n - 1]] + LABEL_HEIGHT) if n else max(places[name], low)
    over = max(0.0, y[order[-1]] - high) if order else 0.0
    for name in reversed(order):
        later = order.index(name) + 1
        y[name] = min(y[name], high if later == len(order) else y[order[later]] - LABEL_HEIGHT) if over else y[name]
    return y


def _line(name, points, x, y):
    colour, width, kind = LOOKS.get(name, ("#888888", 1.8, "circle"))
    places = [(x.at(px), y.at(py)) for px, py in points]
    path = " ".join(f"{'L' if n else 'M'}{px:.1f} {py:.1f}" for n, (px, py) in enumerate(places))
    return ([f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="{width}" stroke-linejoin="round"/>']
            + [_marker(kind, px, py, colour) for px, py in places])


def _axes(panel, x, y, xs, ys):
    out = []
    for v in ys:
        out.append(f'<line class="grid" x1="{x.start}" x2="{x.end}" y1="{y.at(v):.1f}" y2="{y.at(v):.1f}"/>')
        out.append(f'<text class="tick" text-anchor="end" x="{x.start - 7}" y="{y.at(v) + 4:.1f}">{_number(v)}</text>')
    for v, text in xs:
        out.append(f'<line class="axis" x1="{x.at(v):.1f}" x2="{x.at(v):.1f}" y1="{y.start}" y2="{y.start + 4}"/>')
        out.append(f'<text class="tick" text-anchor="middle" x="{x.at(v):.1f}" y="{y.start + 18}">{escape(text)}</text>')
    out.append(f'<line class="axis" x1="{x.start}" x2="{x.end}" y1="{y.start}" y2="{y.start}"/>')
    middle = (x.start + x.end) / 2
    out.append(f'<text class="unit" text-anchor="middle" x="{middle}" y="{y.start + 37}">{escape(panel["x"])}</text>')
    return out


def _panel(panel):
    """Panel: title, unit, x (its label), log_x, ticks [(value, text)], zero (y begins there), lines."""
    lines = panel["lines"]
    values = [py for points in lines.values() for _, py in points]
    xs = [v for v, _ in panel["ticks"]]
    zero = panel.get("zero")
    low, high = (0, max(values) * 1.1) if zero else _log_limits(values)
    x = Axis(min(xs), max(xs), LEFT, WIDTH - RIGHT, panel["log_x"])
    y = Axis(low, high, HEIGHT - BOTTOM, TOP, not zero)
    step = 10 ** math.floor(math.log10(high)) / 2 if zero else 0
    while zero and high / step > 7:
        step *= 2
    ticks = [n * step for n in range(int(high / step) + 1)] if zero else _ticks(low, high)
    out = [f'<text class="title" x="12" y="20">{escape(panel["title"])}</text>',
           f'<text class="unit" x="12" y="38">{escape(panel["unit"])}</text>']
    out += _axes(panel, x, y, panel["ticks"], ticks)
    for name in sorted(lines, key=lambda n: n == "gomalloc"):  # ours on top
        out += _line(name, lines[name], x, y)
    labels = spread_labels({n: y.at(p[-1][1]) for n, p in lines.items()}, TOP, HEIGHT - BOTTOM)
    for name, place in labels.items():
        weight = ' font-weight="600"' if name == "gomalloc" else ""
        colour = LOOKS.get(name, ("#888888",))[0]
        out.append(f'<text x="{WIDTH - RIGHT + 10}" y="{place + 4:.1f}"{weight} style="fill:{colour}">{escape(name)}</text>')
    return out


def draw(panels, columns=2):
    """The panels, in rows, as the text of an SVG file."""
    rows = math.ceil(len(panels) / columns)
    width, height = WIDTH * min(columns, len(panels)), HEIGHT * rows
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">',
           f"<style>{STYLE}</style>", f'<rect class="back" width="{width}" height="{height}"/>']
    for n, panel in enumerate(panels):
        out.append(f'<g transform="translate({n % columns * WIDTH} {n // columns * HEIGHT})">')
        out += _panel(panel) + ["</g>"]
    return "\n".join(out + ["</svg>", ""])
