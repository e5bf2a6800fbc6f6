# SPDX-License-Identifier: BSD-3-Clause
#
# redis-server: a load by redis-benchmark, then keys of all types by a script, then everything read
# back.  redis-benchmark draws other keys each time, so what it wrote with -r is flushed, and what it
# wrote without is kept.  A Unix socket, no port, nothing saved.
command -v redis-server redis-benchmark redis-cli >/dev/null || exit 77
[ "$1" = prepare ] && exit 0

socket=$TMPDIR/redis.sock
under redis-server --port 0 --unixsocket "$socket" --save '' --appendonly no --dir "$TMPDIR" \
    --enable-debug-command yes --logfile "$TMPDIR/redis.log" --lazyfree-lazy-user-del yes \
    --hash-max-listpack-entries 64 >/dev/null 2>&1 &
server=$!
trap 'kill $server; wait $server' EXIT
cli() { redis-cli -s "$socket" "$@"; }
for _ in $(seq 1200); do
    cli ping 2>/dev/null | grep -q PONG && break
    kill -0 $server 2>/dev/null || exit 1
    sleep 0.05
done

load() { redis-benchmark -s "$socket" -P 20 -q -t set,get,incr,lpush,rpush,lpop,sadd,hset,zadd "$@" >/dev/null; }
load -n 20000 -r 10000 -c 20 -d 60 || exit 1
cli flushall
load -n 10000 -c 20 || exit 1
awk 'BEGIN {
    for (i = 0; i < 20000; i++) {
        value = ""
        for (k = 0; k < i % 50; k++)
            value = value (i * 7919 + k) "-"
        print "SET string:" i " v" value
        print "HSET hash:" i % 200 " field" i " " value "h"
        print "RPUSH list:" i % 100 " " value "l"
        print "SADD set:" i % 150 " member" i * 31 % 5000
        print "ZADD zset:" i % 120 " " i * 17 % 9973 " z" i
        print "APPEND long:" i % 40 " " value
        if (i % 3 == 0) print "DEL string:" int(i / 2)
        if (i % 7 == 0) print "LPOP list:" i % 100
        if (i % 11 == 0) print "SETRANGE range:" i % 30 " " i % 20000 " x"
        if (i % 1000 == 999) print "EVAL \"local s = 0 for i = 1, 1000 do s = s + #tostring(i) .. i end return s\" 0"
    }
    print "UNLINK long:1 hash:7 list:3"
}' | cli >/dev/null || exit 1

cli debug digest
cli dbsize
awk 'BEGIN {
    for (i = 0; i < 20000; i += 3) print "GET string:" i
    print "GET counter:__rand_int__\nGET key:__rand_int__\nLLEN mylist\nLRANGE mylist 0 50\nHGETALL myhash"
    for (i = 0; i < 200; i++) print "HGET hash:" i " field" i + 400
    for (i = 0; i < 100; i++) print "LRANGE list:" i " 0 -1"
    for (i = 0; i < 150; i += 10) print "SORT set:" i " ALPHA"
    for (i = 0; i < 120; i++) print "ZRANGE zset:" i " 0 20 WITHSCORES"
    for (i = 0; i < 40; i++) print "STRLEN long:" i
    for (i = 0; i < 30; i++) print "GETRANGE range:" i " 0 -1"
}' | cli | tee >(cksum >readback.cksum) | tail -c 20000
cli flushall
cli dbsize
cli shutdown nosave
trap - EXIT
wait $server
