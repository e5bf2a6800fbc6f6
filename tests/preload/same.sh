#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# same.sh MODE[,MODE...] PROGRAM: a real program does the same under the library as without it.
#
# programs/PROGRAM.sh is run in an empty directory of the same name: without the library, and in each
# mode under it.  What it prints, and every file that it leaves in the directory, must be the same, byte
# for byte.  It is told
#   $INPUT   a directory for what it generates first, when called with the argument "prepare"
#   under    a command that runs its arguments under the library, or not, as it happens
# and ends with 77 if the program is not installed.  All runs are part of one test, because what
# is right depends on the versions of the day.
#
# In modes exact and judged, the images that processes leave at exit prove that the library was there.
set -u
modes=$1 program=$2 mode=$1
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d "${TMPDIR:-/tmp}/same-$program.XXXXXX") || exit 1
trap 'rm -rf "$work"' EXIT
mkdir "$work/input" "$work/bin" "$work/tmp"
export INPUT=$work/input IMAGES=$work/images TMPDIR=$work/tmp PATH=$work/bin:$PATH
export GOMALLOC_DIR=$work/tmp LC_ALL=C.UTF-8 TZ=UTC HOME=$work/tmp

fail() {
    echo "$program, $mode: $*" >&2
    [ -s "$work/stderr" ] && head -c 4000 "$work/stderr" >&2
    exit 1
}

# run MODE RESULT: runs the program once and moves what it left to RESULT.
run() {
    printf '#!/bin/bash\nexec "%s/under.sh" %s "$@"\n' "$here" "$1" >"$work/bin/under"
    chmod +x "$work/bin/under"
    mkdir "$work/run"
    (cd "$work/run" && exec bash "$here/programs/$program.sh" run) >"$work/stdout" 2>"$work/stderr"
    local status=$?
    mv "$work/stdout" "$work/run/stdout"
    mv "$work/run" "$2"
    return $status
}

(cd "$INPUT" && exec bash "$here/programs/$program.sh" prepare) >"$work/stderr" 2>&1
case $? in
0) ;;
77) echo "$program is not installed" && exit 77 ;;
*) fail "its input could not be made" ;;
esac
run plain "$work/plain" || fail "fails without the library: status $?"
find "$work/plain" -type f -size +0 | grep -q . || fail "did nothing that could be compared"

for mode in ${modes//,/ }; do
    mkdir "$work/images"
    run "$mode" "$work/preloaded" || fail "fails under the library: status $?"
    grep -a -E 'cannot be preloaded|gomalloc:' "$work/stderr" >&2 && fail "the library complained"
    diff -r -q "$work/plain" "$work/preloaded" >&2 || {
        diff -r -a "$work/plain" "$work/preloaded" | head -c 4000 >&2
        fail "differs under the library"
    }
    if [[ $mode == exact || $mode == judged ]] && [[ $LIBGOMALLOC == *gomalloc* ]]; then
        largest=$(find "$work/images" -name '*.gmi' -size +1 -printf '%s %p\n' | sort -n | tail -1)
        [ -n "$largest" ] || fail "no process left an image: was the library there?"
        if [ -x "${GOINSPECT:-}" ]; then
            "$GOINSPECT" status "${largest#* }" >"$work/stderr" 2>&1 || fail "goinspect status: $?"
        fi
        find "$work/images" -name '*.gmi' -size 0 | grep -q . && fail "an empty image was left"
    fi
    rm -rf "$work/preloaded" "$work/images" # and what is there of the program's own
    find "$TMPDIR" -mindepth 1 -delete
done
exit 0
