# SPDX-License-Identifier: BSD-3-Clause
#
# The test of the test: a program whose output is not the same under a preload.  same.sh must see it.
[ "$1" = prepare ] && exit 0
under sh -c 'echo "${LD_PRELOAD:-none}"'
