# SPDX-License-Identifier: BSD-3-Clause
#
# What the recorder never does to a program: never.c does it if the recorder does.  Each is run under
# the library, and under a recorder that does it, so that it is known to see it.
#
#   never                                  tested by                                    seen with
#   ------------------------------------------------------------------------------------------------------
#   wait for the loader's lock, with new   loader new; unit/replay_never: the_loader's  naive backtrace, step;
#     stacks                                 lock...; dlopen.*                            libunwind
#   ... or on the warm path                loader warm                                  naive step
#   wait in a forked child                 fork; unit/replay_never: a_forked_child...   naive backtrace, step
#   ... whose parent looks a row up          unit/replay_never: ...was_looking_           a lock around
#                                            something_up                                 rowcache_miss
#   malloc on the warm path                nested.c                                     naive allocate
#   change errno                           errno; unit/prof: recording_keeps_errno      naive backtrace, step
#   have descriptors that the program sees descriptors; daemon.*: closes them all       naive backtrace, step
#   take over _Unwind_*                    cancel; lint/exports                         naive (linked with libunwind)
#   64 KiB a thread                        memory; unit/replay_never: a_thread_needs... libunwind, naive backtrace
#   deadlock with a signal handler         signals.*; unit/prof_signals,                a lock, in unit/prof_signals
#     that allocates                         unit/replay_never: a_signal_handler...
#   take a library for another             reload; unit/replay_never: a_library_in...   libunwind
#   stacks that are wrong otherwise        unit/replay: a replay that compares less     its own cases, see there
#   lose what was written to a page of     unit/info_pages: what_was_written_stays,     a look at which pages are
#     unwind information                     memory_without_a_file_stays                  there, and not whose
#
# What naive is, is in naive.c; "libunwind" is the library itself with unwinder=libunwind, which
# protects the program from some of these (fork, errno, descriptors, _Unwind_*) but not from all.

bats_require_minimum_version 1.5.0

setup() {
    cd "$(mktemp -d)" || return
    tests=$BUILD_DIR/tests/preload
    plugins=("$BUILD_DIR"/tests/unit/libunit_reload_[ab].so)
}

teardown() { rm -rf "$PWD"; }

# recorded OPTIONS COMMAND...: under the library; leaves end.gmi.
recorded() {
    GOMALLOC=rate=1,exit=$PWD/end.gmi,$1 LD_PRELOAD=$LIBGOMALLOC "${@:2}"
}

# naively HOW COMMAND...: under a naive recorder.  It may hang, with all signals blocked, and then
# seconds are enough; where an answer is wanted, it is given time: $patience.
naively() {
    NAIVE=$1 PATIENCE=1 GOMALLOC=rate=0 LD_PRELOAD=$tests/libnaive.so:$LIBGOMALLOC \
        timeout -s KILL "${patience:-4}" "${@:2}"
}

libunwind() {
    PATIENCE=1 GOMALLOC=rate=1,unwinder=libunwind,exit=$PWD/unwound.gmi LD_PRELOAD=$LIBGOMALLOC \
        timeout -s KILL "${patience:-4}" "${@:1}"
}

counter() { # IMAGE NAME
    "$GOINSPECT" sql -o csv --no-header "$1" "SELECT value FROM v1_counter WHERE name = '$2'" | tr -d '"\r'
}

@test "the loader's lock is not waited for: stacks that nobody has seen" {
    "$tests/never" loader new
    recorded "" "$tests/never" loader new
    run ! naively backtrace "$tests/never" loader new
    run ! naively step "$tests/never" loader new
    run ! libunwind "$tests/never" loader new
}

@test "the loader's lock is not waited for on the warm path" {
    recorded "" "$tests/never" loader warm
    run ! naively step "$tests/never" loader warm
}

@test "a forked child does not wait for a thread that is no more, and has stacks" {
    "$tests/never" fork
    GOMALLOC=rate=1,exit=$PWD/%p.gmi LD_PRELOAD=$LIBGOMALLOC "$tests/never" fork
    [ "$(ls ./*.gmi | wc -l)" = 2 ]
    for image in *.gmi; do "$GOINSPECT" sites --stacks "$image"; done | grep fresh_in_child
    run ! naively backtrace "$tests/never" fork
    run ! naively step "$tests/never" fork
}

@test "no malloc in a capture" {
    patience=60
    [ "$("$tests/nested")" = 0 ]
    [ "$(recorded escape=all "$tests/nested")" = 0 ]
    [ "$(counter end.gmi recorder.nested)" = 0 ]
    [ "$(naively allocate "$tests/nested")" -gt 0 ]
}

@test "errno is not changed" {
    "$tests/never" errno
    recorded "" "$tests/never" errno
    recorded verify=1 "$tests/never" errno
    run ! naively backtrace "$tests/never" errno
    run ! naively step "$tests/never" errno
}

@test "the program sees no descriptor" {
    patience=60
    n=$("$tests/never" descriptors)
    [ "$(recorded "" "$tests/never" descriptors)" = "$n" ]
    [ "$(recorded escape=all "$tests/never" descriptors)" = "$n" ]
    [ "$(naively backtrace "$tests/never" descriptors)" != "$n" ]
    [ "$(naively step "$tests/never" descriptors)" != "$n" ]
}

@test "_Unwind_* is not taken over: cancelled threads clean up, plugins too" {
    "$tests/never" cancel "$tests/libcancel_plugin.so"
    recorded "" "$tests/never" cancel "$tests/libcancel_plugin.so"
    recorded verify=1 "$tests/never" cancel "$tests/libcancel_plugin.so"
    run ! naively backtrace "$tests/never" cancel "$tests/libcancel_plugin.so"
}

@test "a thread costs the recorder less than 64 KiB" {
    patience=60
    without=$(GOMALLOC=rate=0 LD_PRELOAD=$LIBGOMALLOC "$tests/never" memory)
    with=$(recorded "" "$tests/never" memory)
    judged=$(recorded escape=all "$tests/never" memory)
    unwound=$(libunwind "$tests/never" memory)
    echo "KiB a thread: $without, recorded $with, judged $judged, by libunwind $unwound"
    [ $((with - without)) -le 64 ]
    [ $((judged - without)) -le 64 ]
    [ $((unwound - without)) -gt 64 ]
    [ "$(naively backtrace "$tests/never" memory)" -gt $((without + 64)) ]
}

# whole IMAGE: how many of the objects of 99 bytes have a stack that leads to main, of how many.
whole() {
    "$GOINSPECT" sql -o csv --no-header "$1" "SELECT sum(n * (SELECT count(*) > 0 FROM v1_stack k
            WHERE k.site_id = o.site_id AND k.function = 'main')), sum(n)
        FROM (SELECT site_id, count(*) AS n FROM v1_object WHERE requested = 99 GROUP BY site_id) o" | tr -d '"\r'
}

@test "a library in the place of another is not taken for it" {
    recorded "" "$tests/never" reload "${plugins[@]}"
    [ "$(whole end.gmi)" = 20,20 ]
    patience=60 libunwind "$tests/never" reload "${plugins[@]}"
    [ "$(whole unwound.gmi)" != 20,20 ]
}

@test "signal handlers that allocate, on stacks of their own, while everything is judged" {
    for how in alone coroutines threads; do
        recorded escape=all "$tests/signals" $how 600
        "$SOURCE_DIR/tests/preload/sums.py" "$GOINSPECT" end.gmi exact
        [ "$(counter end.gmi recorder.dropped)" = 0 ]
    done
}
