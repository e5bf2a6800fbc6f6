#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# The crimes the library knows (lib/api/crimes.def), the DIAGNOSTICS of gomalloc(7) and the tests
# of tests/misuse are the same list: CRIME(id, "text"), ".It Sy text", tests/misuse/id.c.
set -euo pipefail
cd "$SOURCE_DIR"
crimes() { sed -nE 's/^CRIME\(([a-z_0-9]+), "(.*)"\).*/\1\t\2/p' lib/api/crimes.def; }
status=0
same() { # WHAT
    if ! diff -u <(crimes | cut -f "$2" | LC_ALL=C sort) <(LC_ALL=C sort); then
        echo "lib/api/crimes.def (-) and $1 (+) differ"
        status=1
    fi
}
[ -n "$(crimes)" ] || {
    echo "no crimes found in lib/api/crimes.def"
    exit 2
}
same "DIAGNOSTICS in man/gomalloc.7" 2 < <(awk '
    /^\.Sh/ { inside = /DIAGNOSTICS/ }
    inside && !/^\.It Sy GOMALLOC: / && sub(/^\.It Sy /, "") { gsub(/^"|"$/, ""); print }' man/gomalloc.7)
same "tests/misuse/*.c" 1 < <(cd tests/misuse && grep -lE '^ \* The crime [a-z_]+:' ./*.c ./*.cc 2>/dev/null |
    sed -E 's,.*/,,; s/\.(c|cc)$//')
exit $status
