#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Each #include is one that layers.txt allows.  mksizeclasses.c is a program that runs while
# building, no part of the library.
set -euo pipefail
cd "$SOURCE_DIR"
"$SOURCE_DIR/tests/lint/tree.sh" 'lib/*.[ch]' 'lib/*.cc' 'inspect/*.[ch]' 'schema/*.[ch]' |
    grep -v -e '^lib/include/' -e '^lib/heap/mksizeclasses\.c$' |
    xargs awk '
    FILENAME == table && $1 == "in" { for (i = 3; i <= NF; i++) allow[$2] = allow[$2] " " $i }
    FILENAME == table && $1 == "only" { for (i = 3; i <= NF; i++) only[$2] = only[$2] " " $i }
    FILENAME == table && $1 == "never" { for (i = 3; i <= NF; i++) never[$2 "/", $i] = 1 }
    FILENAME == table || !/^[ \t]*#[ \t]*include/ { next }
    {
        name = $0
        sub(/^[^<"]*[<"]/, "", name)
        sub(/[>"].*/, "", name)
        seen++
        for (folder in allow)
            if (/"/ && index(FILENAME, folder "/") == 1 && !begins(name, allow[folder]))
                complain(folder " may not include it")
        for (prefix in only)
            if (/</ && index(name, prefix) == 1 && index(only[prefix] " ", " " FILENAME " ") == 0)
                complain("it is for" only[prefix])
        for (pair in never)
            if (split(pair, p, SUBSEP) && name == p[2] && index(FILENAME, p[1]) == 1)
                complain("not in " p[1])
    }
    function begins(text, prefixes, list, n) {
        n = split(prefixes, list, " ")
        for (i = 1; i <= n; i++)
            if (list[i] == "." ? text !~ /\// : index(text, list[i]) == 1)
                return 1
        return 0
    }
    function complain(what) {
        print FILENAME ":" FNR ": " name ": " what
        bad = 1
    }
    END {
        print seen + 0 " includes looked at"
        exit bad || !seen
    }' table=tests/lint/layers.txt tests/lint/layers.txt
