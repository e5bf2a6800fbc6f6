# SPDX-License-Identifier: BSD-3-Clause
#
# The schema and the image format against what the manuals and the comments say of them.

setup() {
    db=$BATS_TEST_TMPDIR/s.db
    cat "$SOURCE_DIR"/schema/{tables,tables_heap,tables_escape,tables_leak,tables_pins,tables_resident,tables_fragmentation,tables_crash,views,views_heap,views_escape,views_history,views_diff,views_leak,views_pins,views_resident,views_fragmentation,views_crash}.sql | sqlite3 "$db"
    page=$SOURCE_DIR/man/gomalloc-schema.5
}

@test "the manual describes every v1 view and column, in order" {
    sqlite3 "$db" "SELECT m.name || ' ' || p.name FROM sqlite_schema m, pragma_table_info(m.name) p
        WHERE m.name LIKE 'v1@_%' ESCAPE '@' ORDER BY m.name, p.cid" >"$BATS_TEST_TMPDIR/schema"
    awk '/^\.Ss v1_/ { view = $2 } /^\.Sh TABLES/ { exit }
        view && /^\.It Va/ { print view, $3 }' "$page" | sort -s -k1,1 >"$BATS_TEST_TMPDIR/manual"
    [ "$(wc -l <"$BATS_TEST_TMPDIR/schema")" -gt 100 ]
    diff "$BATS_TEST_TMPDIR/schema" "$BATS_TEST_TMPDIR/manual"
}

@test "the manual describes every table, each in a sentence, and no other" {
    sqlite3 "$db" "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%'
        ORDER BY 1" >"$BATS_TEST_TMPDIR/schema"
    awk '/^\.Sh / { tables = /TABLES/ }
        tables && /^\.It Li/ { table = $3; next }
        tables && table && /^[A-Za-z].* .* / { print table; table = "" }' "$page" |
        sort >"$BATS_TEST_TMPDIR/manual"
    diff "$BATS_TEST_TMPDIR/schema" "$BATS_TEST_TMPDIR/manual"
}

@test "a paragraph stands above each table and view, a comment at each column of a table" {
    awk '
        /^CREATE (TABLE|VIEW)/ {
            if (before !~ /^-- /) { print FILENAME ": no comment above: " $0; bad = 1 }
            inside = /TABLE/
        }
        inside && /^    [a-z_]+ +(INTEGER|TEXT|REAL|BLOB)/ && !/ -- / && $1 != "snapshot_id" {
            print FILENAME ": no comment at: " $0; bad = 1
        }
        /^\)/ { inside = 0 }
        { before = $0 }
        END { exit bad }' "$SOURCE_DIR"/schema/{tables,tables_heap,tables_escape,tables_leak,tables_pins,tables_resident,tables_fragmentation,tables_crash,views,views_heap,views_escape,views_history,views_diff,views_leak,views_pins,views_resident,views_fragmentation,views_crash}.sql
}

@test "every table is STRICT" {
    run sqlite3 "$db" "SELECT name FROM pragma_table_list WHERE type = 'table' AND NOT strict
        AND name NOT LIKE 'sqlite%'"
    [ "$output" = "" ]
}

@test "the manual of the image format has every field of every record at its offset" {
    cd "$BATS_TEST_TMPDIR"
    awk '
        /^#include|^#ifndef|^#define GOMALLOC_IMAGE_H/ { next }
        /^struct gomalloc_[a-z_]+ \{/ { type = $2 }
        type && match($0, /^ +[a-z0-9_]+ [a-z0-9_]+(\[[0-9]+\])?;/) {
            field = $2; sub(/[\[;].*/, "", field)
            printf "    printf(\"%%zu %s\\n\", offsetof(struct %s, %s));\n", field, type, field
        }
        /^};/ { type = "" }' "$SOURCE_DIR/lib/include/gomalloc/image.h" >fields
    {
        echo '#include <stdio.h>'
        echo '#include "gomalloc/image.h"'
        echo 'int main(void) {'
        cat fields
        echo 'return 0; }'
    } >list.c
    ${CC:-cc} -I "$SOURCE_DIR/lib/include" -o list list.c
    ./list | sort >header
    awk '/^\.It [0-9]+ Ta/ { sub(/\[.*/, "", $7); print $2, $7 }' \
        "$SOURCE_DIR/man/gomalloc-image.5" | sort >manual
    [ "$(wc -l <header)" -gt 80 ]
    diff header manual
}
