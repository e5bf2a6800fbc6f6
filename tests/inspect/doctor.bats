#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-3-Clause
#
# goinspect doctor: what is planted is the first finding, with the figures of its query; nothing is
# found where nothing is wrong; what was not looked at is said.

bats_require_minimum_version 1.5.0
load helpers
setup() { common_setup; }
teardown() { common_teardown; }

# planted CAUSE [OPTIONS] leaves CAUSE.gmi, of doctor_demo's end.
planted() {
    [ -e "$LIBGOMALLOC" ] || skip "libgomalloc.so is not built in this configuration"
    GOMALLOC=${2:-rate=1},exit=$1.gmi LD_PRELOAD=$LIBGOMALLOC "$BUILD_DIR/tests/inspect/doctor_demo" "$1"
}

# report STATUS (a pattern) TARGET [OPTION...] leaves the findings in report.json, and what is said in said.
report() {
    local want=$1 status=0
    shift
    "$GOINSPECT" doctor "$@" -o json >report.json 2>said || status=$?
    [[ $status =~ ^($want)$ ]] || { echo "doctor $*: status $status, wanted $want"; cat report.json said; return 1; }
}

kinds() { jq -r '[.rows[].kind] | join(" ")' report.json; }
sentence() { jq -r --arg kind "$1" '.rows[] | select(.kind == $kind) | .sentence' report.json; }

# finds KIND TARGET: that is the first in report.json, and all figures are those of the queries.
finds() {
    /usr/bin/python3 "$SOURCE_DIR/tests/inspect/doctor_check.py" "$GOINSPECT" "$2" report.json "$1"
}

# live_bytes KIND prints the bytes that the query of a finding yields of the process $pid by now.
live_bytes() {
    "$GOINSPECT" sql "$pid" "$(jq -r --arg kind "$1" '.rows[] | select(.kind == $kind) | .query' report.json)" \
        -o json 2>/dev/null | jq '.rows[0].bytes'
}

# changed SQL leaves file.db, the tests' known heap with these changes.
changed() {
    rm -f file.db
    "$GOINSPECT" import -q demo.gmi file.db 2>/dev/null
    sqlite3 file.db "INSERT INTO resident VALUES (1, 'kernel', 0, 7340032, 0, 0),
        (1, 'heap.spans', 5e6, 0, 0, 0); $1"
}

@test "each cause that is planted is the first finding, true by its query" {
    for cause in free_slots tails free_pages large_spans not_malloc thread_reserves ended_threads \
        freed_elsewhere stacks coroutines could_be_local resized handed_over slack pins; do
        # What is given back by and by may be gone if the machine takes a rest just then.
        for attempt in {1..20}; do
            planted $cause
            report "0|1" $cause.gmi
            ! finds $cause $cause.gmi || break
            [ $attempt -lt 20 ]
        done
        case $cause in # who did it, and how much
        slack) [[ "$(sentence slack)" == "2.3 MiB of live"*"ask_badly (doctor_demo.c:"*"asking for 1,030 bytes and getting 1,152." ]] ;;
        pins) [[ "$(sentence pins)" =~ ^1,5[0-9]{2}\ objects\ of\ [0-9]+\ sites\ keep\ 1,5[0-9]{2}\ spans\ \(12\.2\ MiB\)\ .*:\ keep_few\ \(doctor_demo ]] ;;
        esac
    done
    jq -e '.rows[0] | .bytes > 12500000 and .share > 20' report.json
}

@test "where nothing is wrong nothing is found, and what was looked at is said" {
    planted healthy
    run -0 --separate-stderr "$GOINSPECT" doctor healthy.gmi
    output=$(tr '\n' ' ' <<<"$output") # it is broken to 80 columns
    [[ "$output" =~ Nothing\ (to\ report|large\ to\ report,\ but\ [0-9]+\ small\ findings?:\ --all\ shows\ (it|them))\.\ Looked\ at:\ fragmentation,\ what\ is\ resident,\  ]]
    small=$([[ $output =~ but\ ([0-9]+)\ small ]] && echo "${BASH_REMATCH[1]}") || small=0
    "$GOINSPECT" doctor healthy.gmi --all -o json 2>/dev/null >all.json || [ $? -eq 1 ]
    [ "$(jq '.rows | length' all.json)" = "$small" ]
    [[ "$output" == *"Not looked at: leaks; healthy.gmi has no leak check"* ]]
    [[ "$output" == *"Not looked at: growth; it takes six ticks of history"* ]]
    report 0 healthy.gmi
    [ "$(jq '.rows | length' report.json)" = 0 ]
    grep -q "^goinspect: not looked at: leaks; " said
    report 1 healthy.gmi --all # nothing is too small for that
    finds library healthy.gmi
}

@test "samples give an estimate with its range, few samples give no claim" {
    planted slack rate=64k
    report 1 slack.gmi
    [[ "$(sentence slack)" =~ ^[1-4]\.[0-9]\ MiB\ \(an\ estimate:\ [0-9.]+\ [MK]iB\ to\ [2-5]\.[0-9]\ MiB\)\ of ]]
    finds slack slack.gmi
    planted slack rate=16m
    report 1 slack.gmi
    [ "$(kinds)" = coarse ]
    [[ "$(sentence coarse)" == "Only "*" of 20,0"*" live objects ("*" MiB) are recorded, a sample every 16.0 MiB:"* ]]
    finds coarse slack.gmi
    # Whose pins they are is told of a sample too, if it is large enough.
    planted pins rate=2k
    report 1 pins.gmi
    [[ "$(sentence pins)" =~ :\ keep_few\ \(doctor_demo.c:[0-9]+\)\ about\ [0-9.]+\ MiB.*\ estimated\ from\ the\ [0-9]+\ that ]]
    finds pins pins.gmi
    planted pins rate=1m
    report 1 pins.gmi
    [[ "$(sentence pins)" != *keep_few* ]]
    jq -e '.rows[0].advice | contains("A smaller GOMALLOC=rate= has more recorded.")' report.json
}

@test "leaks of a live process are looked for when asked, and only then" {
    [ -e "$LIBGOMALLOC" ] || skip "libgomalloc.so is not built in this configuration"
    start env GOMALLOC=rate=1 LD_PRELOAD="$LIBGOMALLOC" "$BUILD_DIR/tests/inspect/doctor_demo" leaks there
    wait_until test -e there
    wait_until "$GOINSPECT" status "$pid"
    report 0 "$pid"
    grep -qx "goinspect: not looked at: leaks; goinspect doctor $pid --leaks does; it pauses the process for about 1 ms" said
    report 1 "$pid" --leaks
    [[ "$(sentence leaks)" =~ ^2\.[67]\ MiB\ have\ leaked:.*\ 2[01],[0-9]{3}\ objects.*lose_more\ \(doctor_demo\.c:[0-9]+\)\ has\ lost\ 2\.4 ]]
    [ "$(grep -c "not looked at: leaks" said)" = 0 ]
    [ "$(live_bytes leaks)" = "$(jq '.rows[0].bytes' report.json)" ]
    # What is resident is told by another image than leaks are: neither is missing.
    [ "$(grep -c "not looked at: what is resident" said)" = 0 ]
    # Nor does goinspect sql ask for more than the statement names.
    asked() { "$GOINSPECT" sql "$pid" "$1" -o csv --no-header 2>/dev/null; }
    [ "$(asked "SELECT 'v1_leak', count(*) > 0 FROM resident")" = v1_leak,1 ]
    [ "$(asked "SELECT count(*) FROM V1_Leak_Check")" = 1 ]
    "$GOINSPECT" snapshot "$pid" --leaks -o leaks.gmi
    report 1 leaks.gmi
    finds leaks leaks.gmi
}

@test "growth, and when it will be too much" {
    changed "DELETE FROM history; DELETE FROM tick;
        INSERT INTO tick SELECT 1, value + 1, 1700000000000000000 + value * 60000000000, 0, 0, 0, 0
            FROM generate_series(0, 19);
        INSERT INTO history SELECT 1, 1, value + 1, 1048576.0 * value, 16384.0 * value, 0
            FROM generate_series(0, 19)"
    report 1 file.db
    finds growth file.db
    [[ "$(sentence growth)" =~ ^1\ site\ grows:\ 19\.0\ MiB\ in\ the\ last\ 19m\ 0s.*about\ 60\.0\ MiB\ an\ hour,\ 1\ GiB\ more\ is\ reached\ in\ 17h\ 4m ]]
    [[ "$(sentence growth)" != *estimate* ]] # rate=1
    sqlite3 file.db "UPDATE snapshot SET rate = 4096"
    report 1 file.db
    [[ "$(sentence growth)" == *"an estimate from samples that may err by "* ]]
    finds growth file.db
    sqlite3 file.db "DELETE FROM history WHERE tick > 5; DELETE FROM tick WHERE tick > 5"
    report 0 file.db
    grep -q "not looked at: growth; it takes six ticks of history, and file.db has 5:" said
}

@test "what a program can't plant: huge pages, swap, the library's own, an incomplete record" {
    # kind, and what makes it
    while IFS=: read -r kind sql; do
        changed "$sql"
        report 1 file.db
        finds "$kind" file.db
    done <<'END'
huge_pages:UPDATE resident SET huge_bytes = 6291456, resident_bytes = 6291456 WHERE name = 'heap.spans'; UPDATE pin SET block_used = 1000 WHERE unit = 1; UPDATE snapshot SET rss_bytes = 8388608; INSERT INTO pin SELECT 1, 1, base + 2097152 * value, site_id, objects, bytes, block_bytes, 1000, block_objects, block_sites FROM pin, generate_series(1, 3) WHERE unit = 1
swap:UPDATE resident SET swapped_bytes = 4194304 WHERE name = 'heap.spans'
library:INSERT INTO resident VALUES (1, 'recorder', 9e6, 5242880, 0, 0)
stack_table_full:UPDATE counter SET name = 'recorder.stack_table_full', value = 17
no_memory:UPDATE counter SET name = 'recorder.no_memory', value = 17
bound_met:UPDATE snapshot SET cut = 1
END
}

@test "a cgroup near its limit comes first" {
    [ -e "$LIBGOMALLOC" ] || skip "libgomalloc.so is not built in this configuration"
    start env GOMALLOC=rate=1 LD_PRELOAD="$LIBGOMALLOC" "$BUILD_DIR/tests/inspect/doctor_demo" not_malloc there
    wait_until test -e there
    wait_until "$GOINSPECT" status "$pid"
    export GOINSPECT_CGROUP=$work/cgroup
    mkdir -p cgroup cgroup/memory
    for name in memory.current memory/memory.usage_in_bytes; do echo 99000000 >cgroup/$name; done
    for name in memory.max memory/memory.limit_in_bytes; do echo 100000000 >cgroup/$name; done
    report 1 "$pid"
    [ "$(kinds)" = "cgroup not_malloc" ]
    [[ "$(sentence cgroup)" == "The cgroup uses 94.4 MiB of its 95.4 MiB (99 %), "* ]]
    [ "$(live_bytes cgroup)" = 99000000 ]
    for name in memory.max memory/memory.limit_in_bytes; do echo 200000000 >cgroup/$name; done
    report 1 "$pid"
    [ "$(kinds)" = not_malloc ]
    rm -r cgroup
    report 1 "$pid"
    grep -q "not looked at: the cgroup's limit; its files can't be read" said
}

@test "an image and a file say the same" {
    "$GOINSPECT" import -q demo.gmi demo.db 2>/dev/null
    report 1 demo.gmi --all
    jq 'del(.rows[].advice)' report.json >image.json # which names the target
    report 1 demo.db --all
    jq 'del(.rows[].advice)' report.json >file.json
    [ "$(jq '.rows | length' image.json)" -ge 4 ]
    diff image.json file.json
    finds pins demo.db
}

@test "what is said of an older snapshot names it" {
    "$BUILD_DIR/tests/inspect/mkimage" later.gmi id=2 captured_ns=1700000060000000000
    for image in demo later; do "$GOINSPECT" import -q $image.gmi demo.db 2>/dev/null; done
    report 1 demo.db@1 --all
    [[ "$(jq -r '.rows[].advice' report.json)" == *"pins demo.db@1 "* ]]
    report 1 demo.db --all
    [[ "$(jq -r '.rows[].advice' report.json)" == *"pins demo.db "* ]]
}

@test "of an old image and an old file is said what they do not tell" {
    "$BUILD_DIR/tests/inspect/mkimage" old.gmi old=1
    run -0 --separate-stderr "$GOINSPECT" doctor old.gmi
    for what in "what is resident" "leaks" "growth" "threads' caches" "lifetimes"; do
        [[ "$output" == *"Not looked at: $what; "* ]]
    done
    changed "DROP VIEW v1_span; DROP TABLE mheap; DROP TABLE tick; DROP TABLE leak_check; DROP TABLE resident"
    report 0 file.db
    grep -q "^goinspect: not looked at: what is resident; " said
    grep -q "^goinspect: not looked at: free_slots, .*; file.db was made by an older goinspect$" said
}

@test "a page is as wide as the terminal, and plain in a pipe" {
    "$GOINSPECT" doctor demo.gmi --all >page 2>/dev/null || [ $? = 1 ]
    [ "$(widest <page)" -le 80 ]
    [ "$(widest <page)" -gt 70 ]
    [ "$(grep -c $'\033' page)" = 0 ]
    grep -qx " 1 pins: 16.0 KiB, 0.2 % of the RSS" page
    [ "$("$GOINSPECT" doctor demo.gmi --all --limit 2 2>/dev/null | grep -c '^ [0-9] ')" = 2 ]
    on_terminal 40 "NO_COLOR=1 '$GOINSPECT' doctor demo.gmi --all 2>/dev/null" >narrow
    [ "$(widest <narrow)" -le 40 ]
    [ "$(widest <narrow)" -gt 30 ]
    [ "$(tr -s ' \n' ' ' <narrow)" = "$(tr -s ' \n' ' ' <page)" ]
    on_terminal 80 "'$GOINSPECT' doctor demo.gmi --all 2>/dev/null" | grep -q $'\033\\[1mpins'
}

@test "--queries prints SQL that can be copied" {
    "$GOINSPECT" doctor demo.gmi --all --queries >page 2>/dev/null || [ $? = 1 ]
    awk '/^   (SELECT|WITH)/ && !done { inside = 1 } inside { print } inside && /;$/ { done = 1; inside = 0 }' page >first.sql
    want=$("$GOINSPECT" doctor demo.gmi --all -o json 2>/dev/null | jq '.rows[0].bytes')
    [ "$("$GOINSPECT" sql demo.gmi -o json <first.sql 2>/dev/null | jq '.rows[0].bytes')" = "$want" ]
}

@test "what can't be done is refused" {
    refuses 64 "--leaks has a live process look for leaks" doctor demo.gmi --leaks
    refuses 3 "no process" doctor 999999999
    refuses 3 "none.gmi" doctor none.gmi
    misused "unknown option --pulse" doctor demo.gmi --pulse
}
