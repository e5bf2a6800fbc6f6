#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-3-Clause
#
# What is resident: the rows of status add up to the kernel's figure, in real programs, and each part
# is what a program with known parts has of it.

bats_require_minimum_version 1.5.0
load helpers
setup() { common_setup; }
teardown() { common_teardown; }

# account TARGET [OPTION] leaves the parts in parts.csv (item,bytes) and checks that they add up: exactly, to
# within 1 % of the kernel's figure, and that to within 2 % to what the kernel says a moment later.
account() {
    "$GOINSPECT" snapshot "$1" -o now.gmi "${@:2}"
    "$GOINSPECT" sql now.gmi "SELECT item, bytes FROM v1_resident ORDER BY ord" -o csv --no-header >parts.csv
    awk -F, -v now="$(awk '/^Rss:/ { print $2 * 1024 }' "/proc/$1/smaps_rollup")" '
        { part[$1] = $2; if ($1 != "rss") sum += $2 }
        function abs(x) { return x < 0 ? -x : x }
        END {
            rss = part["rss"]
            ok = NR == 18 && rss > 0 && sum == rss && abs(part["difference"]) <= rss / 100 && abs(now - rss) <= rss / 50 + 262144
            for (p in part)
                if (part[p] < 0 && p != "difference") ok = 0
            exit !ok
        }' parts.csv || { cat parts.csv; grep Rss "/proc/$1/smaps_rollup"; return 1; }
}

# part ITEM LOW HIGH: that part is so large, in KiB.
part() {
    awk -F, -v item="$1" -v low="$2" -v high="$3" '
        $1 == item { found = $2 >= low * 1024 && $2 <= high * 1024; if (!found) print $1, $2 / 1024, "KiB" }
        END { exit !found }' parts.csv
}

known() {
    options=${rate-rate=1} under_library "$BUILD_DIR/tests/inspect/resident_demo" "$work/there" "$@"
    wait_until test -e there
}

@test "known parts of 50 threads, mapped and shared memory, and objects" {
    known
    account "$pid"
    part stacks 3200 6000
    part anonymous 24576 25600 # what was only read is not there
    part shared 8192 8300
    part live 19531 20000      # 20,000 objects of 1000 bytes
    part slack 468 900         # of 1024
    part recorder 100 4000
    # In the 30 MiB of objects: nothing is lost or told twice.
    awk -F, '$1 ~ /^(live|slack|free_slots|thread_caches|tails)$/ { s += $2 }
        END { exit !(s > 30e6 && s < 33e6) }' parts.csv
}

@test "the same of a snapshot with a leak check, which a copy of the process writes" {
    known
    account "$pid" --leaks
    part stacks 3200 6000
    part anonymous 24576 25600
    part live 19531 20000
    part metadata 100 4000
    "$GOINSPECT" sql now.gmi "SELECT (SELECT count(*) FROM leak_check), (SELECT sum(resident_bytes) > 30e6 FROM v1_arena)" \
        -o csv --no-header >also
    [ "$(cat also)" = 1,1 ]
}

@test "after a fork, in the child and in the parent" {
    known fork
    child=$(cat there)
    started+=("$child")
    wait_until "$GOINSPECT" status "$child"
    account "$child"
    part anonymous 24576 25600
    part live 19531 20000
    account "$pid"
    part stacks 3200 6000
}

@test "after scavenge" {
    rate=rate=0 known
    "$GOINSPECT" scavenge "$pid"
    account "$pid"
    part free_pages 0 1024
}

@test "an object and a mapping of which little is touched" {
    known sparse
    account "$pid"
    part live 19931 20500 # 100 pages of 4 KiB more
    part anonymous 24976 26000
}

@test "spans, arenas and the account agree on what is resident" {
    for options in rate=1 rate=1,thp=on; do
        rate=$options known sparse
        "$GOINSPECT" snapshot "$pid" -o now.db 2>/dev/null
        [ "$(sqlite3 now.db "SELECT
            (SELECT sum(resident_bytes) FROM v1_span)
                = (SELECT sum(resident_bytes) FROM resident WHERE name IN ('heap.spans', 'heap.stacks')),
            (SELECT sum(resident_bytes) FROM v1_class) = (SELECT sum(resident_bytes) FROM v1_span WHERE state = 'in use'),
            (SELECT sum(resident_bytes) FROM v1_arena)
                = (SELECT sum(resident_bytes) FROM resident WHERE name LIKE 'heap.%'),
            (SELECT resident_bytes FROM v1_fragmentation WHERE size_class IS NULL)
                = (SELECT sum(resident_bytes) FROM v1_arena),
            (SELECT sum(huge_bytes) FROM v1_arena)
                = (SELECT sum(huge_bytes) FROM resident WHERE name LIKE 'heap.%')")" = "1|1|1|1|1" ]
        huge=$(sqlite3 now.db "SELECT sum(huge_bytes) FROM v1_arena")
        rm now.db there
    done
    ! grep -qE "\[(always|madvise)\]" /sys/kernel/mm/transparent_hugepage/enabled || [ "$huge" -gt 0 ]
}

@test "a live process measures what is resident if a column shows it" {
    known
    "$GOINSPECT" classes "$pid" --columns class,resident -o csv >named
    "$GOINSPECT" classes "$pid" -o ndjson >all
    "$GOINSPECT" spans "$pid" --sort resident:desc --limit 1 --columns address -o csv >sorted
    awk -F, 'NR > 1 { s += $2 } END { exit !(s > 30e6) }' named
    grep -q '"class":32.*"resident":[1-9]' all
    [ "$(wc -l <sorted)" = 2 ]
    "$GOINSPECT" spans "$pid" -o csv --columns address,free >without
    [ "$(wc -l <without)" -gt 100 ]
}

@test "redis-server" {
    command -v redis-server >/dev/null || skip "there is no redis-server"
    under_library redis-server --port 0 --unixsocket "$work/redis.sock" --save ""
    account "$pid"
    part code 1000 20000
}

@test "python3, and a file says the same as the process" {
    options=rate=512k under_library /usr/bin/python3 -c "
import time, json
x = [str(i) * 9 for i in range(100000)]
open('$work/there', 'w').close()
time.sleep(600)"
    wait_until test -e there
    account "$pid"
    "$GOINSPECT" import -q now.gmi now.db
    sqlite3 -csv now.db "SELECT item, bytes FROM v1_resident ORDER BY ord" | tr -d '\r' | cmp - parts.csv
    run -0 --separate-stderr "$GOINSPECT" status now.db
    [[ "$output" =~ live\ .*metadata\ .*difference\ .*rss\ .*100\.0% ]]
    "$GOINSPECT" status now.db -o json |
        jq -e '.rows | map(select(.item | startswith("rss."))) | length > 10
            and (map(if .item == "rss.rss" then -.value else .value end) | add) == 0'
}

@test "it is only made when asked for, and at the program's end" {
    known
    "$GOINSPECT" sql "$pid" "SELECT count(*) FROM v1_status WHERE item LIKE 'rss.%'" -o csv --no-header >n
    [ "$(cat n)" = 0 ]
    GOMALLOC=exit=end.gmi LD_PRELOAD=$LIBGOMALLOC /bin/true
    "$GOINSPECT" sql end.gmi "SELECT count(*), sum(resident_bytes) > 0 FROM resident" -o csv --no-header >n
    [ "$(cat n)" = 14,1 ]
}
