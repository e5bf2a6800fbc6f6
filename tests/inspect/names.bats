#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-3-Clause
#
# Where names come from: all kinds of debug information, the cache, the bar.  Programs are built and
# looked at, not run: namer names code at given offsets of a file as goinspect does in a profile.

bats_require_minimum_version 1.5.0
load helpers
setup() {
    common_setup
    namer=$BUILD_DIR/tests/inspect/namer
    cat >prog.c <<'C'
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
static void *volatile keep[100];
static inline __attribute__((always_inline)) void *inner(int n) {
    return malloc(n);
}
static inline __attribute__((always_inline)) void *outer(int n) {
    return inner(n + 1);
}
__attribute__((noinline)) void HOLD(int i) {
    keep[i] = outer(5000);
}
C
    sed 's/HOLD/hold/' prog.c >main.c
    echo 'int main(void) { hold(1); return 0; }' >>main.c
    sed 's/HOLD/other/' prog.c >other.c
    printf '%s\n' inner:main.c:6:12 outer:main.c:9:12 hold:main.c:12:15 >inlined
}
teardown() { common_teardown; }

# build ARGUMENT... makes prog, and sets $call to the offset of the call in hold().
build() {
    ${CC:-cc} -O2 -g -o prog main.c other.c "$@"
    call=$(objdump -d --no-show-raw-insn prog |
        awk '/^[0-9a-f]+ </ { f = $2 } f == "<hold>:" && /call/ { sub(":", "", $1); print $1 }')
}

# named [FILE] prints function:file:line:column at the call.
named() {
    "$namer" "${1:-$work/prog}" "$call" 2>"$work/err" >"$work/frames" || cat "$work/err"
    awk '{ print $2 ":" $3 }' "$work/frames"
}

# id_of FILE prints its build-id as ab/cdef...
id_of() {
    readelf -n "$1" 2>/dev/null | awk '/Build ID/ { print substr($3, 1, 2) "/" substr($3, 3); exit }'
}

@test "inlined functions have lines and columns, with DWARF 4 and 5, by gcc and clang" {
    for compiler in "${CC:-cc}" clang; do
        command -v $compiler >/dev/null || continue
        for version in 4 5; do
            CC=$compiler build -gdwarf-$version
            named | diff inlined -
        done
    done
}

@test "compressed debug information is read" {
    for how in zlib zlib-gnu; do
        build -gz=$how
        named | diff inlined -
    done
}

@test "split debug information is read from beside the program, and told if it is not there" {
    for version in 4 5; do
        build -gsplit-dwarf -gdwarf-$version
        named | diff inlined -
        mkdir moved$version
        mv prog ./*.dwo moved$version
        named "$work/moved$version/prog" | diff inlined -
        rm moved$version/*.dwo
        export GOINSPECT_CACHE=off # it has what was in them
        [ "$(named "$work/moved$version/prog")" = hold:main.c:6:12 ]
        grep -qE 'prog: no inlined functions: .*\.dwo is missing$' err
        unset GOINSPECT_CACHE
    done
}

@test "a package of split debug information, which is not read, is told of" {
    for dwp in dwp llvm-dwp; do
        command -v $dwp >/dev/null || continue
        build -gsplit-dwarf -gdwarf-4
        $dwp -e prog -o prog.dwp || continue
        rm ./*.dwo
        [ "$(GOINSPECT_CACHE=off named)" = hold:main.c:6:12 ]
        grep -qE '^goinspect: .*prog: no inlined functions: .*prog\.dwp is a DWARF package, which cannot be read, and .*\.dwo is missing$' err
        rm prog.dwp
    done
}

@test "a lambda of a function without a linkage name is named by what is around it" {
    ${CXX:-c++} -v >/dev/null 2>&1 || skip "no C++ compiler"
    cat >lambda.cc <<'CC'
#include <stdlib.h>
void *volatile keep[4];
template <class F> static inline void twice(F f) {
    f(1);
    f(2);
}
extern "C" void hold(int n) {
    auto first = [&](int i) { keep[i] = malloc(n); };
    first(0);
}
int main(int n, char **) {
    twice([&](auto i) {
        auto inner = [&] { keep[i] = malloc(n); };
        inner();
    });
    hold(n);
}
CC
    for compiler in "${CXX:-c++}" clang++; do
        command -v $compiler >/dev/null || continue
        $compiler -O2 -g -o prog lambda.cc
        # shellcheck disable=SC2046
        "$namer" "$work/prog" $(objdump -d --no-show-raw-insn prog | awk '/call.*malloc/ { sub(":", "", $1); print $1 }') >frames
        cat frames
        ! grep -E ' operator\(\)' frames
        grep -qE ' hold::(\{lambda\}|\$_.*)::operator\(\) lambda\.cc:8:' frames
        grep -qE ' main::(\{lambda\}|\$_.*)::operator\(\).*::operator\(\) lambda\.cc:13:' frames
    done
}

@test "names that were found without a .dwo are not kept" {
    build -gsplit-dwarf
    mkdir away
    mv ./*.dwo away
    [ "$(named)" = hold:main.c:6:12 ]
    mv away/*.dwo .
    named | diff inlined -
}

@test "what dwz has moved into a common file is read" {
    command -v dwz >/dev/null || skip "no dwz"
    for version in 4 5; do
        build -gdwarf-$version
        cp prog copy
        cp prog again
        dwz -m common.dwz prog copy again
        readelf -SW prog | grep -q gnu_debugaltlink
        named | diff inlined -
        rm common.dwz
        GOINSPECT_CACHE=off named >/dev/null
        grep -q 'prog: no inlined functions: common.dwz is missing$' err
    done
}

@test "debug files of a container are found by build-id below its root, and what dwz took from them" {
    command -v dwz >/dev/null || skip "no dwz"
    build
    id=$(id_of prog)
    debug=root/usr/lib/debug/.build-id/${id%/*}
    mkdir -p "$debug" root/usr/lib/debug/.dwz root/usr/bin
    debug=$debug/${id#*/}.debug
    objcopy --only-keep-debug prog "$debug"
    strip -o root/usr/bin/prog prog
    export ROOT=$work/root
    named /usr/bin/prog | diff inlined -
    [ ! -s err ]
    cp "$debug" copy
    cp "$debug" again
    dwz -m root/usr/lib/debug/.dwz/common -M /usr/lib/debug/.dwz/common "$debug" copy again
    readelf -SW "$debug" | grep -q gnu_debugaltlink
    named /usr/bin/prog | diff inlined -
    [ ! -s err ]
}

@test "a debuglink's file is believed by its build-id, without one by its checksum" {
    build -Wl,--build-id=none
    objcopy --only-keep-debug prog prog.debug
    strip prog
    objcopy --add-gnu-debuglink=prog.debug prog
    named | diff inlined -
    mkdir .debug
    mv prog.debug .debug
    named | diff inlined -
    objcopy --remove-section .comment .debug/prog.debug
    [ "$(named)" = '?:-:0:0' ]
    grep -q "prog: no lines: $work/prog.debug is missing" err

    build
    objcopy --only-keep-debug prog prog.debug
    strip prog
    objcopy --add-gnu-debuglink=prog.debug prog
    objcopy --compress-debug-sections prog.debug # another checksum
    named | diff inlined -
    sed -i s/5000/5001/ main.c
    ${CC:-cc} -O2 -g -o another main.c other.c
    objcopy --only-keep-debug another prog.debug
    [ "$(named)" = '?:-:0:0' ]
}

@test "a stripped program's debug file is named once, in a line" {
    build
    strip prog
    "$namer" "$work/prog" "$call" "$call" $((call + 1)) >/dev/null 2>err
    [ "$(cat err)" = "goinspect: $work/prog: no lines: /usr/lib/debug/.build-id/$(id_of prog).debug is missing (from its -dbgsym or -dbg package)" ]
    build -Wl,--build-id=none
    strip --strip-debug prog
    [ "$(named)" = 'hold:-:0:0' ]
    [ "$(cat err)" = "goinspect: $work/prog: no lines: built without -g, or stripped" ]
}

@test "C++, and Rust's symbols of both kinds, are demangled without hashes and parameters" {
    cat >names.s <<'S'
.text
.macro function name
.globl \name
.type \name, @function
\name:
    .skip 16, 0x90
.size \name, 16
.endm
function _ZN4shop6Basket3addIiEEvT_
function _ZN4shop6BasketC2Ev
function _ZNSt6vectorIiSaIiEE9push_backEOi
function _ZN4shop6basket4make17h0123456789abcdefE
function _ZN70_$LT$alloc..string..String$u20$as$u20$core..convert..From$LT$T$GT$$GT$4from17h0123456789abcdefE
function _RNvNtC4shop6basket4make
function _RNvXs_NtC4shop6basketNtB4_6BasketNtNtC4core3fmt7Display3fmt
function _RINvC4shop4wrapjE
function _Zbroken
function plain
S
    ${CC:-cc} -shared -nostdlib -o names.so names.s
    while read -r symbol want; do
        call=$(nm names.so | awk -v s="$symbol" '$3 == s { print $1 }')
        "$namer" "$work/names.so" "$call" 2>/dev/null | cut -d ' ' -f 2- >got
        [ "$(cat got)" = "$want -:0:0" ] || { echo "$symbol: $(cat got)"; return 1; }
    done <<'LIST'
_ZN4shop6Basket3addIiEEvT_ shop::Basket::add<int>
_ZN4shop6BasketC2Ev shop::Basket::Basket
_ZNSt6vectorIiSaIiEE9push_backEOi std::vector<int, std::allocator<int> >::push_back
_ZN4shop6basket4make17h0123456789abcdefE shop::basket::make
_ZN70_$LT$alloc..string..String$u20$as$u20$core..convert..From$LT$T$GT$$GT$4from17h0123456789abcdefE <alloc::string::String as core::convert::From<T>>::from
_RNvNtC4shop6basket4make shop::basket::make
_RNvXs_NtC4shop6basketNtB4_6BasketNtNtC4core3fmt7Display3fmt <shop::basket::Basket as core::fmt::Display>::fmt
_RINvC4shop4wrapjE shop::wrap::<usize>
_Zbroken _Zbroken
plain plain
LIST
}

@test "the cache has the same answers, and debug information is not read for them" {
    build
    named >first
    ls cache/goinspect/*.names
    [ "$(stat -c %a cache/goinspect)" = 700 ]
    named | diff first -
    GOINSPECT_CACHE=off named | diff first -
    objcopy --only-keep-debug prog prog.debug
    strip prog
    objcopy --add-gnu-debuglink=prog.debug prog
    named | diff first -
    if command -v strace >/dev/null; then
        strace -f -e trace=openat,open -o trace "$namer" "$work/prog" "$call"
        ! grep -q prog.debug trace
        GOINSPECT_CACHE=off strace -f -e trace=openat,open -o trace "$namer" "$work/prog" "$call"
        grep -q prog.debug trace
    fi
}

@test "debug information that appears, changes or goes makes the cache's names worthless" {
    build
    objcopy --only-keep-debug prog whole
    strip prog
    objcopy --add-gnu-debuglink=whole prog
    mv whole away
    [ "$(named)" = '?:-:0:0' ]
    mv away whole
    named | diff inlined -
    rm whole
    [ "$(named)" = '?:-:0:0' ]
    grep -q 'is missing' err
    [ "$(named)" = '?:-:0:0' ] # from the cache, which is no reason to be silent, but has said it once
    [ "$(cat err)" = "goinspect: prog: no lines: its debug information is still missing; GOINSPECT_CACHE=off says more" ]
}

@test "damaged, foreign and unreadable files of the cache are passed over, and replaced" {
    build
    named >first
    file=$(echo cache/goinspect/*.names)
    cp "$file" good
    size=$(stat -c %s good)
    for damage in "truncate -s 10 $file" "truncate -s $((size - 1)) $file" "truncate -s 0 $file" \
        "printf x >>$file" "cp prog $file" "eval printf '\\377' | dd of=$file bs=1 seek=$((size / 2)) conv=notrunc" \
        "eval rm $file && mkfifo $file" "eval rm -f $file && ln -s ../../good $file" "eval rm -f $file && mkdir $file"; do
        [ -d "$file" ] || cp --remove-destination good "$file"
        $damage 2>/dev/null
        timeout 120 "$namer" "$work/prog" "$call" 2>err >frames
        [ ! -s err ]
        awk '{ print $2 ":" $3 }' frames | diff first -
    done
    rmdir "$file"
    named >/dev/null
    cmp good "$file"
}

@test "a cache that can't be written, or another user's, is no reason for a word" {
    build
    for place in /proc /dev/null/cache relative; do
        XDG_CACHE_HOME=$place named | diff inlined -
        [ ! -s err ]
    done
    env -u XDG_CACHE_HOME HOME="$work" "$namer" "$work/prog" "$call" >/dev/null
    ls .cache/goinspect/*.names
    if [ "$(id -u)" = 0 ]; then
        mkdir theirs
        chown 12345 theirs
        XDG_CACHE_HOME=$work/theirs named | diff inlined -
        [ ! -e theirs/goinspect ]
    fi
}

@test "goinspects at the same time do not spoil the cache, and add to each other" {
    build
    offsets=$(seq -f %.0f 0 8 | while read -r i; do printf '%x ' $((0x$call + i)); done)
    for i in $offsets; do
        "$namer" "$work/prog" "$i" >/dev/null &
    done
    wait
    # shellcheck disable=SC2086
    "$namer" "$work/prog" $offsets >one
    # shellcheck disable=SC2086
    GOINSPECT_CACHE=off "$namer" "$work/prog" $offsets | diff one -
    [ "$(find cache/goinspect -type f | wc -l)" = 1 ]
}

@test "the cache is bounded: what was used longest ago goes first" {
    build
    named >/dev/null
    file=$(echo cache/goinspect/*.names)
    for i in 1 2 3; do
        truncate -s 100M "cache/goinspect/000000000$i.names"
        touch -d "2020-01-0$i" "cache/goinspect/000000000$i.names"
    done
    truncate -s 1 cache/goinspect/00.names.tmp-1
    touch -d 2020-01-01 cache/goinspect/00.names.tmp-1
    echo mine >cache/goinspect/notes
    call=$(printf %x $((0x$call + 1)))
    named >/dev/null
    [ ! -e cache/goinspect/0000000001.names ]
    [ ! -e cache/goinspect/0000000002.names ]
    [ -e cache/goinspect/0000000003.names ]
    [ -e "$file" ]
    [ ! -e cache/goinspect/00.names.tmp-1 ]
    [ -e cache/goinspect/notes ]
}

@test "--no-cache looks names up and keeps nothing" {
    "$GOINSPECT" sites demo.gmi --no-cache >one
    [ ! -e cache ]
    "$GOINSPECT" sites demo.gmi >two
    diff one two
}

@test "a debuginfod server is asked only if that is wished" {
    command -v strace >/dev/null || skip "no strace"
    build
    strip prog
    export DEBUGINFOD_URLS=http://127.0.0.1:1/ DEBUGINFOD_CACHE_PATH=$work/debuginfod
    strace -f -e trace=connect -o trace "$namer" "$work/prog" "$call" >/dev/null 2>&1
    ! grep -q AF_INET trace
    ldconfig -p | grep -q libdebuginfod || skip "no libdebuginfod"
    export GOINSPECT_DEBUGINFOD=1 GOINSPECT_CACHE=off
    timeout 300 strace -f -e trace=connect -o trace "$namer" "$work/prog" "$call" >/dev/null 2>&1
    grep -q 'AF_INET.*port=htons(1)\|htons(1).*AF_INET' trace
}
