#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-3-Clause
#
# diff: two heaps of known content, from files of every kind and from processes, and what is said of
# them.  The statistics are tested in tests/schema/test_diff.c.

bats_require_minimum_version 1.5.0
load helpers
setup() {
    common_setup
    mk="$BUILD_DIR/tests/inspect/mkimage"
    "$mk" a.gmi
    "$mk" b.gmi id=2 captured_ns=1700000060000000000 nodes=150 buffers=2 other_numbers=1 more_spans=1 more_sites=2
}
teardown() { common_teardown; }

# database makes heap.db of these two and one of another process.
database() {
    "$mk" c.gmi id=3 captured_ns=1700000070000000000 pid=4712 nodes=7
    "$GOINSPECT" import --quiet a.gmi b.gmi c.gmi heap.db
}

# diff_rows ARGUMENT... prints growth, change and objects of each row.
diff_rows() { "$GOINSPECT" diff "$@" -o csv --no-header --columns growth,change,before,after,objects,location 2>>err; }

# demo NAME ARGUMENT... runs diff_demo of that build to its end; its image is NAME.gmi.
demo() {
    [ -e "$LIBGOMALLOC" ] || skip "libgomalloc.so is not built in this configuration"
    local name=$1
    shift
    GOMALLOC=rate=1,exit=$name.gmi LD_PRELOAD=$LIBGOMALLOC "$@"
}

@test "diff: what has grown, is new and has shrunk, with exact bytes, most first" {
    diff_rows a.gmi b.gmi >out
    diff - out <<END
4096,new,0,4096,512,demo+0x3000
4096,new,0,4096,512,demo+0x3010
1000,grown,2000,3000,50,demo+0x1100
-165,shrunk,231,66,-5,demo+0x1500
END
    diff_rows b.gmi a.gmi >out
    grep -qx -- "-4096,gone,4096,0,-512,demo+0x3000" out
    "$GOINSPECT" diff a.gmi a.gmi -o csv --no-header >out
    [ ! -s out ]
}

@test "diff: over the rows stands the whole, also as rows" {
    "$GOINSPECT" diff a.gmi b.gmi >out
    grep -q "^From a.gmi: demo 4711, 2023-11-14 22:13:20$" out
    grep -q "^  to b.gmi: demo 4711, 2023-11-14 22:14:20 (1m 0s later)$" out
    grep -q "^objects  *178  *1,247  *+1,069  +600.6%$" out
    ! grep -q " $" out
    "$GOINSPECT" diff a.gmi b.gmi --by total -o json >out
    jq -e '[.rows[] | [.item, .growth, .unit, .p]] == [["live", 9152, "bytes", null],
        ["requested", 9027, "bytes", null], ["objects", 1069, "objects", null],
        ["spans", 1, "spans", null], ["span_bytes", 8192, "bytes", null], ["rss", 0, "bytes", null]]' out
}

@test "diff: snapshots of a file, files, and mixtures say the same, and v1_diff with them" {
    database
    diff_rows a.gmi b.gmi >want
    for pair in "a.gmi heap.db@2" "heap.db@1 b.gmi" "heap.db@1 heap.db@2" "heap.db@first heap.db@2"; do
        diff_rows $pair >out
        diff want out
    done
    sqlite3 -csv heap.db "SELECT grown_bytes, coalesce(change, iif(grown_bytes > 0, 'grown', 'shrunk')),
        live_bytes_a, live_bytes_b, grown_objects, location FROM v1_diff WHERE snapshot_a = 1
        AND snapshot_b = 2 AND grown_bytes <> 0 ORDER BY 1 DESC, location" >out
    diff want out
    "$GOINSPECT" diff a.gmi b.gmi --by class -o csv --no-header --columns class,growth,objects --sort class >want
    sqlite3 -csv heap.db "SELECT size_class, grown_bytes, grown_objects FROM v1_diff_class WHERE snapshot_a = 1
        AND snapshot_b = 2 AND grown_bytes <> 0 ORDER BY 1" >out
    diff want out
}

@test "diff: a file alone is its first snapshot of a process and its latest" {
    database
    "$mk" d.gmi id=4 captured_ns=1700000080000000000
    "$GOINSPECT" import --quiet d.gmi heap.db
    "$GOINSPECT" diff heap.db >out 2>err
    grep -q "^From heap.db@1: demo 4711" out
    grep -q "^  to heap.db@4: demo 4711" out
    "$GOINSPECT" diff heap.db@2 >out 2>err
    grep -q "^From heap.db@2: demo 4711" out
    "$GOINSPECT" diff heap.db@3 heap.db >out 2>err
    grep -q "note: two processes of one program: demo 4712 and demo 4711" err
    ln heap.db "odd@3" # a file of that name is that file
    "$GOINSPECT" diff ./odd@3 heap.db@4 >out 2>err
    grep -q "^From ./odd@3@4: demo" out
}

@test "diff: by class, by span, and with a least size" {
    "$GOINSPECT" diff a.gmi b.gmi --by class -o json >out
    jq -e '.rows | map([.class, .growth, .objects, .objects_after]) ==
        [[1, 8192, 1024, 1024], [3, 1200, 50, 150], [5, -240, -5, 22]]' out
    "$GOINSPECT" diff a.gmi b.gmi --by span -o json >out
    jq -e '.rows | map([.class, .spans, .growth, .spans_before, .free]) == [[1, 1, 8192, 0, 0]]' out
    [ "$(diff_rows a.gmi b.gmi --min-bytes 1k | wc -l)" -eq 2 ]
    [ "$(diff_rows a.gmi b.gmi --min-bytes 500 | wc -l)" -eq 3 ]
    [ "$(diff_rows a.gmi b.gmi --limit 1)" = "4096,new,0,4096,512,demo+0x3000" ]
}

@test "diff: what is sampled has an error, and is faint if it may be chance" {
    "$mk" a.gmi rate=4096 pid=1
    "$mk" b.gmi rate=4096 pid=2 id=2 nodes=120 more_spans=1 more_sites=2
    "$GOINSPECT" diff a.gmi b.gmi -o json >out 2>err
    jq -e '.rows[0].change == "new" and .rows[0].significant == 1 and .rows[0].p < 1e-9 and .rows[0].error > 0 and
        .rows[2].change == "grown?" and .rows[2].significant == 0 and .rows[2].p > 0.05' out
    jq -e '.rows[2] | .p - ((.growth / .error) | if . > 1.2 and . < 1.5 then 0.18 else 9 end) | fabs < 0.01' out
    "$GOINSPECT" diff a.gmi b.gmi --color=always 2>err | grep -F "grown?" | grep -qF $'\033[2m'
    "$GOINSPECT" diff a.gmi b.gmi --color=always 2>err | grep -F "new" | grep -vqF $'\033[2m'
    "$GOINSPECT" diff a.gmi b.gmi 2>err | grep -qE "^requested .* ± [0-9.]+ KiB$"
    # Exact against sampled: what is not recorded is on neither side.
    "$mk" a.gmi
    [ "$(diff_rows a.gmi b.gmi | grep -c "not recorded")" -eq 0 ]
}

@test "diff: other verbs take FILE.db@N, too" {
    database
    "$GOINSPECT" sites heap.db@1 -o csv >one
    "$GOINSPECT" sites heap.db --snapshot 1 -o csv >want
    diff want one
    "$GOINSPECT" sites heap.db@latest -o csv >one
    "$GOINSPECT" sites heap.db -o csv >want
    diff want one
    refuses 64 "heap.db@1 chooses a snapshot, and so does --snapshot" sites heap.db@1 --snapshot 2
    refuses 3 "heap.db has no snapshot 9" sites heap.db@9
    refuses 3 "a.gmi has no snapshot 2" sites a.gmi@2
}

@test "diff: one line says what is wrong" {
    database
    refuses 3 "heap.db has no snapshot 9" diff heap.db@9
    refuses 3 "none.gmi: No such file" diff a.gmi none.gmi
    refuses 64 "diff compares two heaps, and a.gmi is one" diff a.gmi
    refuses 3 "no process 999999999|no process" diff a.gmi 999999999
    "$GOINSPECT" import --quiet a.gmi one.db
    refuses 3 "one.db holds one snapshot only" diff one.db
    head -c 3000 a.gmi >cut.gmi
    refuses 2 "cut.gmi" diff cut.gmi a.gmi
    misused "'heap' is none of site, class, span, total" diff a.gmi b.gmi --by heap
    misused "'name' is none of stack, function, line" diff a.gmi b.gmi --match name
    misused "'x' is not a size" diff a.gmi b.gmi --min-bytes x
}

@test "diff: a process has grown by what it was told to, since an image and since a snapshot" {
    [ -e "$LIBGOMALLOC" ] || skip "libgomalloc.so is not built in this configuration"
    mkfifo in
    GOMALLOC=rate=1 LD_PRELOAD=$LIBGOMALLOC "$BUILD_DIR/tests/inspect/diff_demo_O1" 10 25 wait <in >log 3>&- &
    pid=$!
    started+=("$pid")
    exec 9>in
    wait_until grep -q ready log
    wait_until "$GOINSPECT" status "$pid"
    "$GOINSPECT" snapshot "$pid" -o before.gmi 2>err
    "$GOINSPECT" snapshot "$pid" -o before.db 2>err
    echo >&9
    wait_until grep -qz "ready.ready" log
    for file in before.gmi before.db; do
        "$GOINSPECT" diff $file "$pid" -o json >out 2>err
        [ ! -s err ]
        jq -e '[.rows[] | select(.function == "keep_more")] | length == 1 and
            (.[0] | .growth == 50000 and .objects == 25 and .before == 50000 and .error == null)' out
        jq -e '[.rows[] | select(.function == "keep_same")] == []' out
    done
    exec 9>&-
}

@test "diff: another run of one build is matched by offsets, another build by names" {
    demo one "$BUILD_DIR/tests/inspect/diff_demo_O1" 10 20
    demo two "$BUILD_DIR/tests/inspect/diff_demo_O1" 10 30
    demo three "$BUILD_DIR/tests/inspect/diff_demo_O0" 10 30
    "$GOINSPECT" diff one.gmi two.gmi -o csv --no-header --columns function,growth,change >out 2>err
    grep -qx "keep_more,20000,grown" out
    ! grep -q keep_same out
    grep -q "note: two processes of one program: diff_demo_O1 [0-9]* and diff_demo_O1 [0-9]*$" err
    "$GOINSPECT" diff one.gmi three.gmi -o csv --no-header --columns function,growth,change >out 2>err
    grep -q "note: different programs: .*; the builds differ, so call stacks are matched by the functions' names" err
    grep -qx "keep_more,20000,grown" out
    ! grep -q keep_same out
    "$GOINSPECT" diff one.gmi three.gmi --match stack -o csv --no-header --columns function,growth,change >out 2>err
    grep -qx "keep_same,10000,new" out
    grep -qx "keep_same,-10000,gone" out
    # By lines, callers are told apart that are at others.
    "$GOINSPECT" diff one.gmi two.gmi --match line -o csv --no-header --columns function,growth,change >out 2>err
    grep -qx "keep_more,20000,grown" out
}

@test "what has not changed is said not to have, in words" {
    "$GOINSPECT" import -q demo.gmi same.db
    run -0 --separate-stderr "$GOINSPECT" diff demo.gmi same.db
    [[ $stderr == *"goinspect: no call stack has changed"* ]]
    run -0 --separate-stderr "$GOINSPECT" diff demo.gmi same.db --by class
    [[ $stderr == *"goinspect: nothing has changed"* ]]
    run -0 --separate-stderr "$GOINSPECT" diff demo.gmi same.db -o json
    [[ $stderr != *changed* ]]
}
