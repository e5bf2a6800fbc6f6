#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-3-Clause
#
# goinspect escape: verdicts in words, on a program whose objects have known fates and on images that
# were made; who is a wrapper; what is said where there is nothing to say.

bats_require_minimum_version 1.5.0
load helpers
setup() {
    common_setup
    export XDG_CONFIG_HOME=$work/config HOME=$work
    unset GOINSPECT_WRAPPERS
}
teardown() { common_teardown; }

# judged OPTIONS leaves the image of escapes_demo in e.gmi.
judged() {
    [ -e "$LIBGOMALLOC" ] || skip "libgomalloc.so is not built in this configuration"
    GOMALLOC=$1,exit=e.gmi LD_PRELOAD=$LIBGOMALLOC "$BUILD_DIR/tests/inspect/escapes_demo" >/dev/null
}

# says PATTERN: a line of $output has it.
says() {
    grep -qE -- "$1" <<<"$output" || { echo "no line: $1"; echo "$output"; return 1; }
}

# says_not PATTERN: none has.
says_not() {
    ! grep -E -- "$1" <<<"$output" || return 1
}

@test "each fate has its verdict, with place, numbers and what could be done" {
    judged rate=1,escape=all
    run -0 --separate-stderr "$GOINSPECT" escape e.gmi
    says '^escapes_demo\.c:[0-9]+(:[0-9]+)?: read_line: 200 objects, 80 B: escapes 2 calls up, to load_file \(escapes_demo\.c:[0-9]+\); one arena per load_file would do( \(proved of [0-9,]+\))?$'
    says 'scratch|own_alloc: 200 objects, 48 B: escapes 1 call up, to scratch'
    says ': keep_last: 200 objects, 56 B: re-entered: escapes to a later call of keep_last \(1 live\); keep the buffer for the next call$'
    says ': remember: 200 objects, 112 B: never freed: live at the end$'
    says ': grow: 9 objects, 16 B: realloc chain: grew 96 times, final median [0-9.]+ KiB; escapes 1 call up, to main .*; begin with '
    says ': make_jobs: 200 objects, 144 B: escapes to thread "io-2"; a pool'
    says ': mixed: 200 objects, 176 B: escapes 1 call up, to main \(escapes_demo.c:[0-9]+\), in 100 of 200 \(100 not seen to escape \([0-9]+ proved\)\)'
}

@test "nothing that escapes is said not to, and no verdict stands without its numbers" {
    judged rate=1,escape=all
    run -0 --separate-stderr "$GOINSPECT" escape e.gmi
    says_not '(read_line|keep_last|make_jobs|mixed|grow): .*no escape observed'
    output=$(grep 'no escape observed' <<<"$output" |
        grep -vE 'in [0-9,]+ objects? \([0-9,]+ proved; (<= [0-9.]+ % at 95 %|too few to tell)\)') || true
    [ -z "$output" ]
}

@test "a list of wrappers moves the place, and the calls are counted from there" {
    judged rate=1,escape=all
    echo 'own_*' >w
    run -0 --separate-stderr "$GOINSPECT" escape e.gmi --wrappers w
    says ': scratch: no escape observed in 200 objects \([0-9]+ proved; <= 2 % at 95 %\): (could be|perhaps) a local of 48 B in scratch$'
    by_option=$output
    [ "$(GOINSPECT_WRAPPERS=w "$GOINSPECT" escape e.gmi 2>/dev/null)" = "$by_option" ]
    mkdir -p config/goinspect && cp w config/goinspect/wrappers
    [ "$("$GOINSPECT" escape e.gmi 2>/dev/null)" = "$by_option" ]
    [ "$("$GOINSPECT" sites e.gmi --columns function,total_objects -o csv 2>/dev/null | grep -c '^scratch,200')" = 1 ]
    echo '!own_*' >less
    run -0 --separate-stderr "$GOINSPECT" escape e.gmi --wrappers less
    says ': own_alloc: 200 objects, 48 B: escapes 1 call up, to scratch'
}

@test "a malformed or missing list is one line, with file and line" {
    printf 'good\n!\n' >bad
    refuses 2 "^goinspect: bad:2: there is no pattern" escape demo.gmi --wrappers bad
    refuses 2 "^goinspect: nowhere: .*No such file" sites demo.gmi --wrappers nowhere
    GOINSPECT_WRAPPERS=bad refuses 2 "^goinspect: bad:2: " sites demo.gmi
    mkdir -p config/goinspect
    cp "$GOINSPECT" config/goinspect/wrappers
    refuses 2 "^goinspect: $work/config/goinspect/wrappers(:1: a control character|: a list of wrappers has at most)" sites demo.gmi
}

@test "a file, an image and a plain sqlite3 say the same" {
    judged rate=1,escape=all
    "$GOINSPECT" import -q e.gmi e.db
    "$GOINSPECT" escape e.gmi >image 2>/dev/null
    [ "$(wc -l <image)" -ge 7 ]
    "$GOINSPECT" escape e.db >file 2>/dev/null
    diff image file
    for view in v1_escape v1_escape_place v1_outlived v1_handover; do
        sqlite3 -csv e.db "SELECT * FROM $view" | sed 's/\r$//' | sort >plain
        [ -s plain ]
    done
    sqlite3 e.db "SELECT location || ': ' || function || ': ' || text FROM v1_escape_place
        WHERE function = 'read_line'" >plain
    grep -qF "$(cat plain)" image
}

@test "a snapshot file keeps the wrappers of its import, and says so" {
    "$GOINSPECT" import -q demo.gmi demo.db
    echo 'x*' >w
    run -0 --separate-stderr "$GOINSPECT" escape demo.db --wrappers w
    [[ $stderr == *"--wrappers changes nothing"* ]]
}

@test "one site: how objects ended, how long they lived, and which calls had ended" {
    judged rate=1,escape=all
    site=$("$GOINSPECT" sql e.gmi "SELECT site_id FROM v1_escape
        WHERE function = 'read_line'" -o csv --no-header 2>/dev/null)
    run -0 --separate-stderr "$GOINSPECT" escape e.gmi --site "$site"
    says '^judged: 200 of 200 objects$'
    says '^ +200  escaped 2 calls up, freed before load_file \(escapes_demo.c:[0-9]+\) had ended'
    says '^lived +[0-9.]+ (us|ms|ns) \(median\), '
    says '^    ended  #0 xmalloc .*\(wrapper\)$'
    says '^    ended  #2 next_line '
    says '^           #3 load_file '
    refuses 2 "no object of site 99999 was judged" escape e.gmi --site 99999
}

@test "threads: who frees what others allocate" {
    judged rate=1,escape=all
    run -0 --separate-stderr "$GOINSPECT" escape e.gmi --threads -o csv --columns objects,freed_by,function
    says '^200,io-2,make_jobs'
    run -0 --separate-stderr "$GOINSPECT" escape demo.gmi --threads
    says 'OBJECTS +ALLOCATED BY +FREED BY'
}

@test "rows have all figures, and sums agree with them" {
    run -0 --separate-stderr "$GOINSPECT" escape demo.gmi --json
    [ "$(jq -r '.rows | map(select(.site == 1))[0] | "\(.objects) \(.escaped) \(.calls_up) \(.life99)"' <<<"$output")" = "1100 940 1 2000000" ]
    run -0 --separate-stderr "$GOINSPECT" escape demo.gmi --by module -o csv --columns judged,freed,escaped,within,unknown
    [ "${lines[1]}" = "1121,1000,940,50,10" ]
    run -0 --separate-stderr "$GOINSPECT" escape demo.gmi --table --sort life99:desc
    says '^ *OBJECTS'
    misused "none of line, stack, function" escape demo.gmi --by cat
    misused "goes neither with" escape demo.gmi --by module --site 1
}

@test "a name that is wider than the terminal is cut in the middle, and whole in a pipe" {
    "$GOINSPECT" import -q demo.gmi n.db
    long='app::registry<std::vector<std::pair<int, char> >, std::allocator<char> >::detail_of_many_words::insert_or_assign_hinted'
    sqlite3 n.db "UPDATE symbol SET function = '$long<' || frame_id || '>', file = '/src/registry.cc', line = 9 WHERE frame_id"
    COLUMNS=40 "$GOINSPECT" escape n.db --by stack >out
    [ "$(widest <out)" -le 40 ]
    grep -q '…' out
    grep -q '^registry.cc:9:' out
    for site in $("$GOINSPECT" escape n.db --by stack -o csv --no-header --columns site | head -n 3); do
        COLUMNS=40 "$GOINSPECT" escape n.db --site "$site" >out
        [ "$(widest <out)" -le 40 ] || { cat out; return 1; }
    done
    "$GOINSPECT" escape n.db --by stack | grep -qF ": $long<"
}

@test "lines are whole on a narrow terminal and in a pipe; colours only where wanted" {
    run -0 on_terminal 40 "$GOINSPECT escape demo.gmi 2>/dev/null"
    [ "$(widest <<<"$output")" -le 40 ]
    says $'\x1b\\[1m'
    [[ $(tr -s '\n ' ' ' <<<"$output") == *"one arena per call there would do"* ]]
    run -0 on_terminal 40 "NO_COLOR=1 $GOINSPECT escape demo.gmi 2>/dev/null"
    says_not $'\x1b'
    run -0 --separate-stderr "$GOINSPECT" escape demo.gmi
    says_not $'\x1b'
    [ "${#lines[@]}" = 2 ]
}

@test "on a terminal the first 25 places, and --all" {
    judged rate=1,escape=all
    run -0 on_terminal 200 "$GOINSPECT escape e.gmi --by stack --limit 3 2>/dev/null"
    [ "${#lines[@]}" = 3 ]
    run -0 on_terminal 200 "$GOINSPECT escape e.gmi --all 2>/dev/null"
    [ "${#lines[@]}" -ge 7 ]
}

@test "where there are no verdicts it is said why, and what to do" {
    "$BUILD_DIR/tests/inspect/mkimage" old.gmi old=1
    refuses 5 "does not tell what became of objects: it was made by an older library" escape old.gmi
    judged rate=0
    refuses 2 "nothing is recorded \(rate=0\): start the program with GOMALLOC=rate=1" escape e.gmi
    judged rate=1,escape=off
    refuses 2 "no recorded object is judged \(escape=off\)" escape e.gmi
}

@test "escape --leaks: what was never freed is still reachable, or has leaked" {
    under_library "$BUILD_DIR/tests/inspect/leak_later"
    wait_until grep -q ready log
    "$GOINSPECT" escape "$pid" >plain
    grep -qE "^leak_later.c:[0-9]+:[0-9]+: kept: 1 object, 400 B: never freed: live for up to [0-9]" plain
    "$GOINSPECT" escape "$pid" --leaks >first
    grep -qE "^leak_later.c:[0-9]+:[0-9]+: kept: 1 object, 400 B: never freed: still reachable, up to [0-9]" first
    grep -qE "lost_first: 2 objects from 2 stacks, 100 B: never freed: unreachable \(leaked\), up to [0-9]" first
    grep -qE "lost_later: .*: never freed: still reachable," first
    kill -USR1 "$pid"
    wait_until grep -q more log
    "$GOINSPECT" snapshot "$pid" --leaks -o heap.db
    "$GOINSPECT" escape heap.db --leaks >later
    grep -qE "lost_later: .*: never freed: unreachable \(leaked\)," later
    "$GOINSPECT" escape heap.db --columns function,leaked -o csv --no-header | sort >figures
    grep -qx "lost_first,2" figures
    grep -qx "kept,0" figures
    "$GOINSPECT" escape "$pid" --columns function,leaked -o csv --no-header | sort >figures
    grep -qx "kept," figures
    refuses 2 "demo.gmi holds no leak check" escape demo.gmi --leaks
}
