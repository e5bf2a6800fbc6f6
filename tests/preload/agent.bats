# SPDX-License-Identifier: BSD-3-Clause
#
# The agent in a living process: its socket, who may ask, what it survives.
#
# agent_target is the process, agent_ask the client; see there for what they can do.

bats_require_minimum_version 1.5.0

setup() {
    : "${LIBGOMALLOC:?}" "${GOINSPECT:?}" "${BUILD_DIR:?}"
    work=$(mktemp -d)
    chmod 711 "$work"
    export GOMALLOC_DIR=$work/d
    ask=$BUILD_DIR/tests/preload/agent_ask
    target=$BUILD_DIR/tests/preload/agent_target
    pids=()
}

teardown() {
    [ -n "${BATS_TEST_COMPLETED:-}" ] || [ ! -s "$work/err" ] || cat "$work/err"
    for pid in "${pids[@]}"; do
        kill -KILL "$pid" 2>/dev/null || true
    done
    rm -rf "$work"
}

# patiently COMMAND... repeats it until it succeeds, for a minute.
patiently() {
    local i
    for ((i = 0; i < 3000; i++)); do
        ! "$@" || return 0
        sleep 0.02
    done
    echo "never: $*"
    [ ! -s "$work/err" ] || cat "$work/err"
    return 1
}

is_gone() {
    [ ! -e "/proc/$1" ] || grep -q '^State:.Z' "/proc/$1/status"
}

# start MODE... starts a target that lives until `finish`; $pid is its process, $said what it said.
start() {
    mkfifo "$work/in"
    (
        umask "${mask:-022}"
        # $as: a command that becomes another user first
        exec $as env LD_PRELOAD="$LIBGOMALLOC" GOMALLOC="${options-control=on}" "$target" "$@" 3>&-
    ) <"$work/in" >"$work/out" 2>"$work/err" &
    started=$!
    pids+=("$started")
    exec {in}>"$work/in"
    patiently grep -q ready "$work/out"
    pid=$(sed -n 's/ ready$//p' "$work/out")
    pids+=("$pid")
    sock=$GOMALLOC_DIR/$pid.sock
}

# finish ends the target's standard input; its status is that of the target.
finish() {
    exec {in}>&-
    local status=0
    wait "$started" || status=$?
    cat "$work/err"
    return $status
}

@test "the socket is private, in a private directory, whatever the umask" {
    for mask in 000 777; do
        mask=$mask start quiet
        "$ask" "$sock" wait
        [ "$(stat -c %a "$GOMALLOC_DIR")" = 700 ]
        [ "$(stat -c %a "$sock")" = 600 ]
        finish
        rm -rf "$GOMALLOC_DIR" "$work/in" "$work/out"
    done
}

@test "ping tells the rate, and a rate set is in force" {
    options=rate=4096,control=on start
    "$ask" "$sock" wait
    [ "$("$ask" "$sock" 1)" = "0 4096 " ]
    [ "$("$ask" "$sock" 3 1)" = "0 4096 " ]
    [ "$("$ask" "$sock" 1)" = "0 1 " ]
    finish
}

@test "stopped recording starts again at the rate it had" {
    options=rate=4096,control=on start
    "$ask" "$sock" wait
    [ "$("$ask" "$sock" 3 0)" = "0 4096 " ]
    [ "$("$ask" "$sock" 5 0)" = "0 4096 " ]
    [ "$("$ask" "$sock" 5 77)" = "0 77 " ]
    finish
}

@test "a process that never recorded can be told to" {
    options=rate=0,control=on start
    "$ask" "$sock" wait
    [ "$("$ask" "$sock" 5 0)" = "0 524288 " ]
    [ "$("$ask" "$sock" 3 1)" = "0 524288 " ]
    has_recorded() {
        "$ask" "$sock" 2 0 "$work/a.gmi"
        "$GOINSPECT" sql "$work/a.gmi" -o csv "SELECT count(*) > 0 FROM site WHERE samples > 0 AND stack_id > 0" |
            grep -qx 1
    }
    patiently has_recorded
    finish
}

@test "scavenge answers with bytes" {
    options=control=on start
    "$ask" "$sock" wait
    run -0 "$ask" "$sock" 4
    [[ $output =~ ^0\ [0-9]+\ $ ]]
    finish
}

@test "control=off refuses what changes something, and nothing else" {
    options=control=off start
    "$ask" "$sock" wait
    for verb in 3 4 5; do
        run -1 "$ask" "$sock" $verb 1
        [[ $output == "3 0 "*control=off* ]]
    done
    "$ask" "$sock" 2 0 "$work/a.gmi"
    [ -s "$work/a.gmi" ]
    finish
}

@test "an image is whole, of this process, and sealed" {
    start
    "$ask" "$sock" wait
    run -0 "$ask" "$sock" 2 0 "$work/a.gmi" # which looks at the seals
    run -0 "$GOINSPECT" sql "$work/a.gmi" -o csv "SELECT pid FROM process"
    [ "${lines[1]}" = "$pid" ]
    finish
}

has_thread() {
    grep -qx gomalloc /proc/"$1"/task/*/comm
}

@test "agent=off has no socket, and a thread for the background work when it has worked" {
    options=agent=off start
    patiently has_thread "$pid"
    [ ! -e "$sock" ]
    finish
}

@test "a launcher that changes users or namespaces is not disturbed" {
    LD_PRELOAD=$LIBGOMALLOC run -0 unshare --user --map-root-user echo fine || skip "not allowed here"
    [ "$output" = fine ]
    [ "$(id -u)" = 0 ] || skip "needs root"
    LD_PRELOAD=$LIBGOMALLOC run -0 setpriv --reuid=65534 --regid=65534 --clear-groups echo fine
    [[ $output == *fine ]]
    for user in root nobody; do
        LD_PRELOAD=$LIBGOMALLOC run -0 runuser -u $user -- echo fine
        LD_PRELOAD=$LIBGOMALLOC run -0 chroot --userspec=$user / echo fine
    done
}

@test "another user is refused" {
    [ "$(id -u)" = 0 ] || skip "needs root"
    start
    "$ask" "$sock" wait
    # by way of the file system
    run -3 setpriv --reuid=65534 --regid=65534 --clear-groups "$ask" "$sock" 1
    [[ $output == *"Permission denied"* ]]
    # past it
    for verb in 1 2 3; do
        run -1 setpriv --reuid=65534 --regid=65534 --clear-groups --inh-caps=+dac_override \
            --ambient-caps=+dac_override "$ask" "$sock" $verb
        [[ $output == "3 0 only the process's owner"* ]]
    done
    finish
}

@test "root may ask another user's process" {
    [ "$(id -u)" = 0 ] || skip "needs root"
    chmod 755 "$work"
    install -d -o 65534 -m 755 "$work/u"
    # where that user can read them
    cp "$LIBGOMALLOC" "$work/libgomalloc.so"
    cp "$target" "$work/target"
    GOMALLOC_DIR=$work/u/d LIBGOMALLOC=$work/libgomalloc.so \
        target=$work/target as="setpriv --reuid=65534 --regid=65534 --clear-groups" start
    sock=$work/u/d/$pid.sock
    "$ask" "$sock" wait
    [ "$(stat -c %u "$sock")" = 65534 ]
    finish
}

@test "bytes that are no request are answered with the reason" {
    start
    "$ask" "$sock" wait
    size=18000000 verb=01000000 arg=0000000000000000
    [ "$("$ask" "$sock" raw "0000000001000000$size$verb$arg")" = 1 ] # magic
    [ "$("$ask" "$sock" raw "51524d470100000000000000$verb$arg")" = 1 ] # size
    [ "$("$ask" "$sock" raw "51524d4702000000$size$verb$arg")" = 2 ] # version
    run -1 "$ask" "$sock" 99
    [ "$output" = "1 0 unknown verb" ]
    run -1 "$ask" "$sock" 0
    [ "$output" = "1 0 unknown verb" ]
    finish
}

@test "random bytes leave it alive" {
    start
    "$ask" "$sock" wait
    [ "$("$ask" "$sock" random 500)" = answers ]
    finish
}

@test "a hundred connections at once are all answered" {
    start
    "$ask" "$sock" wait
    [ "$("$ask" "$sock" many 100)" = "100 answered" ]
    finish
}

@test "a hundred clients at once each get an image" {
    start
    "$ask" "$sock" wait
    clients=()
    for i in $(seq 100); do
        "$ask" "$sock" 2 0 "$work/$i.gmi" >"$work/$i.said" &
        clients+=($!)
    done
    wait "${clients[@]}"
    [ "$(cat "$work"/*.said | sort -u)" = "0 0 " ]
    for i in 1 50 100; do
        "$GOINSPECT" sql "$work/$i.gmi" "SELECT 1" >/dev/null
    done
    finish
}

@test "a client that stops in the middle of a request is dropped" {
    start
    "$ask" "$sock" wait
    [ "$("$ask" "$sock" slow)" = dropped ]
    finish
}

@test "a whole request is not behind a hundred halves" {
    start
    "$ask" "$sock" wait
    [ "$("$ask" "$sock" halves 100)" = answered ]
    finish
}

@test "clients that say nothing do not keep others out" {
    start
    "$ask" "$sock" wait
    [ "$("$ask" "$sock" silent 40)" = answers ]
    finish
}

@test "a client that does not read its replies is dropped" {
    start
    "$ask" "$sock" wait
    [ "$("$ask" "$sock" deaf)" = dropped ]
    "$ask" "$sock" wait
    finish
}

@test "the program's descriptor table has nothing of ours" {
    start quiet
    "$ask" "$sock" wait
    [ -z "$(find "/proc/$pid/fd" -lname 'socket:*' -newer "$work/in")" ]
    run -0 ls "/proc/$pid/fd"
    ! readlink "/proc/$pid"/fd/* | grep -E 'socket|eventfd|memfd'
    finish
}

@test "a program that closes all descriptors and reuses the numbers keeps its own and its agent" {
    start closefrom
    "$ask" "$sock" wait
    [ "$("$ask" "$sock" many 20)" = "20 answered" ]
    finish # which looks at the program's sockets
}

@test "the same where the descriptor table must be shared" {
    start shared closefrom
    "$ask" "$sock" wait
    "$ask" "$sock" 2 0 "$work/a.gmi"
    run -0 "$GOINSPECT" sql "$work/a.gmi" -o csv \
        "SELECT value FROM counter WHERE name = 'agent.shared_descriptors'"
    [ "${lines[1]}" = 1 ]
    finish
}

@test "a shared descriptor table: growth is noticed without a descriptor, and limits are not watched" {
    options="trigger=rss+20M,trigger=cgroup90%,snapshot=$work/a-%n.gmi" start shared grow
    patiently grep -q "no snapshot: .*Too many open files" "$work/err"
    grep -q "trigger=cgroup% is off: .* allows no thread descriptors of its own" "$work/err"
    [ "$(wc -l <"$work/err")" -eq 2 ]
    finish
}

@test "a shared descriptor table works without closing, too" {
    start shared fork
    "$ask" "$sock" wait
    [ "$("$ask" "$sock" many 20)" = "20 answered" ]
    child=$(sed -n 's/ child$//p' "$work/out")
    "$ask" "$GOMALLOC_DIR/$child.sock" wait
    finish
}

@test "a forked child gets a socket of its own, and the parent keeps his" {
    start fork
    "$ask" "$sock" wait
    child=$(sed -n 's/ child$//p' "$work/out")
    "$ask" "$GOMALLOC_DIR/$child.sock" wait
    "$ask" "$GOMALLOC_DIR/$child.sock" 2 0 "$work/a.gmi"
    run -0 "$GOINSPECT" sql "$work/a.gmi" -o csv "SELECT pid, ppid, forked_ns > 0 FROM image_process"
    [ "${lines[1]}" = "$child,$pid,1" ]
    "$ask" "$sock" wait
    finish
    [ ! -e "$sock" ]
    [ ! -e "$GOMALLOC_DIR/$child.sock" ]
}

@test "a daemon that forks twice can be asked" {
    start daemon
    "$ask" "$sock" wait
    "$ask" "$sock" 2 0 "$work/a.gmi"
    exec {in}>&-
    patiently is_gone "$pid"
    [ ! -e "$sock" ]
}

@test "a process that executes another program is asked as that" {
    mkfifo "$work/in"
    LD_PRELOAD=$LIBGOMALLOC bash -c 'exec "$0"' "$target" <"$work/in" >"$work/out" 3>&- &
    pids+=($!)
    exec {in}>"$work/in"
    patiently grep -q ready "$work/out"
    pid=$(sed -n 's/ ready$//p' "$work/out")
    "$ask" "$GOMALLOC_DIR/$pid.sock" wait
    "$ask" "$GOMALLOC_DIR/$pid.sock" 2 0 "$work/a.gmi"
    run -0 "$GOINSPECT" sql "$work/a.gmi" -o csv "SELECT comm FROM image_process"
    [ "${lines[1]}" = agent_target ]
    exec {in}>&-
    wait "$pid"
}

@test "the socket goes when the program ends" {
    start
    "$ask" "$sock" wait
    finish
    [ ! -e "$sock" ]
}

@test "what a killed process leaves is swept by the next" {
    start
    "$ask" "$sock" wait
    kill -KILL "$pid"
    wait "$started" || true
    [ -S "$sock" ]
    old=$sock
    rm "$work/in" "$work/out"
    start
    "$ask" "$sock" wait
    patiently [ ! -e "$old" ]
    finish
}

@test "a stale socket of the same number is replaced" {
    mkdir -m 700 "$GOMALLOC_DIR"
    mkfifo "$work/in"
    # the process's number is known before it executes the library
    bash -c 'echo $$ >"$1/pid"; read -r _ <"$1/go"; LD_PRELOAD=$LIBGOMALLOC exec "$0"' \
        "$target" "$work" <"$work/in" >"$work/out" 3>&- &
    pids+=($!)
    mkfifo "$work/go"
    exec {in}>"$work/in"
    patiently [ -s "$work/pid" ]
    pid=$(cat "$work/pid")
    python3 -c 'import socket, sys; socket.socket(socket.AF_UNIX).bind(sys.argv[1])' \
        "$GOMALLOC_DIR/$pid.sock"
    echo >"$work/go"
    "$ask" "$GOMALLOC_DIR/$pid.sock" wait
    exec {in}>&-
    wait "$pid"
}

@test "a directory that others may enter, that is a link, or is no directory is not used" {
    mkdir -m 755 "$GOMALLOC_DIR"
    start
    sleep 0.3
    [ ! -e "$sock" ]
    finish
    rm -rf "$GOMALLOC_DIR" "$work/in" "$work/out"
    mkdir -m 700 "$work/real"
    ln -s real "$GOMALLOC_DIR"
    start
    sleep 0.3
    [ ! -e "$work/real/$pid.sock" ]
    finish
    rm -rf "$GOMALLOC_DIR" "$work/in" "$work/out"
    touch "$GOMALLOC_DIR"
    start
    sleep 0.3
    finish
    [ ! -s "$GOMALLOC_DIR" ]
}

@test "a directory that cannot be made never fails the program" {
    for dir in /proc/no/where "$work/no/such/parent" "$work/$(printf 'x%.0s' $(seq 120))"; do
        GOMALLOC_DIR=$dir LD_PRELOAD=$LIBGOMALLOC run -0 --separate-stderr /bin/echo fine
        [ "$output" = fine ]
        [ -z "$stderr" ]
    done
}

@test "a relative directory is meant from where the program started" {
    cd "$work"
    GOMALLOC_DIR=rel start
    cd /
    "$ask" "$work/rel/$pid.sock" wait
    finish
    [ ! -e "$work/rel/$pid.sock" ]
}

@test "without GOMALLOC_DIR it is XDG_RUNTIME_DIR, and without that the user's in /tmp" {
    unset GOMALLOC_DIR
    mkdir "$work/xdg"
    GOMALLOC_DIR='' XDG_RUNTIME_DIR=$work/xdg start
    "$ask" "$work/xdg/gomalloc/$pid.sock" wait
    [ "$(stat -c %a "$work/xdg/gomalloc")" = 700 ]
    finish
    rm "$work/in" "$work/out"
    for xdg in '' "$work/not-there"; do
        XDG_RUNTIME_DIR=$xdg start
        "$ask" "/tmp/gomalloc-$(id -u)/$pid.sock" wait
        finish
        rm "$work/in" "$work/out"
    done
}

@test "signals to the process are never handled in our thread" {
    start quiet
    "$ask" "$sock" wait
    for task in /proc/"$pid"/task/*; do
        [ "$(cat "$task/comm")" = gomalloc ] || continue
        # all blocked but KILL, STOP and libc's own two
        [ "$(sed -n 's/^SigBlk:[[:space:]]*//p' "$task/status")" = fffffffe3bfbfeff ] ||
            [ "$(sed -n 's/^SigBlk:[[:space:]]*//p' "$task/status")" = fffffffe7ffbfeff ]
    done
    finish
}

@test "a program that executes itself is not ended by those who stop its threads" {
    mkdir -m 700 -p "$GOMALLOC_DIR"
    mkfifo "$work/go"
    # it waits until the asker is there, and until that was answered once
    bash -c 'read -r _ <"$0/go"; LD_PRELOAD=$LIBGOMALLOC exec "$BUILD_DIR/tests/preload/execs" 150 "$0/answered"' \
        "$work" >"$work/out" &
    pid=$!
    pids+=("$pid")
    "$ask" "$GOMALLOC_DIR/$pid.sock" stops "$pid" "$work/go" "$work/answered" &
    asker=$!
    wait "$pid"
    [ "$(cat "$work/out")" = done ]
    wait "$asker"
}
