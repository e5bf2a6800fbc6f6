#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-3-Clause
#
# check: limits held against heaps of known content, with and without a baseline, and the reports.

bats_require_minimum_version 1.5.0
load helpers
setup() {
    common_setup
    mk="$BUILD_DIR/tests/inspect/mkimage"
    "$mk" a.gmi
    "$mk" b.gmi id=2 captured_ns=1700000060000000000 nodes=150 buffers=2 other_numbers=1
}
teardown() { common_teardown; }

# check STATUS ARGUMENT... runs it; what it writes is in out and err.
check() {
    local want=$1 status=0
    shift
    "$GOINSPECT" check "$@" >out 2>err || status=$?
    [ "$status" -eq "$want" ] || { echo "status $status, wanted $want"; cat out err; return 1; }
}

# junit FILE TESTS FAILURES ERRORS checks that it is well-formed and says so.
junit() {
    /usr/bin/python3 - "$@" <<'END'
import sys
import xml.etree.ElementTree as tree
path, tests, failures, errors = sys.argv[1], *map(int, sys.argv[2:5])
root = tree.parse(path).getroot()
assert root.tag == "testsuites" and len(root) == 1 and root[0].tag == "testsuite"
suite = root[0]
for node in root, suite:
    assert [int(node.get(key)) for key in ("tests", "failures", "errors")] == [tests, failures, errors]
assert len(suite) == tests and all(case.tag == "testcase" for case in suite)
assert len(suite.findall("testcase/failure")) == failures and len(suite.findall("testcase/error")) == errors
assert all(case.get("name") and case.get("classname") for case in suite)
assert all(node.get("message") and node.text for node in suite.findall("testcase/failure"))
print(suite.get("name"))
END
}

@test "check: leaks, as objects and as bytes, direct and indirect" {
    "$mk" leaks.gmi leaks=1
    check 1 leaks.gmi --max-leaks 0
    grep -qx "FAIL  max-leaks 0" out
    grep -q "156 B in 6 objects leaked" out
    grep -q "next: goinspect leaks leaks.gmi --stacks" out
    grep -q "incomplete: 2 threads did not stop in time" err
    check 1 leaks.gmi --max-leaks 5
    check 0 leaks.gmi --max-leaks 6
    check 1 leaks.gmi --max-leaks 155B
    check 0 leaks.gmi --max-leaks 156B
    check 0 leaks.gmi --max-leaks 6objects
    printf 'leak:demo\n' >known
    check 1 leaks.gmi --max-leaks 0 --suppressions known
    grep -q "16 B in 1 object leaked" out
    check 0 leaks.gmi --max-leaks 1 --suppressions known
    "$GOINSPECT" import --quiet leaks.gmi leaks.db
    check 1 leaks.db --max-leaks 5
    check 2 a.gmi --max-leaks 0
    grep -q "a.gmi holds no leak check" err
    check 3 leaks.gmi --max-leaks 0 --suppressions none
}

@test "check: growth against an image and a snapshot, exact to the byte" {
    "$GOINSPECT" import --quiet a.gmi b.gmi heap.db
    check 0 b.gmi --baseline heap.db@1 --max-growth 960B
    check 1 heap.db --baseline heap.db@1 --max-growth 959B
    check 0 heap.db@2 --baseline a.gmi --max-growth 45objects
    check 1 b.gmi --baseline a.gmi --max-growth 44objects
    check 0 b.gmi --baseline a.gmi --max-growth 2.2%
    check 1 b.gmi --baseline a.gmi --max-growth 2.1%
    grep -q "live 45.3 KiB, 44.4 KiB in the baseline (+2.1%)" out
    grep -q "1000 B in 50 objects: demo+0x1100" out
    check 0 a.gmi --baseline b.gmi --max-growth 0
    check 0 heap.db --snapshot 1 --baseline a.gmi --max-growth 0
    check 0 b.gmi --baseline a.gmi --max-site-growth 1000B
    check 1 b.gmi --baseline a.gmi --max-site-growth 999B
    check 0 b.gmi --baseline a.gmi --max-site-growth 2.3%
    check 1 b.gmi --baseline a.gmi --max-site-growth 2.2%
}

@test "check: what is live, resident and given to nobody" {
    check 0 a.gmi --max-live 45456B --max-rss 7MiB --max-live 178objects
    check 1 a.gmi --max-live 45455B
    check 1 a.gmi --max-live 177objects
    check 1 a.gmi --max-rss 7339008B
    local percent bytes
    percent=$("$GOINSPECT" sql a.gmi -o csv --no-header "SELECT frag_percent FROM v1_fragmentation WHERE size_class IS NULL")
    check 0 a.gmi --max-frag "$(echo "$percent" | awk '{ printf "%.2f", $1 + 0.01 }')%"
    check 1 a.gmi --max-frag "$(echo "$percent" | awk '{ printf "%.2f", $1 - 0.01 }')%"
    grep -q "free slots of 24 bytes in 1 span" out
    bytes=$("$GOINSPECT" sql a.gmi -o csv --no-header "SELECT external_bytes + tail_bytes + free_page_bytes FROM
        v1_fragmentation WHERE size_class IS NULL")
    check 0 a.gmi --max-frag "${bytes}B"
    check 1 a.gmi --max-frag "$((bytes - 1))B"
}

@test "check: what is exceeded stands first, worst before others; rows say the same" {
    check 1 b.gmi --baseline a.gmi --max-live 1GiB --max-growth 2% --max-site-growth 0 --max-rss 1KiB
    grep -E "^(FAIL|ok)" out >order
    diff - order <<END
FAIL  max-site-growth 0
FAIL  max-rss 1KiB
FAIL  max-growth 2%
ok    max-live 1GiB
END
    check 1 b.gmi --baseline a.gmi --max-live 1GiB --max-growth 2% -o json
    jq -e '.rows | map([.check, .result, .limit, .unit]) == [["max-growth", "exceeded", 2, "percent"],
        ["max-live", "ok", 1073741824, "bytes"]] and (.[0].details | length > 0) and (.[1].value == 46416)' out
    check 1 b.gmi --max-rss 1KiB -o csv --columns check,value
    [ "$(cat out)" = "$(printf 'check,value\nmax-rss,7340032')" ]
    COLUMNS=60 "$GOINSPECT" check a.gmi --max-frag 1% >out || true
    [ "$(widest <out)" -le 60 ]
}

@test "check: a baseline is a text that keeps figures, call sites and limits, and is written whole" {
    check 0 a.gmi --max-growth 2% --max-live 1GiB --write-baseline base.json
    [ ! -s out ]
    jq -e '.gomalloc_baseline == 1 and .live_bytes == 45456 and .live_objects == 178 and .rate == 1 and
        .limits == {"max-growth": "2%", "max-live": "1GiB"} and (.sites | length) == 2 and
        ([.sites[].sizes[] | .[2] * .[3]] | add) == 178' base.json
    check 0 a.gmi --baseline base.json
    [ "$(grep -c "^ok" out)" -eq 2 ]
    check 1 b.gmi --baseline base.json
    grep -qx "FAIL  max-growth 2%" out
    check 0 b.gmi --baseline base.json --max-growth 3% # the command line prevails
    # The demo's functions have no names: by name they are one.
    check 1 b.gmi --baseline base.json --max-growth 3% --max-site-growth 834B
    check 0 b.gmi --baseline base.json --max-growth 3% --max-site-growth 835B
    cp base.json kept.json
    mkdir readonly
    mkdir readonly/base.json
    check 2 b.gmi --write-baseline readonly/base.json
    grep -q "readonly/base.json: cannot write: .*nothing was changed" err
    [ "$(ls readonly)" = base.json ]
    diff kept.json base.json
    misused "goes with neither --baseline nor --junit" check a.gmi --write-baseline x.json --junit y.xml
}

@test "check: what is sampled is a baseline as well, and chance is no growth" {
    "$mk" a.gmi rate=4096 pid=1
    "$mk" b.gmi rate=4096 pid=2 id=2 nodes=120
    check 0 a.gmi --write-baseline base.json
    for before in a.gmi base.json; do
        check 0 b.gmi --baseline $before --max-site-growth 1KiB
        check 1 b.gmi --baseline $before --max-growth 479B
        check 0 b.gmi --baseline $before --max-growth 480B
    done
    "$mk" b.gmi rate=4096 pid=2 id=2 nodes=300
    for before in a.gmi base.json; do
        check 1 b.gmi --baseline $before --max-site-growth 1KiB
        cp out "out.$(basename $before)"
    done
    diff <(sed 's/demo+.*//; /next:/d' out.a.gmi) <(sed 's/demo+.*//; /next:/d' out.base.json)
}

@test "check: a damaged baseline is refused in one line" {
    echo '{"gomalloc_baseline": 1, "limits' >bad.json
    refuses 2 "bad.json is no baseline: its JSON is damaged" check a.gmi --baseline bad.json
    echo '{"some": "thing"}' >bad.json
    refuses 2 "bad.json is no baseline; " check a.gmi --baseline bad.json
    echo '{"gomalloc_baseline": 2}' >bad.json
    refuses 5 "bad.json is a baseline of version 2" check a.gmi --baseline bad.json
    echo '{"gomalloc_baseline": 1, "limits": {"max-growth": "much"}}' >bad.json
    refuses 2 "bad.json: max-growth: 'much' is not a limit" check a.gmi --baseline bad.json
    echo '{"gomalloc_baseline": 1}' >bad.json
    refuses 2 "bad.json is a damaged baseline" check a.gmi --baseline bad.json --max-growth 5%
    echo '{"gomalloc_baseline": 1, "live_bytes": 1, "sites": [{"stack": ["a", 7, null], "sizes": [[1]]}, {}]}' >bad.json
    check 1 a.gmi --baseline bad.json --max-growth 5%
    echo '{"gomalloc_baseline": 1, "live_bytes": 1, "sites": [5, null]}' >bad.json
    refuses 2 "bad.json is a damaged baseline" check a.gmi --baseline bad.json --max-growth 5%
}

@test "check: JUnit XML is well-formed whatever the names, one testcase a limit" {
    check 1 b.gmi --baseline a.gmi --max-live 1GiB --max-growth 2% --junit out.xml
    [ "$(junit out.xml 2 1 0)" = "goinspect check b.gmi" ]
    [ "$(stat -c %a out.xml)" = "$(printf '%o' $((0666 & ~0$(umask))))" ]
    local odd=$'od]]><&">\'\x01\x1b[1m\xff\xef\xbf\xbf\xed\xa0\x80.gmi'
    cp b.gmi "./$odd"
    check 1 "./$odd" --max-live 1KiB --junit out.xml
    junit out.xml 1 1 0
    # What could not be checked is an error, not a success.
    check 2 a.gmi --max-leaks 0 --max-live 1GiB --junit out.xml
    junit out.xml 2 0 2
    check 3 none.gmi --max-leaks 0 --junit out.xml
    junit out.xml 1 0 1
    check 3 a.gmi --max-live 1GiB --junit missing/out.xml
    grep -q "missing/out.xml: cannot write" err
    [ "$(find . -name '*.tmp*')" = "" ]
}

@test "check: limits that mean nothing are refused" {
    misused "'5' is not a limit such as 5%, 64MiB or 1000objects" check a.gmi --max-growth 5
    misused "'5%' is not a limit such as 100objects" check a.gmi --max-leaks 5%
    misused "'-1' is not a limit" check a.gmi --max-leaks=-1
    misused "'10objects' is not a limit such as 30% or 512MiB" check a.gmi --max-frag 10objects
    misused "'1.5MiB' is not a limit" check a.gmi --max-live 1.5MiB
    misused "'nan%' is not a limit" check a.gmi --max-frag nan%
    misused "there is no limit to check: name one" check a.gmi
    misused "max-growth compares with a baseline" check a.gmi --max-growth 5%
    refuses 3 "none.gmi: No such file" check a.gmi --max-growth 5% --baseline none.gmi
}

@test "check: in a script: a program's leaks at its end, and its growth from build to build" {
    [ -e "$LIBGOMALLOC" ] || skip "libgomalloc.so is not built in this configuration"
    local demo="$BUILD_DIR/tests/inspect/diff_demo"
    run_demo() { GOMALLOC=rate=1,exit=$1,leaks=on "$GOINSPECT" run -- "${@:2}" </dev/null; }
    run_demo one.gmi "${demo}_O1" 100 50
    check 0 one.gmi --max-leaks 0 --junit out.xml
    junit out.xml 1 0 0
    check 0 one.gmi --max-leaks 0 --max-site-growth 5% --write-baseline base.json
    run_demo two.gmi "${demo}_O0" 100 50
    check 0 two.gmi --baseline base.json
    run_demo three.gmi "${demo}_O0" 100 70 lose
    check 1 three.gmi --baseline base.json
    grep -q "900 B in 3 objects leaked" out
    grep -qE "900 B in 3 objects: lose \(diff_demo.c:[0-9]+\)" out
    grep -q "39.1 KiB in 20 objects: keep_more" out
}

@test "check: a process" {
    under_library "$BUILD_DIR/tests/inspect/leak_cases_O2" "$BUILD_DIR/tests/inspect/leak_plugin.so"
    wait_until grep -q ready log
    check 0 "$pid" --max-live 1GiB --max-rss 1GiB
    [ ! -s err ]
    check 1 "$pid" --max-leaks 0
    grep -qE "paused ([0-9]+s|[0-9.]+ [mu]s)" err
}

@test "check: what is no baseline, and what is no file to write to, is said once" {
    : >empty
    echo "a text" >text
    "$mk" leaks.gmi leaks=1
    refuses 3 "^goinspect: --suppressions: nowhere: No such file or directory; a text with lines of leak:PATTERN is wanted$" \
        check leaks.gmi --max-leaks 0 --suppressions nowhere
    refuses 3 "^goinspect: --baseline: no process and no file called 'nowhere'.*; a .gmi, a .db or what --write-baseline made is wanted$" \
        check a.gmi --max-growth 1% --baseline nowhere
    refuses 2 "^goinspect: --baseline: text: is not a heap image.*; a .gmi, a .db or what --write-baseline made is wanted$" \
        check a.gmi --max-growth 1% --baseline text
    refuses 2 "^goinspect: --baseline: empty: is empty" check a.gmi --max-growth 1% --baseline empty
    mkdir folder
    "$GOINSPECT" check a.gmi --max-live 1GiB --junit folder >out 2>err && false
    [ "$(grep -c "folder: cannot write: Is a directory" err)" -eq 1 ]
}

@test "check: a device or a pipe is written to, not replaced; a link stays one" {
    ln -s /dev/full full
    : >there.xml
    ln -s there.xml link
    "$GOINSPECT" check a.gmi --max-live 1GiB --junit full >out 2>err && false
    grep -q "full: cannot write: No space left on device; nothing was changed" err
    [ -L full ] && [ -c /dev/full ]
    mkfifo pipe
    cat pipe >read &
    "$GOINSPECT" check a.gmi --max-live 1GiB --junit pipe >out 2>err
    wait $!
    [ -p pipe ]
    "$GOINSPECT" check a.gmi --max-live 1GiB --junit link >out 2>err
    [ -L link ] && cmp read there.xml
    ln -s loop loop # stands for all that the kernel does not follow, such as another user's link in /tmp
    run -2 "$GOINSPECT" check a.gmi --max-live 1GiB --junit loop
    [[ "$output" == *"loop: cannot write: Too many levels of symbolic links; nothing was changed"* ]]
    [ -L loop ]
}
