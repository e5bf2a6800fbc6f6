#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# tidy.sh PART runs clang-tidy (.clang-tidy) over the sources of a part of the tree: a folder, or
# FOLDER/A-Z for those of its files whose names begin with one of the letters.  The analyzer looks no
# farther than is quick, unless GOMALLOC_TIDY=deep: a few functions with very many paths would take
# nine tenths of the time.
set -euo pipefail
cd "$SOURCE_DIR"
case $1 in
*/?-?) pattern="${1%/*}/[${1##*/}]*" ;;
*) pattern="$1/*" ;;
esac
# Only what this build compiles: clang-tidy needs its flags.
mapfile -t files < <("$SOURCE_DIR/tests/lint/tree.sh" "$pattern.c" "$pattern.cc" | while read -r file; do
    ! grep -qF "\"file\": \"$SOURCE_DIR/$file\"" "$BUILD_DIR/compile_commands.json" || echo "$file"
done)
if [ ${#files[@]} -eq 0 ]; then
    echo "nothing to look at in $1"
    exit 0
fi
analyzer=(--extra-arg=-Xclang --extra-arg=-analyzer-config --extra-arg=-Xclang
    --extra-arg=mode=shallow,max-nodes=20000)
[ "${GOMALLOC_TIDY:-}" != deep ] || analyzer=()
status=0
for file in "${files[@]}"; do
    # What gcc does by default and clang does not.
    case $file in
    *.cc) as_gcc=(--extra-arg=-std=gnu++17 --extra-arg=-fsized-deallocation) ;;
    *) as_gcc=() ;;
    esac
    # The compiler's own warnings are the build's business.
    clang-tidy -p "$BUILD_DIR" --quiet --extra-arg=-w "${analyzer[@]}" "${as_gcc[@]}" \
        "$file" || status=1
done
exit $status
