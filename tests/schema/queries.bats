#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-3-Clause
#
# The worked queries of gomalloc-schema(5) over five snapshots of a program that has an answer to
# each (queries_demo.c), and that plain sqlite3, goinspect, a snapshot file and an image say the
# same.

bats_require_minimum_version 1.5.0
load ../inspect/helpers

# The file is made once; every test reads it.
setup_file() {
    export file_work=$BATS_FILE_TMPDIR
    cd "$file_work"
    common_environment
    mkfifo orders
    exec 7<>orders
    env LD_PRELOAD="$LIBGOMALLOC" GOMALLOC=rate=1,interval=1 \
        "$BUILD_DIR/tests/schema/queries_demo" <orders >log 2>&1 3>&- 7>&- &
    pid=$!
    for i in 1 2 3 4 5; do
        echo >&7
        wait_until grep -qx "step $i" log
        [ $i -gt 1 ] || wait_until "$GOINSPECT" status "$pid"
        [ $i = 5 ] && wait_until ticked
        leaks=
        [ $i = 5 ] && leaks=--leaks
        "$GOINSPECT" snapshot "$pid" -o five.db $leaks
    done
    "$GOINSPECT" snapshot "$pid" --leaks -o last.gmi
    at_rest | as_bytes '' >asked_live
    "$GOINSPECT" sql "$pid" -o csv --no-header <asked_live >live
    exec 7>&-
    wait "$pid" # it ends with its orders
    questions >questions
}

ticked() { [ "$("$GOINSPECT" sql "$pid" "SELECT count(*) FROM v1_tick" -o csv --no-header)" -gt 0 ]; }

common_environment() {
    export GOMALLOC_DIR=$file_work/run XDG_CACHE_HOME=$file_work/cache LC_ALL=C.UTF-8 TZ=UTC
    unset GOINSPECT_CACHE GOINSPECT_DEBUGINFOD DEBUGINFOD_URLS COLUMNS XDG_RUNTIME_DIR GOMALLOC LD_PRELOAD
    mkdir -p -m 700 "$GOMALLOC_DIR"
}

setup() { cd "$file_work" && common_environment; }

# questions writes each worked query of the manual as a line: its question, a tab, the SQL.
questions() {
    awk '/^\.Sh / { worked = /WORKED QUERIES/ }
        !worked { next }
        /^\.Ss / { question = substr($0, 5) }
        /^\.Bd/ { sql = ""; inside = 1; next }
        /^\.Ed/ { inside = 0; sub(/; *$/, "", sql); print question "\t" sql; next }
        inside { sql = sql " " $0 }' "$SOURCE_DIR/man/gomalloc-schema.5"
}

# answer QUESTION runs the worked query of that name.
answer() {
    local sql
    sql=$(awk -F'\t' -v q="$1" '$1 == q { print $2 }' questions)
    [ -n "$sql" ] || { echo "the manual does not ask: $1" >&2; return 1; }
    sqlite3 five.db "$sql"
}

# as_bytes EXCEPT makes one statement of the queries that it reads, a name, a tab and the SQL in each
# line: a row of it is the name and all columns of a row but EXCEPT, as hexadecimal digits.
as_bytes() {
    local name sql n=0
    while IFS=$'\t' read -r name sql; do
        n=$((n + 1))
        echo "CREATE TEMP VIEW asked_$n AS $sql;
            SELECT printf('%s SELECT %Q AS name, hex(%s) AS row FROM (%s)',
                CASE $n WHEN 1 THEN '' ELSE 'UNION ALL' END, '$name',
                (SELECT group_concat(printf('quote(\"%w\")', name), ' || '','' || ')
                 FROM pragma_table_info('asked_$n') WHERE name NOT IN ('$1')), '${sql//\'/\'\'}');"
    done | sqlite3 five.db
}

views() {
    sqlite3 five.db "SELECT name FROM sqlite_schema WHERE type = 'view' AND name LIKE 'v1@_%' ESCAPE '@'"
}

@test "there are 20 worked queries, and each has an answer" {
    [ "$(wc -l <questions)" -ge 20 ]
    while IFS=$'\t' read -r question sql; do
        rows=$(sqlite3 five.db "SELECT count(*) FROM ($sql)")
        [ "$rows" -gt 0 ] || { echo "no rows: $question"; return 1; }
    done <questions
}

@test "the answers are those that the program was made for" {
    [ "$(answer "How memory and heap have developed" | wc -l)" -eq 5 ]
    answer "Who holds most memory" | head -1 | grep -q '^load_table|.*|1|3145728|'
    answer "How the program got there" | head -1 | grep -q '^#0 load_table at '
    answer "Who is called by whom" | grep -q '^cache_page < step|1|152175$'
    answer "What a function holds with all that it calls" | grep -q '^step|'
    [ "$(answer "What grew from the first snapshot to the last" | cut -d'|' -f1,3-)" = \
        "cache_page|120|121740|30435|152175
leak_session|80|40000|10000|50000" ]
    [ "$(answer "What grew beyond chance" | cut -d'|' -f1,3,4)" = \
        "cache_page|121740|120
leak_session|40000|80" ]
    [ "$(answer "What grows all the time" | cut -d'|' -f1,3)" = \
        "cache_page|30435 30435 30435 30435
leak_session|10000 10000 10000 10000" ]
    answer "What changed in the size classes" | grep -q '^512|80|40960|'
    answer "Who allocates most and keeps least" | head -1 | grep -q '^format_line|.*|20000|.*|0$'
    answer "What has leaked, by call stack and age" | grep -q '^leak_session|'
    answer "Who pins memory" | head -1 | grep -q '^keep_setting|'
    answer "What lies in the emptiest spans" | grep -q '|1|128|0x.*|64|keep_setting$'
    answer "What each size class wastes" | head -1 | grep -q '^64|'
    answer "Whose sizes fit badly" | head -1 | grep -q '^cache_page|.*|152175|4625|2.9$'
    answer "Which objects are the largest" | head -1 | grep -q '|3145728|3145728|load_table|'
    answer "How sizes are distributed" | grep -q '^1024|125|126500$'
    answer "Which thread frees what another has allocated" | head -1 | grep -q '^make_job|.*|worker|'
    answer "Who lives how long" | grep -q '^format_line|'
    answer "How full the arenas are" | grep -q '^0x'
}

@test "plain sqlite3 and goinspect sql answer every view and every worked query alike" {
    { views | sed 's/.*/&\tSELECT * FROM &/'; cat questions; } | as_bytes '' >asked
    [ "$(wc -l <asked)" -gt 60 ]
    sqlite3 -separator , five.db <asked >plain
    "$GOINSPECT" sql five.db -o csv --no-header <asked | tr -d '"' >ours
    [ "$(cut -d, -f1 plain | uniq | wc -l)" -gt 60 ]
    diff plain ours
}

# Views of what a program at rest leaves alone, the library's own thread included.
at_rest() { printf '%s\n' v1_site v1_stack v1_object | sed 's/.*/&\tSELECT * FROM &/'; }

@test "a live process at rest and its image give the same rows" {
    "$GOINSPECT" sql last.gmi -o csv --no-header <asked_live >image
    diff live image
    [ "$(grep -c v1_object live)" -gt 100 ]
}

@test "an image and the file into which it was imported give the same rows, ids of stacks apart" {
    "$GOINSPECT" import -q last.gmi last.db --objects all
    "$BUILD_DIR/tests/inspect/mkimage" demo.gmi leaks=1 more_spans=2 more_sites=5 rate=1000
    "$GOINSPECT" import -q demo.gmi demo.db --objects all
    views | sed 's/.*/&\tSELECT * FROM &/' | as_bytes stack_id >asked
    for made in last demo; do
        sqlite3 -separator , $made.db <asked | sort >file
        "$GOINSPECT" sql $made.gmi -o csv --no-header <asked | sort >image
        diff file image
        [ "$(grep -c '^v1_object,' file)" -gt 100 ]
    done
}
