# SPDX-License-Identifier: BSD-3-Clause
#
# trigger=fatal: the image of a program that a signal ends, and that it ends just as it would have.

bats_require_minimum_version 1.5.0
load image_helpers

setup() {
    : "${BUILD_DIR:?}"
    image_setup
    fatal=$BUILD_DIR/tests/preload/fatal
    ulimit -S -c 0
    ulimit -S -s 8192 # or a stack may not run out
}

teardown() { image_teardown; }

# ends STATUS HOW checks that the program ends so with and without the library, which leaves
# HOW.gmi, and says one line about it.
ends() {
    local status=0 plain=0
    env LD_PRELOAD="$LIBGOMALLOC" GOMALLOC="rate=1,trigger=fatal,snapshot=$2.gmi${options:-}" \
        "$fatal" "$2" >out 2>err || status=$?
    case $2 in
    double_free | own_abort | group_signals_crime) rm -f plain ;;
    *) "$fatal" "$2" >plain 2>/dev/null || plain=$? ;;
    esac
    if [ "$status" != "$1" ] || { [ -e plain ] && [ "$plain" != "$1" ]; }; then
        echo "$2: $status, without the library $plain, wanted $1"
        cat err
        return 1
    fi
    [ ! -e plain ] || cmp out plain
}

@test "a fault: the signal, the address and the stack, and all of the heap" {
    ends 139 segv
    grep -q "^fatal([0-9]*): gomalloc: SIGSEGV; next: goinspect status segv.gmi$" err
    [ "$(wc -l <err)" = 1 ]
    [ "$(ask segv.gmi "SELECT signal, reason, address, function FROM v1_crash")" = \
        "SIGSEGV,nothing mapped there,0x0,inner" ]
    [ "$(ask segv.gmi "SELECT group_concat(function, ' < ') FROM
        (SELECT function FROM v1_crash_stack ORDER BY frame LIMIT 3)")" = "inner < outer < main" ]
    [ "$(ask segv.gmi "SELECT kind, partial FROM v1_snapshot")" = crash,0 ]
    [ "$(ask segv.gmi "SELECT live_objects >= 100 FROM v1_site ORDER BY live_bytes DESC LIMIT 1")" = 1 ]
    "$GOINSPECT" status segv.gmi >page
    grep -q "^Ended by SIGSEGV at 0x0 (nothing mapped there) in thread [0-9]*, fatal.$" page
    grep -q "^  #1 outer at " page
}

@test "each way of being ended is told, and the exit status is the same" {
    while read -r how status signal reason; do
        ends "$status" "$how"
        [ "$(ask "$how.gmi" "SELECT signal || ' ' || reason FROM v1_crash" | tr -d '"')" = "$signal $reason" ]
    done <<'END'
call 139 SIGSEGV nothing mapped there
divide 136 SIGFPE integer division by zero
illegal 132 SIGILL illegal instruction
trap 133 SIGTRAP trap or breakpoint
beyond_file 135 SIGBUS no memory behind it: a file too short, or a full disk
abort 134 SIGABRT abort
END
    ends 135 sent
    [[ $(ask sent.gmi "SELECT signal, reason FROM v1_crash") == "SIGBUS,sent by process "* ]]
    # who jumped to nowhere is found by the return address
    [ "$(ask call.gmi "SELECT function FROM v1_crash_stack WHERE frame = 1")" = main ]
}

@test "a signal that was sent ends the program, also where a filter lets none be queued" {
    ends 135 filtered
    [ -e filtered.gmi ]
}

@test "a stack that has run out, of the first thread and of another" {
    ends 139 overflow
    ends 139 thread_overflow
    for how in overflow thread_overflow; do
        [ "$(ask $how.gmi "SELECT function, stopped FROM v1_crash")" = deeper,1 ]
    done
}

@test "another thread; several at once, of which one writes; while others go on" {
    ends 139 thread_segv
    [ "$(ask thread_segv.gmi "SELECT c.tid <> p.pid FROM crash c, process p")" = 1 ]
    ends 139 many_threads
    [ "$(grep -c "goinspect status" err)" = 1 ]
    [ "$(ask many_threads.gmi "SELECT function FROM v1_crash")" = inner ]
    ends 139 busy
    [ "$(ask busy.gmi "SELECT function FROM v1_crash")" = inner ]
}

@test "a crime against the heap, also if the program handles SIGABRT itself" {
    ends 134 double_free
    [ "$(grep -c . err)" = 2 ]
    [ "$(ask double_free.gmi "SELECT function FROM v1_crash_stack WHERE frame = 0")" = double_free ]
    ends 134 own_abort
    grep -q "double free" err
    [ "$(ask own_abort.gmi "SELECT signal FROM v1_crash")" = SIGABRT ]
}

@test "the copy that writes the image runs no handler of the program's" {
    ends 139 group_signals
    ends 134 group_signals_crime
    [ -e group_signals.gmi ] && [ -e group_signals_crime.gmi ]
    [ ! -e stranger ]
}

@test "the program's own handler is its own, and may pass the signal on" {
    ends 139 own
    [ ! -e own.gmi ]
    ends 139 default
    [ ! -e default.gmi ]
    ends 139 passing
    [ -e passing.gmi ]
}

@test "a signal that is ignored, or has a handler already, is left alone" {
    (trap '' BUS && ends 0 sent)
    [ ! -e sent.gmi ]
}

@test "a forked child has a file of its own, and its parent goes on" {
    ends 0 in_child
    grep -q "^child 11$" out
    [ ! -e in_child.gmi ]
    [ "$(ask in_child.*.gmi "SELECT signal FROM v1_crash")" = SIGSEGV ]
}

@test "amid the allocator, with its locks held" {
    for i in 1 2 3 4 5 6 7 8 9 10 11 12; do
        rm -f a.gmi
        status=0
        timeout 300 env LD_PRELOAD="$LIBGOMALLOC" \
            GOMALLOC="rate=$((i % 2)),trigger=fatal,snapshot=a.gmi" "$fatal" inside 2>err || status=$?
        [ "$status" = 139 ]
        [ "$(ask a.gmi "SELECT signal FROM v1_crash")" = SIGSEGV ]
    done
}

@test "where no copy can be made, the image is written in place" {
    [ "$(id -u)" = 0 ] || skip "needs root, to become nobody"
    chmod 777 .
    ends 139 no_copy
    [ "$(ask no_copy.gmi "SELECT signal, reason FROM v1_crash")" = "SIGSEGV,nothing mapped there" ]
    [ "$(ask no_copy.gmi "SELECT stack_id FROM v1_crash")" = 0 ] # which only a copy tells
}

@test "a database gets it by way of goinspect, and no image is left" {
    env LD_PRELOAD="$LIBGOMALLOC" GOMALLOC="rate=1,trigger=fatal,snapshot=a.db" "$fatal" segv 2>err || true
    grep -q "goinspect status a.db$" err
    [ "$(sqlite3 a.db "SELECT signal, function FROM v1_crash")" = "SIGSEGV|inner" ]
    [ -z "$(ls -- *.gmi 2>/dev/null)" ]
    [ -z "$(sqlite3 a.db "PRAGMA foreign_key_check")" ]
}

@test "a place that can't be written to is one line, and the end is the same" {
    status=0
    env LD_PRELOAD="$LIBGOMALLOC" GOMALLOC="trigger=fatal,snapshot=no/a.gmi" "$fatal" segv 2>err || status=$?
    [ "$status" = 139 ]
    [ "$(wc -l <err)" = 1 ]
    grep -q "SIGSEGV; no snapshot: .*no/a.gmi" err
}

@test "the core file is of the place of the fault" {
    command -v gdb >/dev/null || skip "no gdb"
    [ "$(cat /proc/sys/kernel/core_pattern)" = core ] || skip "core files go elsewhere"
    ulimit -S -c unlimited 2>/dev/null || skip "no core files"
    env LD_PRELOAD="$LIBGOMALLOC" GOMALLOC="trigger=fatal,snapshot=a.gmi" "$fatal" segv 2>err || true
    core=$(ls core* 2>/dev/null) || skip "no core file"
    gdb -batch -ex bt -ex 'p $_siginfo.si_code' -ex 'p $_siginfo._sifields._sigfault.si_addr' \
        "$fatal" "$core" >bt 2>&1
    grep -q '#0 .*inner ' bt
    grep -q '= 1$' bt
    [ "$(ls core* | wc -l)" = 1 ] # none of the copy
}

@test "a program that ends well leaves nothing" {
    ends 0 none
    [ ! -s err ]
    [ -z "$(ls -- *.gmi 2>/dev/null)" ]
}
