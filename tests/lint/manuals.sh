#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# mandoc finds nothing to say about the manuals.  Three of its remarks are about the machine, not
# the page: pages of packages that are not installed, and ours, which are not yet.
set -euo pipefail
cd "$SOURCE_DIR/man"
pages=(*.[0-9])
[ -e "${pages[0]}" ] || exit 2
found=$(mandoc -T lint -W style "${pages[@]}" 2>&1 |
    grep -vE 'referenced manual not found|lookup failed|operating system explicitly' || true)
[ -z "$found" ] || {
    printf '%s\n' "$found"
    exit 1
}
for page in "${pages[@]}"; do
    mandoc -T utf8 "$page" >/dev/null
done
