# SPDX-License-Identifier: BSD-3-Clause
#
# What all bats files share that have a folder of their own, $work.

# tell_seen shows what a test that has failed had put aside.
tell_seen() {
    local file
    [ -z "${BATS_TEST_COMPLETED:-}" ] || return 0
    for file in err said log; do
        [ ! -s "$work/$file" ] || { echo "$file:" && tail -n 20 "$work/$file"; }
    done
}
