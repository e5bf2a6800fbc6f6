#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# tree.sh PATTERN... prints the files of the tree that match: those git tracks, or in a tree
# without git all but the ones in build/.
set -euo pipefail
cd "$(dirname "$0")/../.."
if git rev-parse --is-inside-work-tree >/dev/null 2>&1; then
    git ls-files -- "$@" | while IFS= read -r file; do
        [ ! -f "$file" ] || printf '%s\n' "$file" # deleted, not committed yet
    done
else
    names=()
    for pattern in "$@"; do
        names+=(-o -path "./$pattern")
    done
    find . -path ./build -prune -o -type f \( "${names[@]:1}" \) -print | sed 's,^\./,,' | sort
fi
