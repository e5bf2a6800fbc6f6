#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-3-Clause
#
# What each verb shows of the tests' known heap (maker.h): the same from an image and a database.

bats_require_minimum_version 1.5.0
load helpers
setup() { common_setup; "$GOINSPECT" snapshot demo.gmi -o demo.db 2>/dev/null; }
teardown() { common_teardown; }

@test "every verb says the same of an image and of its database" {
    for verb in status sites "sites --stacks" "sites --by line" "sites --by function" "sites --by module" \
        classes "classes --all" spans arenas pages "pages --levels" "pages --entries" cache central; do
        "$GOINSPECT" $verb demo.gmi -o json 2>/dev/null | jq -S . >image
        "$GOINSPECT" $verb demo.db -o json 2>/dev/null | jq -S . >database
        diff image database
    done
}

@test "status: counts and bytes" {
    "$GOINSPECT" status demo.gmi -o json | jq -e '
        [.rows[] | {(.item): .value}] | add
        | .["objects.live"] == 178 and .["objects.recorded"] == 128 and .["process.rss"] == 7340032'
    run -0 "$GOINSPECT" status demo.gmi
    [[ ${lines[0]} == "demo  pid 4711  up 1s" ]]
}

@test "sites: live and cumulative, biggest first" {
    "$GOINSPECT" sites demo.gmi -o json 2>/dev/null | jq -e '
        .rows | (map(.live) == (map(.live) | sort | reverse))
        and (.[] | select(.site == 1) | .objects == 100 and .live == 2000 and .total_objects == 1100)
        and (.[] | select(.site == 3) | .objects == 7 and .live == 231)'
}

@test "sites --stacks: from the innermost frame outwards" {
    "$GOINSPECT" sites demo.gmi --stacks --site 1 -o json 2>/dev/null | jq -e '
        .rows | map(.module_offset) == ["0x1100", "0x1300", "0x1400"] and all(.live == 2000)'
    run -0 --separate-stderr "$GOINSPECT" sites demo.gmi --stacks --site 1
    [[ ${lines[0]} == "2.0 KiB in 100 objects"*"site 1" ]]
    [[ ${lines[1]} == "    ??  /opt/demo/bin/demo+0x1100" ]]
    [ "${#lines[@]}" -eq 4 ]
}

@test "sites --stacks --limit counts sites" {
    [ "$("$GOINSPECT" sites demo.gmi --stacks --limit 2 -o json 2>/dev/null | jq '[.rows[].site] | unique | length')" = 2 ]
}

@test "modules that are not there are said once each" {
    run -0 --separate-stderr "$GOINSPECT" sites demo.gmi
    [ "$stderr" = "goinspect: /opt/demo/bin/demo is not here: offsets instead of names" ]
}

@test "spans: by class, use, place, owner and state" {
    spans() { "$GOINSPECT" spans demo.gmi "$@" -o json | jq -c '[.rows[].class]'; }
    [ "$(spans --class 3)" = "[3]" ]
    [ "$(spans --util '<10%')" = "[2,0]" ]
    [ "$(spans --util '>90')" = "[0]" ]
    [ "$(spans --state manual)" = "[0]" ]
    [ "$(spans --owner heap --state in-use)" = "[0]" ]
    [ "$(spans --place listed --sort class)" = "[2,3,5]" ]
    [ "$(spans --class 60)" = "[]" ]
}

@test "classes --all has 68 rows" {
    [ "$("$GOINSPECT" classes demo.gmi --all -o csv --no-header | wc -l)" = 68 ]
}

@test "pages: the picture has a character for each page" {
    run -0 "$GOINSPECT" pages demo.gmi --map
    [[ $output == *"0xc000000000   |████████████____····cc          |"* ]]
    [[ $output == *"one character is 1 page, 8.0 KiB"* ]]
    [[ $output == *"+0      +64K    +128K   +192K"* ]]
    [ "$("$GOINSPECT" pages demo.gmi -o json | jq -r '.rows[0].map[:22]')" = "############____....cc" ]
}

@test "sql reads a statement from standard input, and reads only" {
    [ "$(echo "SELECT count(*) FROM v1_class" | "$GOINSPECT" sql demo.gmi -o csv --no-header)" = 68 ]
    [ "$("$GOINSPECT" sql demo.db "SELECT :snapshot + 0" -o csv --no-header)" = 1 ]
    for target in demo.gmi demo.db; do
        refuses 2 "." sql $target "DELETE FROM snapshot"
        refuses 2 "." sql $target "CREATE TABLE t (x)"
        refuses 2 "." sql $target "ATTACH 'x.db' AS x"
        refuses 2 "." sql $target "PRAGMA user_version = 7"
    done
    [ ! -e x.db ]
    refuses 2 "no such column: nonsense" sql demo.gmi "SELECT nonsense"
    refuses 2 "syntax error" sql demo.gmi "SELEKT 1"
}

@test "snapshot writes an image that is the one it read" {
    fake good
    "$GOINSPECT" snapshot "$pid" -o copy.gmi 2>err
    cmp demo.gmi copy.gmi
    [ "$(stat -c %a copy.gmi)" = 600 ]
    grep -q "^goinspect: copy.gmi: .* next: goinspect status copy.gmi$" err
}

@test "snapshot without -o gathers in NAME-PID.db; the same image adds nothing" {
    "$GOINSPECT" snapshot demo.gmi 2>err
    grep -q "demo-4711.db: snapshot 1;" err
    "$GOINSPECT" snapshot demo.gmi 2>err
    grep -q "demo-4711.db: snapshot 1 was there already" err
    [ "$("$GOINSPECT" sql demo-4711.db "SELECT count(*) FROM v1_snapshot" -o csv --no-header)" = 1 ]
}

@test "snapshot into a place where nothing can be written changes nothing" {
    refuses 3 "nowhere/x.gmi: cannot write: No such file" snapshot demo.gmi -o nowhere/x.gmi
    [ "$(id -u)" -ne 0 ] || return 0
    mkdir locked
    chmod 500 locked
    refuses 4 "locked/x.gmi: cannot write: Permission denied" snapshot demo.gmi -o locked/x.gmi
    [ -z "$(ls locked)" ]
}

@test "a full disk and a read-only one: status 2 or 4, and no file that was not there" {
    [ "$(id -u)" -eq 0 ] || skip "only root may mount"
    unshare --mount true 2>/dev/null || skip "namespaces are not allowed here"
    "$BUILD_DIR/tests/inspect/mkimage" big.gmi id=3 more_spans=200
    mkdir disk
    cat >in_namespace.sh <<'SH'
load_helpers=$1
. "$load_helpers"
set -e
work=$PWD
mount -t tmpfs -o size=64k none disk
for file in disk/heap.gmi disk/heap.db; do
    refuses 2 "$file.*([Nn]o space left|full)" snapshot big.gmi -o $file
    [ -z "$(ls -A disk)" ]
done
mount -o remount,size=1m none disk
"$GOINSPECT" snapshot demo.gmi -o disk/heap.db 2>/dev/null
cp disk/heap.db before.db
head -c 10m /dev/zero >disk/filler 2>/dev/null || true
refuses 2 "disk/heap.db.*([Nn]o space left|full)" snapshot big.gmi -o disk/heap.db
[ "$("$GOINSPECT" sql disk/heap.db "SELECT count(*) FROM v1_snapshot" -o csv --no-header)" = 1 ]
rm disk/filler
mount -o remount,ro none disk
for file in disk/other.gmi disk/other.db disk/heap.db; do
    refuses "2|4" "$file.*(ead-only|readonly)" snapshot big.gmi -o $file
done
[ "$(ls -A disk)" = heap.db ]
SH
    unshare --mount --propagation private bash in_namespace.sh "$SOURCE_DIR/tests/inspect/helpers.bash"
}

@test "import --remove deletes the image when it is in the file, and only then" {
    cp demo.gmi one.gmi
    "$GOINSPECT" import --remove one.gmi new.db 2>/dev/null
    [ ! -e one.gmi ]
    head -c 3000 demo.gmi >short.gmi
    cp demo.gmi two.gmi
    refuses 2 "short.gmi" import --quiet --remove short.gmi two.gmi new.db
    [ -e short.gmi ]
    [ ! -e two.gmi ]
}

@test "growth: what grew between two snapshots, by default the last two" {
    "$BUILD_DIR/tests/inspect/mkimage" later.gmi id=2 nodes=300 buffers=3 captured_ns=1700000100000000000
    "$GOINSPECT" import later.gmi demo.db 2>/dev/null
    "$GOINSPECT" growth demo.db -o json | jq -e '
        .rows | length == 2 and .[0].grown_objects == 200 and .[0].grown == 4000 and .[1].grown_objects == -4'
    for pair in "1 2" "first latest" "first"; do
        # shellcheck disable=SC2086
        [ "$("$GOINSPECT" growth demo.db $pair -o csv)" = "$("$GOINSPECT" growth demo.db -o csv)" ]
    done
    [ "$("$GOINSPECT" growth demo.db 2 1 -o json | jq '.rows[0].grown_objects')" = 4 ]
    [ "$("$GOINSPECT" growth demo.db 1 1 -o csv --no-header | wc -l)" = 0 ]
}

@test "growth needs a file with two snapshots" {
    refuses 3 "demo.db holds one snapshot only" growth demo.db
    refuses 3 "demo.db has no snapshot 7" growth demo.db 1 7
    refuses 64 "'x' is not the number of a snapshot" growth demo.db x
    refuses 64 "growth compares two snapshots of one FILE.db" growth demo.gmi
}
