#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-3-Clause
#
# snapshot --every and --keep: what a series leaves behind, when it ends, and how large it becomes.

bats_require_minimum_version 1.5.0
load helpers

setup() { common_setup; }
teardown() { common_teardown; }

# growing starts a program that makes new call stacks all the time, until a file `stop` appears;
# it has begun when this returns.
growing() {
    cat >growing.py <<'END'
import os, time
kept = []
many = [bytes(600) for _ in range(10000)] # rows of objects
i = 0
while not os.path.exists("stop"):
    i += 1
    exec(f"def f{i % 40}():\n kept.append([b'x' * 3000])\nf{i % 40}()")
    if i == 80:
        open("growing", "w").close()
    del kept[:-500]
    time.sleep(0.002)
END
    under_library /usr/bin/python3 growing.py
    wait_until test -e growing
}

ask() { sqlite3 "$1" "$2"; }

# sound FILE checks the database: SQLite's own checks, references, and the sums of each snapshot.
sound() {
    [ "$(ask "$1" "PRAGMA integrity_check")" = ok ]
    [ -z "$(ask "$1" "PRAGMA foreign_key_check")" ]
    [ "$(ask "$1" "SELECT count(*) FROM snapshot WHERE live = 0 AND snapshot_id IN
        (SELECT snapshot_id FROM v1_balance WHERE NOT holds)")" = 0 ]
}

# unshared FILE: nothing in the file belongs to a snapshot, stack or process that is no more.
unshared() {
    local file=$1 table
    for table in $(ask "$file" "SELECT m.name FROM sqlite_schema m JOIN pragma_table_info(m.name) c
        WHERE m.type = 'table' AND c.name = 'snapshot_id'"); do
        [ "$(ask "$file" "SELECT count(*) FROM $table
            WHERE snapshot_id NOT IN (SELECT snapshot_id FROM snapshot)")" = 0 ]
    done
    [ "$(ask "$file" "SELECT count(*) FROM stack WHERE stack_id NOT IN (SELECT stack_id FROM site)
        AND stack_id NOT IN (SELECT parent_id FROM stack WHERE parent_id IS NOT NULL)
        AND stack_id <> 0")" = 0 ]
    [ "$(ask "$file" "SELECT count(*) FROM frame WHERE frame_id NOT IN (SELECT frame_id FROM stack)")" = 0 ]
    [ "$(ask "$file" "SELECT count(*) FROM symbol WHERE frame_id NOT IN (SELECT frame_id FROM frame)")" = 0 ]
    [ "$(ask "$file" "SELECT count(*) FROM process WHERE process_id NOT IN (SELECT process_id FROM snapshot)")" = 0 ]
}

@test "--every takes one again and again, each a line, until the process ends" {
    growing
    start "$GOINSPECT" snapshot "$pid" -o heap.db --every 0.1
    series=$pid
    wait_until grep -q "snapshot 3," log
    touch stop
    status=0
    wait "$series" || status=$?
    [ "$status" = 0 ]
    [[ $(tail -n 1 log) =~ "snapshots taken; process ${started[0]} has ended" ]]
    [ "$(grep -c "heap.db: snapshot" log)" = "$(ask heap.db "SELECT count(*) FROM snapshot")" ]
    sound heap.db
}

@test "--keep: the oldest go with all that only they used, numbers go on" {
    growing
    start "$GOINSPECT" snapshot "$pid" -o heap.db --every 0.1 --keep 2
    series=$pid
    wait_until grep -q "snapshot 6, .*, 1 old one deleted" log
    kill -TERM "$series"
    wait "$series"
    [ "$(ask heap.db "SELECT count(*) FROM snapshot")" = 2 ]
    [ "$(ask heap.db "SELECT min(snapshot_id) > 3 FROM snapshot")" = 1 ]
    sound heap.db
    unshared heap.db
}

@test "--keep: a call stack that is still there keeps its number; one that is not goes" {
    "$GOINSPECT" snapshot demo.gmi -o heap.db 2>/dev/null
    ask heap.db "SELECT stack_id, depth FROM stack WHERE stack_id IN (SELECT stack_id FROM site)" >before
    growing
    "$GOINSPECT" snapshot "$pid" -o heap.db --keep 2 2>/dev/null
    ask heap.db "SELECT stack_id, depth FROM stack WHERE stack_id IN
        (SELECT stack_id FROM site WHERE snapshot_id = 1)" | cmp - before
    "$GOINSPECT" snapshot demo.gmi -o other.db 2>/dev/null
    # demo.gmi is the older of the two, so it goes
    "$GOINSPECT" snapshot "$pid" -o heap.db --keep 2 2>/dev/null
    [ "$(ask heap.db "SELECT group_concat(snapshot_id) FROM snapshot")" = 2,3 ]
    [ "$(ask heap.db "SELECT count(*) FROM process")" = 1 ]
    sound heap.db
    unshared heap.db
}

@test "--keep: the file does not grow for ever, and gives back what it needs no more" {
    growing
    "$GOINSPECT" snapshot "$pid" -o heap.db --objects all 2>/dev/null
    large=$(ask heap.db "PRAGMA page_count")
    for i in 1 2 3 4 5 6 7 8; do
        "$GOINSPECT" snapshot "$pid" -o heap.db --objects none --keep 1 2>/dev/null
        pages[i]=$(ask heap.db "PRAGMA page_count")
    done
    [ "${pages[1]}" -lt "$large" ]
    [ "${pages[8]}" -lt $((pages[1] * 2)) ]
    [ "$(ask heap.db "PRAGMA freelist_count")" -le $((pages[8] / 2)) ]
    sound heap.db
}

@test "numbered images: the next number, and the lowest go" {
    touch heap-x.gmi heap-007.gmi heap-7.gmi.bak # none of ours
    for i in 1 2 3; do
        "$GOINSPECT" snapshot demo.gmi -o heap-%n.gmi --keep 2 2>/dev/null
    done
    [ "$(echo heap-*)" = "heap-007.gmi heap-2.gmi heap-3.gmi heap-7.gmi.bak heap-x.gmi" ]
    cmp heap-3.gmi demo.gmi
    rm heap-2.gmi
    "$GOINSPECT" snapshot demo.gmi -o "$work/heap-%n.gmi" 2>/dev/null
    [ -e heap-4.gmi ]
}

@test "a series of numbered images" {
    growing
    start "$GOINSPECT" snapshot "$pid" -o n%n.gmi --every 0.1 --keep 2
    series=$pid
    wait_until test -e n4.gmi
    kill -TERM "$series"
    wait "$series"
    [ "$(ls n*.gmi | wc -l)" = 2 ]
    for file in n*.gmi; do
        "$GOINSPECT" status "$file" >/dev/null
    done
}

@test "one that fails is told, and the next is taken" {
    growing
    mkdir disk
    start "$GOINSPECT" snapshot "$pid" -o disk/n-%n.gmi --every 0.1
    series=$pid
    wait_until test -e disk/n-2.gmi
    mv disk away
    wait_until grep -q "cannot write" log
    mv away disk
    n=$(ls disk | wc -l)
    wait_until test -e "disk/n-$((n + 1)).gmi"
    kill -TERM "$series"
    status=0
    wait "$series" || status=$?
    [ "$status" = 2 ]
}

@test "what can't be a series is refused before anything is written" {
    refuses 3 "no process called 'nobody'" snapshot nobody -o heap.db --every 1
    refuses 3 "does not run under gomalloc" snapshot $$ -o heap.db --every 1
    refuses 64 "heap.gmi holds one moment" snapshot $$ -o heap.gmi --every 1
    refuses 64 "keep is for a FILE.db" snapshot demo.gmi -o heap.gmi --keep 3
    misused "'0.01' is not a time" snapshot $$ -o heap.db --every 0.01
    misused "'5d' is not a time" snapshot $$ -o heap.db --every 5d
    misused "'0' is not a whole number" snapshot demo.gmi -o heap.db --keep 0
    [ ! -e heap.db ] && [ ! -e heap.gmi ]
}

@test "on a terminal one line says how far it is" {
    growing
    TERM=xterm script -qfec "stty cols 60 rows 50; $GOINSPECT snapshot $pid -o heap.db --every 5" \
        /dev/null >out 3>&- &
    wait_until grep -qE "heap.db: next in [1-5]s, \^C ends; snapshot [0-9]" out
    touch stop
    wait $!
    ! grep -q "^goinspect: heap.db: snapshot" out
    grep -qE "goinspect: heap.db: .* snapshots? taken" out
}
