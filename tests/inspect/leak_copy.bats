#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-3-Clause
#
# The copy of a process that a leak check is made in: who waits for it, how it ends, what is said if
# there is none.

bats_require_minimum_version 1.5.0
load helpers
setup() { common_setup; }
teardown() {
    [ -z "${copy:-}" ] || kill -KILL "$copy" 2>/dev/null || true
    common_teardown
}

demo() {
    options=rate=0 under_library "$BUILD_DIR/tests/inspect/copy_demo" "$1"
    wait_until grep -q ready log
}

# find_copy sets $copy to the copy of $pid, without a process of its own where it can: it lives for a moment.
find_copy() {
    local file name
    copy=
    for file in /proc/"$pid"/task/*/children; do
        [ ! -e "$file" ] || read -r -d ' ' copy <"$file" || true
        [ -z "$copy" ] || break
    done
    [ -e "/proc/$pid/task/$pid/children" ] || copy=$(pgrep -P "$pid" -x gomalloc-copy) || true
    [ -n "$copy" ] && read -r name <"/proc/$copy/comm" && [ "$name" = gomalloc-copy ]
} 2>/dev/null

# stands waits until $copy, which has been sent SIGSTOP, stands still; false: it has ended before.
stands() {
    local line
    while read -r line <"/proc/$copy/stat"; do
        line=${line##*) }
        case $line in
        T*) return 0 ;;
        Z* | X*) return 1 ;;
        esac
    done
    return 1
} 2>/dev/null

# hold has a leak check of $pid begin and its copy stand still; that is $copy, and who asked is $asker.
hold() {
    local try
    for ((try = 0; try < 100; try++)); do
        "$GOINSPECT" leaks "$pid" --unaligned >asked 2>&1 3>&- &
        asker=$!
        started+=("$asker")
        while kill -0 "$asker" 2>/dev/null; do
            ! find_copy || ! kill -STOP "$copy" || ! stands || return 0
        done
        wait "$asker" || true
    done
    echo "the copy was not seen; the last check said"
    cat asked
    return 1
}

# ask_why asks why an address lives, as goinspect would, and prints the status and the message.
ask_why() {
    /usr/bin/python3 - "$GOMALLOC_DIR/$pid.sock" <<'END'
import socket, struct, sys
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
s.sendall(struct.pack("<4IQ", 0x474D5251, 1, 24, 6, 4096))
reply = s.recv(128, socket.MSG_WAITALL)
print(struct.unpack_from("<I", reply, 12)[0], reply[24:].split(b"\0")[0].decode())
END
}

is_gone() { ! kill -0 "$1" 2>/dev/null; }

@test "a leak check's copy: others are served meanwhile, but not with another check" {
    demo rest
    hold
    "$GOINSPECT" status "$pid" >out
    "$GOINSPECT" snapshot "$pid" -o heap.gmi
    ask_why >out
    [ "$(cat out)" = "5 another leak check is under way: try again" ]
    kill -CONT "$copy"
    wait "$asker"
    grep -q "no leaks among" asked
}

@test "a leak check's copy: ends when nobody waits for it any more" {
    demo rest
    hold
    kill -KILL "$asker"
    wait_until is_gone "$copy"
    "$GOINSPECT" leaks "$pid"
}

@test "a leak check's copy: ends with the process, however that ends" {
    demo rest
    hold
    [ "$(cat "/proc/$copy/oom_score_adj")" = 1000 ]
    kill -KILL "$pid"
    wait_until is_gone "$copy"
}

@test "a leak check's copy: that it is killed is said" {
    demo rest
    hold
    kill -KILL "$copy"
    ! wait "$asker"
    grep -q "the copy of the process was killed" asked
    "$GOINSPECT" leaks "$pid"
}

@test "a leak check's copy: if it is forbidden, that is said, and the check made in place on request" {
    [ -e "$LIBGOMALLOC" ] || skip "libgomalloc.so is not built in this configuration"
    demo filter
    refuses 2 "a filter of system calls allows no copy of the process; --in-place" leaks "$pid"
    "$GOINSPECT" leaks --in-place "$pid"
    kill -0 "$pid"
}

@test "a leak check's copy: if memory or a limit forbids it, that is said, and the program goes on" {
    [ -e "$LIBGOMALLOC" ] || skip "libgomalloc.so is not built in this configuration"
    for why in "memory no memory may be committed for a copy of the process" \
        "limit the limit on processes allows no copy \(ulimit -u, pids.max\)"; do
        demo "${why%% *}"
        refuses 2 "${why#* }; --in-place checks without one" leaks "$pid"
        refuses 2 "${why#* }; --in-place" snapshot "$pid" --leaks -o none.gmi
        [ ! -e none.gmi ]
        "$GOINSPECT" leaks --in-place "$pid" >out 2>err
        grep -q "no leaks among" err
    done
}

@test "a leak check's copy: writes into a file without a name, where there can be none in memory" {
    demo file
    "$GOINSPECT" leaks "$pid" 2>err
    grep -q "no leaks among" err
    "$GOINSPECT" snapshot "$pid" -o heap.gmi
    [ "$(ls "$GOMALLOC_DIR")" = "$pid.sock" ]
}

@test "a leak check's copy: passes over what was never touched of a terabyte" {
    demo sparse
    "$GOINSPECT" leaks "$pid" >out 2>err
    grep -q "no leaks among" err
    "$GOINSPECT" leaks "$pid" --no-mapped >out 2>err || [ $? -eq 1 ]
}

@test "a leak check's copy: a thread that a debugger holds is told, and by whom" {
    demo rest
    program=$pid
    start /usr/bin/python3 "$SOURCE_DIR/tests/inspect/hold.py" "$program"
    wait_until grep -qE "held|refused" log
    grep -q held log || skip "nobody may be traced here"
    "$GOINSPECT" leaks "$program" >out 2>err || [ $? -eq 1 ]
    grep -q "incomplete: 1 thread did not stop in time ($program)" err
    grep -qE "thread $program is held by a debugger, process $pid \(python3" err
}

# withheld lists the mappings that the process keeps from its children, by a flag of the kernel's list.
withheld() { awk -v f=" $1( |\$)" '/^[0-9a-f]+-/ { at = $1 } /^VmFlags:/ && $0 ~ f { print at }' "/proc/$pid/smaps"; }

@test "a leak check's copy: has what the process keeps from its children, who still do not get it" {
    local flag
    for how in "withheld dc" "wiped wf" "private dc"; do
        demo "${how% *}"
        flag=${how#* }
        withheld "$flag" >before
        [ "$how" != "withheld dc" ] || [ "$(wc -l <before)" -eq 1 ]
        "$GOINSPECT" leaks "$pid" >out 2>err
        grep -q "no leaks among" err
        ! grep -q incomplete err
        withheld "$flag" | cmp - before
    done
}
