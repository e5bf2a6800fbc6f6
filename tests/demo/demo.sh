#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# The main job, on a real server: demo.sh BUILD_DIR [FILE.db]   (./dev demo calls it)
#
# Starts Debian's redis-server under the library, loads it, asks it while it runs, takes two
# snapshots into one file with load between them, and shows which call sites grew.  Nothing outside
# of a temporary folder is touched: no port, no file of redis.  The snapshots stay in FILE.db
# (BUILD_DIR/demo.db), to be asked more.
#
# Debian's redis-server is linked with libjemalloc, whose names are malloc's own.  A preloaded library
# comes before it, so all of the server's memory is ours, and that is verified below.
set -euo pipefail

build=$(cd "${1:?usage: demo.sh BUILD_DIR [FILE.db]}" && pwd)
goinspect=$build/inspect/goinspect
shown=${goinspect#"$PWD"/}
db=${2:-$build/demo.db}
work=$(mktemp -d "${TMPDIR:-/tmp}/gomalloc-demo.XXXXXX")
export GOMALLOC_DIR=$work/sockets
mkdir -m 700 "$GOMALLOC_DIR"
socket=$work/redis.sock
server= runner=
begin=$SECONDS

bold= dim= plain=
if [ -t 1 ] && [ -z "${NO_COLOR:-}" ] && [ "${TERM:-dumb}" != dumb ]; then
    bold=$'\e[1m' dim=$'\e[2m' plain=$'\e[0m'
fi

cleanup() {
    # The server is a child of the runner, which hands the signal on and ends with it.
    [ -z "$runner" ] || kill "$runner" 2>/dev/null || :
    [ -z "$runner" ] || wait "$runner" 2>/dev/null || :
    rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

part=0
# section TITLE EXPLANATION: a heading, and one line that says what is going to be seen.
section() {
    part=$((part + 1))
    printf '\n%s%d. %s%s\n   %s\n' "$bold" $part "$1" "$plain" "$2"
}

# ask WORD...: shows a goinspect command and the beginning of what it prints.  findings=1: it may
# end with 1, as it does when it has found something.
ask() {
    local word line='   $ goinspect'
    for word in "$@"; do
        case $word in
        *' '*) line+=" \"$word\"" ;;
        *) line+=" ${word#"$PWD"/}" ;;
        esac
    done
    printf '\n%s%s%s\n' "$dim" "$line" "$plain"
    local status=0
    "$goinspect" "$@" >"$work/shown" 2>&1 || status=$?
    [ $status -le "${findings:-0}" ] || fail "goinspect $1: $(tail -n 1 "$work/shown")"
    # Which packages have the server's lines is said by each command; here the symbols do.
    grep -v ': no lines: ' "$work/shown" | head -n "${rows:-12}" | sed -E "s|$PWD/||g; s|^(.{$width}).*|\\1|; s|^|   |"
}
columns=120
if [ -t 1 ] && size=$(stty size 2>/dev/null </dev/tty); then
    columns=${size#* }
fi
width=$((columns - 3))
export COLUMNS=$width # goinspect leaves out what does not fit

fail() {
    echo "demo: $*" >&2
    [ ! -s "$work/server.log" ] || tail -n 5 "$work/server.log" >&2
    exit 2
}

cli() { redis-cli -s "$socket" "$@"; }

# load PREFIX N: a visitor's session each: a hash, a list of pages, an index.  What a real program
# leaves behind when nobody sets an expiry.
load() {
    awk -v prefix="$1" -v n="$2" 'BEGIN {
        for (i = 0; i < n; i++) {
            print "HSET session:" prefix ":" i " user u" i " agent browser-" i % 7 " cart " i * 7919 % 100003
            print "RPUSH visits:" i % 300 " /page/" i % 977 "?session=" prefix i
            print "SET page:" prefix ":" i " " substr("a-page-that-was-rendered-once-and-is-kept-for-ever--------------", 1, 20 + i % 40)
        }
    }' | cli --pipe >"$work/pipe.log" 2>&1 || fail "redis-cli: $(tail -n 1 "$work/pipe.log")"
}

# unload N: 19 of 20 of the sessions that load has made go, and their pages.
unload() {
    awk -v n="$1" 'BEGIN {
        for (i = 0; i < n; i++)
            if (i % 20 != 0)
                print "DEL session:first:" i " session:second:" i " page:first:" i " page:second:" i
    }' | cli --pipe >"$work/pipe.log" 2>&1 || fail "redis-cli: $(tail -n 1 "$work/pipe.log")"
}

for tool in redis-server redis-benchmark redis-cli; do
    command -v $tool >/dev/null || fail "$tool is not installed: apt-get install redis-server redis-tools"
done
[ -x "$goinspect" ] && [ -f "$build/lib/libgomalloc.so" ] || fail "nothing is built in $build: ./dev build"
rm -f "$db"

section "A real server under the library" \
    "Debian's redis-server, unchanged; every allocation is recorded, with its call stack."
printf '\n%s   $ goinspect run -- redis-server --port 0 --unixsocket redis.sock%s\n' "$dim" "$plain"
"$goinspect" run -- redis-server --port 0 --unixsocket "$socket" --save '' --appendonly no \
    --dir "$work" --daemonize no >"$work/server.log" 2>&1 &
runner=$!
for _ in $(seq 1200); do
    [ "$(cli ping 2>/dev/null)" = PONG ] && break
    kill -0 $runner 2>/dev/null || fail "redis-server ended"
    sleep 0.05
done
server=$(cli info server | sed -n 's/^process_id:\([0-9]*\).*/\1/p')
[ -n "$server" ] || fail "redis-server does not answer"
for _ in $(seq 1200); do # a program can be asked from a moment after its start on
    "$goinspect" status "$server" >/dev/null 2>&1 && break
    sleep 0.05
done
live=$("$goinspect" sql -o csv --no-header "$server" "SELECT sum(live_objects) FROM v1_span")
[ "${live:-0}" -gt 1000 ] || fail "the server's memory is not ours: $live live objects"
echo "   It runs as process $server; the library holds $live objects of it."

section "Load" "redis-benchmark, bounded, then 6000 sessions that stay."
redis-benchmark -s "$socket" -q -P 20 -c 20 -n 20000 -r 5000 -d 100 -t set,get,lpush,lpop,hset,sadd |
    tr '\r' '\n' | sed -n 's/^\([A-Z]*: [0-9.]* requests per second\).*/   \1/p'
load first 6000

section "Ask it while it runs" "It goes on serving: these are queries on the live process."
rows=5 ask ps
rows=40 ask status "$server"

section "Where the memory is" "Size classes, spans (pages of one class), arenas (64 MiB), and the page allocator."
ask classes "$server" --sort live:desc --limit 8
ask spans "$server" --limit 6
ask arenas "$server"
rows=40 ask pages "$server"

section "Who allocated it" "Call sites by what they hold now. Names come from the symbols of Debian's binary."
ask sites "$server" --columns live,percent,objects,function,callers --limit 10

section "The heap is a database" "Any question in SQL, on the running process. Here: classes with the most unused room."
rows=8 ask sql "$server" "SELECT slot_bytes, spans, live_objects, free_bytes, used_percent FROM v1_class WHERE spans > 0 ORDER BY free_bytes DESC LIMIT 5"

section "Two snapshots, with load between them" "Both go into one SQLite file. In between, 9000 more sessions come and stay."
ask snapshot "$server" -o "$db"
load second 9000
ask snapshot "$server" -o "$db"

section "What grew" "The same call sites in both snapshots, by the bytes they hold more."
ask growth "$db" --columns grown,grown_objects,live,function,callers --limit 10
grown=$("$goinspect" sql -o csv --no-header "$db" \
    "SELECT function FROM v1_site_growth WHERE snapshot_a = 1 AND snapshot_b = 2 AND grown_bytes > 0
     ORDER BY grown_bytes DESC LIMIT 1")
[ -n "$grown" ] || fail "nothing grew between the snapshots"
grown_site=$("$goinspect" sql -o csv --no-header "$db" \
    "SELECT site_b FROM v1_site_growth WHERE snapshot_a = 1 AND snapshot_b = 2 ORDER BY grown_bytes DESC LIMIT 1")
printf '\n   The first of them, %s, from the innermost call outwards:\n' "$grown"
rows=9 ask sql "$db" "SELECT text AS call FROM v1_stack WHERE snapshot_id = 2 AND site_id = $grown_site ORDER BY frame, inline_depth"

section "Most of it goes away, and the memory stays" \
    "19 of 20 sessions are deleted. Few objects of many spans are left: whose are they?"
unload 9000
findings=1 rows=30 ask doctor "$server" --limit 2
rows=8 ask pins "$server" --columns bytes,blocks,objects,kept,function,callers --limit 5

section "What nothing leads to, and what leads there" \
    "The server stands still for a millisecond while a copy of it is made; the copy is searched."
findings=1 rows=6 ask leaks "$server"
largest=$("$goinspect" sql -o csv --no-header "$server" \
    "SELECT address FROM v1_object ORDER BY given DESC LIMIT 1" 2>/dev/null)
findings=1 rows=10 ask why "$server" "$largest"

keys=$(cli dbsize)
printf '\n%sDone%s in %d seconds. The server had %s keys; it is stopped now, its folder removed.\n' \
    "$bold" "$plain" $((SECONDS - begin)) "$keys"
mine=${db#"$PWD"/}
printf 'The snapshots are in %s. What to try next:\n\n' "$mine"
try() { printf '    %-62s %s%s%s\n' "$1" "$dim" "$2" "$plain"; }
try "$shown growth $mine" "all sites that grew"
try "$shown sites $mine --by function" "who holds how much in the second snapshot"
try "sqlite3 $mine 'SELECT * FROM v1_snapshot'" "it is SQLite; see gomalloc-schema(5)"
try "$shown run -o my.db -- PROGRAM" "a program of yours, every allocation"
try "LD_PRELOAD=${build#"$PWD"/}/lib/libgomalloc.so SERVER &" "a service of yours, sampled"
try "$shown status SERVER" "and what it holds"
