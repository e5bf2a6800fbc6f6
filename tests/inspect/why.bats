#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-3-Clause
#
# why: what is said of an answer that is known (mkimage why=1), and that planted chains are told.

bats_require_minimum_version 1.5.0
load helpers
setup() { common_setup; }
teardown() { common_teardown; }

# known MODE starts a fake agent with the known answer.
known() {
    "$BUILD_DIR/tests/inspect/mkimage" why.gmi why=1
    start /usr/bin/python3 "$SOURCE_DIR/tests/inspect/fake_agent.py" "$1" "$work/why.gmi"
    wait_until test -S "$GOMALLOC_DIR/$pid.sock"
}

# demo NODES starts the program with known places.
demo() {
    under_library "$BUILD_DIR/tests/inspect/why_demo" "$1"
    wait_until grep -q ready log
}

# of NAME prints the object's address, less 0x.
of() { sed -n "s/^$1 0x//p" log; }

# why STATUS NAME [OPTION...] asks about an object of the program; text in out, words in err.
why() {
    local want=$1 name=$2 status=0
    shift 2
    "$GOINSPECT" why "$pid" "0x$(of "$name")" "$@" >out 2>err || status=$?
    [ "$status" -eq "$want" ] && return 0
    echo "why $name: status $status"
    cat out err
    return 1
}

@test "why: the object, the chain, and who points to it" {
    known good
    "$GOINSPECT" why "$pid" 0xc0000000dc >out 2>err
    diff - out <<'EOF'
0xc0000000dc lies 4 bytes within an object.
0xc0000000d8: reachable, 20 B, 9m 50s old, from demo+0x1100
  called by demo+0x1300 < demo+0x1400

The shortest chain that leads there from a variable:
  demo+0x2010
    0xc000002030 +0x8  40 B  8m 20s  demo+0x1200
    0xc000000018 +0x0  20 B  9m 50s  demo+0x1100
    ... 999,995 more like it
    0xc000000048 +0x0  20 B  9m 50s  demo+0x1100
    0xc0000000d8       20 B  9m 50s  demo+0x1100

3,010 words point to it:
      1 in register rbx of thread 4711 (demo)
      2 in stack of thread 4712 (work?[31mer)
  3,000 in objects of 40 B from demo+0x1200: first 0xc000002060 +0x10
      1 in an object of 20 B from demo+0x1100: 0xc000000048 +0x0
      2 in leaked objects of 20 B from demo+0x1100: first 0xc000000078 +0x8
      4 elsewhere
EOF
    grep -q "incomplete: 2 threads did not stop in time" err
    grep -q "paused 700.0 us (3 threads)" err
}

@test "why: rows for programs" {
    known good
    "$GOINSPECT" why "$pid" 0xc0000000dc -o json >out 2>/dev/null
    [ "$(jq -r '.rows[].role' out | uniq -c | tr -s ' \n' ' ')" = " 1 object 6 chain 5 referrer " ]
    jq -e '.rows[0] | [.kind, .address, .at, .size, .requested, .age, .words] ==
        ["reachable", "0xc0000000d8", 4, 24, 20, 590000000000, 3010]' out
    jq -e '.rows[1] | [.step, .kind, .what, .at] == [0, "data", "demo+0x2010", null]' out
    jq -e '.rows[6] | [.step, .at] == [999999, null]' out
    jq -e '.rows[7] | [.kind, .tid, .thread, .words] == ["register", 4711, "demo", 1]' out
    "$GOINSPECT" why "$pid" 0xc0000000dc --columns step,address,what --limit 3 >out 2>/dev/null
    [ "$(wc -l <out)" -eq 4 ]
}

@test "why: lines fit the terminal" {
    known good
    on_terminal 60 "'$GOINSPECT' why $pid 0xc0000000dc 2>/dev/null" >out
    [ "$(widest <out)" -le 60 ]
    grep -q "more like it" out
}

@test "why: what can't be asked, and whom" {
    local word
    for word in 0 0x 12x 0x1000000000000000 "''" c000 99999999999999999999; do
        refuses 64 "is not an address such as 0x" why 1 "$word"
    done
    misused "" why demo.gmi
    refuses 3 "no process" why 4194305 0xc000000000
    refuses 2 'demo.gmi tells of objects, not of what is in them, .*: ask the process while it runs, "goinspect why 4711 0xc000000000"' \
        why demo.gmi 0xc000000000
    known old
    refuses 5 "its library is older than goinspect" why "$pid" 0xc000000000
    known hangup
    refuses 2 "it may have ended" why "$pid" 0xc000000000
    known nofd
    refuses 2 "without the image" why "$pid" 0xc000000000
}

@test "why: of a file, whether the object is among its leaks" {
    local target status
    "$BUILD_DIR/tests/inspect/mkimage" leaks.gmi leaks=1
    "$GOINSPECT" import --quiet leaks.gmi leaks.db
    for target in leaks.gmi leaks.db; do
        status=0
        "$GOINSPECT" why $target 0xc00000001a >out 2>err || status=$?
        [ $status -eq 1 ]
        grep -q "^0xc000000018: had leaked (indirect), 20 B, 9m 50s old, from " out
        grep -q "It was lost with 0xc000000000" out
        status=0
        "$GOINSPECT" why $target 0xc000004000 -o json >out 2>err || status=$?
        [ $status -eq 1 ]
        jq -e '.rows | length == 1 and .[0].kind == "direct leak"' out
        refuses 2 "lists no leak at that address: ask the process" why $target 0xc000009999
    done
}

@test "why: planted chains, a list of a million objects among them" {
    demo 1000000
    why 0 last
    grep -qx "  book+0x8 (why_demo .bss)" out
    grep -qE "^    0x[0-9a-f]+ \+0x0  16 B .* make \(why_demo.c:[0-9]+\)" out
    grep -qE "\.\.\. 999,99[0-9] more like it" out
    grep -q "  called by make_list < main" out
    why 0 interior
    grep -q "lies 9 bytes within an object" out
    grep -qE "marked [0-9,]+ objects" err
    why 0 static
    grep -qx "  shelf+0x18 (why_demo .bss)" out
    why 0 mapped
    grep -q "^Only memory that the program has mapped itself leads there" out
    grep -qE "64.0 KiB mapped by the program, at \+0x268" out
    why 1 mapped --no-mapped
    why 0 named
    grep -q "named by the program, at +0x28" out
    why 0 thread-local
    grep -qE "^  own, thread-local in thread [0-9]+ \(why_demo\)" out
    why 0 key
    grep -q "pthread_setspecific" out
    why 0 stack
    grep -qE "^  stack of thread [0-9]+ \(worker\), in serve" out
    why 1 other
    grep -q "leaked: nothing leads to it, 96 B" out
    grep -qE "1 in a leaked object of 80 B from make \(.*\): 0x$(of ring) \+0x10" out
    why 0 ignored
    grep -q "ignored by the program" out
    why 1 ring -o ndjson
    [ "$(jq -r 'select(.role == "object") | .kind' out)" = "direct leak" ] ||
        [ "$(jq -r 'select(.role == "object") | .kind' out)" = "indirect leak" ]
    refuses 3 "0x$(of freed) is in a free slot of 3072 bytes" why "$pid" "0x$(of freed)"
    refuses 3 "is in a stack of gomalloc_stack_alloc" why "$pid" "0x$(of coroutine-stack)"
    refuses 3 "is not in the heap: it is book \(why_demo .bss\)" why "$pid" "0x$(of variable)"
    refuses 3 "is not in the heap: it is far\+0x15f90 \(why_demo .bss\)" why "$pid" "0x$(of far)"
    refuses 3 "is not in the heap: malloc has not returned it" why "$pid" 0x1000
}

@test "why: allocations that were not recorded, and a check without a copy" {
    options=rate=0 demo 10
    why 0 last --in-place
    grep -q "its allocation was not recorded" out
    grep -qx "  book+0x8 (why_demo .bss)" out
    grep -q "paused at least" err
}

@test "why: a process that ends meanwhile" {
    local i status
    for i in 1 2 3; do
        demo 300000
        (sleep 0.0$((i * 3)) && kill -KILL "$pid") &
        status=0
        "$GOINSPECT" why "$pid" "0x$(of last)" >out 2>err || status=$?
        [[ $status =~ ^[023]$ ]]
        if [ "$status" -ne 0 ]; then
            [ ! -s out ] && [ "$(wc -l <err)" -eq 1 ]
        fi
        wait
    done
}

@test "why: each object that leak_cases keeps is reachable, and no other" {
    local cases="$BUILD_DIR/tests/inspect/leak_cases_O2" verdict name hidden status seen=" " n=0
    under_library "$cases" "$BUILD_DIR/tests/inspect/leak_plugin.so"
    wait_until grep -q ready log
    while read -r verdict name hidden; do
        [[ $verdict =~ ^(lost|kept)$ && $seen != *" $name "* ]] || continue
        seen+="$name "
        status=0
        "$GOINSPECT" why "$pid" "$(printf '0x%x' $((~0x$hidden)))" >out 2>err || status=$?
        [ "$status" -eq "$([ "$verdict" = lost ] && echo 1 || echo 0)" ] || {
            echo "$verdict $name: $status"
            cat out err
            return 1
        }
        case $name in
        data) grep -q "in_data (leak_cases_O2 .data)" out ;;
        plugin-bss) grep -q "bss.* (leak_plugin.so .bss)" out ;;
        tls) grep -q "own_tls.*, thread-local in thread" out ;;
        thread-tls) grep -q "own_tls.*, thread-local in thread" out ;;
        thread-plugin-tls) grep -q "the table of thread-local variables of thread" out ;;
        thread-stack) grep -q "in on_thread" out ;;
        register) grep -q "register rbx of thread" out ;;
        chain) grep -q "It was lost with the first of these" out ;;
        esac
        n=$((n + 1))
    done <log
    [ $n -gt 30 ]
}

@test "leaks --reachable: what lives and is no leak, with an example and ages" {
    "$BUILD_DIR/tests/inspect/mkimage" leaks.gmi leaks=1
    "$GOINSPECT" import --quiet --objects all leaks.gmi leaks.db
    "$GOINSPECT" leaks leaks.gmi --reachable -o csv --no-header --sort site \
        --columns site,objects,reachable,example >image 2>err || [ $? -eq 1 ]
    grep -qE "still reachable: .* in 172 objects" err
    # All but the leaks: of 100 nodes three, of 21 tables (one is large) two, of 50 that are not recorded one.
    [ "$(grep "^1," image)" = "1,97,1940,0xc000000048" ]
    [ "$(cut -d, -f2 image | tr '\n' ' ')" = "49 97 19 7 " ]
    "$GOINSPECT" leaks leaks.db --reachable -o csv --no-header --sort site \
        --columns site,objects,reachable,example >database 2>/dev/null || [ $? -eq 1 ]
    diff image database
    "$GOINSPECT" import --quiet --objects none leaks.gmi none.db
    refuses 2 "has no rows for objects" leaks none.db --reachable
    misused "does not go with options about leaks" leaks leaks.gmi --reachable --stacks
}
