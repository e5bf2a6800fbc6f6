#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# mandoc finds nothing to say about the manuals.  Its remarks about other pages are about the
# machine: those of packages that are not installed, and ours, which are not yet.  stdbuf: mandoc
# writes to both of its outputs, and a line must not end up inside another one.
set -euo pipefail
cd "$SOURCE_DIR/man"
pages=(*.[0-9])
[ -e "${pages[0]}" ] || exit 2
others='referenced manual not found|outdated mandoc.db|operating system explicitly'
taste='longer than 80 bytes|verbatim "--"'
found=$(stdbuf -oL mandoc -T lint -W style "${pages[@]}" 2>&1 | grep -vE "$others|$taste" || true)
[ -z "$found" ] || {
    printf '%s\n' "$found"
    exit 1
}
# What we refer to of our own exists.
for page in "${pages[@]}"; do
    mandoc -T utf8 "$page" >/dev/null
    awk -v page="$page" '$1 == ".Xr" && $2 ~ /^go(malloc|inspect)/ {
        file = $2 "." $3
        if ((getline line < file) < 0) { print page ": no page " file; bad = 1 }
        close(file)
    } END { exit bad }' "$page"
done
