#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-3-Clause
#
# Real programs: goinspect run, ps, profile, names of functions.

bats_require_minimum_version 1.5.0
load helpers
setup() {
    common_setup
    [ -e "$LIBGOMALLOC" ] || skip "libgomalloc.so is not built in this configuration"
    export GOMALLOC_LIB=$LIBGOMALLOC
}
teardown() { common_teardown; }

@test "run ends as the program ends" {
    run -0 "$GOINSPECT" run true
    run -7 "$GOINSPECT" run -- sh -c 'exit 7'
    run -143 "$GOINSPECT" run -- sh -c 'kill -TERM $$'
    run -127 "$GOINSPECT" run -- no-such-command-anywhere
    run -126 "$GOINSPECT" run -- /etc/passwd
}

@test "run leaves the program's words and standard streams alone" {
    [ "$(echo in | "$GOINSPECT" run cat -)" = in ]
    [ "$("$GOINSPECT" run printf '%s ' --limit 3 -o x)" = "--limit 3 -o x " ]
    run -0 --separate-stderr "$GOINSPECT" run -- sh -c 'echo out; echo err >&2'
    [ "$output" = out ]
    [ "$stderr" = err ]
}

@test "run sets LD_PRELOAD and GOMALLOC, and keeps what is there" {
    [ "$("$GOINSPECT" run sh -c 'echo $GOMALLOC')" = "rate=1" ]
    [ "$("$GOINSPECT" run --rate 4096 sh -c 'echo $GOMALLOC')" = "rate=4096" ]
    [ "$(GOMALLOC=control=on "$GOINSPECT" run sh -c 'echo $GOMALLOC')" = "control=on,rate=1" ]
    [ "$(GOMALLOC=rate=512,control=on "$GOINSPECT" run sh -c 'echo $GOMALLOC')" = "rate=512,control=on" ]
    library=$(realpath "$LIBGOMALLOC")
    [ "$("$GOINSPECT" run sh -c 'echo $LD_PRELOAD')" = "$library" ]
    other=$(ldd "$GOINSPECT" | awk '/libsmartcols/ { print $3 }')
    [ "$(LD_PRELOAD=$other "$GOINSPECT" run sh -c 'echo $LD_PRELOAD')" = "$library:$other" ]
}

@test "run finds the library beside itself" {
    unset GOMALLOC_LIB
    [ "$("$GOINSPECT" run sh -c 'echo $LD_PRELOAD')" = "$(realpath "$LIBGOMALLOC")" ]
}

@test "run says where no library is" {
    export GOMALLOC_LIB=$work/nothing.so
    refuses 2 "GOMALLOC_LIB: $work/nothing.so: No such file" run true
}

@test "run -o FILE.gmi and -o FILE.db keep the heap at the end" {
    "$GOINSPECT" run -o heap.gmi -- perl -e '@a = map { "x" x $_ } 1 .. 1000' 2>err
    grep -q "heap.gmi is written; next: goinspect sites heap.gmi" err
    "$GOINSPECT" status heap.gmi -o json | jq -e '[.rows[] | {(.item): .value}] | add | .["objects.live"] > 0'
    "$GOINSPECT" run -o heap.db -- perl -e '@a = map { "x" x $_ } 1 .. 1000' 2>err
    grep -q "heap.db is written" err
    "$GOINSPECT" run -o heap.db -- perl -e '1' 2>/dev/null
    [ "$("$GOINSPECT" sql heap.db "SELECT count(*) FROM v1_snapshot WHERE kind = 'exit'" -o csv --no-header)" = 2 ]
    ls
    [ -z "$(find . -name '*.db.*' -o -name '*tmp*')" ]
}

@test "a program that keeps its heap in a database writes what it writes without" {
    LD_PRELOAD=$LIBGOMALLOC GOMALLOC=exit=heap.db perl -e 'print "out\n"; print STDERR "err\n"' >out 2>err
    echo out | diff - out
    echo err | diff - err
    [ -s heap.db ]
}

@test "run says so when nothing was written" {
    run -137 --separate-stderr "$GOINSPECT" run -o heap.gmi -- sh -c 'kill -KILL $$'
    [[ $stderr == *"heap.gmi was not written"* ]]
    [ ! -e heap.gmi ]
}

@test "run hands signals on" {
    start "$GOINSPECT" run sh -c 'trap "echo caught >caught; exit 5" TERM; touch ready; while :; do sleep 0.1; done'
    wait_until test -e ready
    kill -TERM "$pid"
    status=0
    wait "$pid" || status=$?
    [ "$status" -eq 5 ]
    [ -e caught ]
}

@test "ps and the verbs find a live process, by number and by name" {
    cp "$(command -v perl)" "gm-perl-$$"
    # perl can't be asked before it has worked for a moment, and then allocates.
    under_library "./gm-perl-$$" -e '
        @a = map { "x" x $_ } 1 .. 100;
        while (1) { my @b = map { $_ x 300 } 1 .. 100; select undef, undef, undef, 0.01 }'
    # it is shown others, too, which may never answer
    listed() { GOINSPECT_TIMEOUT=1 "$GOINSPECT" ps -o json | jq -e ".rows[] | select(.pid == $pid) | .socket == \"ok\" and .live > 10000 and .rate == 1"; }
    wait_until listed
    named() { "$GOINSPECT" | grep -q "^ *$pid  gm-perl.*exact"; }
    wait_until named
    for verb in status sites classes spans arenas pages; do
        "$GOINSPECT" $verb "gm-perl-$$" -o json | jq -e '.rows | length > 0' >/dev/null
    done
    [ "$("$GOINSPECT" sql "$pid" "SELECT pid FROM v1_snapshot" -o csv --no-header)" = "$pid" ]
}

@test "profile switches the recorder of a process that takes orders" {
    options=rate=4096 under_library sleep 600
    rate() { "$GOINSPECT" sql "$pid" "SELECT rate FROM v1_snapshot" -o csv --no-header; }
    [ "$(rate)" = 4096 ]
    "$GOINSPECT" profile stop "$pid" 2>err
    grep -q "records off; before: a sample every 4.0 KiB" err
    [ "$(rate)" = 0 ]
    "$GOINSPECT" profile start "$pid" 2>/dev/null
    [ "$(rate)" = 4096 ]
    "$GOINSPECT" profile rate 64k "$pid" 2>/dev/null
    [ "$(rate)" = 65536 ]
}

@test "profile is refused by a process that takes none: status 4" {
    options=control=off under_library sleep 600
    refuses 4 "takes no orders: .*GOMALLOC=control=off" profile stop "$pid"
}

@test "a process in another mount and pid namespace is found" {
    [ "$(id -u)" -eq 0 ] || skip "only root may make namespaces"
    unshare --mount --pid --fork true 2>/dev/null || skip "namespaces are not allowed here"
    start unshare --mount --pid --fork --mount-proc --propagation private sh -c \
        "mount -t tmpfs none '$GOMALLOC_DIR' && chmod 700 '$GOMALLOC_DIR' &&
         exec env LD_PRELOAD='$LIBGOMALLOC' GOMALLOC=rate=1 sleep 600"
    outer=$pid
    wait_until pgrep -P "$outer" sleep
    inner=$(pgrep -P "$outer" sleep)
    started+=("$inner")
    wait_until "$GOINSPECT" status "$inner"
    [ "$("$GOINSPECT" sql "$inner" "SELECT pid FROM v1_snapshot" -o csv --no-header)" = 1 ]
    listed() { GOINSPECT_TIMEOUT=1 "$GOINSPECT" ps -o json | jq -e ".rows[] | select(.pid == $inner) | .socket == \"ok\""; }
    wait_until listed
}

# freed: a program that has just freed 60 MiB of objects; its pid is $pid.
freed() {
    options="rate=0${1:+,$1}" under_library /usr/bin/python3 -c "
import time
x = [bytearray(3 << 20) for i in range(20)]
del x
open('$work/done', 'w').close()
time.sleep(600)"
    wait_until test -e "$work/done"
}

@test "scavenge gives free pages back, and shows before and after" {
    # The library gives them back by itself, in seconds: where those have passed, anew.
    for attempt in {1..40}; do
        rm -f done
        freed
        run -0 --separate-stderr "$GOINSPECT" scavenge "$pid" -o csv
        echo "$output" >scavenge.csv
        ! awk -F, '$1 == "heap.free_backed" { exit !($2 > 30e6) }' scavenge.csv || break
    done
    [[ "$stderr" =~ ^goinspect:\ process\ $pid\ has\ given\ .*\ back$ ]]
    awk -F, '{ before[$1] = $2; after[$1] = $3 }
        END {
            backed = after["heap.free_backed"]; was = before["heap.free_backed"]
            came = after["heap.scavenged"] - before["heap.scavenged"]
            fell = before["process.rss"] - after["process.rss"]
            # Page caches may stay; the rest has gone, by both accounts.
            exit !(was > 30e6 && backed <= 1048576 && came >= was - backed - 65536 && fell >= came - 2097152)
        }' scavenge.csv
    run -0 --separate-stderr "$GOINSPECT" scavenge "$pid"
    [ "${#lines[@]}" = 6 ] # nothing more to give
}

@test "scavenge is refused with control=off" {
    freed control=off
    refuses 4 "process $pid .* takes no orders: .*GOMALLOC=control=off" scavenge "$pid"
    refuses 3 "." scavenge no-such-program-here
}

# lost_by FILE prints which functions' objects have leaked, in one line.
lost_by() {
    "$GOINSPECT" leaks "$1" --objects -o csv --no-header --columns function 2>/dev/null |
        sort -u | tr '\n' ' '
}

@test "run --leaks: what the program has lost when it ends, in each way to end" {
    local program=$BUILD_DIR/tests/inspect/leak_exit how always="lost_at_once lost_in_destructor lost_in_handler "
    run -1 "$GOINSPECT" run --leaks -o end.gmi -- "$program" return
    [ "$(lost_by end.gmi)" = "${always}lost_with_main " ]
    for how in exit thread; do
        run -1 "$GOINSPECT" run --leaks -o end.gmi -- "$program" $how
        [ "$(lost_by end.gmi)" = "$always" ]
    done
    "$GOINSPECT" status end.gmi -o json | jq -e '.rows | length > 0'
    run -1 "$GOINSPECT" run --leaks -o end.gmi -- "$program" fork
    [ "$(lost_by end.gmi)" = "${always}lost_with_main " ]
    [ "$(lost_by end.[0-9]*.gmi)" = "$(echo "${always}lost_by_child" | tr ' ' '\n' | sort | tr '\n' ' ')" ]
}

@test "run --leaks: the program's own failure is what is told, else 1" {
    local program=$BUILD_DIR/tests/inspect/leak_exit
    "$GOINSPECT" run --leaks -- "$program" exit 5 >out 2>err || status=$?
    [ "$status" -eq 5 ]
    [ ! -s out ]
    grep -qF "goinspect: leaked: " err
    grep -q "^ *lost_in_handler  .*leak_exit.c:" err
    grep -q "at the end of the program: marked" err
    run -0 "$GOINSPECT" run --leaks -- true
    echo "leak:leak_exit" >known
    run -0 "$GOINSPECT" run --leaks --suppressions known -- "$program" exit
    run -143 "$GOINSPECT" run --leaks -- sh -c 'kill -TERM $$'
    echo "race:x" >unknown
    refuses 2 "unknown:1: 'race:x' is no suppression" run --leaks --suppressions unknown -- true
    refuses 64 "suppressions is for --leaks" run --suppressions known -- true
    refuses 64 "has to find the file again" run --leaks -o %p.gmi -- true
    mkdir images
    TMPDIR=$work/images run -1 "$GOINSPECT" run --leaks -- "$program" exit
    [ -z "$(ls images)" ]
}

@test "run --leaks: also of what the program has started, in files or a database" {
    local program=$BUILD_DIR/tests/inspect/leak_exit
    run -1 "$GOINSPECT" run --leaks -- bash -c "$program exit; $program return; exit 0"
    [ "$(grep -c "which it has started" <<<"$output")" -eq 2 ]
    grep -q "lost_with_main" <<<"$output"
    run -1 "$GOINSPECT" run --leaks -o end.db -- bash -c "$program exit; $program return; exit 0"
    [ "$(grep -c "which it has started" <<<"$output")" -eq 2 ]
    [ "$(sqlite3 end.db "SELECT count(*) FROM leak_check")" -eq 3 ]
    # What was there before is not this run's.
    run -0 "$GOINSPECT" run --leaks -o end.db -- true
    [ "$(grep -c "which it has started" <<<"$output")" -eq 0 ]
}

@test "leaks=on without exit= says in a line what has leaked" {
    GOMALLOC=rate=0,leaks=on LD_PRELOAD=$LIBGOMALLOC "$BUILD_DIR/tests/inspect/leak_exit" exit 2>err
    grep -qE "^leak_exit\([0-9]+\): gomalloc: leaked: [0-9]+ bytes in 4 objects, 4 of them directly; exit=FILE.gmi keeps whose, for goinspect leaks FILE.gmi$" err
    [ "$(wc -l <err)" -eq 1 ]
}
