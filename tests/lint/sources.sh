#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Each source says under which licence it stands, in its first three lines; and each C or C++ file
# is part of the build, so that none is forgotten in a CMakeLists.txt.
set -euo pipefail
cd "$SOURCE_DIR"
mapfile -t files < <("$SOURCE_DIR/tests/lint/tree.sh" '*.c' '*.h' '*.cc' '*.map' '*.sh' '*.bats' \
    '*.py' '*.sql' '*.cmake' '*CMakeLists.txt' dev .ci/run)
[ ${#files[@]} -gt 20 ] || exit 2
status=0
for file in "${files[@]}"; do
    if ! head -n 3 "$file" | grep -q 'SPDX-License-Identifier: BSD-3-Clause'; then
        echo "$file: no SPDX-License-Identifier: BSD-3-Clause in the first three lines"
        status=1
    fi
    case $file in
    *.c | *.cc)
        if ! grep -qF "\"file\": \"$SOURCE_DIR/$file\"" "$BUILD_DIR/compile_commands.json"; then
            echo "$file: in no CMakeLists.txt"
            status=1
        fi
        ;;
    esac
done
exit $status
