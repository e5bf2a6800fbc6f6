#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# examples.sh FILE runs the examples of a document, in order, in an empty folder.
#
# In a manual: in the section EXAMPLES, each line `.Dl $ COMMAND`, and in a literal block each line
# `$ COMMAND`.  A literal block that begins with # is a C program; it is compiled, and run under
# the library; the first one leaves heap.gmi behind.  In Markdown: each line of a fenced block that is marked ```sh, but for one after a
# line <!-- not run: why -->.
#
# The word PID stands for a process under the library that runs all the while.  After a command
# that ends in & the next one waits until goinspect knows that process.  Each command has to end
# with status 0.  redis-server is run, and asked for, by a name of this test's own: others run one, too.
set -euo pipefail
document=$SOURCE_DIR/$1
work=$(mktemp -d)
cleanup() {
    local pids
    mapfile -t pids < <(jobs -p)
    [ ${#pids[@]} -eq 0 ] || kill "${pids[@]}" 2>/dev/null || true
    wait
    unset LD_PRELOAD # an example may have exported it: rm would make a socket in there
    rm -rf "$work"
}
trap cleanup EXIT
export GOMALLOC_DIR=$work/sockets PATH=$work/bin:$BUILD_DIR/inspect:/usr/bin:$PATH
export LD_LIBRARY_PATH=$BUILD_DIR/lib
export NO_COLOR=1
mkdir -m 700 "$GOMALLOC_DIR" "$work/here"
mkdir "$work/bin"
! redis=$(command -v redis-server) || ln -s "$redis" "$work/bin/redis-$$"
cd "$work/here"

# commands FILE prints one command a line; program FILE N prints its Nth C program, if there is one.
commands() {
    case $1 in
    *.md) awk '
        /^<!-- not run: / { skip = 1; next }
        /^```/ { inside = /^```sh$/ && !inside && !skip; skip = /^```sh$/ && skip; next }
        inside && NF { sub(/^\$ /, ""); print }' "$1" ;;
    *) awk '
        /^\.Sh/ { inside = /EXAMPLES/ }
        inside && (sub(/^\.Dl \$ /, "") || sub(/^\$ /, "")) { gsub(/\\&/, ""); gsub(/\\e/, "\\"); print }
        ' "$1" ;;
    esac
}
program() {
    awk -v wanted="$2" '/^\.Sh/ { inside = /EXAMPLES/ }
        /^\.Ed/ { c = 0 }
        inside && /^#/ && !c { c = 1; n++ }
        c && n == wanted' "$1"
}

wait_for() { # a process under the library
    local i
    for ((i = 0; i < 1200; i++)); do
        ! goinspect status "$1" >/dev/null 2>&1 || return 0
        sleep 0.05
    done
    echo "no answer from process $1"
    return 1
}

count=0
mapfile -t lines < <(commands "$document")
if printf '%s\n' "${lines[@]}" | grep -qw PID; then
    LD_PRELOAD=libgomalloc.so GOMALLOC=rate=1 /usr/bin/python3 -c '
keep = [str(i) for i in range(1000)]
import signal
while True:
    signal.pause()  # a leak check interrupts it' &
    PID=$!
    wait_for $PID
fi
for line in "${lines[@]}"; do
    line=$(sed -E "s/\bPID\b/${PID:-PID}/g; s/\bredis-server\b/redis-$$/g" <<<"$line")
    printf '$ %s\n' "$line"
    set +e
    eval "$line"
    status=$?
    set -e
    if [ $status != 0 ]; then
        echo "status $status"
        exit 1
    fi
    case $line in
    *\&) wait_for $! ;;
    esac
    count=$((count + 1))
done
for ((n = 1; ; n++)); do
    program "$document" $n >"$work/example.c"
    [ -s "$work/example.c" ] || break
    ${CC:-cc} -Wall -Werror -I "$SOURCE_DIR/lib/include" -o "$work/example" "$work/example.c" \
        -L "$BUILD_DIR/lib" -Wl,--as-needed -lgomalloc
    LD_PRELOAD=libgomalloc.so "$work/example"
    goinspect status heap.gmi
    count=$((count + 1))
done
echo "$count examples of $1 work"
[ $count -gt 0 ]
