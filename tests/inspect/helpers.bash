# SPDX-License-Identifier: BSD-3-Clause
#
# What the bats files of goinspect share.  Each test has a folder of its own, $work, with sockets in
# $GOMALLOC_DIR and an image of the tests' known heap (maker.h) in demo.gmi.

. "${BASH_SOURCE[0]%/*}/../seen.bash"

common_setup() {
    work=$(mktemp -d)
    export GOMALLOC_DIR=$work/run XDG_CACHE_HOME=$work/cache LC_ALL=C.UTF-8 TZ=UTC
    unset GOINSPECT_CACHE GOINSPECT_DEBUGINFOD DEBUGINFOD_URLS
    unset COLUMNS NO_COLOR XDG_RUNTIME_DIR GOMALLOC LD_PRELOAD
    export GOINSPECT_TIMEOUT=60
    mkdir -m 700 "$GOMALLOC_DIR"
    cd "$work" || return 1
    started=()
    "$BUILD_DIR/tests/inspect/mkimage" demo.gmi
}

common_teardown() {
    local pid
    tell_seen
    for pid in "${started[@]}"; do
        kill -KILL "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
    done
    rm -rf "$work"
}

# start COMMAND... runs it beside the test; its pid is $pid.  It is that program, no shell any more,
# when this returns.
start() {
    local i
    "$@" >"$work/log" 2>&1 3>&- </dev/null &
    pid=$!
    started+=("$pid")
    for ((i = 0; i < 1200; i++)); do
        [ "/proc/$pid/exe" -ef "/proc/$$/exe" ] || break
        sleep 0.01
    done
}

# wait_until COMMAND... returns when it succeeds; after a minute it fails, and says what it said last and
# what the last program that was started has said.
wait_until() {
    local i said
    for ((i = 0; i < 1200; i++)); do
        said=$("$@" 2>&1) && return 0
        sleep 0.05
    done
    echo "in vain: $*"
    [ -z "$said" ] || echo "$said"
    [ -z "${pid:-}" ] || [ -e "/proc/$pid" ] || echo "process $pid has ended"
    [ ! -s "${work:-.}/log" ] || tail -n 20 "${work:-.}/log"
    return 1
}

# fake MODE starts a fake agent that has $work/demo.gmi; its pid is $pid.
fake() {
    start /usr/bin/python3 "$SOURCE_DIR/tests/inspect/fake_agent.py" "$1" "$work/demo.gmi"
    wait_until test -S "$GOMALLOC_DIR/$pid.sock"
}

# under_library COMMAND... starts a real program under the library, and waits for its agent.
under_library() {
    [ -e "$LIBGOMALLOC" ] || skip "libgomalloc.so is not built in this configuration"
    start env LD_PRELOAD="$LIBGOMALLOC" GOMALLOC="${options:-rate=1}" "$@"
    wait_until "$GOINSPECT" status "$pid"
}

# refuses STATUS PATTERN ARGUMENT... checks that goinspect ends so, with nothing on standard output
# and one line on standard error that matches.
refuses() {
    local want=$1 pattern=$2 status=0
    shift 2
    "$GOINSPECT" "$@" >"$work/out" 2>"$work/err" </dev/null || status=$?
    if [[ ! $status =~ ^($want)$ ]] || [ -s "$work/out" ] || [ "$(wc -l <"$work/err")" -ne 1 ] ||
        ! grep -qE -- "$pattern" "$work/err"; then
        echo "goinspect $*: status $status, wanted $want and /$pattern/"
        cat "$work/out" "$work/err"
        return 1
    fi
}

# misused PATTERN ARGUMENT... is for command lines that make no sense.
misused() { refuses 64 "$@"; }

# on_terminal COLUMNS COMMAND prints what COMMAND (one word of shell) shows on a terminal.
on_terminal() {
    TERM=xterm script -qec "stty cols $1 rows 50; $2" /dev/null | tr -d '\r'
}

# widest prints the width of the widest line of standard input, in characters.
widest() {
    sed 's/\x1b\[[0-9;]*m//g' | wc -L
}
