#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-3-Clause
#
# Agents that are not what they seem: every refusal has a status, one line, and an end.

bats_require_minimum_version 1.5.0
load helpers
setup() { common_setup; }
teardown() { common_teardown; }

# fakes MODE STATUS PATTERN
fakes() {
    fake "$1"
    refuses "$2" "$3" status "$pid"
}

@test "an answer that comes a byte at a time is an answer" {
    fake trickle
    "$GOINSPECT" status "$pid" >/dev/null
}

@test "an agent that has bound its socket and does not listen yet is waited for" {
    fake soon
    "$GOINSPECT" status "$pid" >/dev/null
}

@test "a busy agent is asked again" {
    fake busy
    "$GOINSPECT" status "$pid" >/dev/null
}

@test "descriptors that nobody asked for do no harm" {
    fake many
    "$GOINSPECT" status "$pid" >/dev/null
}

@test "a wrong magic is status 2" { fakes magic 2 "answered nonsense"; }
@test "another version of the protocol is status 5" { fakes version 5 "speaks version 2 of the protocol"; }
@test "a reply of another size is status 2" { fakes size 2 "a reply of the wrong size"; }
@test "half a reply is status 2" { fakes short 2 "less than a whole reply"; }
@test "no reply is status 2" { fakes hangup 2 "hung up without an answer: it may have ended"; }
@test "a request that is not taken is status 2" { fakes deafened 2 "hung up without an answer: it may have ended"; }
@test "a request that is not read is status 2" { fakes unread 2 "hung up without an answer: it may have ended"; }
@test "an agent that never answers is status 2" { GOINSPECT_TIMEOUT=1 fakes silent 2 "does not answer: try again"; }
@test "an agent that does not accept is status 2" { GOINSPECT_TIMEOUT=1 fakes deaf 2 "does not answer: try again"; }
@test "a reply without an image is status 2" { fakes nofd 2 "without the image"; }
@test "a pipe for an image is status 2" { fakes pipe 2 "image of process"; }
@test "a device for an image is status 2" { fakes zero 2 "image of process"; }
@test "an image of 1 TiB is status 2" { fakes huge 2 "image of process"; }
@test "an empty image is status 2" { fakes empty 2 "image of process"; }
@test "a refusal is status 4, its text without control characters" {
    fakes refuse 4 "refused: no\?\[31m way"
}

@test "an image that never comes is status 2" {
    export GOINSPECT_TIMEOUT=0.1
    fakes late 2 "does not answer"
}

@test "a stopped process is said to be stopped" {
    fake good
    kill -STOP "$pid"
    GOINSPECT_TIMEOUT=1 refuses 2 "does not answer because it is stopped" status "$pid"
    kill -CONT "$pid"
}

@test "a socket that nobody listens on is stale: status 3" {
    GOINSPECT_TIMEOUT=1 fakes left 3 "no longer listens on $GOMALLOC_DIR/[0-9]+.sock: the socket is stale"
}

@test "a socket on which another process listens is stale: status 3" {
    start sleep 60
    victim=$pid
    start /usr/bin/python3 "$SOURCE_DIR/tests/inspect/fake_agent.py" good "$work/demo.gmi" "$victim"
    wait_until test -S "$GOMALLOC_DIR/$victim.sock"
    refuses 3 "$victim.sock is stale: process $pid listens there, not $victim" status "$victim"
}

@test "a socket whose path is longer than a socket's address can be asked" {
    GOMALLOC_DIR=$work/$(printf 'long%.0s' {1..40})
    mkdir -m 700 "$GOMALLOC_DIR"
    fake good
    "$GOINSPECT" status "$pid" >/dev/null
}

@test "ps lists those that do not answer, with the reason, and the others all the same" {
    fake good
    good=$pid
    fake magic
    bad=$pid
    fake version
    other=$pid
    ln -s nowhere "$GOMALLOC_DIR/4194305.sock"
    state() { jq -r ".rows[] | select(.pid == $1) | .socket" ps.json; }
    is_ok() { # it is shown others, too, which may never answer
        GOINSPECT_TIMEOUT=1 "$GOINSPECT" ps -o json >ps.json
        [ "$(state "$1")" = ok ]
    }
    wait_until is_ok "$good"
    [ "$(state "$bad")" = "no answer" ]
    [ "$(state "$other")" = "other version" ]
    [ "$(state 4194305)" = stale ]
    [ "$(jq ".rows[] | select(.pid == $good) | .live" ps.json)" -gt 0 ]
}

@test "ps waits for as long as GOINSPECT_TIMEOUT says" {
    fake slow
    is_ok() {
        GOINSPECT_TIMEOUT=5 "$GOINSPECT" ps -o json |
            jq -e --argjson pid "$pid" '.rows[] | select(.pid == $pid) | .socket == "ok"'
    }
    wait_until is_ok
}

@test "profile and snapshot refuse in the same way" {
    fake version
    refuses 5 "speaks version 2" profile stop "$pid"
    refuses 5 "speaks version 2" snapshot "$pid" -o x.gmi
    [ ! -e x.gmi ]
}
