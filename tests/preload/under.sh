#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# under.sh MODE COMMAND [ARGUMENT...]: runs a command under the library.
#
# MODE is how it records: default (as if nobody had said anything), exact (every allocation), judged
# (exact, and every object is judged when it is freed), off.  exact and judged also ask for an image
# at exit, in $IMAGES if that is set: who looks there afterwards knows that the library was in force.
# plain runs the command without the library.
#
# LIBGOMALLOC is the library; a path to another allocator works as well, to test the tests.
mode=$1
shift
export LD_PRELOAD=${LIBGOMALLOC:?is the path of libgomalloc.so}
case $mode in
default) unset GOMALLOC ;;
exact) export GOMALLOC=rate=1${IMAGES:+,exit=$IMAGES/%p.gmi} ;;
judged) export GOMALLOC=rate=1,escape=all${IMAGES:+,exit=$IMAGES/%p.gmi} ;;
off) export GOMALLOC=rate=0 ;;
plain) unset GOMALLOC LD_PRELOAD ;;
*)
    echo "under.sh: no mode $mode: default, exact, judged, off or plain" >&2
    exit 64
    ;;
esac
exec "$@"
