#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-3-Clause
#
# The formats, and what a terminal gets.

bats_require_minimum_version 1.5.0
load helpers
setup() { common_setup; }
teardown() { common_teardown; }

@test "JSON is one object with schema_version, verb and rows" {
    for verb in status sites classes spans arenas pages cache; do
        "$GOINSPECT" $verb demo.gmi -o json 2>/dev/null |
            jq -e --arg verb $verb '.schema_version == 1 and .verb == $verb and (.rows | length > 0)'
    done
    GOINSPECT_TIMEOUT=1 "$GOINSPECT" ps -o json | jq -e '.verb == "ps" and (.rows | type == "array")'
}

@test "NDJSON has the rows of JSON, one a line" {
    for verb in status sites classes spans arenas pages cache; do
        "$GOINSPECT" $verb demo.gmi -o json 2>/dev/null | jq -c '.rows[]' >one
        "$GOINSPECT" $verb demo.gmi -o ndjson 2>/dev/null | jq -c . >other
        diff one other
    done
}

@test "CSV has the rows of JSON, and its keys for a header" {
    for verb in status sites classes spans arenas pages cache; do
        "$GOINSPECT" $verb demo.gmi -o json >rows.json 2>/dev/null
        "$GOINSPECT" $verb demo.gmi -o csv >rows.csv 2>/dev/null
        /usr/bin/python3 - <<'PYTHON'
import csv, json
rows = json.load(open("rows.json"))["rows"]
table = list(csv.DictReader(open("rows.csv", newline="")))
assert len(rows) == len(table) > 0
for row, line in zip(rows, table):
    assert list(row) == list(line), (row, line)
    for key, value in row.items():
        assert line[key] == ("" if value is None else f"{value:.15g}" if isinstance(value, float)
                             else str(value)), (key, value, line[key])
PYTHON
    done
}

@test "bytes are integers and addresses strings in JSON; a table has units unless --bytes" {
    "$GOINSPECT" spans demo.gmi -o json | jq -e '.rows[] | (.free | type == "number") and (.address | test("^0x[0-9a-f]+$"))'
    "$GOINSPECT" classes demo.gmi | grep -q "KiB"
    run -0 "$GOINSPECT" classes demo.gmi --bytes
    [[ $output != *iB* ]]
    [ "$("$GOINSPECT" classes demo.gmi --bytes --columns live --no-header | awk '{ n += $1 } END { print n }')" = \
        "$("$GOINSPECT" classes demo.gmi -o json | jq '[.rows[].live] | add')" ]
}

@test "--columns, --sort, --limit and --no-header work in every format" {
    for format in table csv ndjson; do
        "$GOINSPECT" spans demo.gmi -o $format --columns objects --sort objects:desc --limit 2 --no-header |
            tr -dc '0-9\n' >$format
        printf '100\n50\n' | diff - $format
    done
    [ "$("$GOINSPECT" spans demo.gmi --columns objects --sort objects --limit 1 --no-header | tr -d ' ')" = 0 ]
    [ "$("$GOINSPECT" spans demo.gmi --limit 0 -o csv --no-header | wc -l)" = 0 ]
}

@test "the column that rows are sorted by is shown, however narrow the terminal" {
    local columns what
    for columns in 50 80 120; do
        for what in "sites --by function:total" "sites --by module:TOTAL_OBJECTS" "sites --by line:given" \
            "sites:total" "sites:samples" "escape --table:life99"; do
            # shellcheck disable=SC2086
            COLUMNS=$columns "$GOINSPECT" ${what%:*} demo.gmi --sort "${what##*:}:desc" >out
            name=${what##*:} name=${name^^}
            grep -q "${name/_/ }" out || { echo "$what at $columns"; cat out; return 1; }
        done
    done
    refuses 64 "sort: no column 'tota': did you mean total\?" sites demo.gmi --by function --sort tota
}

@test "JSON is valid whatever the bytes" {
    "$GOINSPECT" sql demo.gmi "SELECT CAST(x'ff41fe00c0af22' AS TEXT) AS s, char(27, 10, 9, 34, 92, 127, 155) AS c,
        x'00ff' AS b, NULL AS n, 1e999 AS inf, 0.1 AS r, -9223372036854775808 AS i" -o json >row.json
    /usr/bin/python3 - <<'PYTHON'
import json
text = open("row.json", "rb").read().decode()
assert all(c == "\n" or c >= " " for c in text) and "\x7f" not in text and "\x9b" not in text
row = json.loads(text)["rows"][0]
assert row["s"].startswith("\ufffdA\ufffd"), row
assert row["c"] == "\x1b\n\t\"\\\x7f\x9b", row
assert row["b"] == "00ff" and row["n"] is None and row["inf"] is None
assert row["r"] == 0.1 and row["i"] == -(1 << 63)
PYTHON
}

@test "CSV quotes what must be quoted, and tells NULL from the empty text" {
    "$GOINSPECT" sql demo.gmi "SELECT 'a,b' AS \"x\"\"y\", 'say \"hi\"' AS q, char(10) AS n, '' AS e, NULL AS z" -o csv >row.csv
    /usr/bin/python3 - <<'PYTHON'
import csv
header, row = csv.reader(open("row.csv", newline=""))
assert header == ['x"y', "q", "n", "e", "z"], header
assert row == ["a,b", 'say "hi"', "\n", "", ""], row
assert open("row.csv").read().endswith(',"",\n')
PYTHON
}

@test "a table has no control characters, in names and in headers" {
    run -0 "$GOINSPECT" sql demo.gmi "SELECT 'a' || char(27) || '[31mb' || char(155) || char(8238) || char(10) || 'c' AS \"$(printf 'h\033[0m')\""
    [[ $output == *"a?[31mb??"* ]]
    [[ $output != *$'\033'* && $output != *$'\xc2\x9b'* && $output != *$'\xe2\x80\xae'* ]]
    [ "${#lines[@]}" -eq 2 ]
}

@test "a message has no control characters of a process's name" {
    name=$(printf 'e\033[31mv')
    cp "$(command -v sleep)" "$name"
    start "./$name" 60
    wait_until grep -q '^e' "/proc/$pid/comm" # until then it is bash
    refuses 3 "\(e\?\[31mv\) does not run" status "$pid"
    refuses 3 "called 'x\?\[31m'" status "$(printf 'x\033[31m')"
}

@test "without UTF-8 a table is ASCII" {
    LC_ALL=C "$GOINSPECT" sql demo.gmi "SELECT 'gr' || char(252) || 'n'" >out
    grep -q "gr?n" out
    LC_ALL=C "$GOINSPECT" pages demo.gmi >out
    ! LC_ALL=C grep -q "[^ -~]" out
    grep -q "|############____....cc" out
}

@test "with UTF-8 the picture has blocks" {
    "$GOINSPECT" pages demo.gmi >out
    grep -q "|████████████____····cc" out
}

@test "the picture adapts to the terminal, down to 60 columns" {
    for columns in 60 80 100 200; do
        [ "$(on_terminal $columns "$GOINSPECT pages demo.gmi" | widest)" -le $columns ]
    done
    [ "$(on_terminal 60 "$GOINSPECT pages demo.gmi" | grep -c '^0x')" -ge 1 ]
    [ "$(COLUMNS=200 "$GOINSPECT" pages demo.gmi --map | widest)" -gt 100 ]
}

@test "tables fit a terminal of 60 columns and lose nothing in a pipe" {
    for verb in status sites classes spans arenas cache growth; do
        target=demo.gmi
        if [ $verb = growth ]; then
            "$BUILD_DIR/tests/inspect/mkimage" later.gmi id=2 nodes=300 captured_ns=1700000100000000000
            "$GOINSPECT" import demo.gmi later.gmi heap.db 2>/dev/null
            target=heap.db
        fi
        on_terminal 60 "$GOINSPECT $verb $target 2>/dev/null" >narrow
        [ "$(widest <narrow)" -le 60 ]
        [ "$(wc -l <narrow)" -ge 2 ]
        "$GOINSPECT" $verb $target >wide 2>/dev/null
        ! grep -q "…" wide
    done
}

@test "what is cut is marked" {
    COLUMNS=60 "$GOINSPECT" sql demo.gmi "SELECT printf('%.*c', 100, 'x') AS a, 1 AS b" >out
    [ "$(widest <out)" -le 60 ]
    grep -q "x…" out
    LC_ALL=C COLUMNS=60 "$GOINSPECT" sql demo.gmi "SELECT printf('%.*c', 100, 'x') AS a" | grep -q "x~"
}

@test "colour: on a terminal, not in a pipe, never with NO_COLOR, always when asked" {
    esc=$'\033['
    [[ "$(on_terminal 80 "$GOINSPECT classes demo.gmi")" == *"$esc"* ]]
    [[ "$(on_terminal 80 "NO_COLOR=1 $GOINSPECT classes demo.gmi")" != *"$esc"* ]]
    [[ "$(on_terminal 80 "TERM=dumb $GOINSPECT classes demo.gmi")" != *"$esc"* ]]
    [[ "$(on_terminal 80 "$GOINSPECT classes demo.gmi --color=never")" != *"$esc"* ]]
    [[ "$("$GOINSPECT" classes demo.gmi)" != *"$esc"* ]]
    [[ "$("$GOINSPECT" classes demo.gmi --color)" == *"$esc"* ]]
    [[ "$(NO_COLOR=1 "$GOINSPECT" pages demo.gmi --color=always)" == *"$esc"* ]]
}

@test "a reader that goes away early is no error to talk about" {
    "$BUILD_DIR/tests/inspect/mkimage" big.gmi more_spans=2000
    early() { "$GOINSPECT" sql big.gmi "SELECT * FROM image_object" -o csv 2>err || echo $? >status; }
    early | head -n 1
    [ ! -s err ]
    [ "$(cat status)" -eq 141 ]
    (trap '' PIPE && early) | head -n 1
    [ ! -s err ]
    [ "$(cat status)" -eq 2 ]
}

@test "a full disk under standard output is status 2" {
    for format in table json csv; do
        status=0
        "$GOINSPECT" classes demo.gmi -o $format >/dev/full 2>err || status=$?
        [ $status -eq 2 ]
        grep -q "cannot write to standard output: No space left" err
    done
}

@test "--watch repeats, and ends with its target" {
    fake good
    timeout 120 "$GOINSPECT" classes "$pid" --watch=0.2 -o ndjson --limit 1 >out 2>err &
    watcher=$!
    started+=("$watcher")
    wait_until sh -c "[ \$(wc -l <'$work/out') -ge 3 ]"
    kill "$pid"
    status=0
    wait "$watcher" || status=$?
    [ $status -eq 3 ]
}

@test "no line is wider than a narrow terminal, and no number is cut" {
    local n verb
    "$BUILD_DIR/tests/inspect/mkimage" leaks.gmi leaks=1
    "$GOINSPECT" snapshot leaks.gmi -o leaks.db 2>/dev/null
    for n in 40 80; do
        for verb in leaks "leaks --objects" "leaks --stack-held" "leaks --stacks" "leaks --reachable" sites \
            "sites --by function" "sites --stacks" escape pins "pins --by arena" classes spans arenas cache central \
            "diff leaks.db" "check --max-live 1B" doctor; do
            # shellcheck disable=SC2086
            set -- $verb
            LC_ALL=C COLUMNS=$n "$GOINSPECT" "$1" leaks.gmi "${@:2}" 2>/dev/null >out || [ $? -le 1 ]
            if awk -v n=$n 'length($0) > n { print; wide = 1 } END { exit !wide }' out; then
                echo "wider than $n: $verb"
                return 1
            fi
        done
    done
    COLUMNS=40 "$GOINSPECT" classes leaks.gmi >out
    [ "$(sed -n 's/^LIVE  *//p' out | head -n 1)" = "40.0 KiB" ]
    [ "$(grep -c '^CLASS ' out)" -eq "$("$GOINSPECT" classes leaks.gmi --no-header | wc -l)" ]
}

@test "what is said on a narrow terminal is broken at blanks" {
    on_terminal 40 "$GOINSPECT leaks demo.gmi" >out || true
    awk 'length($0) > 40 { print; wide = 1 } END { exit wide }' out
    grep -q '^goinspect: ' out && grep -q '^  [a-z"]' out
}

@test "at 50 columns the usual tables are tables, not a line for each value" {
    local verb
    for verb in classes sites "sites --by function" pins leaks status spans "sites --growth=all" "escape --threads"; do
        # shellcheck disable=SC2086
        COLUMNS=50 "$GOINSPECT" ${verb%% *} demo.gmi ${verb#"${verb%% *}"} >out 2>/dev/null || [ $? -le 2 ]
        ! grep -qE '^(LIVE|BYTES|CLASS|ITEM|OBJECTS|ADDRESS)  +[^ A-Z]+( [KM]?i?B)?$' out || { echo "$verb"; cat out; return 1; }
    done
}
