#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""pprof_dump.py FILE: a profile for pprof as JSON, read from its bytes by the documented format and
nothing else, so that a misunderstanding of goinspect's shows up.

Strings are resolved; what refers to something that is not there ends the program."""
import gzip
import json
import sys

PROFILE = {1: "sample_type", 2: "sample", 3: "mapping", 4: "location", 5: "function", 6: "string_table",
           9: "time_nanos", 10: "duration_nanos", 11: "period_type", 12: "period", 13: "comment",
           14: "default_sample_type"}
MESSAGES = {
    "sample_type": {1: "type", 2: "unit"},
    "period_type": {1: "type", 2: "unit"},
    "sample": {1: "location_id", 2: "value", 3: "label"},
    "label": {1: "key", 2: "str", 3: "num", 4: "num_unit"},
    "mapping": {1: "id", 2: "memory_start", 3: "memory_limit", 4: "file_offset", 5: "filename", 6: "build_id",
                7: "has_functions", 8: "has_filenames", 9: "has_line_numbers", 10: "has_inline_frames"},
    "location": {1: "id", 2: "mapping_id", 3: "address", 4: "line"},
    "line": {1: "function_id", 2: "line", 3: "column"},
    "function": {1: "id", 2: "name", 3: "system_name", 4: "filename", 5: "start_line"},
}
REPEATED = {"sample_type", "sample", "mapping", "location", "function", "string_table", "comment",
            "location_id", "value", "label"}
STRINGS = {"type", "unit", "filename", "build_id", "name", "system_name", "key", "str", "comment",
           "default_sample_type"}


def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, at


def signed(value):
    return value - (1 << 64) if value >> 63 else value


def fields(data):
    at = 0
    while at < len(data):
        key, at = varint(data, at)
        if key & 7 == 0:
            value, at = varint(data, at)
            yield key >> 3, signed(value)
        elif key & 7 == 2:
            size, at = varint(data, at)
            assert at + size <= len(data), "a field lies outside"
            yield key >> 3, data[at:at + size]
            at += size
        else:
            raise ValueError("wire type %d" % (key & 7))


def parse(data, names):
    message = {name: [] for name in names.values() if name in REPEATED or (name == "line" and "address" in names.values())}
    for number, value in fields(data):
        name = names[number]
        if isinstance(value, bytes):
            if name in ("location_id", "value", "comment"):  # packed
                at = 0
                while at < len(value):
                    one, at = varint(value, at)
                    message[name].append(signed(one))
                continue
            value = value.decode() if name == "string_table" else parse(value, MESSAGES[name])
        if name in message and isinstance(message[name], list):
            message[name].append(value)
        else:
            message[name] = value
    return message


def resolve(message, strings):
    for name, value in list(message.items()):
        if name in STRINGS:
            message[name] = [strings[i] for i in value] if isinstance(value, list) else strings[value]
        elif isinstance(value, dict):
            resolve(value, strings)
        elif isinstance(value, list):
            for item in value:
                if isinstance(item, dict):
                    resolve(item, strings)


def check(p):
    ids = {kind: {m["id"]: m for m in p[kind]} for kind in ("mapping", "location", "function")}
    for kind, known in ids.items():
        assert len(known) == len(p[kind]) and 0 not in known, "ids of " + kind
    for location in p["location"]:
        for line in location["line"]:
            line["function"] = ids["function"][line["function_id"]]["name"]
        mapping = ids["mapping"].get(location.get("mapping_id", 0))
        assert mapping or not location.get("mapping_id"), "no such mapping"
        assert not mapping or mapping["memory_start"] <= location["address"] < mapping["memory_limit"]
    for sample in p["sample"]:
        assert len(sample["value"]) == len(p["sample_type"])
        sample["stack"] = [[line["function"] for line in ids["location"][i]["line"]] for i in sample["location_id"]]
        sample["label"] = {label["key"]: label.get("str", label.get("num")) for label in sample["label"]}


with gzip.open(sys.argv[1]) as file:
    profile = parse(file.read(), PROFILE)
assert profile["string_table"][0] == ""
resolve(profile, profile["string_table"])
check(profile)
json.dump(profile, sys.stdout)
