#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Nothing in the tree refers to places of one machine, which another machine does not have.
set -euo pipefail
cd "$SOURCE_DIR"
bad='(^|[^[:alnum:]_.])/(root|work|home/[a-z]+)/|\.\./share''d|share''d/oracle|/tmp/(build-|brief)'
if "$SOURCE_DIR/tests/lint/tree.sh" '*' | grep -vE '^tests/lint/words\.sh$' |
    xargs -d '\n' grep -nIE "$bad"; then
    exit 1
fi
