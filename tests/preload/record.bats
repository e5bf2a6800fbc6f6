# SPDX-License-Identifier: BSD-3-Clause
#
# What is recorded is what was allocated (pattern.c), and it adds up (sums.py): asked of a live process
# at rest, of its database, and of the image that it leaves.

bats_require_minimum_version 1.5.0

setup() {
    cd "$(mktemp -d)" || return
    export GOMALLOC_DIR=$PWD/sockets
    mkdir -m 700 sockets
    here=$SOURCE_DIR/tests/preload
    pattern=$BUILD_DIR/tests/preload/pattern
    by_function="SELECT function, sum(live_objects), sum(live_bytes), sum(alloc_objects), sum(alloc_bytes)
        FROM v1_site WHERE function LIKE 'site\_%' ESCAPE '\' GROUP BY function ORDER BY function"
}

teardown() {
    end
    rm -rf "$PWD"
}

# begin OPTIONS WHAT: starts the pattern under the library.
begin() {
    mkfifo in
    GOMALLOC=$1 LD_PRELOAD=$LIBGOMALLOC "$pattern" "$2" <in >out 2>err 3>&- &
    pid=$!
    exec 9>in
}

# at_rest [N] waits until it has said so for the Nth time, and can be asked.
at_rest() {
    for _ in $(seq 1200); do
        [ "$(grep -c '^ready$' out)" -ge "${1:-1}" ] && "$GOINSPECT" status "$pid" >/dev/null 2>said && return
        kill -0 "$pid" || break
        sleep 0.05
    done
    echo "in vain: it has said"
    cat out err said
    return 1
}

# end lets it go on to its end.
end() {
    [ -n "${pid:-}" ] || return 0
    exec 9>&-
    wait "$pid"
    pid=
}

ask() { "$GOINSPECT" sql -o csv --no-header "$@" | tr -d '"\r'; }

@test "known pattern: every site has exactly its objects and bytes, live, saved and at exit" {
    begin "rate=1,exit=$PWD/end.gmi" known
    at_rest
    grep -v ready out >expected
    ask "$pid" "$by_function" >live
    diff expected live
    "$GOINSPECT" snapshot -o saved.db "$pid"
    ask saved.db "$by_function" >saved
    diff expected saved
    end
    [ ! -s err ]
    ask end.gmi "$by_function" >final
    diff expected final
    "$GOINSPECT" import end.gmi imported.db
    ask imported.db "$by_function" >imported
    diff expected imported
}

@test "known pattern: stacks of one function are told apart, and their depth is right" {
    begin rate=1 known
    at_rest
    run -0 ask "$pid" "SELECT count(*), max(n) - min(n) FROM
        (SELECT s.site_id, count(*) AS n FROM v1_site s JOIN v1_stack k USING (snapshot_id, site_id)
         WHERE s.function = 'site_recursive' GROUP BY s.site_id)"
    [ "$output" = 30,29 ]
    run -0 ask "$pid" "SELECT DISTINCT k.function FROM v1_site s JOIN v1_stack k USING (snapshot_id, site_id)
        WHERE s.function = 'site_large' AND k.allocator = 0 ORDER BY k.frame LIMIT 3"
    [ "${lines[0]}" = site_large ]
    [ "${lines[1]}" = known ]
    [ "${lines[2]}" = main ]
}

@test "known pattern: every object is listed with its size and site" {
    begin rate=1 known
    at_rest
    run -0 ask "$pid" "SELECT requested, count(*) FROM v1_object WHERE function = 'site_sizes'
        GROUP BY 1 HAVING count(*) <> 1 OR requested > given OR requested NOT BETWEEN 1 AND 2000"
    [ -z "$output" ]
    run -0 ask "$pid" "SELECT count(DISTINCT address) FROM v1_object WHERE function = 'site_half_freed'"
    [ "$output" = 2500 ]
}

@test "sums: everything adds up at rate=1, live, in its database and in its image" {
    begin "rate=1,exit=$PWD/end.gmi" known
    at_rest
    "$here/sums.py" "$GOINSPECT" "$pid" exact
    "$GOINSPECT" snapshot -o saved.db "$pid"
    "$here/sums.py" "$GOINSPECT" saved.db exact
    end
    "$here/sums.py" "$GOINSPECT" end.gmi exact
}

@test "sums: everything adds up at the default rate" {
    begin "exit=$PWD/end.gmi" known
    at_rest
    "$here/sums.py" "$GOINSPECT" "$pid" sampled
    end
    "$here/sums.py" "$GOINSPECT" end.gmi sampled
}

@test "sums: everything adds up in a threaded program that has freed much" {
    GOMALLOC="rate=1,exit=$PWD/end.gmi" LD_PRELOAD=$LIBGOMALLOC "$BUILD_DIR/tests/preload/cross_thread" 2>err
    "$here/sums.py" "$GOINSPECT" end.gmi exact
}

@test "estimates over a million objects are within 5 % in the median of 20 runs" {
    for i in $(seq 20); do
        GOMALLOC=exit=$PWD/$i.gmi LD_PRELOAD=$LIBGOMALLOC "$pattern" estimate </dev/null >/dev/null
        ask "$i.gmi" "SELECT total(live_objects), total(alloc_objects), total(live_bytes) / 1000
            FROM v1_site WHERE function = 'site_million'" >>estimates
        rm "$i.gmi"
    done
    cat estimates
    [ "$(sort -u estimates | wc -l)" -gt 10 ] # each run samples other objects
    for column in 1 2 3; do
        cut -d, -f$column estimates |
            awk '{ e = $1 / 1e6 - 1; print e < 0 ? -e : e }' | sort -g |
            awk '{ e[NR] = $1 } END { m = (e[10] + e[11]) / 2; print "median error " m; exit !(m < 0.05) }'
        # and they do not lean to one side: the mean of 20 is within 3 % (expected: 0.5 %)
        cut -d, -f$column estimates |
            awk '{ s += $1 } END { m = s / NR / 1e6; print "mean " m; exit !(m > 0.97 && m < 1.03) }'
    done
}

@test "estimates count what is resized, in place or not" {
    GOMALLOC=exit=$PWD/end.gmi LD_PRELOAD=$LIBGOMALLOC "$pattern" resized </dev/null >/dev/null
    run -0 ask end.gmi "SELECT total(alloc_objects) FROM v1_site WHERE function = 'site_resizes'"
    echo "$output of 200000"
    awk "BEGIN { exit !($output > 190000 && $output < 210000) }" # expected: 0.5 %
}

@test "the rate is changed while the program runs, without a restart" {
    begin rate=0,control=on stages
    echo >&9
    at_rest 1
    "$GOINSPECT" profile rate 1 "$pid"
    echo >&9
    at_rest 2
    "$GOINSPECT" profile stop "$pid"
    echo >&9
    at_rest 3
    "$GOINSPECT" profile start "$pid"
    echo >&9
    at_rest 4
    "$GOINSPECT" profile rate 0 "$pid"
    echo >&9
    at_rest 5
    run -0 ask "$pid" "SELECT function, sum(live_objects), sum(live_bytes) FROM v1_site
        WHERE function LIKE 'stage%' GROUP BY function ORDER BY function"
    [ "$output" = "$(printf 'stage_2,100,4200\nstage_4,100,4400')" ]
}

@test "a program with gaps between its segments: all callers are known" {
    "$BUILD_DIR/tests/preload/gaps" # as it is
    for unwinder in replay libunwind; do
        GOMALLOC="rate=1,unwinder=$unwinder,exit=$PWD/gaps.gmi" LD_PRELOAD=$LIBGOMALLOC "$BUILD_DIR/tests/preload/gaps"
        ask gaps.gmi "SELECT group_concat(function, ' ') FROM (SELECT function FROM v1_stack WHERE site_id IN
            (SELECT site_id FROM v1_site WHERE function = 'gap_five') ORDER BY frame)" >stack
        grep 'gap_five gap_four gap_three gap_two gap_one main' stack
    done
}

@test "what lives counts at the rate that it was recorded at, however often that has changed" {
    begin rate=1,control=on stages
    echo >&9
    at_rest 1
    "$GOINSPECT" profile rate 100000 "$pid"
    echo >&9
    at_rest 2
    "$GOINSPECT" profile rate 1 "$pid"
    echo >&9
    at_rest 3
    "$GOINSPECT" profile rate 1000000 "$pid"
    "$GOINSPECT" snapshot "$pid" -o live.db
    local target
    for target in "$pid" live.db; do
        run -0 ask "$target" "SELECT function, sum(live_objects), sum(live_bytes) FROM v1_site
            WHERE function IN ('stage_1', 'stage_3') GROUP BY function ORDER BY function"
        [ "$output" = "$(printf 'stage_1,100,4100\nstage_3,100,4300')" ]
    done
}
