# SPDX-License-Identifier: BSD-3-Clause
#
# What the bats files share in which programs write images of themselves: into a folder of their own,
# $work, where the database's importer is the goinspect under test.

. "${BASH_SOURCE[0]%/*}/../seen.bash"

image_setup() {
    : "${LIBGOMALLOC:?}" "${GOINSPECT:?}"
    work=$(mktemp -d)
    cd "$work" || return 1
    export GOMALLOC_DIR=$work/sockets GOMALLOC_GOINSPECT=$GOINSPECT
    unset GOMALLOC_ROOT
    python=/usr/bin/python3 # not a script of that name
    [ -x "$python" ] || python=$(command -v python3)
}

image_teardown() {
    tell_seen
    cd /
    rm -rf "$work"
}

# under OPTIONS COMMAND... runs it under the library.
under() {
    env LD_PRELOAD="$LIBGOMALLOC" GOMALLOC="$1" "${@:2}"
}

# ask FILE SQL prints the answer's rows.
ask() {
    "$GOINSPECT" sql "$1" -o csv "$2" | tail -n +2
}
