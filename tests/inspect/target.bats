#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-3-Clause
#
# Which process or file is meant, and what cannot be asked.

bats_require_minimum_version 1.5.0
load helpers
setup() { common_setup; }
teardown() { common_teardown; }

@test "a pid that does not exist is status 3" {
    refuses 3 "no process 4194305; \"goinspect ps\" lists" status 4194305
    refuses 3 "pids go from 1" status 99999999999999999999
    refuses 3 "pids go from 1" status 0
}

@test "a process without the library is status 3 and says how to start it" {
    start sleep 60
    refuses 3 "process $pid \(sleep\) does not run under gomalloc: start it with \"goinspect run -- sleep\"" \
        sites "$pid"
    refuses 3 "does not run under gomalloc" snapshot "$pid" -o x.db
    refuses 3 "does not run under gomalloc" profile stop "$pid"
    [ ! -e x.db ]
}

@test "a name that nobody has is status 3" {
    refuses 3 "no process and no file called 'nobody-is-called-so'" status nobody-is-called-so
    refuses 3 "no process called 'nobody-is-called-so'" profile stop nobody-is-called-so
}

@test "a process is found by the name of its program" {
    cp "$(command -v sleep)" "$work/gm-$$-one"
    start "$work/gm-$$-one" 60
    refuses 3 "process $pid \(gm-$$-one\) does not run under gomalloc" status "gm-$$-one"
}

@test "a name of several processes lists them and is status 3" {
    named() { # a fake agent with a name that nobody else's process has
        start bash -c "exec -a gm-two-$$ /usr/bin/python3 '$SOURCE_DIR/tests/inspect/fake_agent.py' good '$work/demo.gmi'"
        wait_until test -S "$GOMALLOC_DIR/$pid.sock"
    }
    named
    first=$pid
    named
    refuses 3 "'gm-two-$$' is several processes; choose one: .*$first .*" status "gm-two-$$"
}

@test "a process by number: its heap is that of the image it sends" {
    fake good
    run -0 "$GOINSPECT" sql "$pid" "SELECT pid, comm, live_objects FROM v1_snapshot" -o csv --no-header
    [ "$output" = "4711,demo,178" ]
}

@test "files that are not there or are no images are refused" {
    refuses 3 "nothing.gmi: No such file" status nothing.gmi
    refuses 3 "nothing.db: No such file" status ./nothing.db
    mkdir folder.gmi
    refuses 2 "folder.gmi is not a file" status folder.gmi
    mkfifo pipe.gmi
    refuses 2 "pipe.gmi.* not a (regular )?file" status pipe.gmi
    echo hello >text.gmi
    refuses 2 "text.gmi" status text.gmi
    refuses 2 "is a program, not an image: run it with" status "$(command -v sleep)"
}

@test "a core file is refused in so many words" {
    printf '\177ELF\2\1\1\0\0\0\0\0\0\0\0\0\4\0\76\0' >core.1234
    refuses 2 "core file: this version of goinspect can't read those" status ./core.1234
}

@test "a damaged image is status 2, one of another version 5" {
    head -c 3000 demo.gmi >short.gmi
    refuses 2 "short.gmi" status short.gmi
    "$BUILD_DIR/tests/inspect/mkimage" broken.gmi break=loop
    refuses 2 "broken.gmi" status broken.gmi
    "$BUILD_DIR/tests/inspect/mkimage" newer.gmi version=2
    refuses 5 "newer.gmi" status newer.gmi
    refuses 5 "newer.gmi" snapshot newer.gmi -o x.db
    [ ! -e x.db ]
}

@test "a database of another application or version is status 5, a damaged one 2" {
    sqlite3 other.db "CREATE TABLE t (x)"
    refuses 5 "other.db" status other.db
    "$GOINSPECT" snapshot demo.gmi -o newer.db 2>/dev/null
    sqlite3 newer.db "PRAGMA user_version = 99"
    refuses 5 "newer.db" status newer.db
    "$GOINSPECT" snapshot demo.gmi -o broken.db 2>/dev/null
    head -c 5000 broken.db >cut.db
    refuses 2 "cut.db" status cut.db
}

@test "a file that may not be read is status 4" {
    [ "$(id -u)" -ne 0 ] || skip "root may read everything"
    chmod 0 demo.gmi
    refuses 4 "demo.gmi: Permission denied" status demo.gmi
}

@test "--snapshot chooses, latest is the default" {
    "$BUILD_DIR/tests/inspect/mkimage" later.gmi id=2 nodes=300 captured_ns=1700000100000000000
    "$GOINSPECT" import demo.gmi later.gmi heap.db 2>/dev/null
    count() { "$GOINSPECT" classes heap.db "$@" -o json | jq '[.rows[].objects] | add'; }
    [ "$(count)" = 378 ]
    [ "$(count --snapshot latest)" = 378 ]
    [ "$(count --snapshot 1)" = 178 ]
    refuses 3 "heap.db has no snapshot 3" classes heap.db --snapshot 3
    # what has just one: nothing else is taken for it, and a process is not asked in vain
    for only in 1 first latest; do
        "$GOINSPECT" classes demo.gmi --snapshot $only -o csv >out
        [ -s out ]
    done
    refuses 3 "demo.gmi has no snapshot 7: an image is one, number 1; those of a FILE.db can be chosen" \
        classes demo.gmi --snapshot 7
    fake silent
    refuses 3 "$pid has no snapshot 7: a process is one, number 1" leaks "$pid" --snapshot 7
}

@test "another user's process is status 4" {
    [ "$(id -u)" -eq 0 ] || skip "only root can be two users"
    chmod 711 "$work"
    fake good
    run -4 --separate-stderr setpriv --reuid=65534 --regid=65534 --clear-groups "$GOINSPECT" status "$pid"
    [ -z "$output" ]
    [[ $stderr == *"process $pid (python3) belongs to root"* ]]
}

@test "a socket that another user planted is status 4" {
    [ "$(id -u)" -eq 0 ] || skip "only root can be two users"
    chmod 711 "$work"
    chmod 1777 "$GOMALLOC_DIR"
    chmod 644 demo.gmi
    start sleep 60
    victim=$pid
    cp "$SOURCE_DIR/tests/inspect/fake_agent.py" fake.py
    chmod 644 fake.py
    start setpriv --reuid=65534 --regid=65534 --clear-groups /usr/bin/python3 fake.py good "$work/demo.gmi" "$victim"
    wait_until test -S "$GOMALLOC_DIR/$victim.sock"
    refuses 4 "$victim.sock belongs to [a-z0-9]+, process $victim to root: not connecting" status "$victim"
}
