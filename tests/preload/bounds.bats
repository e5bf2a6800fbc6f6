# SPDX-License-Identifier: BSD-3-Clause
#
# Stacks beyond the recorder's bounds (bounds.c) are shown for what they are: never as if they were
# whole, nor as another's.

bats_require_minimum_version 1.5.0

setup() {
    cd "$(mktemp -d)" || return
    bounds=$BUILD_DIR/tests/preload/bounds
}

teardown() { rm -rf "$PWD"; }

# record OPTIONS ARGUMENT...: runs the program under the library and leaves end.gmi.
record() {
    GOMALLOC=rate=1,exit=$PWD/end.gmi,$1 LD_PRELOAD=$LIBGOMALLOC "$bounds" "${@:2}"
}

ask() { "$GOINSPECT" sql -o csv --no-header end.gmi "$@" | tr -d '"\r'; }

# The stack of the object of "deep": a line a frame, "level" or what it is.
stack() {
    "$GOINSPECT" sites --stacks end.gmi | awk '/ level/ { on = 1 } /^$/ { on = 0 } on' |
        sed 's/^ *//; s/^level .*/level/; s/^\.\.\. .*/.../; s/^_start .*/_start/'
}

outer() { # frames around the first level: main and what is before it
    record stack=512 deep 1
    stack | grep -c -v level
}

# check BOUND LEVELS AROUND: what is shown of that many levels.
check() {
    local bound=$1 frames=$(($2 + $3)) around=$3 inner outer out said
    record "stack=$bound" deep "$2"
    stack >shown
    if [ "$frames" -le "$bound" ]; then
        [ "$(grep -c '^level$' shown)" = "$2" ]
        [ "$(wc -l <shown)" = "$frames" ]
        [ "$(ask "SELECT max(truncated) FROM v1_site WHERE function = 'level'")" = 0 ]
        return
    fi
    outer=$((bound / 4)) inner=$((bound - bound / 4 - 1)) out=$((frames - bound + 1))
    [ "$(head -n $inner shown | grep -c '^level$')" = $inner ]
    sed -n "$((inner + 1))p" shown | grep 'frames left out'
    said=$(sed -n "$((inner + 1))p" shown | tr -cd 0-9)
    if [ $out -lt 16 ]; then
        [ "$said" = $out ]
    else
        [ "$said" -le $out ] && [ "$said" -ge $((out * 4 / 5)) ]
    fi
    sed "1,$((inner + 1))d" shown >rest
    [ "$(grep -c '^level$' rest)" = $((outer - around)) ]
    [ "$(sed -n "${outer}p" rest)" = _start ]
    [ "$(sed -n "$((outer + 1))p" rest)" = ... ] # and it says once more that it is not whole
    [ "$(ask "SELECT max(truncated) FROM v1_site WHERE function = 'level'")" = 1 ]
}

@test "a stack as deep as the bound is whole; of a deeper one both ends are shown, with the number between" {
    around=$(outer)
    [ "$around" -ge 2 ]
    for levels in 10 511 512 513 2000 $((512 - around)) $((512 - around + 1)); do
        check 512 "$levels" "$around"
    done
    for bound in 128 16; do
        check $bound $((bound - around)) "$around"
        check $bound $((bound - around + 1)) "$around"
        check $bound 2000 "$around"
    done
}

@test "the bound is 128 frames unless told otherwise" {
    around=$(outer)
    record stack=128 deep 300
    stack >told
    record "" deep 300
    stack | diff told -
    [ "$(wc -l <told)" = $((128 + 1)) ]
}

@test "of a hundred thousand levels the innermost are shown, and that the rest is not" {
    for bound in 512 128; do
        record "stack=$bound" deep 100000
        stack >shown
        [ "$(head -n $((bound - 1 - bound / 4)) shown | sort -u)" = level ]
        grep '^(at least' shown
        [ "$(wc -l <shown)" -le $((bound + 2)) ]
        [ "$(ask "SELECT max(truncated) FROM v1_site WHERE function = 'level'")" = 1 ]
        [ "$(ask "SELECT value > 0 FROM v1_status WHERE item = 'recorder.truncated'")" = 1 ]
    done
}

@test "libunwind's stacks are bounded too, and say so" {
    record unwinder=libunwind,stack=100 deep 300
    stack >shown
    [ "$(grep -c '^level$' shown)" = 100 ]
    [ "$(tail -n 1 shown)" = ... ]
}

@test "a full stack table is said to be full, and the program and what is known go on" {
    record frames=2000 many 20000
    run -0 ask "SELECT value FROM v1_counter WHERE name = 'recorder.stack_table_full'"
    lost=$output
    [ "$lost" -gt 18000 ]
    # every object is there, with its stack or without one
    [ "$(ask "SELECT sum(alloc_objects), sum(live_objects) FROM v1_site WHERE function IN ('odd', 'even')")" = \
        "$((20000 - lost)),$((20000 - lost))" ]
    [ "$(ask "SELECT alloc_objects >= $lost FROM v1_site WHERE stack_id = 0 OR function IS NULL OR function = '(no stack)'")" = 1 ]
    [ "$(ask "SELECT sum(alloc_objects), sum(alloc_bytes) FROM v1_site WHERE function = 'first'")" = 20000,1120000 ]
    [ "$(ask "SELECT count(*) <= 2000 FROM frame")" = 1 ]
    "$GOINSPECT" status end.gmi | grep -i 'stack table was full'
    "$GOINSPECT" status end.gmi | grep "recorder.stack_table_full *$(printf "%'d" "$lost" | sed ':a;s/\B[0-9]\{3\}\>/,&/;ta')"
    "$GOINSPECT" sites end.gmi 2>&1 >/dev/null | grep -i 'stack table was full'
}

@test "a stack table that is not full is not said to be" {
    record frames=16000000 many 20000
    [ "$(ask "SELECT value FROM v1_status WHERE item = 'recorder.stack_table_full'")" = 0 ]
    [ "$(ask "SELECT sum(alloc_objects) FROM v1_site WHERE function IN ('odd', 'even')")" = 20000 ]
    [ "$(ask "SELECT count(*) >= 20000 FROM v1_site WHERE function IN ('odd', 'even')")" = 1 ]
    run -0 "$GOINSPECT" sites end.gmi
    [[ $output != *"stack table"* ]]
}

@test "a bound that is none is told, and ignored" {
    for value in 0 16000001 x; do
        record "frames=$value" deep 3 2>err
        grep 'frames=.*16000000' err
    done
}
