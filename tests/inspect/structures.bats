#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-3-Clause
#
# The allocator's structures: caches, central lists, states of address space, the radix tree.  First of
# the tests' known heap (maker.h), the same from an image and a database; then of a program whose
# threads are known (crossing.c).

bats_require_minimum_version 1.5.0
load helpers
setup() {
    common_setup
    "$GOINSPECT" snapshot demo.gmi -o demo.db 2>/dev/null
    "$BUILD_DIR/tests/inspect/mkimage" old.gmi old=1 id=7
    "$GOINSPECT" snapshot old.gmi -o old.db 2>/dev/null
}
teardown() { common_teardown; }

rows() { "$GOINSPECT" "$@" -o json 2>/dev/null | jq -c .rows; }

@test "every structure is the same of an image and of its database" {
    for what in "cache" "cache demo" "central" "central 24B" "arenas --states" "pages --level 4" \
        "spans --state partial"; do
        read -ra words <<<"$what"
        rows "${words[0]}" demo.gmi "${words[@]:1}" >image
        rows "${words[0]}" demo.db "${words[@]:1}" >database
        [ "$(wc -c <image)" -gt 20 ] || [ "$what" = central ]
        diff image database
    done
}

@test "cache: a row for each cache, idle ones included" {
    rows cache demo.gmi | jq -e 'map(.cache) == [0, 1] and map(.name) == ["demo", "(idle)"]
        and .[0].listed == 3 and .[0].pages == 16384 and .[0].behind == 1 and .[1].spans == 0'
}

@test "cache THREAD: a row for each class that has something, by number, name or cache" {
    for thread in 4711 demo 0 "thread 4711" "cache 0"; do
        rows cache demo.gmi "$thread" | jq -e 'map([.class, .scan, .listed, .free_slots])
            == [[2, "noscan", 1, 462], [3, "scan", 1, 241], [5, "scan", 1, 143]]'
    done
    [ "$(rows cache demo.gmi 1)" = "[]" ]
    run -0 "$GOINSPECT" cache demo.gmi demo
    [ "${lines[0]}" = "cache 0  thread 4711 (demo)" ]
    grep -q "^tiny block    0xc000004010, 5 of 16 bytes used$" <<<"$output"
    grep -q "^page cache    2 of 64 pages free, 0 not backed$" <<<"$output"
    grep -q "^0xc000000000  --------------------\.\.-*$" <<<"$output"
    grep -q "^flushed       at sweep generation 4, 1 cycle ago$" <<<"$output"
}

@test "a thread that is not there is status 3, and so is a name of several" {
    refuses 3 "demo.gmi has no thread and no cache 'nobody'; \"goinspect cache demo.gmi\" lists" cache demo.gmi nobody
    refuses 3 "no thread and no cache '9'" cache demo.db 9
    refuses 3 "no thread and no cache 'thread 0'" cache demo.db "thread 0"
    cp demo.db two.db
    sqlite3 two.db "UPDATE thread SET tid = 4712, comm = 'demo' WHERE mcache = 1"
    refuses 3 "2 threads are called 'demo'; choose one: 4711, 4712" cache two.db demo
}

@test "central: a class by its number or by the bytes that it serves" {
    for class in 3 24B; do
        rows central demo.gmi $class | jq -e 'length == 1 and .[0].class == 3 and .[0].given == 2'
    done
    [ "$(rows central demo.gmi)" = "[]" ] # none holds a span now
    run -0 "$GOINSPECT" central demo.db 3
    [ "${lines[0]}" = "class 3: slots of 24 B, 341 in a span" ]
    [ "${lines[1]}" = "sweep generation 6" ]
    [ "$(grep -cE '^(partial|full) (un)?swept +0 +0 ' <<<"$output")" = 4 ]
    run -0 "$GOINSPECT" central demo.gmi 96
    [ "$output" = "No span of class 8 was ever without a thread." ]
}

@test "a class that is none is status 64" {
    refuses 64 "'x' is neither a size class, 0 to 67, nor a size in bytes" central demo.gmi x
    refuses 64 "'-3' is neither" central demo.gmi -- -3
    refuses 64 "class 0 is large objects, which have no central list" central demo.gmi 0
    refuses 64 "class 0 is large objects, which have no central list" central demo.gmi 99999
    refuses 64 "'5x' is neither" spans demo.gmi --class 5x
    misused "unknown 'partal': did you mean partial\?" spans demo.gmi --state partal
    misused "'5' is none of 0, 1, 2, 3 and 4" pages demo.gmi --level 5
}

@test "spans: by state and by the bytes of a slot" {
    [ "$(rows spans demo.gmi --state full | jq -c 'map(.class)')" = "[0]" ]
    [ "$(rows spans demo.gmi --state partial --class 24B | jq -c 'map(.class)')" = "[3]" ]
    [ "$(rows spans demo.gmi --class 48B --columns fill,needzero,sweepgen)" = \
        '[{"fill":"partial","needzero":0,"sweepgen":2}]' ]
    [ "$(rows spans demo.gmi --state empty)" = "[]" ]
    [ "$(rows spans demo.gmi --state cached-large)" = "[]" ]
}

@test "arenas --states: the states of each purpose are what the transitions left" {
    rows arenas demo.gmi --states | jq -e '.[] | select(.purpose == "heap")
        | .reserved == .sys_reserve - .sys_map + .sys_fault
        and .prepared == .sys_map + .sys_unused - .sys_used - .sys_fault
        and .ready == .sys_used - .sys_unused and .ready > 0'
    run -0 "$GOINSPECT" arenas demo.gmi --states --bytes
    grep -qE "^0xc000000000 +66928640 +32768 +147456$" <<<"$output"
    grep -qE "^sysUnused +Ready +Prepared +16384 +0 +1$" <<<"$output"
}

@test "pages --level: the entries of one level; the search address and the scavenger's pace" {
    rows pages demo.gmi --level 4 | jq -e '. == [{"level":4,"entry":196608,"address":"0xc000000000",
        "to":"0xc000400000","start_free":0,"max_free":8,"end_free":0,"covers":4194304,"pages":512,
        "max_bytes":65536,"packed":"0x1000000"}]'
    [ "$(rows pages demo.gmi --level 0)" = "[]" ]
    run -0 "$GOINSPECT" pages demo.gmi
    grep -q "^searchAddr 0xc000018000, grows at 0xc00002c000$" <<<"$output"
    grep -q "^scavenger  144.0 KiB retained, goal 96.0 KiB$" <<<"$output"
    grep -q "16.0 KiB given back, 16.0 KiB used again$" <<<"$output"
    grep -q "5 windows, 1 of them regretted$" <<<"$output"
    grep -q "worked 1.0 ms, 0.100% of a CPU$" <<<"$output"
}

@test "an older image, database or file does not tell: status 5; the other verbs do" {
    for target in old.gmi old.db; do
        refuses 5 "$target does not tell of caches, central lists and the scavenger: it was made by an older library" \
            cache $target
        refuses 5 "$target does not tell" central $target 5
        refuses 5 "$target does not tell" arenas $target --states
        for verb in status arenas spans pages classes; do
            "$GOINSPECT" $verb $target >/dev/null
        done
    done
}

@test "tables of structures fit a terminal of 60 columns" {
    for what in "cache demo.gmi" "cache demo.gmi demo" "central demo.gmi 24B" "arenas demo.gmi --states" \
        "pages demo.gmi --level 4" "pages demo.gmi --levels"; do
        [ "$(on_terminal 60 "$GOINSPECT $what" | widest)" -le 60 ]
    done
}

@test "help lists the columns of one cache, of a level and of states" {
    listed() { # VERB TITLE
        "$GOINSPECT" help "$1" | sed -n "/^$2:/,/^\$/s/^[+ ] \([a-z_]*\) .*/\1/p"
    }
    keys() { "$GOINSPECT" "$@" -o json | jq -r '.rows[0] | keys_unsorted[]'; }
    diff <(listed cache "Columns of one cache") <(keys cache demo.gmi demo)
    diff <(listed pages "Columns of --level and --entries") <(keys pages demo.gmi --level 4)
    diff <(listed arenas "Columns of --states") <(keys arenas demo.gmi --states)
}

# A program under the library.

# begin starts crossing, and waits until its thread has made its objects.
begin() {
    mkfifo steps
    options=rate=0 under_library "$BUILD_DIR/tests/inspect/crossing" steps
    wait_until grep -q "^done 0$" log
    nsteps=0
}

# step NAME has it do that, and waits until it is done.
step() {
    echo "$1" >steps
    nsteps=$((nsteps + 1))
    wait_until grep -q "^done $nsteps$" log
}

central() { rows central "$pid" 240 | jq ".[0].$1"; }

@test "cache: a thread's current span has its last objects, and hints tell of those it freed last" {
    begin
    read -r _ tid object <log
    "$GOINSPECT" cache "$pid" -o json | jq -e ".rows[] | select(.thread == $tid) | .name == \"maker\" and .spans > 1"
    rows cache "$pid" maker >maker
    [ "$(cat maker)" = "$(rows cache "$pid" "$tid")" ]
    jq '.[] | select(.class == 8)' maker >class
    cat class
    # 100 objects less 10 live in the class's spans, of 85 slots each
    jq -e '.slots == 85 and .spans * 85 - .free_slots == 90 and .hints >= 10 and .current != null' class
    span=$(jq -r .current class)
    ((object >= span && object < span + 8192))
    # and the spans verb says the same of that span
    "$GOINSPECT" spans "$pid" -o json | jq -e ".rows[] | select(.address == \"$span\")
        | .owner == \"thread $tid\" and .place == \"current\" and .slots - .objects == $(jq .free class)"
}

# Marks make spans of the central list unswept, until the next sweep generation.  The library's thread
# may sweep at any time: if it just did, once more.
unswept_appear() {
    step cross
    [ "$(central partial_unswept)" -gt 0 ]
}
swept_later() {
    step work
    [ "$(central sweepgen)" -gt "$generation" ] && [ "$(central partial_unswept)" = 0 ]
}

@test "central: spans with marks are unswept until a later sweep generation" {
    begin
    [ "$(central spans)" = null ] # none was ever without a thread
    wait_until unswept_appear
    generation=$(central sweepgen)
    [ "$(central given)" -ge 1 ]
    [ "$(central partial_unswept_free)" -ge "$(central partial_unswept)" ]
    run -0 "$GOINSPECT" central "$pid" 240
    [[ ${lines[0]} == "class 17: slots of 240 B, 34 in a span" ]]
    wait_until swept_later
}

@test "figures of a program at rest add up: caches, central lists, the heap and transitions" {
    begin
    step cross
    step work
    "$GOINSPECT" sql "$pid" "SELECT what, a, b FROM v1_balance WHERE NOT holds" -o csv --no-header >wrong
    cat wrong
    [ ! -s wrong ]
    [ "$("$GOINSPECT" sql "$pid" "SELECT count(*) FROM v1_balance" -o csv --no-header)" -ge 26 ]
}
