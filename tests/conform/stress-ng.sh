#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# stress-ng.sh: stress-ng's stressors of memory and of processes run clean under the library.
#
# Each does a bounded number of operations in bounded memory.  A control run without the library
# comes first: what this machine or container does not let stress-ng do says nothing about us, and
# is skipped.  Clean means: status 0 and nothing but information on its output.  Without stress-ng
# the test is skipped.
set -u
under=$(cd "$(dirname "$0")/../preload" && pwd)/under.sh
command -v stress-ng >/dev/null || {
    echo "skipped: stress-ng is not installed"
    exit 77
}
work=$(mktemp -d "${TMPDIR:-/tmp}/conform-stress.XXXXXX") || exit 1
trap 'rm -rf "$work"' EXIT
export GOMALLOC_DIR=$work
cd "$work" || exit 1

# Stressor by stressor: its options.
read -r -d '' STRESSORS <<'END'
--malloc 2 --malloc-bytes 32m --malloc-ops 20000
--malloc 2 --malloc-bytes 8m --malloc-ops 20000 --malloc-pthreads 2
--bigheap 1 --bigheap-growth 64k --bigheap-ops 3000
--fork 2 --fork-ops 200
--vfork 2 --vfork-ops 200
--exec 2 --exec-ops 60
--clone 2 --clone-ops 100
--pthread 2 --pthread-ops 100
--dynlib 2 --dynlib-ops 100
END

# --exec refuses to be root, and who is not may be unable to read the library where it stands.
as_nobody=()
if [ "$(id -u)" = 0 ]; then
    as_nobody=(setpriv --reuid=65534 --regid=65534 --clear-groups)
    cp "$LIBGOMALLOC" "$under" "$work/" && chmod 777 "$work"
    LIBGOMALLOC=$work/$(basename "$LIBGOMALLOC") under=$work/under.sh
fi

# run MODE OPTIONS... in a session of its own: what hangs is ended with its children.
run() {
    local mode=$1
    shift
    local who=()
    [ "$1" != --exec ] || who=("${as_nobody[@]}")
    setsid timeout -k 5 300 "${who[@]}" "$under" "$mode" stress-ng --verify --timeout 5 --temp-path "$work" \
        "$@" >"$work/out" 2>&1 </dev/null
}

failed=0 passed=0
while read -r options; do
    # shellcheck disable=SC2086
    if ! run plain $options; then
        echo "skipped, it fails without the library: $options"
        continue
    fi
    # shellcheck disable=SC2086
    run default $options
    status=$?
    if [ $status != 0 ] || grep -E 'gomalloc:|cannot be preloaded|fail:|error:|SIG(SEGV|BUS|ABRT)' out; then
        echo "status $status: stress-ng $options"
        tail -n 20 out
        failed=$((failed + 1))
    else
        passed=$((passed + 1))
    fi
done <<<"$STRESSORS"
echo "$passed stressors run clean, $failed do not"
[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
