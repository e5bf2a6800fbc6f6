# SPDX-License-Identifier: BSD-3-Clause
"""Medians and ratios of interleaved rounds.

The measurements of one thing under one contender are a list, an entry a round.  What is compared is
always the ratio of two entries of the same round, and the median of these ratios over the rounds is
the result: what disturbs the machine for longer than a run disturbs both.  The spread is the median
absolute deviation of the ratios; a difference smaller than that is noise.
"""

import math
import statistics


def median(values):
    return statistics.median(values)


def geomean(values):
    return math.exp(statistics.fmean(math.log(v) for v in values))


def ratios(a, b):
    return [x / y for x, y in zip(a, b)]


def ratio(a, b):
    """The median of a / b over the rounds."""
    return statistics.median(ratios(a, b))


def spread(a, b):
    """The median absolute deviation of a / b, relative to their median."""
    r = ratios(a, b)
    middle = statistics.median(r)
    return statistics.median(abs(x - middle) for x in r) / middle


def best(by, names):
    """The one of the names whose median is least, of those that were measured."""
    return min((n for n in names if n in by), key=lambda n: statistics.median(by[n]))
