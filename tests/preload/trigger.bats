# SPDX-License-Identifier: BSD-3-Clause
#
# trigger=: snapshots that a process takes of itself as its resident set grows, or as it comes near
# the limit on its memory; their names, their number, and what failure is said.
#
# Snapshots are seconds apart.  So the programs that take several begin first, side by side, each in a
# folder of its own, and are looked at last.

bats_require_minimum_version 1.5.0
load image_helpers

setup_file() {
    export several
    several=$(mktemp -d)
    mkdir -p "$several"/{rss,keep,failed/{1,4}}
    cat >"$several/grow.py" <<'END'
# grow.py SECONDS STOP...: holds 24 MiB more at each step, waits until there is the file that is
# named, or after a minus is none any more, and goes on; then for SECONDS more.
import os, sys, time
kept = []
for word in sys.argv[2:]:
    name = word.removeprefix("-")
    if word == name:
        kept.append(b"x" * (24 << 20))
    for _ in range(6000):
        if os.path.exists(name) == (word == name):
            break
        time.sleep(0.02)
    else:
        sys.exit(f"{word} in vain; there are {os.listdir()}")
time.sleep(float(sys.argv[1]))
END
    cat >"$several/failed.py" <<'END'
# failed.py: grows until there is 4/a.gmi, and ends when there is no 1/a.gmi any more.
import os, sys, time
kept = []
for _ in range(1200):
    if os.path.exists("4/a.gmi") and not os.path.exists("1/a.gmi"):
        sys.exit(0)
    if not os.path.exists("4/a.gmi"):
        kept.append(b"x" * (256 << 10))
    time.sleep(0.1)
sys.exit(f"in vain; there are {list(os.walk('.'))}")
END
    begin rss 'trigger=rss+20M,snapshot=a-%n.gmi' "$several/grow.py" 0 a-1.gmi a-2.gmi
    # the third is the first that is one too many
    begin keep 'trigger=rss+20M,snapshot=a-%n.gmi,keep=1' "$several/grow.py" 0 a-1.gmi a-2.gmi -a-1.gmi
    # the second and the third can't be written: their folders are not there
    begin failed 'trigger=rss+4M,snapshot=%n/a.gmi,keep=1' "$several/failed.py"
}

# begin FOLDER OPTIONS COMMAND... runs Python there, under the library; FOLDER.status is its status.
begin() {
    (
        image_setup
        rmdir "$work"
        cd "$several/$1" || exit
        GOMALLOC_DIR=$several/sockets under "$2" "$python" "${@:3}" >"../$1.log" 2>&1
        echo $? >"../$1.new"
        mv "../$1.new" "../$1.status"
    ) 3>&- &
}

teardown_file() {
    wait # each ends by itself, two minutes later at most
    rm -rf "$several"
}

# ended FOLDER waits for what begin has begun there, and goes there.
ended() {
    for ((i = 0; i < 6000; i++)); do
        [ ! -e "$several/$1.status" ] || break
        sleep 0.05
    done
    cat "$several/$1.log"
    [ "$(cat "$several/$1.status")" = 0 ]
    cd "$several/$1" || return
}

setup() {
    image_setup
    cp "$several/grow.py" .
}

teardown() {
    rmdir "$group" 2>/dev/null || true
    image_teardown
}

@test "no snapshot while nothing grows, and none without a trigger" {
    under 'trigger=rss+900M,snapshot=a-%n.gmi' "$python" -c 'import time; time.sleep(0.5)'
    under 'snapshot=b-%n.gmi,keep=3' "$python" grow.py 0.5 grow.py
    [ -z "$(ls -- *.gmi 2>/dev/null)" ]
}

@test "by default the images are numbered, beside the program, by its pid" {
    under 'trigger=rss+20M' "$python" -c '
import os, time
kept = b"x" * (24 << 20)
while not os.path.exists(f"gomalloc-{os.getpid()}-1.gmi"):
    time.sleep(0.02)'
}

@test "without %n there is one image, the latest" {
    under 'trigger=rss+20M,snapshot=a.gmi' "$python" grow.py 0 a.gmi
    [ "$(ask a.gmi "SELECT comm FROM v1_snapshot")" = python3 ]
    [ "$(ls -- *.gmi)" = a.gmi ]
}

@test "a database gets them by way of goinspect, and no image is left" {
    under 'trigger=rss+20M,snapshot=a.db' "$python" grow.py 0 a.db 2>err || {
        cat err
        false
    }
    [ "$(sqlite3 a.db "SELECT count(*) FROM snapshot")" = 1 ]
    # goinspect removes it after that, whether the program is still there or not
    for ((i = 0; i < 1000; i++)); do
        [ -n "$(ls -- *.gmi 2>/dev/null)" ] || break
        sleep 0.05
    done
    [ -z "$(ls -- *.gmi 2>/dev/null)" ]
    [ ! -s err ]
}

@test "a program that writes to its environment meanwhile, and has closed its descriptors" {
    under 'trigger=rss+20M,snapshot=a.db' "$python" -c '
import os, time
os.closerange(0, 3)
kept = b"x" * (24 << 20)
end = time.time() + 100
i = 0
while not os.path.exists("a.db") and time.time() < end:
    i += 1
    os.environ[f"V{i % 1000}"] = "x" * 100 # no growth, which would be another snapshot
time.sleep(0.5)'
    [ "$(sqlite3 a.db "SELECT count(*) FROM snapshot")" = 1 ]
}

@test "without goinspect the image stays, and one line says what to do" {
    GOMALLOC_GOINSPECT=$work/none under 'trigger=rss+20M,snapshot=a.db' "$python" -c '
import glob, os, time
kept = b"x" * (24 << 20)
while not glob.glob("a.db.*.gmi") or os.path.getsize("err") == 0:
    time.sleep(0.02)' 2>err
    [[ $(cat err) == *"by hand: goinspect import --remove "* ]]
    [ -s "$(echo a.db.*.gmi)" ]
}

@test "a forked child has its own numbers, and its own files" {
    under 'trigger=rss+20M,snapshot=a-%n.gmi' "$python" -c '
import os, time
def grow(name):
    kept = []
    for i in range(2000):
        if os.path.exists(name):
            return
        if i < 50:
            kept.append(b"x" * (2 << 20))
        time.sleep(0.05)
    os.write(2, f"no {name} in {os.listdir()}".encode())
    os._exit(1)
grow("a-1.gmi")
pid = os.fork()
if pid == 0:
    grow(f"a-1.{os.getpid()}.gmi")
    os._exit(0)
assert os.waitpid(pid, 0)[1] == 0'
}

@test "growth counts from the fork, before the child has a thread of the library's" {
    under 'trigger=rss+20M,snapshot=a-%n.gmi' "$python" -c '
import os, time
pid = os.fork()
if pid == 0:
    kept = b"x" * (24 << 20)
    for _ in range(3000):
        if os.path.exists(f"a-1.{os.getpid()}.gmi"):
            os._exit(0)
        bytes(4096) # the thread begins amid an allocation
        time.sleep(0.02)
    os._exit(1)
assert os.waitpid(pid, 0)[1] == 0'
}

@test "the program's wait() does not find the importer" {
    under 'trigger=rss+20M,snapshot=a.db' "$python" -c '
import os, time
kept = b"x" * (24 << 20)
while not os.path.exists("a.db"):
    try:
        os.wait()
        os._exit(1)
    except ChildProcessError:
        time.sleep(0.01)'
    [ -e a.db ]
}

@test "nor does a subreaper, or the first process of a container, whose orphans end" {
    # so slow that it is seen
    printf '#!/bin/sh\nsleep 2; exec "$REAL" "$@"\n' >importer
    chmod +x importer
    REAL=$GOINSPECT GOMALLOC_GOINSPECT=$work/importer under 'trigger=rss+20M,snapshot=a.db' "$python" -c '
import ctypes, os, signal, time
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0) # PR_SET_CHILD_SUBREAPER
signals = []
signal.signal(signal.SIGCHLD, lambda *_: signals.append(1))
kept = b"x" * (24 << 20)
def children(options):
    try:
        return os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT | options) or True
    except ChildProcessError:
        return False
seen = False
for _ in range(6000):
    assert not children(0)
    now = children(0x40000000) # __WALL: those too that end without a signal
    seen |= now is not False
    if os.path.exists("a.db") and not now:
        break
    time.sleep(0.01)
assert seen and not signals, (seen, signals)'
    [ "$(sqlite3 a.db "SELECT count(*) FROM snapshot")" = 1 ]
}

@test "cgroup: near the limit of its control group" {
    group=/sys/fs/cgroup/memory/gomalloc-test-$$-$BATS_TEST_NUMBER
    limit=memory.limit_in_bytes
    [ -e /sys/fs/cgroup/cgroup.controllers ] &&
        group=/sys/fs/cgroup/gomalloc-test-$$-$BATS_TEST_NUMBER limit=memory.max
    mkdir "$group" 2>/dev/null || skip "can't make a control group"
    [ -w "$group/$limit" ] && echo $((200 << 20)) >"$group/$limit" || skip "can't set a limit"
    grown() {
        echo "$BASHPID" >"$group/cgroup.procs" || exit 77
        exec env LD_PRELOAD="$LIBGOMALLOC" GOMALLOC='trigger=cgroup50%,snapshot=a-%n.gmi' \
            "$python" grow.py 0.5 grow.py grow.py grow.py grow.py a-1.gmi
    }
    status=0
    (grown) || status=$?
    [ "$status" != 77 ] || skip "can't enter the control group"
    [ "$status" = 0 ]
    [ "$(ls a-*)" = a-1.gmi ] # once, not again and again
    [ "$(ask a-1.gmi "SELECT rss_bytes >= 70 << 20 FROM v1_snapshot")" = 1 ]
}

@test "a limit that there is none of is counted, and nothing is said" {
    ! grep -qE '^[0-9]+$' /sys/fs/cgroup/memory.max 2>/dev/null || skip "there is one"
    mkfifo in
    env LD_PRELOAD="$LIBGOMALLOC" GOMALLOC=trigger=cgroup90% \
        "$python" -c 'input(); print("fine")' <in >out 2>err 3>&- &
    pid=$!
    exec {in}>in
    for ((i = 0; i < 1200; i++)); do
        counted=$(ask "$pid" "SELECT value > 0 FROM counter WHERE name = 'trigger.no_limit'" 2>said) || true
        [ "$counted" != 1 ] || break
        sleep 0.05
    done
    echo >&"$in"
    exec {in}>&-
    wait "$pid"
    cat said err
    [ "$counted" = 1 ]
    [ "$(cat out)" = fine ]
    [ ! -s err ]
}

@test "values that make no sense are said" {
    for option in trigger=rss trigger=rss+0 trigger=rss+x trigger=cgroup90 trigger=cgroup0% \
        trigger=cgroup101% trigger=none keep=1001 keep=x; do
        run -0 --separate-stderr under $option /bin/echo fine
        [ "$output" = fine ]
        [[ $stderr == *"GOMALLOC: $option: the value must be "* ]]
    done
}

@test "rss+: a numbered image when it has grown by so much, again from the new level" {
    ended rss
    [ "$(ls a-*)" = "$(printf 'a-1.gmi\na-2.gmi')" ]
    first=$(ask a-1.gmi "SELECT rss_bytes FROM v1_snapshot")
    second=$(ask a-2.gmi "SELECT rss_bytes FROM v1_snapshot")
    echo "$first, $second"
    # it may be taken amid a step; so this much is sure of both
    [ "$first" -ge $((20 << 20)) ]
    [ "$second" -ge $((40 << 20)) ]
    # all of it, what is resident too
    [ "$(ask a-2.gmi "SELECT count(*) FROM v1_resident WHERE item = 'live'")" = 1 ]
    [ "$(ask a-2.gmi "SELECT partial FROM v1_snapshot")" = 0 ]
    [ "$(ask a-2.gmi "SELECT value FROM counter WHERE name = 'trigger.snapshots'")" = 1 ]
}

@test "keep: the oldest file goes" {
    ended keep
    [ "$(ls a-*)" = a-2.gmi ]
}

@test "keep: nor does one stay for ever because a later snapshot failed, of which one line is said" {
    ended failed
    [ -e 4/a.gmi ]
    [ ! -e 1/a.gmi ]
    [ "$(wc -l <../failed.log)" = 1 ]
    grep -q "no snapshot: .*2/a.gmi" ../failed.log
}
