# SPDX-License-Identifier: BSD-3-Clause
#
# The test of the test: expect_abort is content with nothing but the right death.

setup() {
    dir=$BUILD_DIR/tests/misuse
    run_it() { run "$dir/expect_abort" "${mode:-abort}" "$LIBGOMALLOC" "$text" "$dir/innocent" "$1"; }
    text="double free"
}

@test "the right line and SIGABRT are accepted" {
    run_it convincing
    [ "$status" -eq 0 ]
}

@test "a program without a crime is refused" {
    run_it nothing
    [ "$status" -eq 1 ]
    [[ $output == *"was not killed by SIGABRT"* ]]
}

@test "an abort without the line is refused" {
    run_it plain_abort
    [ "$status" -eq 1 ]
    [[ $output == *"does not begin with"* ]]
}

@test "another signal is refused" {
    run_it segfault
    [ "$status" -eq 1 ]
    [[ $output == *"was not killed by SIGABRT"* ]]
}

@test "the line without the death is refused" {
    run_it words
    [ "$status" -eq 1 ]
    [[ $output == *"was not killed by SIGABRT"* ]]
}

@test "another pointer in the line is refused" {
    run_it another_pointer
    [ "$status" -eq 1 ]
    [[ $output == *"does not begin with"* ]]
}

@test "another crime in the line is refused" {
    text="free of a pointer that is not an object"
    run_it convincing
    [ "$status" -eq 1 ]
    [[ $output == *"does not begin with"* ]]
}

@test "going on in silence is refused where a report is expected" {
    mode=report
    run_it nothing
    [ "$status" -eq 1 ]
    [[ $output == *"does not begin with"* ]]
}

@test "every crime of the table has a program" {
    run sed -n 's/^CRIME(\([a-z_]*\),.*/\1/p' "$SOURCE_DIR/lib/api/crimes.def"
    [ "${#lines[@]}" -gt 0 ]
    for crime in "${lines[@]}"; do
        [ -f "$SOURCE_DIR/tests/misuse/$crime.c" ]
        [ -x "$dir/$crime" ]
    done
}
