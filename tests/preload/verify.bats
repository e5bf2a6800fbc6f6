# SPDX-License-Identifier: BSD-3-Clause
#
# The stacks of real programs are those that a full walk and libunwind find: every one of them is
# compared (verify=1).  tests/bench/verify does so for ten million stacks.

bats_require_minimum_version 1.5.0

setup() {
    cd "$(mktemp -d)" || return
    mkdir images
    export GOMALLOC_DIR=$PWD
}

teardown() { rm -rf "$PWD"; }

verified() {
    GOMALLOC=rate=1,verify=1,exit=$PWD/images/%p.gmi LD_PRELOAD=$LIBGOMALLOC "$@"
}

# agree AT_LEAST: so many were compared, with both, and none differs.
agree() {
    local captures=0 a b c
    for image in images/*.gmi; do
        IFS=, read -r a b c <<<"$("$GOINSPECT" sql -o csv --no-header "$image" "
            SELECT sum(value * (name = 'recorder.verify.captures')),
                   sum(value * (name = 'recorder.verify.libunwind.captures')),
                   sum(value * (name = 'recorder.verify.differences')) FROM v1_counter" | tr -d '"\r')"
        echo "$image: $a captures, $b by libunwind too, $c differences"
        [ "$c" = 0 ] || return 1
        [ "$b" = "$a" ] || return 1
        captures=$((captures + a))
    done
    [ "$captures" -ge "$1" ]
}

@test "python3" {
    [ -x /usr/bin/python3 ] || skip
    PYTHONMALLOC=malloc verified /usr/bin/python3 -S -c '
import json, re
for i in range(20):
    json.loads(json.dumps({str(k): [k] * (k % 5) for k in range(20)}))
print(re.sub("(a+)b", lambda m: m[1], "aaab" * 20)[:3])'
    agree 10000
}

@test "sqlite3" {
    command -v sqlite3 || skip
    verified sqlite3 :memory: 'CREATE TABLE t (a PRIMARY KEY, b);
        WITH RECURSIVE i(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM i WHERE i < 2000)
        INSERT INTO t SELECT hex(i * 7919), i FROM i;
        SELECT count(DISTINCT substr(a, 3)), group_concat(b) FROM t WHERE b < 9 ORDER BY a;'
    agree 1000
}

@test "cc1" {
    command -v gcc || skip
    printf '#include <stdlib.h>\nint main(int n, char **v) { return n > 1 ? atoi(v[1]) : 0; }\n' >x.c
    verified gcc -O2 -S x.c
    agree 10000
}

@test "cc1plus" {
    command -v g++ || skip
    printf 'template <int n> struct s { int f() { return s<n - 1>().f() + n; } };
        template <> struct s<0> { int f() { return 1; } }; int main() { return s<50>().f(); }\n' >x.cc
    verified g++ -O1 -S x.cc
    agree 10000
}

@test "perl" {
    command -v perl || skip
    verified perl -e 'my %h; $h{$_ % 97}{$_} = [1 .. $_ % 5] for 1 .. 500; my $s = join ",", map { s/1/x/r } sort keys %h;
        eval { die {} } for 1 .. 50; print length $s, "\n"'
    agree 1000
}

@test "a difference is seen: libunwind's, when a library is in the place of another" {
    GOMALLOC=rate=1,verify=1,unwinder=libunwind,exit=$PWD/images/1.gmi LD_PRELOAD=$LIBGOMALLOC \
        "$BUILD_DIR/tests/preload/never" reload "$BUILD_DIR"/tests/unit/libunit_reload_[ab].so
    run agree 1
    [ "$status" -ne 0 ]
    [[ $output == *" differences"* && $output != *" 0 differences"* ]]
}

@test "what is verified of the fuzzing program is told: captures and differences" {
    run "$SOURCE_DIR/tests/bench/verify" "$BUILD_DIR" 3000 fuzz
    [ "$status" -eq 0 ]
    grep -Eqx "fuzz +3000 +[0-9]+ +0" <<<"$output"
}
