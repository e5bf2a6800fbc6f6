#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
#
# doctor_check.py GOINSPECT TARGET REPORT KIND: each figure in the sentences of the report (the JSON
# of "goinspect doctor TARGET") is one that its query yields by "goinspect sql TARGET"; the findings
# are in order, and the first is of that kind.
#
# Of a sentence, all values of the query's rows are taken away, written as their columns' names say;
# then no digit may be left.
import json
import re
import subprocess
import sys

FIXED = ["of 2 MiB", "1 GiB more"]


def in_bytes(x):
    if abs(x) < 1023.5:
        return "%.0f B" % x
    for unit in ("KiB", "MiB", "GiB", "TiB"):
        x /= 1024
        if abs(x) < 1023.95 or unit == "TiB":
            return "%.1f %s" % (x, unit)


def duration(seconds):
    s = int(seconds)
    if seconds < 60:
        return "%ds" % s
    if seconds < 3600:
        return "%dm %ds" % (s // 60, s % 60)
    if seconds < 86400:
        return "%dh %dm" % (s // 3600, s % 3600 // 60)
    return "%dd %dh" % (s // 86400, s % 86400 // 3600)


def written(name, value):
    if isinstance(value, str):
        return value
    if name.endswith("_percent"):
        return ("%.1f %%" if value < 9.95 else "%.0f %%") % value
    if name.endswith("bytes"):
        return in_bytes(value)
    if name.endswith("_s"):
        return duration(value)
    if name.endswith("tid"):
        return str(value)
    return format(int(value), ",")


def rows_of(goinspect, target, query):
    out = subprocess.run([goinspect, "sql", target, query, "-o", "json"], check=True,
                         stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout
    return json.loads(out)["rows"]


def check(goinspect, target, finding):
    rows = rows_of(goinspect, target, finding["query"])
    wrong = []
    if not finding["advice"] or ":snapshot" not in finding["query"]:
        wrong.append("no advice, or no query")
    if int(rows[0]["bytes"] or 0) != finding["bytes"]:
        wrong.append("bytes: %s, the query says %s" % (finding["bytes"], rows[0]["bytes"]))
    values = {written(k, v) for row in rows for k, v in row.items() if v is not None}
    rest = finding["sentence"]
    for text in sorted(values, key=len, reverse=True) + FIXED:
        if text and re.search(r"\d", text):
            rest = re.sub(r"(?<![\d.,])" + re.escape(text) + r"(?![\d])", "#", rest)
    if re.search(r"\d", rest):
        wrong.append("not from the query: " + rest)
    return wrong


def main():
    goinspect, target, report, kind = sys.argv[1:]
    with open(report, encoding="utf-8") as f:
        findings = json.load(f)["rows"]
    wrong = []
    if not findings or findings[0]["kind"] != kind:
        wrong.append("%s is not the first of %s" % (kind, [f["kind"] for f in findings]))
    for finding in findings:
        wrong += [finding["kind"] + ": " + w for w in check(goinspect, target, finding)]
    sizes = [f["bytes"] for f in findings if f["bytes"] > 0 and f["kind"] != "cgroup"]
    if sizes != sorted(sizes, reverse=True):
        wrong.append("not in order: %s" % sizes)
    print("\n".join(wrong) or "%d findings are as their queries say" % len(findings))
    return 1 if wrong else 0


sys.exit(main())
