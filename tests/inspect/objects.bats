#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-3-Clause
#
# Which objects are stored one by one (--objects), and what is said where they are not; many
# objects, and many sites of which few are shown.

bats_require_minimum_version 1.5.0
load helpers
setup() { common_setup; }
teardown() { common_teardown; }

sql() { "$GOINSPECT" sql "$@" -o csv --no-header; }

@test "what is stored of objects changes no other figure" {
    for which in recorded sample all none; do
        "$GOINSPECT" import -q --objects $which demo.gmi $which.db
        [ "$(sqlite3 $which.db "SELECT stored_objects FROM v1_snapshot")" = $which ]
        for view in v1_site v1_class v1_span v1_status v1_pin v1_balance v1_fragmentation; do
            sqlite3 $which.db "SELECT * FROM $view"
        done >$which.rows
        cmp recorded.rows $which.rows
    done
    [ "$(for f in recorded sample all none; do sqlite3 $f.db "SELECT count(*) FROM object"; done | tr '\n' ' ')" = \
        "128 178 178 0 " ]
}

@test "sql says which objects a file does not have, if it is asked about objects" {
    "$GOINSPECT" import -q --objects none demo.gmi o.db
    run -0 --separate-stderr sql o.db "SELECT count(*) FROM v1_object"
    [ "$output" = 0 ]
    [[ $stderr == *"of snapshot 1 no live objects are stored one by one (--objects none)"* ]]
    run -0 --separate-stderr sql o.db "SELECT count(*) FROM v1_site"
    [ "$stderr" = "" ]
    "$BUILD_DIR/tests/inspect/mkimage" second.gmi id=2
    "$GOINSPECT" import -q --objects sample second.gmi o.db
    run -0 --separate-stderr sql o.db "SELECT sum(weight) FROM v1_object WHERE snapshot_id = 2"
    [ "$output" = 178 ]
    [[ $stderr == *"of snapshot 2 a sample of the live objects is stored"* ]]
    run -0 --separate-stderr sql demo.gmi "SELECT count(*) FROM v1_object"
    [ "$output" = 178 ]
    [[ $stderr != *stored* ]]
}

@test "leaked objects are stored of an image that tells of them, and else nothing is written" {
    refuses 2 "no leak check was made" import --objects leaked demo.gmi l.db
    [ ! -e l.db ]
    "$BUILD_DIR/tests/inspect/mkimage" leaks.gmi leaks=1
    "$GOINSPECT" import -q --objects leaked leaks.gmi l.db
    [ "$(sqlite3 l.db "SELECT count(*) FROM v1_object JOIN v1_leak USING (snapshot_id, address)")" = 6 ]
}

@test "a word that is no choice is refused with those that are" {
    run -64 "$GOINSPECT" import --objects most demo.gmi o.db
    [[ $output == *"'most' is none of recorded, sample, leaked, all and none"* ]]
}

@test "the first sites are the same whether all are named or only they" {
    "$BUILD_DIR/tests/inspect/mkimage" many.gmi more_spans=4 more_sites=300
    "$GOINSPECT" import -q many.gmi many.db
    for target in many.gmi many.db; do
        "$GOINSPECT" sites $target -o csv 2>/dev/null >all
        [ "$(wc -l <all)" -gt 300 ]
        for n in 1 7 40; do
            "$GOINSPECT" sites $target -o csv --limit $n 2>/dev/null | cmp - <(head -$((n + 1)) all)
        done
        "$GOINSPECT" sites $target -o csv --sort objects --limit 3 2>/dev/null >sorted
        [ "$(wc -l <sorted)" = 4 ]
    done
}
