# SPDX-License-Identifier: BSD-3-Clause
#
# Programs whose objects are watched (lib/prof/watch.h) notice nothing of it: watched.c says what
# they do.  Where the kernel allows no watches, the same, and that nothing is claimed.

bats_require_minimum_version 1.5.0

setup() {
    : "${LIBGOMALLOC:?}" "${GOINSPECT:?}" "${BUILD_DIR:?}"
    work=$(mktemp -d)
    export GOMALLOC_DIR=$work/d
    mkfifo "$work/in"
}

teardown() {
    [ -z "${pid-}" ] || kill -KILL "$pid" 2>/dev/null || true
    rm -rf "$work"
}

# counter IMAGE NAME
counter() {
    "$GOINSPECT" sql "$1" -o csv "SELECT value FROM counter WHERE name = 'recorder.watch.$2'" |
        tail -n 1
}

# watches COMMAND... starts it, and returns when some object's end was proved, or nothing can be.
watches() {
    env GOMALLOC="rate=1,exit=$work/end.gmi" LD_PRELOAD="$LIBGOMALLOC" \
        "$BUILD_DIR/tests/preload/watched" "$@" <"$work/in" 2>"$work/err" 3>&- &
    pid=$!
    exec {in}>"$work/in"
    local i
    for ((i = 0; i < 600; i++)); do
        sleep 0.1
        ! "$GOINSPECT" sql "$pid" -o csv "SELECT value FROM counter WHERE value > 0
            AND name IN ('recorder.watch.silent', 'recorder.watch.refused')" 2>/dev/null |
            grep -q '^[0-9]' || break
    done
    refused=$(counter "$pid" refused)
    echo "refused: $refused, silent: $(counter "$pid" silent)"
}

# goes_on lets it do what it is for, and end.
goes_on() {
    exec {in}>&-
    local status=0
    wait "$pid" || status=$?
    cat "$work/err"
    [ "$status" = 0 ]
    for name in armed hits silent fired lost foreign failed crowded; do
        echo "$name: $(counter "$work/end.gmi" $name)"
    done
    [ "$refused" -le 1 ]
    [ "$(counter "$work/end.gmi" refused)" = "$refused" ]
    [ $(($(counter "$work/end.gmi" silent) > 0)) = $((1 - refused)) ]
    [ $(($(counter "$work/end.gmi" armed) > 0)) = $((1 - refused)) ]
}

@test "objects are proved to end within their caller" {
    watches nothing
    goes_on
}

@test "a program may close all descriptors and use the numbers" {
    watches files
    goes_on
}

@test "children of fork, _Fork, clone and vfork, and what they exec, work" {
    watches children
    goes_on
}

@test "threads may end and others take their place" {
    watches threads
    goes_on
}
