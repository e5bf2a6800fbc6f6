# SPDX-License-Identifier: BSD-3-Clause
#
# Verdicts on objects whose fate is known (escaping.c): what is determined is told, and nothing false
# is ever said to be proved.

bats_require_minimum_version 1.5.0

setup() {
    cd "$(mktemp -d)" || return
    escaping=$BUILD_DIR/tests/preload/escaping
}

teardown() { rm -rf "$PWD"; }

# record OPTIONS WHAT: leaves PID.gmi of each process, and end.gmi of the first.
record() {
    GOMALLOC=$1,exit=$PWD/%p.gmi LD_PRELOAD=$LIBGOMALLOC "$escaping" "$2" &
    local pid=$!
    wait $pid
    mv $pid.gmi end.gmi
}

ask() { "$GOINSPECT" sql -o csv --no-header "${2:-end.gmi}" "$1" | tr -d '"\r'; }

# A line for each function: name, judged, freed, other thread, re-entered, switched, stopped, deep, and
# frames outlived with the objects.
verdicts() {
    ask "WITH place AS (SELECT site_id, function FROM v1_site WHERE function GLOB '*_make'),
              out AS (SELECT function, frames, sum(objects) AS n FROM image_outlived
                      JOIN place ON site_id = site GROUP BY 1, 2)
         SELECT function, sum(judged), sum(freed), sum(other_thread), sum(reentered),
                sum(unknown_switched), sum(unknown_stopped), sum(unknown_deep),
                (SELECT group_concat(frames || ':' || n, ' ') FROM out WHERE out.function = p.function)
         FROM image_escape JOIN place p ON site_id = site GROUP BY 1 ORDER BY 1" "$1" | tr , ' ' |
        sed 's/ *$//'
}

# What must be so of every image at rest.
sound() {
    [ "$(ask "SELECT count(*) FROM image_escape e
              WHERE freed <> other_thread + reentered + unknown_switched + unknown_stopped + unknown_deep
                             + coalesce((SELECT sum(objects) FROM image_outlived o
                                         WHERE o.site = e.site), 0)
                 OR freed > judged OR chains > freed")" = 0 ]
    [ "$(ask "SELECT count(*) FROM image_outlived WHERE proved > objects
              OR site NOT IN (SELECT site FROM image_escape)")" = 0 ]
    [ "$(ask "SELECT coalesce((SELECT sum(objects) FROM image_handover), 0) -
                     coalesce((SELECT sum(other_thread) FROM image_escape), 0)")" = 0 ]
}

# Of these f0 (frames 0) had ended each time, whatever the stack looked like.
none_falsely_proved() {
    [ "$(ask "SELECT coalesce(sum(proved), 0) FROM image_outlived JOIN v1_site ON site_id = site
              WHERE frames = 0 AND function IN ('cursor_make', 'noticed_make', 'buffer_make',
                                                'sibling_make', 'tail_make', 'jump_make', 'one_up_make',
                                                'hop_make')")" = 0 ]
}

@test "who freed an object on the same stack is told by activations" {
    record rate=1,escape=all stack
    verdicts >told
    cat told
    # These look as if freed by the call that made them, and nothing but a watch can tell.
    grep -E '^(cursor|sibling|tail)_make ' told >unrefuted
    awk '{ split($9, n, ":"); if ($3 != 100 || $4 != 0 || $5 + n[2] != 100 || n[1] + 0 != 0) exit 1 }' unrefuted
    grep -vE '^(cursor|sibling|tail)_make ' told | diff - <(
        cat <<'END'
buffer_make 100 100 0 99 0 0 0 1:1
downwards_make 100 100 0 0 0 0 0 0:100
exit_make 100 100 0 0 0 0 0 2:100
jump_make 100 100 0 0 0 0 0 1:100
local_make 100 100 0 0 0 0 0 0:100
noticed_make 101 100 0 100 0 0 0
one_up_make 100 100 0 0 0 0 0 1:100
recursion_make 100 100 0 0 0 0 0 5:100
two_up_make 100 100 0 0 0 0 0 2:100
END
    )
    sound
    none_falsely_proved
}

@test "other threads are told; of other stacks, and of threads that are ending, nothing is" {
    record rate=1,escape=all many
    verdicts | diff - <(
        cat <<'END'
coroutine_make 100 100 0 0 100 0 0
elsewhere_make 100 100 0 0 100 0 0
ended_make 100 100 100 0 0 0 0
key_make 100 100 0 0 0 100 0
signal_make 100 100 0 0 100 0 0
thread_make 100 100 100 0 0 0 0
END
    )
    sound
}

@test "all kinds of objects are judged, and a chain of realloc is one object" {
    record rate=1,escape=all kinds
    verdicts | diff - <(
        cat <<'END'
aligned_make 100 100 0 0 0 0 0 0:100
calloc_make 100 100 0 0 0 0 0 0:100
chain_make 110 110 0 0 0 0 0 1:110
cxx_make 100 100 0 0 0 0 0 0:100
large_make 100 100 0 0 0 0 0 0:100
live_make 100 0 0 0 0 0 0
tiny_make 100 100 0 0 0 0 0 0:100
END
    )
    [ "$(ask "SELECT sum(chains), sum(growths), min(final_size_p50) BETWEEN 65536 AND 262144,
                     max(final_size_p50) BETWEEN 1048576 AND 2097152
              FROM image_escape JOIN v1_site ON site_id = site WHERE function = 'chain_make'")" = 110,2200,1,1 ]
    # allocated meanwhile: all that realloc asked for, within a factor of two
    [ "$(ask "SELECT min(life_bytes_p50) BETWEEN 200000 AND 800000 FROM image_escape
              JOIN v1_site ON site_id = site WHERE function = 'chain_make'")" = 1 ]
    sound
}

@test "where not every object is judged, a chain still begins where the object was made" {
    record rate=1 chains
    verdicts
    [ "$(ask "SELECT group_concat(DISTINCT function), sum(judged) BETWEEN 64 AND 500,
                     sum(growths) = 20 * sum(chains), sum(chains) = sum(judged)
              FROM image_escape JOIN v1_site ON site_id = site
              WHERE function IN ('grow', 'chain_make')")" = chain_make,1,1,1 ]
    sound
}

@test "what shares a block of 16 bytes is not judged" {
    record rate=1,escape=all,tiny=on kinds
    [ -z "$(verdicts | grep tiny_make)" ]
    sound
}

@test "a forked child judges what its parent has made" {
    record rate=1,escape=all fork
    [ "$(verdicts)" = "fork_make 100 0 0 0 0 0 0" ]
    [ "$(verdicts "$(ls [0-9]*.gmi)")" = "fork_make 100 100 0 0 0 0 0 1:100" ]
}

@test "threads that free each other's: every object is counted once" {
    record rate=1,escape=all exchange
    verdicts
    [ "$(verdicts | cut -d' ' -f 1-3)" = "exchange_make 80000 80000" ]
    [ "$(verdicts | sed 's/.*://')" -gt 100 ]
    sound
}

@test "by default some of a site's objects are judged" {
    record rate=1 exchange
    judged=$(verdicts | cut -d' ' -f 2)
    [ "$judged" -gt 100 ]
    [ "$judged" -lt 40000 ]
    sound
}

@test "samples are judged, and followed through realloc" {
    record rate=4K,escape=all kinds
    [ "$(ask "SELECT sum(judged) > 0 AND sum(judged) <= 110 AND sum(chains) > 0 AND sum(judged) = sum(freed)
              FROM image_escape JOIN v1_site ON site_id = site WHERE function = 'chain_make'")" = 1 ]
    sound
}

@test "with another unwinder only other threads are told" {
    record rate=1,escape=all,unwinder=libunwind many
    [ "$(ask "SELECT count(*) FROM image_outlived")" = 0 ]
    [ "$(ask "SELECT sum(reentered) + sum(unknown_switched) FROM image_escape")" = 0 ]
    [ "$(ask "SELECT sum(other_thread) >= 200 FROM image_escape")" = 1 ]
    sound
}

@test "without verdicts there is nothing" {
    record rate=1,escape=off stack
    [ "$(ask "SELECT count(*) FROM image_escape")" = 0 ]
    [ "$(ask "SELECT count(*) FROM image_slot WHERE site > (SELECT max(site) FROM image_site)")" = 0 ]
}

@test "watches prove nothing that is false" {
    for what in long each; do
        record "rate=1,escape=$([ $what = each ] && echo all || echo on)" $what
        ask "SELECT function, frames, objects, proved FROM image_outlived JOIN v1_site ON site_id = site"
        none_falsely_proved
        sound
    done
}
