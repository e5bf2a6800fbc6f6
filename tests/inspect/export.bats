#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-3-Clause
#
# export: profiles for pprof, read back by a reader of our own and by pprof itself if it is here, and
# folded stacks.

bats_require_minimum_version 1.5.0
load helpers
setup() { common_setup; }
teardown() { common_teardown; }

# dump TARGET prints its profile as JSON.
dump() {
    "$GOINSPECT" export "$1" --pprof 2>/dev/null >profile.pb.gz
    /usr/bin/python3 "$SOURCE_DIR/tests/inspect/pprof_dump.py" profile.pb.gz
}

@test "pprof: sample types, period and times are those of a heap profile" {
    dump demo.gmi >profile
    jq -e '(.sample_type | map(.type + "/" + .unit)) ==
        ["alloc_objects/count", "alloc_space/bytes", "inuse_objects/count", "inuse_space/bytes"]
        and .default_sample_type == "inuse_space" and .period_type == {"type": "space", "unit": "bytes"}
        and .period == 1 and .time_nanos == 1700000000000000000 and .duration_nanos == 1000000000
        and .comment[0] == "demo 4711 on box"' profile
}

@test "pprof: a sample for each site, innermost frame first, with its number" {
    dump demo.gmi >profile
    jq -e '.sample | length == 4
        and (.[] | select(.label.site == 1) | .value == [1100, 22000, 100, 2000]
            and .stack == [["demo+0x1100"], ["demo+0x1300"], ["demo+0x1400"]])
        and (.[] | select(.label.site == null) | .value == [0, 0, 50, 800] and .stack == [["(not recorded)"]])' profile
    jq -e '.mapping[0] | .filename == "/opt/demo/bin/demo" and .build_id[:8] == "41424344" and .has_functions == null' profile
}

@test "pprof: samples say what became of the objects" {
    dump demo.gmi >profile
    jq -e '[.sample[] | select(.label.site == 1) | .label.escape] == ["escapes 1 call up"]' profile
    jq -e '[.sample[] | select(.label.site == 2) | .label.escape] == ["never freed"]' profile
}

@test "pprof: image and database give the same" {
    "$GOINSPECT" snapshot demo.gmi -o demo.db 2>/dev/null
    for target in demo.gmi demo.db; do
        dump $target | jq -S '.sample | map(del(.location_id)) | sort_by(.stack)' >$target.json
    done
    [ "$(jq length demo.gmi.json)" = 4 ]
    diff demo.gmi.json demo.db.json
}

@test "pprof: sums are those of the sites; thousands of strings, functions and locations are found again" {
    "$BUILD_DIR/tests/inspect/mkimage" many.gmi more_spans=20 more_sites=5000
    dump many.gmi >profile
    [ "$(jq -c '[.sample | length, (map(.value[0]) | add), (map(.value[3]) | add)]' profile)" = \
        "$("$GOINSPECT" sql many.gmi "SELECT json_array(count(*), sum(alloc_objects), sum(live_bytes)) FROM v1_site" -o csv --no-header | tr -d '"')" ]
    [ "$(jq '[.location | length, (map(.address) | unique | length)] | unique | length' profile)" = 1 ]
    [ "$(jq '[.function | length, (map(.name) | unique | length)] | unique | length' profile)" = 1 ]
}

@test "pprof reads it" {
    command -v go >/dev/null && go tool pprof -h 2>&1 | grep -q usage || skip "go tool pprof is not here"
    export HOME=$work PPROF_TMPDIR=$work
    "$GOINSPECT" export demo.gmi --pprof -o heap.pb.gz 2>err
    grep -qx "goinspect: heap.pb.gz: next: go tool pprof -top heap.pb.gz" err
    go tool pprof -symbolize=none -top heap.pb.gz >top 2>/dev/null
    grep -q "^Type: inuse_space" top
    grep -qE " demo\+0x1200$" top
    go tool pprof -symbolize=none -sample_index=alloc_objects -top heap.pb.gz 2>/dev/null | grep -qE "^ +1100 .* demo\+0x1100$"
    go tool pprof -symbolize=none -tags heap.pb.gz 2>/dev/null | grep -q "site:"
}

@test "pprof: a real program has functions, files, lines and build-ids" {
    mkfifo steps
    under_library "$BUILD_DIR/tests/inspect/crossing" steps
    wait_until grep -q "^done 0$" log
    dump "$pid" >profile
    jq -e '.mapping[0] | (.filename | endswith("/crossing")) and (.build_id | length) == 40' profile
    jq -e '[.sample[] | select(.stack | flatten | index("maker")) | .value[3]] | add >= 96' profile
    jq -e '[.location[].line[] | select(.function == "maker") | .line] | length > 0 and all(. > 30)' profile
    jq -e '[.function[] | select(.name == "maker") | .filename | endswith("crossing.c")] == [true]' profile
}

@test "folded: outermost function first, and a figure" {
    "$GOINSPECT" export demo.gmi --folded 2>/dev/null >folded
    diff folded - <<'END'
demo+0x1400;demo+0x1300;demo+0x1200 40800
demo+0x1400;demo+0x1300;demo+0x1100 2000
(not recorded) 800
demo+0x1400;demo+0x1500 231
END
    "$GOINSPECT" export demo.gmi --folded --sample alloc_objects -o objects 2>/dev/null
    grep -qx "demo+0x1400;demo+0x1300;demo+0x1100 1100" objects
    [ "$(wc -l <objects)" = 3 ]
    "$GOINSPECT" export demo.gmi --folded --sample alloc_space 2>/dev/null | grep -qx ".*;demo+0x1100 22000"
    "$GOINSPECT" export demo.gmi --folded --sample inuse_objects 2>/dev/null | grep -qx ".*;demo+0x1100 100"
}

@test "export: what makes no sense is refused, and nothing is written" {
    refuses 64 "say as what: --pprof or --folded" export demo.gmi
    misused "one of them" export demo.gmi --pprof --folded
    misused "'size' is none of inuse_space" export demo.gmi --folded --sample size
    refuses 64 "holds all four; --sample goes with --folded" export demo.gmi --pprof --sample alloc_space -o x
    "$GOINSPECT" snapshot demo.gmi -o demo.db 2>/dev/null
    refuses 3 "nowhere/x: cannot write: No such file" export demo.db --pprof -o nowhere/x
    refuses 3 "." export nothing.gmi --pprof -o x
    [ ! -e x ]
    on_terminal 200 "$GOINSPECT export demo.gmi --pprof" | grep -q "write it to a file with -o FILE"
}
