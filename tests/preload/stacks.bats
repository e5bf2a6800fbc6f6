# SPDX-License-Identifier: BSD-3-Clause
#
# Stacks in use and free (stacks.c) as goinspect shows them, and all sums with them.

bats_require_minimum_version 1.5.0

setup() {
    cd "$(mktemp -d)" || return
    export GOMALLOC_DIR=$PWD/sockets
    mkdir -m 700 sockets
    here=$SOURCE_DIR/tests/preload
}

teardown() {
    end
    rm -rf "$PWD"
}

# begin OPTIONS [fork]: starts the program under the library, and waits until it is at rest; $pid is
# the process that has the stacks.
begin() {
    mkfifo in
    GOMALLOC=$1 LD_PRELOAD=$LIBGOMALLOC "$BUILD_DIR/tests/preload/stacks" "${@:2}" <in >out 2>err 3>&- &
    started=$!
    exec 9>in
    for _ in $(seq 1200); do
        [ -s out ] && break
        kill -0 "$started" || return
        sleep 0.05
    done
    read -r pid _ <out
    for _ in $(seq 1200); do
        "$GOINSPECT" status "$pid" >/dev/null 2>&1 && return
        sleep 0.05
    done
    return 1
}

end() {
    [ -n "${started:-}" ] || return 0
    exec 9>&-
    wait "$started"
    started=
}

spans() { "$GOINSPECT" spans "$@" --state manual -o csv --no-header | tr -d '"\r'; }
ask() { "$GOINSPECT" sql -o csv --no-header "$@" | tr -d '"\r'; }

# A stack in use is a live slot.  A guard is part of its span, which is a page longer than its stack.
check_stacks() {
    run -0 ask "$1" "SELECT elem_size, sum(live_objects) FROM v1_span
        WHERE state = 'manual' AND live_objects > 0 GROUP BY 1 ORDER BY 1"
    printf '%s\n' 2048,100 8192,20 16384,50 24576,10 65536,3 73728,2 >expected
    diff expected - <<<"$output"
    run -0 ask "$1" "SELECT count(*) FROM v1_span WHERE state = 'manual' AND (owner <> 'heap'
        OR size_class <> 0 OR nelems * elem_size <> span_bytes OR recorded)"
    [ "$output" = 0 ]
}

@test "spans --state manual shows the stacks in use and the free ones, and they are no objects" {
    begin rate=1
    check_stacks "$pid"
    spans "$pid" --columns size,slots,objects | sort -u >kinds
    grep -q '^2048,16,' kinds
    grep -q '^16384,2,' kinds
    [ "$(spans "$pid" --columns objects --limit 1000 | paste -sd+ | bc)" = 185 ]
    run -0 ask "$pid" "SELECT count(*) FROM object JOIN span ON span.base = object.span WHERE state = 2"
    [ "$output" = 0 ]
    run -0 ask "$pid" "SELECT value FROM v1_status WHERE item = 'coroutines.live'"
    [ "$output" = 185 ]
    run -0 ask "$pid" "SELECT (SELECT value FROM v1_status WHERE item = 'coroutines.free')
        = (SELECT sum(free_objects) FROM v1_span WHERE state = 'manual')"
    [ "$output" = 1 ]
    run -0 ask "$pid" "SELECT value BETWEEN 32 AND 40 FROM v1_counter WHERE name = 'heap.stack_guards'"
    [ "$output" = 1 ]
}

@test "everything adds up with stacks in use: live, in a database and in an image" {
    begin "rate=1,exit=$PWD/end.gmi"
    "$here/sums.py" "$GOINSPECT" "$pid" exact
    "$GOINSPECT" snapshot -o saved.db "$pid"
    "$here/sums.py" "$GOINSPECT" saved.db exact
    check_stacks saved.db
    end
    [ ! -s err ]
    "$here/sums.py" "$GOINSPECT" end.gmi exact
    check_stacks end.gmi
}

@test "a forked child shows its own stacks, and adds up" {
    begin "" fork
    check_stacks "$pid"
    "$here/sums.py" "$GOINSPECT" "$pid" sampled
}
