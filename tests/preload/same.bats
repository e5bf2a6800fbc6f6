# SPDX-License-Identifier: BSD-3-Clause
#
# The test of the test: same.sh sees it when a program does not do the same, or does nothing.

same() { run "$SOURCE_DIR/tests/preload/same.sh" "$@"; }

@test "a program whose output differs is seen" {
    same default differs
    [ "$status" -eq 1 ]
    [[ $output == *"differs under the library"* ]]
}

@test "a library that can't be loaded is seen" {
    LIBGOMALLOC=/nonexistent/libgomalloc.so same default threads
    [ "$status" -eq 1 ]
    [[ $output == *"cannot be preloaded"* ]]
}

@test "a program that does not run under the library is seen" {
    # named as ours, and another allocator: nobody leaves an image
    cp "$(find /usr/lib -name libmimalloc.so.2\* -o -name libjemalloc.so.2 | head -n 1)" "$BATS_TEST_TMPDIR/libgomalloc.so"
    LIBGOMALLOC=$BATS_TEST_TMPDIR/libgomalloc.so same exact threads
    [ "$status" -eq 1 ]
    [[ $output == *"no process left an image"* ]]
}

@test "a program that is not installed is skipped" {
    PATH=/nonexistent run /bin/bash "$SOURCE_DIR/tests/preload/programs/redis.sh" run
    [ "$status" -eq 77 ]
}
