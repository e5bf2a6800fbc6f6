#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-3-Clause
#
# leaks: what is said of a check that is known (mkimage leaks=1); and that programs with planted leaks
# have all of them found, and nothing else.

bats_require_minimum_version 1.5.0
load helpers
setup() {
    common_setup
    "$BUILD_DIR/tests/inspect/mkimage" leaks.gmi leaks=1
}
teardown() { common_teardown; }

# leaks ARGUMENT... expects leaks.
leaks() {
    local status=0
    "$GOINSPECT" leaks "$@" 2>err || status=$?
    [ "$status" -eq 1 ]
}

# check ARGUMENT... compares what a program has lost with what is found.
check() {
    [ -e "$LIBGOMALLOC" ] || skip "libgomalloc.so is not built in this configuration"
    /usr/bin/python3 "$SOURCE_DIR/tests/inspect/leaks_check.py" "$@"
}

@test "leaks: a row for each site of direct leaks, biggest first, and what it cost" {
    leaks leaks.gmi -o json >out
    jq -e '.rows | map([.site, .direct, .objects, .indirect, .indirect_objects, .oldest]) ==
        [[2, 40, 1, 40, 1, 500000000000], [1, 20, 1, 40, 2, 590000000000], [0, 16, 1, 0, 0, null]]' out
    grep -qx "goinspect: leaked: 156 B in 6 objects, 3 of them directly" err
    grep -qx "goinspect: paused 700.0 us (3 threads), marked 1,006 objects in 910.0 us" err
    grep -q "not recorded, hence without site and age: 16 B in 1 object; GOMALLOC=rate=1 records" err
    grep -qF "incomplete: 2 threads did not stop in time (4712 4713)" err
    grep -q "incomplete: 4096 bytes of the program's memory could not be read" err
    grep -q "incomplete: 1 ranges of the library's own memory" err
    grep -qx "goinspect: ignored, as the program asks: 2 objects; with what only they lead to, 7 are no leaks" err
    grep -qx "goinspect: held by words on thread stacks and in registers alone: 144 B in 6 objects; some of the words may be left over: --stack-held lists them" err
    [ "$(wc -l <err)" -eq 9 ]
}

@test "leaks: what words on stacks and in registers alone keep, of an image and of a database" {
    leaks leaks.gmi --stack-held -o json >out
    jq -e '.rows | map([.held, .objects, .address, .kind, .tid, .holder, .site, .size, .age]) ==
        [[120, 5, "0xc000000060", "stack", 4711, "demo+0x1400", 0, 24, null],
         [24, 1, "0xc000000048", "register rbx", 4711, null, 1, 20, 590000000000]]' out
    grep -qx "goinspect: held by .*: 144 B in 6 objects; some of the words may be left over" err
    "$GOINSPECT" snapshot leaks.gmi -o leaks.db
    leaks leaks.db --stack-held -o json >stored
    cmp out stored
    [ "$(sqlite3 leaks.db "SELECT held_objects, held_bytes FROM v1_leak_check")" = "6|144" ]
    # a thread that is not known is none of those that have ended
    [ "$(sqlite3 leaks.db "UPDATE held SET tid = 0; UPDATE thread SET tid = 0, comm = '';
        SELECT count(*), count(comm) FROM v1_held")" = "2|0" ]
    run -64 "$GOINSPECT" leaks leaks.gmi --stack-held --objects
    run -64 "$GOINSPECT" leaks leaks.gmi --stack-held --reachable
}

@test "leaks: objects, each with its head" {
    leaks leaks.gmi --objects -o csv --no-header --columns address,kind,head,size,site >out
    [ "$(grep -c "indirect,0xc000000000,20,1" out)" -eq 2 ]
    grep -qx "0xc000004000,direct,0xc000004000,16,0" out
    [ "$(wc -l <out)" -eq 6 ]
}

@test "leaks: call stacks" {
    leaks leaks.gmi --stacks >out
    grep -qx "20 B in 1 objects and 40 B in 2 that they lead to  (9m 50s old)  site 1" out
    leaks leaks.gmi --stacks -o csv --columns site,function,frame >out
    [ "$(grep -c "^1," out)" -eq 3 ]
}

@test "leaks: an image, its snapshot and the views say the same" {
    "$GOINSPECT" import --quiet leaks.gmi leaks.db
    leaks leaks.gmi -o json >image
    leaks leaks.db -o json >database
    diff image database
    for target in leaks.gmi leaks.db; do
        "$GOINSPECT" sql $target -o csv --no-header "SELECT bytes, objects, indirect_bytes, indirect_objects, site_id
            FROM v1_leak_site ORDER BY site_id" 2>/dev/null >view
        leaks $target -o csv --no-header --sort site --columns direct,objects,indirect,indirect_objects,site >verb
        diff view verb
    done
    sqlite3 leaks.db "PRAGMA foreign_key_check" >out
    [ ! -s out ]
}

@test "leaks: by age; those of unknown age are counted" {
    leaks leaks.gmi --older-than 9m -o csv --no-header --columns site >out
    [ "$(cat out)" = 1 ]
    grep -q "younger than 9m 0s, not shown: 80 B in 2 objects" err
    grep -q "of unknown age, not shown: 16 B in 1 object" err
    "$GOINSPECT" leaks leaks.gmi --older-than 1h 2>err
    grep -qx "goinspect: no leaks to show among 1,006 objects" err
    misused "'10x' is not a time" leaks leaks.gmi --older-than 10x
}

@test "leaks: several files of suppressions" {
    echo "leak:nothing" >first
    echo "leak:^/opt/demo/*/demo$" >second
    leaks leaks.gmi --suppressions second --suppressions first -o csv --no-header --columns site >out
    [ "$(cat out)" = 0 ]
    grep -q "suppressed: 140 B in 5 objects" err
    local -a many=()
    for i in {1..17}; do many+=(--suppressions first); done
    misused "at most 16 --suppressions" leaks leaks.gmi "${many[@]}"
}

@test "leaks: suppressions in LeakSanitizer's format" {
    printf '# a comment\n\n  leak:^/opt/demo/*/demo$  \n' >known
    leaks leaks.gmi --suppressions known -o csv --no-header --columns site >out
    [ "$(cat out)" = 0 ]
    grep -q "suppressed: 140 B in 5 objects" err
    local pattern
    for pattern in demo 'o*d' '^/opt' 'demo$' '/opt*bin*demo$'; do
        echo "leak:$pattern" >known
        leaks leaks.gmi --suppressions known -o csv --no-header --columns site >out
        [ "$(cat out)" = 0 ]
    done
    for pattern in '^demo' 'opt$' 'o**x' '^/opt/bin' 'demo?' '^demo$'; do
        echo "leak:$pattern" >known
        leaks leaks.gmi --suppressions known -o csv --no-header --columns site >out
        [ "$(wc -l <out)" -eq 3 ]
    done
    printf 'leak:a\nrace:b\n' >known
    refuses 2 "known:2: 'race:b' is no suppression: they read leak:PATTERN" leaks leaks.gmi --suppressions known
    echo "leak:" >known
    refuses 2 "known:1: " leaks leaks.gmi --suppressions known
    refuses 3 "none: No such file" leaks leaks.gmi --suppressions none
}

# lost_by ARGUMENT... prints which functions' objects have leaked, in one line.
lost_by() {
    "$GOINSPECT" leaks "$@" --objects -o csv --no-header --columns function 2>err | sort -u | tr '\n' ' '
}

@test "leaks: those that are new since an earlier snapshot, as its own check has them" {
    under_library "$BUILD_DIR/tests/inspect/leak_later"
    wait_until grep -q ready log
    "$GOINSPECT" snapshot "$pid" --leaks -o then.gmi
    "$GOINSPECT" snapshot "$pid" --leaks -o heap.db
    [ "$(lost_by "$pid")" = "lost_first " ]
    [ "$(lost_by "$pid" --since then.gmi)" = "" ]
    grep -qx "goinspect: leaked before then.gmi, not shown: 200 B in 2 objects" err
    grep -q "no leaks to show" err
    kill -USR1 "$pid"
    wait_until grep -q more log
    [ "$(lost_by "$pid" --since then.gmi)" = "lost_last lost_later " ]
    [ "$(lost_by "$pid" --since heap.db)" = "lost_last lost_later " ]
    leaks "$pid" --since then.gmi -o csv --columns direct,objects,function >sites
    [ "$(grep -c lost_ sites)" -eq 2 ]
    "$GOINSPECT" snapshot "$pid" --leaks -o heap.db
    [ "$(lost_by heap.db --since heap.db@1)" = "lost_last lost_later " ]
    refuses 2 "heap.db is not earlier than heap.db" leaks heap.db --since heap.db
    refuses 2 "heap.db@2 is not earlier than then.gmi" leaks then.gmi --since heap.db@2
    refuses 2 "demo.gmi is a snapshot of another process" leaks then.gmi --since demo.gmi
    refuses 3 "nothing.gmi: No such file" leaks then.gmi --since nothing.gmi
}

@test "leaks: those that were allocated after an earlier snapshot without a check" {
    local start=1700000000000000000
    "$BUILD_DIR/tests/inspect/mkimage" late.gmi leaks=1 captured_ns=$((start + 600000000000))
    "$BUILD_DIR/tests/inspect/mkimage" then.gmi start_ns=$start captured_ns=$((start + 100500000000))
    leaks late.gmi --since then.gmi -o csv --no-header --columns site >out
    [ "$(cat out)" = 2 ]
    grep -qx "goinspect: allocated before then.gmi, not shown: 60 B in 3 objects" err
    grep -qx "goinspect: of unknown age, and then.gmi has no leak check, not shown: 16 B in 1 object" err
    "$BUILD_DIR/tests/inspect/mkimage" then.gmi start_ns=$start captured_ns=$((start + 101500000000))
    "$GOINSPECT" leaks late.gmi --since then.gmi 2>err
    grep -q "no leaks to show" err
    "$BUILD_DIR/tests/inspect/mkimage" then.gmi start_ns=$start captured_ns=$((start + 10500000000))
    leaks late.gmi --since then.gmi -o csv --no-header --columns site >out
    [ "$(sort out | tr '\n' ' ')" = "1 2 " ]
}

@test "leaks: what has no check says how to make one" {
    refuses 2 'demo.gmi holds no leak check; "goinspect snapshot PID --leaks -o FILE"' leaks demo.gmi
    "$GOINSPECT" import --quiet demo.gmi demo.db
    refuses 2 'demo.db holds no leak check of that snapshot' leaks demo.db
    refuses 64 "how to make one is said to a process" leaks leaks.gmi --in-place
    refuses 5 "only a process can make one" snapshot demo.gmi --leaks -o new.db
    [ ! -e new.db ]
}

@test "leaks: each way to lose and to keep an object, with and without optimization" {
    check -- "$BUILD_DIR/tests/inspect/leak_cases_O0" "$BUILD_DIR/tests/inspect/leak_plugin.so"
    check -- "$BUILD_DIR/tests/inspect/leak_cases_O2" "$BUILD_DIR/tests/inspect/leak_plugin.so"
    LEAKS_OPTIONS=rate=0 check -- "$BUILD_DIR/tests/inspect/leak_cases_O2" "$BUILD_DIR/tests/inspect/leak_plugin.so"
    check --in-place -- "$BUILD_DIR/tests/inspect/leak_cases_O2" "$BUILD_DIR/tests/inspect/leak_plugin.so"
}

@test "leaks: words at odd addresses, and words that are left over on a stack" {
    check -- "$BUILD_DIR/tests/inspect/leak_edge" aligned
    check --unaligned -- "$BUILD_DIR/tests/inspect/leak_edge" unaligned
    check --stale 5 --held stale -- "$BUILD_DIR/tests/inspect/leak_edge" stale
    check -- "$BUILD_DIR/tests/inspect/leak_edge" nested
}

@test "leaks: what stacks and registers alone keep is told, and nothing that a variable keeps" {
    for program in leak_cases_O0 leak_cases_O2; do
        check --held given-stack,main-stack,on-coroutine-stack,on-given-stack,register,thread-stack -- \
            "$BUILD_DIR/tests/inspect/$program" "$BUILD_DIR/tests/inspect/leak_plugin.so"
    done
    check --in-place --held given-stack,main-stack,on-coroutine-stack,on-given-stack,register,thread-stack -- \
        "$BUILD_DIR/tests/inspect/leak_cases_O2" "$BUILD_DIR/tests/inspect/leak_plugin.so"
}

@test "leaks: roots that the program names, and objects that it ignores" {
    check -- "$BUILD_DIR/tests/inspect/leak_named_O0"
    check -- "$BUILD_DIR/tests/inspect/leak_named_O2"
    check -- "$BUILD_DIR/tests/inspect/leak_named_O2" fork
    LEAKS_OPTIONS=rate=0 check -- "$BUILD_DIR/tests/inspect/leak_named_O2" fork
    LEAKS_OPTIONS=rate=4096 check --in-place -- "$BUILD_DIR/tests/inspect/leak_named_O2"
}

@test "leaks: a program that checks itself, as LeakSanitizer's functions do" {
    [ -e "$LIBGOMALLOC" ] || skip "libgomalloc.so is not built in this configuration"
    LD_PRELOAD=$LIBGOMALLOC "$BUILD_DIR/tests/inspect/leak_named_O2" check >out 2>err
    [ "$(grep -v ^lost out | tr '\n' ' ')" = "found 0 found 1 1 goes on " ]
    [ "$(grep -cE "^leak_named_O2\([0-9]+\): gomalloc: leaked: 48 bytes in 1 object, 1 of them directly; goinspect leaks [0-9]+ says whose$" err)" -eq 3 ]
    [ "$(wc -l <err)" -eq 3 ]
}

@test "leaks: random programs with planted leaks" {
    check --seeds 1-10 -- "$BUILD_DIR/tests/inspect/leak_random_O0" "$BUILD_DIR/tests/inspect/leak_plugin.so"
    check --seeds 11-20 -- "$BUILD_DIR/tests/inspect/leak_random_O2" "$BUILD_DIR/tests/inspect/leak_plugin.so"
}

@test "leaks: of a process, stored by snapshot --leaks" {
    under_library "$BUILD_DIR/tests/inspect/leak_cases_O2" "$BUILD_DIR/tests/inspect/leak_plugin.so"
    wait_until grep -q ready log
    "$GOINSPECT" snapshot "$pid" --leaks -o heap.gmi
    "$GOINSPECT" snapshot "$pid" --leaks -o heap.db
    leaks "$pid" -o csv --columns direct,objects,indirect,indirect_objects,function,location >live
    grep -qE "paused ([0-9]+s|[0-9.]+ [mu]s) \([0-9]+ threads?\), marked [0-9,]+ objects in" err
    leaks heap.gmi -o csv --columns direct,objects,indirect,indirect_objects,function,location >image
    leaks heap.db -o csv --columns direct,objects,indirect,indirect_objects,function,location >database
    diff live image
    diff live database
    grep -q ",lost," live || grep -q "world_make" live
    # What is left when everything is suppressed.
    echo "leak:leak_cases_O2" >known
    "$GOINSPECT" leaks "$pid" --suppressions known 2>err
    grep -q "no leaks to show" err
}
