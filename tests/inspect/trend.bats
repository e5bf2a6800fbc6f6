#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-3-Clause
#
# sites --growth: what is called growth and what is not, from histories that are made up; and the
# history of a real program.

bats_require_minimum_version 1.5.0
load helpers
setup() { common_setup; }
teardown() { common_teardown; }

# history EXPRESSION... makes grown.db, in which the nth EXPRESSION, of the tick i = 0 ... 19, is what
# site 99 + n held, a tick a minute.
history() {
    local site=100 expression
    "$BUILD_DIR/tests/inspect/mkimage" many.gmi more_spans=1 more_sites=$#
    "$GOINSPECT" import --quiet many.gmi grown.db
    {
        echo "DELETE FROM history; DELETE FROM tick;"
        echo "INSERT INTO tick SELECT 1, value + 1, 1700000000000000000 + value * 60000000000, 0, 0, 0, 0
            FROM generate_series(0, 19);"
        for expression in "$@"; do
            echo "INSERT INTO history SELECT 1, $((site++)), i + 1, $expression, ($expression) / 64.0, 1e6 * i
                FROM (SELECT value AS i FROM generate_series(0, 19));"
        done
    } | sqlite3 grown.db
}

# growing prints the sites that are said to grow.
growing() {
    "$GOINSPECT" sites grown.db --growth -o csv --no-header --columns site --sort site 2>/dev/null | tr '\n' ' '
}

@test "growth: a leak, also a noisy one, and one that begins late" {
    history "1000 * i" "1000 * i + 7919 * i % 5000" "50000 + 1000 * max(i - 7, 0)" "1e9 + 1e6 * i"
    [ "$(growing)" = "100 101 102 103 " ]
    "$GOINSPECT" sites grown.db --growth -o json 2>/dev/null | jq -e '
        .rows | (map(.site) == [103, 101, 100, 102] or map(.site) == [103, 100, 101, 102])
        and (.[] | select(.site == 100) | .grown == 19000 and .per_hour == 60000 and .ticks == 20)
        and (.[] | select(.site == 102) | .since == 1700000420000000000)'
}

@test "no growth: noise, a peak, a start-up, a cache that is full, what falls, what stays" {
    history "50000 + 7919 * i % 5000" "50000 + 1e9 * (i = 10)" "1e9 * (i > 0)" "1e6 * min(i, 4)" "1e6 - i" "7"
    [ "$(growing)" = "" ]
    [ "$("$GOINSPECT" sites grown.db --growth=all -o csv --no-header --columns grows 2>/dev/null | sort -u)" = 0 ]
}

@test "no growth: what few samples say" {
    history "524288.0 * (i / 4)" "524288.0 * 2 * i" "1e9 + 524288.0 * 2 * i"
    [ "$(growing)" = "100 101 102 " ]
    sqlite3 grown.db "UPDATE snapshot SET rate = 524288"
    [ "$(growing)" = "101 " ]
}

@test "no growth is said of fewer than six ticks" {
    history "1000 * i"
    sqlite3 grown.db "DELETE FROM history WHERE tick > 6; DELETE FROM tick WHERE tick > 6"
    [ "$(growing)" = "100 " ]
    sqlite3 grown.db "DELETE FROM history WHERE tick > 5; DELETE FROM tick WHERE tick > 5"
    [ "$(growing)" = "" ]
    "$GOINSPECT" sites grown.db --growth 2>&1 >/dev/null | grep -q "has 5 ticks of history: .* from 6 on"
}

@test "growth: the picture, in blocks or in ASCII" {
    history "1000 * i"
    picture() { "$GOINSPECT" sites grown.db --growth -o json 2>/dev/null | jq -r '.rows[].trend'; }
    [ "$(picture)" = " ▁▁▂▂▃▃▃▄▅▅▅▆▆▇█" ]
    [ "$(LC_ALL=C picture)" = " ..::---=+++**#@" ]
}

@test "growth: image and database say the same; sites are chosen; what makes no sense is refused" {
    "$GOINSPECT" snapshot demo.gmi -o demo.db 2>/dev/null
    "$GOINSPECT" sites demo.gmi --growth=all -o json 2>/dev/null | jq -S . >image
    "$GOINSPECT" sites demo.db --growth=all -o json 2>/dev/null | jq -S . >database
    [ "$(jq '.rows | length' image)" = 3 ]
    diff image database
    [ "$("$GOINSPECT" sites demo.db --growth=all --site 1 -o json 2>/dev/null | jq -r '.rows[].points')" = "0:800 1:1600 2:2400" ]
    "$GOINSPECT" sites demo.db --growth 2>/dev/null | head -n 1 | grep -qx "history: 3 ticks, from 2023-11-14 22:13:17 to 2023-11-14 22:13:19"
    misused "'some' is not \"all\"" sites demo.db --growth=some
    refuses 64 "goes with neither --by nor --stacks" sites demo.db --growth --stacks
    "$BUILD_DIR/tests/inspect/mkimage" old.gmi old=1
    refuses 3 "old.gmi has no history" sites old.gmi --growth
}

@test "history: the ticks of a running program add up, also in the child of a fork and at its end" {
    options=rate=1,interval=1,exit=$work/end.gmi under_library /usr/bin/python3 -c '
import ctypes, os, sys, time
kept = []
ctypes.pythonapi.Py_IncRef(ctypes.py_object(kept)) # not freed at the end either: a tick may fall there
child = os.fork()
while not os.path.exists("stop"):
    kept.append(bytearray(50000)) # a megabyte in twenty turns, however slow they are
    time.sleep(0.01)
if child:
    os.waitpid(child, 0)'
    parent=$pid
    ticks() { [ "$("$GOINSPECT" sql "$1" "SELECT count(*) FROM tick" -o csv --no-header)" -ge 3 ]; }
    wait_until ticks "$parent"
    child=$(pgrep -P "$parent")
    wait_until ticks "$child"
    touch stop
    wait "$parent"
    "$GOINSPECT" sql end.gmi -o json "
        SELECT count(*) AS n, min(abs(t.live_bytes - h.live_bytes) < 1) AS live,
               min(abs(t.alloc_bytes - h.alloc_bytes) < 1) AS alloc, min(t.rss_bytes > 0) AS rss
        FROM tick t
        JOIN (SELECT tick, sum(live_bytes) AS live_bytes, sum(alloc_bytes) AS alloc_bytes
              FROM history GROUP BY tick) h ON h.tick = t.tick" |
        jq -e '.rows[0] | .n >= 3 and .live == 1 and .alloc == 1'
    "$GOINSPECT" sites end.gmi --growth=all -o json 2>/dev/null |
        jq -e '[.rows[] | select(.grown > 1000000)] | length >= 1'
}

@test "history: interval=0 keeps none, and a time that is none is refused" {
    options=rate=1,interval=0 under_library sleep 60
    refuses 3 "has no history" sites "$pid" --growth
    for word in x 5x m 1d 0x10 10k 999999999h; do
        LD_PRELOAD=$LIBGOMALLOC GOMALLOC=interval=$word /bin/true 2>err
        grep -q "interval=$word: the value must be a time such as 30s, 5m or 1h, 0 for off" err
    done
    for word in 0 1 30s 5m 1h; do
        LD_PRELOAD=$LIBGOMALLOC GOMALLOC=interval=$word /bin/true 2>err
        [ ! -s err ]
    done
}
