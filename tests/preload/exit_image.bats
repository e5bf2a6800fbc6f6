# SPDX-License-Identifier: BSD-3-Clause
#
# exit=PATH: the image of a process that ends, and the database that goinspect makes of it.

bats_require_minimum_version 1.5.0
load image_helpers

setup() { image_setup; }

teardown() {
    cd /
    umount "$work/small" 2>/dev/null || true
    image_teardown
}

# exits PATH COMMAND... runs it under the library, with exit=PATH.
exits() { under "rate=1,exit=$1" "${@:2}"; }

@test "a .gmi is the whole image of the process that ended" {
    exits a.gmi /bin/echo fine
    [ "$(ask a.gmi "SELECT comm FROM image_process")" = echo ]
    [ "$(stat -c %a a.gmi)" = 600 ]
    [ "$(ls)" = a.gmi ] || [ "$(ls)" = "$(printf 'a.gmi\nsockets')" ]
}

@test "%p, %h, %t and %% are the process, the host, the time and a percent sign" {
    before=$(date +%s)
    exits '%p-%h-%t-%%-%x.gmi' sh -c 'echo $$ >pid; exec /bin/true'
    name=$(ls ./*.gmi)
    [[ $name =~ ^\./([0-9]+)-(.*)-([0-9]+)-%-%x\.gmi$ ]]
    [ "${BASH_REMATCH[1]}" = "$(cat pid)" ]
    [ "${BASH_REMATCH[2]}" = "$(uname -n)" ]
    [ "${BASH_REMATCH[3]}" -ge "$before" ]
}

@test "descendants do not overwrite the file of who was started" {
    exits a.gmi bash -c '/bin/echo one; /bin/echo two; echo $$ >pid' >out
    [ "$(ask a.gmi "SELECT pid, comm FROM image_process")" = "$(cat pid),bash" ]
    [ "$(ls a.*.gmi | wc -l)" = 2 ]
    for file in a.*.gmi; do
        pid=${file#a.}
        [ "$(ask "$file" "SELECT pid, comm FROM image_process")" = "${pid%.gmi},echo" ]
    done
}

@test "a forked descendant has its own file" {
    exits a.gmi "$python" -c 'import os, sys
pid = os.fork()
if pid:
    os.waitpid(pid, 0)
    open("pids", "w").write(f"{os.getpid()} {pid}\n")'
    read -r parent child <pids
    [ "$(ask a.gmi "SELECT pid FROM image_process")" = "$parent" ]
    [ "$(ask "a.$child.gmi" "SELECT pid, ppid FROM image_process")" = "$child,$parent" ]
}

@test "who executes another program is still who was started" {
    exits a.gmi bash -c 'exec /bin/echo fine'
    [ "$(ask a.gmi "SELECT comm FROM image_process")" = echo ]
    [ "$(ls ./*.gmi)" = ./a.gmi ]
}

@test "the pid goes before the suffix, or at the end if there is none" {
    mkdir a.b
    for name in a.b/x a.b/x.y.gmi; do
        GOMALLOC_ROOT=1 exits $name sh -c 'echo $$ >pid; exec /bin/true'
        case $name in
        a.b/x) [ -s "a.b/x.$(cat pid)" ] ;;
        *) [ -s "a.b/x.y.$(cat pid).gmi" ] ;;
        esac
    done
}

@test "a .db takes all processes, and no image is left" {
    exits a.db bash -c '/bin/echo one; /bin/echo two; true' >out 2>err
    [ "$(ask a.db "SELECT count(*), sum(at_exit) FROM snapshot")" = 3,3 ]
    [ -z "$(ls ./*.gmi 2>/dev/null)" ]
}

@test "a program that ignores SIGCHLD gets its database, too" {
    exits a.db "$python" -c 'import signal; signal.signal(signal.SIGCHLD, signal.SIG_IGN)' 2>err
    [ "$(ask a.db "SELECT count(*) FROM snapshot")" = 1 ]
    ! grep -q "by hand" err
}

@test "a program that has closed its standard descriptors gets its database, too" {
    exits a.db "$python" -c 'import os; os.closerange(0, 3)'
    [ "$(ask a.db "SELECT count(*) FROM snapshot")" = 1 ]
    exits b.db /bin/echo fine
    [ "$(ask b.db "SELECT count(*) FROM snapshot")" = 1 ]
}

@test "the importer does not run under the library" {
    printf '#!/bin/sh\nenv >%s/env; exec "$REAL" "$@"\n' "$work" >importer
    chmod +x importer
    REAL=$GOINSPECT GOMALLOC_GOINSPECT=$work/importer exits a.db /bin/true 2>err
    [ -s a.db ]
    ! grep -E '^(LD_PRELOAD|GOMALLOC|GOMALLOC_ROOT)=' env
}

@test "without goinspect the image stays, and one line says what to do" {
    GOMALLOC_GOINSPECT=$work/none exits "$work/a.db" "$python" -c 'print("fine")' >out 2>err
    [ "$(cat out)" = fine ] # the program is not disturbed
    [ ! -e a.db ]
    [ "$(wc -l <err)" = 1 ]
    # what it says can be done
    command=$(sed -n 's/.*by hand: goinspect //p' err)
    # shellcheck disable=SC2086
    "$GOINSPECT" $command
    [ "$(ask a.db "SELECT count(*) FROM snapshot")" = 1 ]
    [ -z "$(ls ./*.gmi 2>/dev/null)" ]
}

@test "no image at _exit or at a signal" {
    exits a.gmi "$python" -c 'import os; os._exit(0)'
    exits a.gmi "$python" -c 'import os; os.kill(os.getpid(), 9)' || true
    [ ! -e a.gmi ]
}

@test "a directory that is not there, or that may not be written, is one line and no harm" {
    for path in "$work/no/a.gmi" /proc/a.gmi; do
        run -0 --separate-stderr exits "$path" "$python" -c 'print("fine")'
        [ "$output" = fine ]
        [ "$(wc -l <<<"$stderr")" = 1 ]
        [[ $stderr == *"$path"* ]]
    done
}

@test "a full disk leaves no half-written file, and what was there" {
    [ "$(id -u)" = 0 ] || skip "needs root"
    mkdir small
    mount -t tmpfs -o size=64k none small || skip "cannot mount"
    run -0 --separate-stderr exits "$work/small/a.gmi" "$python" -c 'print("fine")'
    [ "$output" = fine ]
    [[ $stderr == *"No space left"* ]]
    [ -z "$(ls -A small)" ]
    echo old >small/a.gmi
    exits "$work/small/a.gmi" "$python" -c '' 2>/dev/null
    [ "$(ls -A small)" = a.gmi ]
    [ "$(cat small/a.gmi)" = old ]
}

@test "a path to something else than a file is left alone" {
    mkfifo pipe
    mkdir dir
    for path in pipe dir; do
        run -0 --separate-stderr exits $path "$python" -c 'print("fine")'
        [ "$output" = fine ]
        [ -n "$stderr" ]
    done
    [ -p pipe ]
    [ -d dir ]
}

@test "a program that ends while others of its threads run still leaves a whole image" {
    cat >t.c <<'END'
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>
static void *churn(void *arg) {
    void *p[64] = {0};
    for (unsigned x = (unsigned)(size_t)arg;; x = x * 1664525 + 1013904223) {
        free(p[x >> 26]);
        p[x >> 26] = malloc(x >> 10 & 0x1fff);
    }
}
int main(void) {
    pthread_t t;
    for (size_t i = 1; i < 5; i++)
        pthread_create(&t, NULL, churn, (void *)i);
    usleep(100000);
    return 0;
}
END
    ${CC:-cc} -O1 -pthread t.c -o t
    for i in 1 2 3 4 5; do
        exits a.gmi ./t
        ask a.gmi "SELECT count(*) FROM span" >/dev/null
        rm a.gmi
    done
}
