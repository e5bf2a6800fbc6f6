#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Each source says under which licence it stands, in its first three lines.
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
done
exit $status
