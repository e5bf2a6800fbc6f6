# SPDX-License-Identifier: BSD-3-Clause
#
# The demo shows what it is meant to show, in a pipe as well, and leaves nothing behind.

setup() {
    dir=$(mktemp -d)
    export TMPDIR=$dir
}

teardown() {
    rm -rf "$dir"
}

@test "the demo runs to its end and names the sites that grew" {
    command -v redis-server || skip "redis-server is not installed"
    cd "$SOURCE_DIR"
    run tests/demo/demo.sh "$BUILD_DIR" "$dir/demo.db"
    [ "$status" -eq 0 ]
    for heading in "1. A real server" "2. Load" "3. Ask it" "4. Where the memory is" "5. Who allocated" \
        "6. The heap is a database" "7. Two snapshots" "8. What grew" \
        "9. Most of it goes away" "1 pins: " "10. What nothing leads to" "no leaks among" "Done in"; do
        [[ $output == *"$heading"* ]]
    done
    [[ $output == *dictAddRaw* ]]
    [[ $output != *$'\e'* ]]
    # nothing but the snapshots is left: no socket, no server
    [ "$(ls "$dir")" = demo.db ]
    server=$(sed -n 's/.*It runs as process \([0-9]*\);.*/\1/p' <<<"$output")
    [ -n "$server" ]
    [ ! -e "/proc/$server" ]
    # the loads between the snapshots: 9000 sessions, each with an entry in the main dictionary
    run sqlite3 "$dir/demo.db" "SELECT count(*) FROM v1_site_growth
        WHERE snapshot_a = 1 AND snapshot_b = 2 AND grown_objects = 9000"
    [ "$output" -ge 3 ]
}

@test "without a build the demo says what to do" {
    run "$SOURCE_DIR/tests/demo/demo.sh" "$dir"
    [ "$status" -eq 2 ]
    [[ $output == *"./dev build"* ]]
}
