#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# libgomalloc.so exports what exports.txt lists and nothing else, needs libc alone, takes from it
# no more than imports.txt lists, and has its name.  `exports.sh print` shows what it does now.
set -euo pipefail
lists=$SOURCE_DIR/tests/lint
exports() { nm -D --defined-only --format=posix "$LIBGOMALLOC" | awk '{print $1}' | LC_ALL=C sort; }
imports() {
    nm -D --undefined-only --format=posix "$LIBGOMALLOC" | awk '{sub(/@.*/, "", $1); print $1}' |
        LC_ALL=C sort
}
dynamic() { readelf -dW "$LIBGOMALLOC" | sed -nE "s/.*\($1\).*\[(.*)\]/\1/p"; }
listed() { sed -E 's/[[:space:]]*(#.*)?$//' "$1" | awk 'NF {print $1}' | LC_ALL=C sort; }

if [ "${1:-}" = print ]; then
    exports
    echo
    imports
    exit
fi
status=0
expect() { # WHAT WANTED FOUND
    if [ "$2" != "$3" ]; then
        echo "$1 (- as listed, + as it is):"
        diff -U0 <(printf '%s\n' "$2") <(printf '%s\n' "$3") | tail -n +4 || true
        status=1
    fi
}
expect "needed libraries" libc.so.6 "$(dynamic NEEDED)"
expect "soname" libgomalloc.so.0 "$(dynamic SONAME)"
expect "exported symbols" "$(listed "$lists/exports.txt")" "$(exports)"
expect "symbols taken from libc without a line in imports.txt" "" \
    "$(LC_ALL=C comm -13 <(listed "$lists/imports.txt") <(imports))"
exit $status
