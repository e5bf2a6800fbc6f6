#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-3-Clause
#
# goinspect scavenge: what threads keep that sleep comes back if it is asked for, and nothing is lost
# to them; threads that never sleep do not mind.

bats_require_minimum_version 1.5.0
load helpers
setup() { common_setup; }
teardown() { common_teardown; }

keeper() {
    rm -f there
    options=${rate-rate=0} under_library "$BUILD_DIR/tests/inspect/keeper" "$work/there" "$@"
    wait_until test -e there
}

# wake has the threads look at what they keep, and do it all again.
wake() {
    rm there
    kill -USR1 "$pid"
    wait_until test -e there
}

# figure ITEM COLUMN prints a figure of the last scavenge, in KiB: 2 before, 3 after.
figure() {
    awk -F, -v item="$1" -v column="$2" '$1 == item { print int($column / 1024) }' scavenge.csv
}

scavenge() {
    run -0 --separate-stderr "$GOINSPECT" scavenge "$pid" -o csv "$@"
    echo "$output" >scavenge.csv
}

@test "sleeping threads keep what they have freed, unless --threads is given" {
    keeper
    scavenge
    [ "$(figure spans.cached_bytes 3)" -gt 40000 ]
    scavenge --threads
    [[ "$stderr" =~ \ 1[01]\ threads\'\ caches\ emptied ]]
    [[ ! "$stderr" =~ \ left ]] || [[ "$stderr" == *", 1 left"* ]]
    [ "$(figure spans.cached_bytes 2)" -gt 40000 ]
    [ "$(figure spans.cached_bytes 3)" -lt 12000 ] # that of one thread at most
    [ "$(figure heap.spans 3)" -lt 20000 ]
    [ "$(figure process.rss 3)" -lt $(($(figure process.rss 2) - 30000)) ]
}

@test "threads go on where they were, with all that they have" {
    rate=rate=1 keeper
    for round in 1 2; do
        scavenge --threads
        [ "$(figure spans.cached_bytes 3)" -lt 12000 ]
        wake
    done
    scavenge --threads
    kill -0 "$pid"
    "$GOINSPECT" snapshot "$pid" -o now.gmi
    [ "$("$GOINSPECT" sql now.gmi "SELECT count(*) > 20, min(holds) FROM v1_balance" -o csv --no-header)" = 1,1 ]
}

@test "threads that never sleep are left alone where they are amid malloc" {
    rate=rate=64k keeper busy
    for i in 1 2 3 4 5 6; do
        scavenge --threads
        [[ "$stderr" =~ \ caches?\ emptied ]]
    done
    wake
    kill -0 "$pid"
}
