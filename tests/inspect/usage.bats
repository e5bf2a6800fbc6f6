#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-3-Clause
#
# The command line: help, versions, and what is wrong with it.

bats_require_minimum_version 1.5.0
load helpers
setup() { common_setup; }
teardown() { common_teardown; }

verbs="run ps status sites pins leaks why escape doctor classes spans arenas pages cache central sql snapshot growth diff
check import export scavenge profile help"

@test "help lists every verb, on standard output" {
    run -0 --separate-stderr "$GOINSPECT" help
    [ -z "$stderr" ]
    for verb in $verbs; do
        grep -qE "^  $verb +[a-z0-9]" <<<"$output"
    done
    [ "$("$GOINSPECT" --help)" = "$output" ]
    [ "$(wc -L <<<"$output")" -le 80 ]
}

@test "every verb has --help with examples, and help VERB prints the same" {
    for verb in $verbs; do
        run -0 --separate-stderr "$GOINSPECT" "$verb" --help
        [ -z "$stderr" ]
        grep -q "^Examples:" <<<"$output"
        [ "$(wc -L <<<"$output")" -le 80 ]
        [ "$("$GOINSPECT" help "$verb")" = "$output" ]
    done
}

@test "the options in examples are those of the verb, and the manual has them all" {
    "$GOINSPECT" help | awk '/^  [a-z]/ && $1 != "goinspect" { print $1 }' | sort >listed
    tr ' ' '\n' <<<"$verbs" | sort | diff listed -
    man "$SOURCE_DIR/man/goinspect.1" 2>/dev/null | col -b >manual || skip "no man"
    for verb in $verbs; do
        "$GOINSPECT" help "$verb" >help
        sed -n '/^Examples:/,$p' help | sed 's/ -- .*//' | grep -oE -- 'goinspect .*' |
            while read -r _ called rest; do
                "$GOINSPECT" help "$called" >other
                for option in $(grep -oE -- '(^| )--?[a-z][a-z-]*' <<<"$rest"); do
                    grep -qE -- "(^| |, )$option(=|\\[|,| |$)" other || { echo "$verb: $called $option"; return 1; }
                done
            done
        for option in $(grep -oE '^ .{0,6}--[a-z-]+' help | grep -oE -- '--[a-z-]+' | grep -vxE -- "--(help|usage|version)"); do
            grep -qE -- "$option( |=|\\[|,|\.|$)" manual || { echo "not in the manual: $verb $option"; return 1; }
        done
    done
}

@test "help lists the columns that JSON has as keys" {
    for verb in status sites classes spans arenas pages cache; do
        "$GOINSPECT" $verb demo.gmi -o json 2>/dev/null | jq -r '.rows[0] | keys_unsorted[]' >keys
        "$GOINSPECT" help $verb | sed -n '/^Columns (/,/^$/s/^[+ ] \([a-z_]*\)  *\(text\|count\|number\|bytes\|percent\|address\|see unit\) .*/\1/p' >listed
        diff keys listed
    done
}

@test "--version prints the version" {
    run -0 "$GOINSPECT" --version
    [[ $output =~ ^goinspect\ [0-9]+\.[0-9]+\.[0-9]+$ ]]
}

@test "an unknown verb is status 64 with the nearest name" {
    misused "no verb 'statsu': did you mean status\?" statsu 1
    misused "no verb 'xyzzy'; \"goinspect help\" lists them" xyzzy
    misused "no verb 'sits': did you mean sites\?" help sits
    misused "no option '--hlep'" --hlep
}

@test "an unknown option is status 64 with the nearest name" {
    misused "sites: unknown option --limt: did you mean --limit\?" sites demo.gmi --limt 3
    misused "spans: unknown option --clas-: did you mean --class\?" spans --clas- 3 demo.gmi
    misused "status: unknown option --xyzzy; " status demo.gmi --xyzzy
    misused "status: unknown option -Z; \"goinspect help status\" says more" status demo.gmi -Z
    misused "sites: unknown option -Z" sites demo.gmi -jZ
    misused "sites: --limit wants a word behind it" sites demo.gmi --limit
    misused "sites: -o wants a word behind it" sites demo.gmi -o
    misused "profile: too few words: goinspect profile start TARGET\|stop TARGET" profile start
    [ "$(wc -l <"$work/err")" -eq 1 ]
}

@test "an option may be cut short, its argument may look like an option" {
    "$GOINSPECT" sites demo.gmi --lim 1 2>/dev/null
    misused "unknown '--limit'" status demo.gmi -o --limit
}

@test "wrong arguments of options are status 64" {
    misused "'x' is not a whole number of at least 0" sites demo.gmi --limit x
    misused "'-1' is not a whole number" sites demo.gmi --limit -1
    misused "unknown 'jsn': did you mean json\?" sites demo.gmi -o jsn
    misused "'0' is not a number of seconds" sites demo.gmi --watch=0
    misused "'many' is not a whole number" sites demo.gmi --snapshot many
    misused "no column 'lvie': did you mean live\?" sites demo.gmi --columns lvie
    misused "no column 'objcets': did you mean objects\?" sites demo.gmi --sort objcets:desc
    misused "'down' is not an order" sites demo.gmi --sort live:down
    misused "'<many' is not a percentage|'many' is not a percentage" spans demo.gmi --util '<many'
    misused "unknown 'listd': did you mean listed\?" spans demo.gmi --place listd
    misused "ends neither in .db nor in .gmi" snapshot demo.gmi -o heap.txt
    misused "has a comma" run -o a,b.db -- true
}

@test "too few and too many words are status 64" {
    misused "too few words" status
    misused "too many words, from 'two' on" status demo.gmi two
    misused "too few words" import demo.gmi
    misused "too few words" run
    misused "the last word is the FILE.db" import a.gmi b.gmi
    misused "the usage is: goinspect profile rate BYTES TARGET" profile rate 1
    misused "'strat' is none of start, stop and rate: did you mean start\?" profile strat 1
    misused "'often' is not a rate" profile rate often 1
}

@test "a picture has no JSON, --stacks no --by" {
    misused "a picture has one format" pages demo.gmi --map -o json
    misused "not with --by" sites demo.gmi --stacks --by line
}

@test "sql takes one statement, and there must be one" {
    misused "no statement" sql demo.gmi ""
    misused "no statement" sql demo.gmi -- "-- nothing"
    misused "one statement at a time" sql demo.gmi "SELECT 1; SELECT 2"
    "$GOINSPECT" sql demo.gmi "SELECT 1; -- that was all"
}

@test "bash completes verbs, options, formats and columns" {
    PATH=$(dirname "$GOINSPECT"):$PATH
    . "$SOURCE_DIR/inspect/goinspect.bash"
    completes() {
        COMP_WORDS=(goinspect "$@")
        COMP_CWORD=$#
        _goinspect
        printf '%s ' "${COMPREPLY[@]}"
    }
    [ "$(completes si)" = "sites " ]
    [ "$(completes sites --lim)" = "--limit " ]
    [ "$(completes sites -o nd)" = "ndjson " ]
    [ "$(completes sites --columns call)" = "callers " ]
    [ "$(completes status demo.g)" = "demo.gmi " ] # whatever else runs under such a name
    [ "$(completes help imp)" = "import " ]
}
