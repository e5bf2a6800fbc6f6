#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# glibc.sh MODE[,MODE...] [TEST...]: glibc's own tests of malloc, run under the library.
#
# The source is that of the Debian package glibc-source, unpacked outside the tree; without the
# package, or with a glibc that the table below does not know, the test is skipped.  The programs of
# its malloc/ are built with its support/ against the installed libc, once, and run in each MODE
# (under.sh in tests/preload: default, exact, off).  MODE plain runs them without the library, which
# shows that the set-up works: a program that fails there says nothing about us.
#
# The table has a line for each program of malloc/, and it is an error if one has none:
#
#   run     it must succeed
#   slow    so it must, but takes a second or more: not in MODE plain unless it is named
#   no      why it is not portable: it tests glibc's malloc, not malloc
set -u
modes=${1:?default, exact, off or plain}
shift
under=$(cd "$(dirname "$0")/../preload" && pwd)/under.sh
readonly VERSION=2.36 SOURCE=/usr/src/glibc/glibc-2.36.tar.xz

read -r -d '' TABLE <<'END'
mallocbug                   run
tst-alloc_buffer            run
tst-calloc                  run
tst-compathooks-off         no   the hooks of libc_malloc_debug.so
tst-compathooks-on          no   the hooks of libc_malloc_debug.so
tst-dynarray                run
tst-dynarray-at-fail        run
tst-dynarray-fail           run
tst-free-errno              run
tst-interpose-nothread      run
tst-interpose-static-nothread no a static program is not preloaded
tst-interpose-static-thread no   a static program is not preloaded
tst-interpose-thread        run
tst-mallinfo2               run
tst-malloc                  run
tst-malloc-backtrace        no   wants abort() when a chunk's header, before the object, is overwritten
tst-malloc-check            run
tst-malloc-fork-deadlock    slow
tst-malloc-stats-cancellation run
tst-malloc-tcache-leak      slow
tst-malloc-thread-exit      slow
tst-malloc-thread-fail      slow
tst-malloc-too-large        slow
tst-malloc-usable           no   exact sizes under MALLOC_CHECK_ of libc_malloc_debug.so
tst-malloc-usable-tunables  no   exact sizes under glibc.malloc.check of libc_malloc_debug.so
tst-malloc_info             slow
tst-mallocalign1            run
tst-mallocfork              run
tst-mallocfork2             slow
tst-mallocfork3             slow
tst-mallocstate             no   malloc_get_state, for dumped heaps of glibc's
tst-mallopt                 run
tst-memalign                run
tst-mtrace                  no   the hooks of libc_malloc_debug.so
tst-mxfast                  run
tst-obstack                 run
tst-posix_memalign          run
tst-pvalloc                 run
tst-pvalloc-fortify         run
tst-realloc                 run
tst-reallocarray            run
tst-safe-linking            no   overwrites the links of glibc's free lists
tst-scratch_buffer          run
tst-tcfree1                 run
tst-tcfree2                 run
tst-tcfree3                 run
tst-trim1                   run
tst-valloc                  run
END

# Parts of other programs, not programs.
readonly PARTS=' tst-interpose-aux tst-interpose-aux-nothread tst-interpose-aux-thread tst-interpose-skeleton '

# What the programs need of support/.
readonly SUPPORT='check ignore_stderr oom_error support-xstat support_capture_subprocess
    support_copy_file support_copy_file_range support_quote_blob support_record_failure
    support_shared_allocate support_subprocess support_test_compare_blob
    support_test_compare_failure support_test_main support_test_verify_impl temp_file
    write_message xasprintf xcalloc xchdir xclose xdup2 xfclose xfopen xfork xmalloc xmemstream
    xmmap xmunmap xopen xpipe xpoll xposix_spawn xposix_spawn_file_actions_addclose
    xposix_spawn_file_actions_adddup2 xpthread_barrier_destroy xpthread_barrier_init
    xpthread_barrier_wait xpthread_barrierattr_destroy xpthread_barrierattr_init
    xpthread_barrierattr_setpshared xpthread_check_return xpthread_create xpthread_join
    xpthread_kill xsignal xstrdup xsysconf xwaitpid'

skip() {
    echo "skipped: $*"
    exit 77
}

[ -r "$SOURCE" ] || skip "no $SOURCE; it is in Debian's glibc-source"
case $(getconf GNU_LIBC_VERSION) in
"glibc $VERSION") ;;
*) skip "the table is that of glibc $VERSION" ;;
esac

work=$(mktemp -d "${TMPDIR:-/tmp}/conform-glibc.XXXXXX") || exit 1
trap 'rm -rf "$work"' EXIT
export TMPDIR=$work GOMALLOC_DIR=$work
cd "$work" || exit 1
tar -xJf "$SOURCE" "glibc-$VERSION"/{malloc,support,include,test-skeleton.c,sysdeps/generic} ||
    exit 1
src=$work/glibc-$VERSION

# Headers of glibc's own, without those that stand for the installed ones.
mkdir inc obj
for header in alloc_buffer array_length libc-diag libc-pointer-arith scratch_buffer; do
    cp "$src/include/$header.h" inc/
done
cp "$src"/sysdeps/generic/malloc-{size,alignment}.h inc/
cat >inc/outside.h <<'END'
#include <errno.h>
#include <limits.h>
#include <stddef.h>
#include <stdint.h>
#define libc_hidden_proto(name)
#define attribute_hidden
#define INTERNAL_SIZE_T size_t
END
echo 'const char support_objdir_root[] = "/";' >root.c

# It bounds the address space by 200 MiB once it runs.  The library has reserved more than that by
# then, which is not used: the bound moves up by it.
reserved=$("$under" "${modes##*,}" sed -n 's/^VmSize:[[:space:]]*\([0-9]*\) kB/\1/p' /proc/self/status)
sed -i "s/200 \* 1024 \* 1024/(200L << 20) + (${reserved}L << 10)/" \
    "$src/malloc/tst-malloc-thread-fail.c"

flags="-std=gnu11 -O2 -w -fno-builtin -D_GNU_SOURCE -DTEST_NO_MALLOPT -DTIMEOUTFACTOR=15
    -DMODULE_NAME=testsuite -I$src/support -I$src -I$src/malloc -Iinc -include inc/outside.h"

# compile OUTPUT FLAGS SOURCES...
compile() {
    local output=$1
    shift
    # shellcheck disable=SC2086
    ${CC:-cc} $flags -o "$output" "$@" || {
        echo "$output can't be built"
        exit 1
    }
}
compile obj/root.o -c root.c
for name in $SUPPORT; do
    compile "obj/$name.o" -c "$src/support/$name.c"
done
ar rcs libsupport.a obj/*.o

failed=0 passed=0
build_one() { # NAME
    local also=()
    case $1 in
    tst-interpose-*) also=("$src/malloc/tst-interpose-aux-${1##*-}.c") ;;
    esac
    compile "$1" "$src/malloc/$1.c" "${also[@]}" libsupport.a -pthread
}
test_one() { # NAME MODE
    local program=$1 mode=$2
    # A session of its own: what hangs is ended with its children.
    if setsid timeout -k 5 400 "$under" "$mode" "./$program" >"$program.out" 2>&1 </dev/null; then
        passed=$((passed + 1))
    else
        echo "$1 fails in mode $mode with status $?:"
        head -n 20 "$program.out"
        failed=$((failed + 1))
    fi
}

for f in "$src"/malloc/tst-*.c; do
    name=$(basename "$f" .c)
    grep -q "^$name " <<<"$TABLE" || [[ $PARTS == *" $name "* ]] || {
        echo "$name is not in the table"
        failed=$((failed + 1))
    }
done
while read -r name what _; do
    case " $* " in
    *" $name "*) ;;
    "  ") [ "$what" != no ] || continue ;;
    *) continue ;;
    esac
    build_one "$name"
    for mode in ${modes//,/ }; do
        [ "$what$mode$*" = slowplain ] || test_one "$name" "$mode"
    done
done <<<"$TABLE"
echo "$passed runs of programs succeed, $failed fail"
[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
