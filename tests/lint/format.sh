#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Every C and C++ file is as clang-format would write it.
set -euo pipefail
cd "$SOURCE_DIR"
mapfile -t files < <("$SOURCE_DIR/tests/lint/tree.sh" '*.c' '*.h' '*.cc')
[ ${#files[@]} -gt 0 ] || exit 2
clang-format --dry-run -Werror "${files[@]}"
