# SPDX-License-Identifier: BSD-3-Clause
#
# threads.cc, a threaded C++ program, built beside the tests.
program=${BUILD_DIR:?}/tests/preload/threads
[ "$1" = prepare ] && exit 0
[ -x "$program" ] || exit 1
under "$program"
