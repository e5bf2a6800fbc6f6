# SPDX-License-Identifier: BSD-3-Clause
#
# In exact mode the recorder's figures are those of a shim that counts (counting.c): objects and bytes
# since the start, and live ones, for each place that has called malloc, to the object.

bats_require_minimum_version 1.5.0

setup() {
    cd "$(mktemp -d)" || return
    export COUNTING_DIR=$PWD/counts
    mkdir counts images
    shim=$BUILD_DIR/tests/preload/libcounting.so
    counted=$BUILD_DIR/tests/preload/counted
}

teardown() { rm -rf "$PWD"; }

# record OPTIONS COMMAND...: leaves counts/PID and images/PID.gmi of each process.
record() {
    GOMALLOC=$1,exit=$PWD/images/%p.gmi LD_PRELOAD=$shim:$LIBGOMALLOC "${@:2}"
}

# recorded IMAGE: as the shim's file is, of the frame outside of the shim's.  0: no stack.
recorded() {
    "$GOINSPECT" sql -o csv --no-header "$1" "
        WITH live AS (SELECT site_id, sum(objects) AS objects, sum(objects * requested) AS bytes
                      FROM site_live GROUP BY site_id)
        SELECT coalesce(caller.pc, 0), sum(s.samples), sum(s.sample_bytes),
               coalesce(sum(live.objects), 0), coalesce(sum(live.bytes), 0)
        FROM image_site s LEFT JOIN image_frame shim ON shim.rowid = s.frame
             LEFT JOIN image_frame caller ON caller.rowid = shim.parent
             LEFT JOIN live ON live.site_id = s.site
        GROUP BY 1" | tr -d '"\r' | tr , ' '
}

# same PID prints each place whose figures are not the same, and fails if there is one.  Of places that
# called before the library was initialised, a part may have no stack; the sums are equal all the same.
same() {
    recorded "images/$1.gmi" >recorded
    awk 'FNR == NR { objects[$1] = $2; bytes[$1] = $3; live[$1] = $4; live_bytes[$1] = $5; next }
        function wrong(what, got, want) {
            printf "%s: %s: %d, and counted were %d\n", $1, what, got, want
            failed = 1
        }
        {
            places++
            seen[$1] = 1
            n += $4; b += $5; ln += $6; lb += $7
            if ($2 == 0) {
                exact++
                if (objects[$1] + 0 != $4) wrong("objects", objects[$1], $4)
                if (bytes[$1] + 0 != $5) wrong("bytes", bytes[$1], $5)
                if (live[$1] + 0 != $6) wrong("live objects", live[$1], $6)
                if (live_bytes[$1] + 0 != $7) wrong("live bytes", live_bytes[$1], $7)
            } else if (objects[$1] + 0 > $4 || objects[$1] + 0 < $4 - $2)
                wrong("objects, early ones among them", objects[$1], $4)
        }
        END {
            for (p in objects) {
                rn += objects[p]; rb += bytes[p]; rln += live[p]; rlb += live_bytes[p]
                $1 = p
                if (p != 0 && !(p in seen) && objects[p] > 0) wrong("of no call", objects[p], 0)
            }
            $1 = 0
            if (rn != n) wrong("objects in all", rn, n)
            if (rb != b) wrong("bytes in all", rb, b)
            if (rln != ln) wrong("live objects in all", rln, ln)
            if (rlb != lb) wrong("live bytes in all", rlb, lb)
            printf "%d objects from %d places, %d of them early\n", n, places, places - exact
            exit failed || exact < 3
        }' recorded "counts/$1"
}

# all_same N: so many processes at least, and nothing was lost.
all_same() {
    [ "$(ls counts | wc -l)" -ge "$1" ]
    for pid in $(ls counts); do
        "$GOINSPECT" status "images/$pid.gmi" --columns item >/dev/null
        "$GOINSPECT" sql -o csv --no-header "images/$pid.gmi" \
            "SELECT sum(value) FROM v1_counter WHERE name IN ('recorder.dropped', 'recorder.no_memory')" | grep -x -e 0 -e '"0"'
        same "$pid"
    done
}

@test "one thread: every place has what was counted" {
    record rate=1 "$counted" single
    all_same 1
}

@test "threads that free each other's objects: every place has what was counted" {
    record rate=1 "$counted" threads
    all_same 1
}

@test "a forked child, and its parent: every place has what was counted" {
    record rate=1 "$counted" fork
    all_same 2
}

@test "a forked child of a process with threads at work: every place has what was counted" {
    record rate=1 "$counted" fork_threads
    all_same 2
}

@test "if every object is judged when it is freed, every place has what was counted" {
    record rate=1,escape=all "$counted" threads
    record rate=1,escape=all "$counted" fork_threads
    all_same 3
}

@test "if nothing is judged, every place has what was counted" {
    record rate=1,escape=off "$counted" threads
    all_same 1
}

@test "with libunwind it is the same in one thread" {
    record rate=1,unwinder=libunwind "$counted" single
    all_same 1
}

@test "python3 with threads and forked children: every place has what was counted" {
    [ -x /usr/bin/python3 ] || skip
    PYTHONMALLOC=malloc record rate=1 /usr/bin/python3 -S -c '
import json, os, sys, threading
def work(n):
    for i in range(200):
        json.loads(json.dumps({str(k): [k] * (k % 9) for k in range(n)}))
threads = [threading.Thread(target=work, args=(20 + i,)) for i in range(4)]
for t in threads: t.start()
for t in threads: t.join()
if os.fork() == 0:
    work(30)
    sys.exit(0)
os.wait()
work(10)'
    all_same 2
}

@test "gcc and what it starts: every place has what was counted" {
    command -v gcc || skip
    printf '#include <stdio.h>\nint main(void) { return puts("x") < 0; }\n' >x.c
    record rate=1 gcc -O2 -g -pipe x.c -o x
    ./x
    all_same 4 # gcc, cc1, as, collect2 and ld
}

# The tests of the test.

@test "a recorder that misses some objects is seen" {
    record rate=64 "$counted" single
    run same "$(ls counts)"
    [ "$status" = 1 ]
    [[ $output == *"live bytes in all"* ]]
}

@test "a recorder that does not know who called is seen" {
    record rate=1,unwinder=none "$counted" single
    run same "$(ls counts)"
    [ "$status" = 1 ]
    [[ $output != *"objects in all"* ]]
}
