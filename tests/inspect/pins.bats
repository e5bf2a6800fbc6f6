#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-3-Clause
#
# goinspect pins: sites that keep sparse spans, in the order and with the bytes that a program with
# known pins says; what is said where nothing is pinned, or not everything recorded.

bats_require_minimum_version 1.5.0
load helpers
setup() { common_setup; }
teardown() { common_teardown; }

# pinned SEED OPTIONS leaves the image of pins_demo in e.gmi, and what it says in known.
pinned() {
    [ -e "$LIBGOMALLOC" ] || skip "libgomalloc.so is not built in this configuration"
    GOMALLOC=$2,exit=e.gmi LD_PRELOAD=$LIBGOMALLOC "$BUILD_DIR/tests/inspect/pins_demo" "$1" >known
    [ "$(wc -l <known)" -ge 3 ]
}

@test "known pins come in the right order with exact bytes" {
    for seed in 1 2 3 4 5; do
        pinned $seed rate=1
        "$GOINSPECT" pins e.gmi -o csv | awk -F, '/,keep_/ { print $6, $1, $2, $3, $4 }' >found
        # A shared span's remainder is a byte, which goes to either.
        paste -d' ' known found | awk '
            $1 != $6 || $3 != $8 || $4 != $9 || $5 != $10 || $7 < $2 || $7 - $2 > $4 { bad = 1; print }
            END { exit bad || NR < 3 }'
    done
}

@test "the shares of a span are whole, its sites divide it by objects, and nobody is left out" {
    pinned 6 rate=1
    "$GOINSPECT" import -q e.gmi e.db --objects all
    [ "$(sqlite3 e.db "SELECT count(*) > 50, count(*) = sum(whole) FROM
        (SELECT sum(bytes) = max(block_bytes) AND sum(objects) = max(block_objects)
                AND count(*) = max(block_sites) AND min(block_sites) = max(block_sites) AS whole
         FROM pin GROUP BY unit, base)")" = "1|1" ]
    [ "$(sqlite3 e.db "SELECT max(abs(bytes - 1.0 * block_bytes * objects / block_objects)) < 1.0,
        sum(sole = (bytes = block_bytes)) = count(*) FROM v1_pin")" = "1|1" ]
    # The same from the rows of objects.
    sqlite3 e.db "SELECT base, site_id, objects, block_used FROM pin WHERE unit = 0 ORDER BY 1, 2" >by_pin
    sqlite3 e.db "SELECT o.span, o.site_id, count(*), s.live * s.elem_size
        FROM object o JOIN span s ON s.snapshot_id = o.snapshot_id AND s.base = o.span
        WHERE s.size_class > 0 AND s.live * s.elem_size * 100 <= 75 * s.npages * 8192
        GROUP BY 1, 2 ORDER BY 1, 2" >by_object
    [ "$(wc -l <by_pin)" -gt 100 ]
    cmp by_pin by_object
    # 2 MiB: each object of it, be its span sparse or not.
    sqlite3 e.db "SELECT site_id, objects FROM pin WHERE unit = 1
        AND base = (SELECT min(base) FROM pin WHERE unit = 1) ORDER BY 1" >by_pin
    sqlite3 e.db "SELECT site_id, count(*) FROM object, (SELECT min(base) AS b FROM pin WHERE unit = 1)
        WHERE address + given > b AND address < b + 2097152 GROUP BY 1 ORDER BY 1" >by_object
    [ -s by_pin ]
    cmp by_pin by_object
}

@test "an image and a file say the same, and so does plain sqlite3" {
    pinned 1 rate=1
    "$GOINSPECT" import -q e.gmi e.db
    for by in span huge arena; do
        "$GOINSPECT" pins e.gmi --util 75 --by $by -o csv --columns bytes,sole,blocks,objects,kept,function,location,block_bytes,used >a
        "$GOINSPECT" pins e.db --util 75 --by $by -o csv --columns bytes,sole,blocks,objects,kept,function,location,block_bytes,used >b
        [ "$(wc -l <a)" -gt 1 ]
        cmp a b
    done
    "$GOINSPECT" pins e.gmi -o csv | awk -F, '/,keep_/ { print $6 "|" $1 }' >a
    sqlite3 e.db "SELECT function, sum(bytes) FROM v1_pin WHERE used_percent < 25 AND function LIKE 'keep%'
        GROUP BY site_id ORDER BY 2 DESC" >b
    cmp a b
}

@test "the last sentence counts objects, sites, spans and bytes" {
    pinned 1 rate=1
    run -0 --separate-stderr "$GOINSPECT" pins e.gmi --bytes
    [[ "${lines[-1]}" =~ ^([0-9]+)\ objects\ from\ ([0-9]+)\ sites\ keep\ ([0-9]+)\ spans\ \(.*\)\ alive\;\ [0-9]+\ are\ shared ]]
    want=$("$GOINSPECT" sql e.gmi "SELECT sum(objects) || ' ' || count(DISTINCT site_id) || ' ' || count(DISTINCT base)
        FROM v1_pin WHERE used_percent < 25" -o csv | tail -1)
    [ "${BASH_REMATCH[1]} ${BASH_REMATCH[2]} ${BASH_REMATCH[3]}" = "$want" ]
}

@test "of a sampled recording it says how much is not known" {
    pinned 1 rate=4096
    run -0 --separate-stderr "$GOINSPECT" pins e.gmi
    [[ "$output" == *"(not recorded)"* ]]
    [[ "${lines[-1]}" =~ ^Of\ [0-9]+\ of\ these\ objects\ the\ site\ is\ not\ recorded,\ as\ allocations\ are\ sampled ]]
    pinned 1 rate=0
    run -0 --separate-stderr "$GOINSPECT" pins e.gmi
    [[ "${lines[-1]}" == *"nothing is (rate=0)." ]]
}

@test "where nothing is pinned it says so, and rows in another format are none" {
    run -0 --separate-stderr "$GOINSPECT" pins demo.gmi --util 1
    [ "$output" = "No span with live objects is less than 1 % used." ]
    run -0 --separate-stderr "$GOINSPECT" pins demo.gmi --util 1 -o csv
    [ "${#lines[@]}" = 1 ]
}

@test "wrong words are named" {
    misused "--util: 'much' is not a percentage" pins demo.gmi --util much
    misused "--util: blocks that are more than 75 % used" pins demo.gmi --util 80
    misused "--by: 'page' is none of span, huge and arena" pins demo.gmi --by page
}
