#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-3-Clause
#
# Names of functions: inlined ones, C++, separate and missing debug information, replaced files.

bats_require_minimum_version 1.5.0
load helpers
setup() {
    common_setup
    [ -e "$LIBGOMALLOC" ] || skip "libgomalloc.so is not built in this configuration"
    cat >prog.c <<'C'
#include <stdlib.h>
void *volatile keep[100];
static inline __attribute__((always_inline)) void *inner(int n) {
    return malloc(n);
}
static inline __attribute__((always_inline)) void *outer(int n) {
    return inner(n + 1);
}
__attribute__((noinline)) void hold(int i) {
    keep[i] = outer(5000);
}
__attribute__((noinline)) static void hidden(int i) {
    keep[50 + i] = malloc(7000);
}
int main(void) {
    for (int i = 0; i < 10; i++)
        hold(i);
    for (int i = 0; i < 20; i++)
        hidden(i);
    exit(0);
}
C
}
teardown() { common_teardown; }

build() { ${CC:-cc} -O2 -g -o prog prog.c "$@"; }
record() { LD_PRELOAD=$LIBGOMALLOC GOMALLOC=rate=1,exit=heap.gmi "$@"; }

# names SITE-SIZE prints function:file:line:inlined of the innermost frames of objects of that size.
names() {
    "$GOINSPECT" sql heap.gmi "SELECT coalesce(function, '?') || ':' ||
        coalesce(replace(file, rtrim(file, replace(file, '/', '')), '') || ':' || line, '-') || ':' || inlined
        FROM v1_stack WHERE site_id = (SELECT site_id FROM v1_object WHERE requested = $1 LIMIT 1)
        AND NOT allocator ORDER BY frame, inline_depth LIMIT $2" -o csv --no-header
}

@test "inlined functions have their own lines and those of their calls" {
    build
    record ./prog
    names 5001 4 >out
    printf '%s\n' inner:prog.c:4:1 outer:prog.c:7:1 hold:prog.c:10:0 main:prog.c:17:0 | diff - out
    names 7000 2 >out
    printf '%s\n' hidden:prog.c:13:0 main:prog.c:19:0 | diff - out
}

@test "clang's debug information, without .debug_aranges, does as well" {
    command -v clang >/dev/null || skip "no clang"
    CC=clang build
    record ./prog
    names 5001 3 >out
    printf '%s\n' inner:prog.c:4:1 outer:prog.c:7:1 hold:prog.c:10:0 | diff - out
}

@test "debug information of version 4, and compressed, does as well" {
    build -gdwarf-4 -gz
    record ./prog
    names 5001 3 >out
    printf '%s\n' inner:prog.c:4:1 outer:prog.c:7:1 hold:prog.c:10:0 | diff - out
}

@test "without debug information there are the functions of the symbol table" {
    build
    strip --strip-debug prog
    record ./prog
    names 5001 2 >out
    printf '%s\n' hold:-:0 main:-:0 | diff - out
    names 7000 1 >out
    grep -qE '^hidden(\.[a-z.0-9]*)?:-:0$' out
}

@test "a stripped program's exported functions have names, others module and offset" {
    build -rdynamic
    strip prog
    record ./prog
    names 5001 1 >out
    printf '%s\n' hold:-:0 | diff - out
    names 7000 1 >out
    printf '%s\n' '?:-:0' | diff - out
    "$GOINSPECT" sites heap.gmi -o json | jq -e '.rows[] | select(.live == 140000) | .location | test("^prog\\+0x[0-9a-f]+$")'
}

@test "separate debug information is found beside the program" {
    build
    objcopy --only-keep-debug prog prog.debug
    strip prog
    objcopy --add-gnu-debuglink=prog.debug prog
    record ./prog
    names 5001 3 >out
    printf '%s\n' inner:prog.c:4:1 outer:prog.c:7:1 hold:prog.c:10:0 | diff - out
}

@test "a program that was replaced gives offsets, and a line says so" {
    build
    record ./prog
    sed -i 's/7000/7001/' prog.c
    build
    run -0 --separate-stderr "$GOINSPECT" sites heap.gmi
    [[ $stderr == *"prog is stale: it was replaced since the program began; offsets instead of names"* ]]
    names 5001 1 >out 2>/dev/null
    printf '%s\n' '?:-:0' | diff - out
}

@test "a program that is gone gives offsets, and a line says so" {
    build
    record ./prog
    rm prog
    run -0 --separate-stderr "$GOINSPECT" sites heap.gmi
    [[ $stderr == *"prog is not here: offsets instead of names"* ]]
}

@test "a program that is no longer a file is not opened" {
    build
    record ./prog
    rm prog
    mkfifo prog
    timeout 120 "$GOINSPECT" sites heap.gmi >out
    grep -q "prog+0x" out
}

@test "C++ names are demangled, without parameters" {
    cat >prog.cc <<'CC'
#include <cstdlib>
namespace shop {
template <class T> struct Basket {
    __attribute__((noinline)) static T *make(int n) {
        T *p = static_cast<T *>(malloc(n * sizeof(T)));
        __asm__ volatile("" : "+r"(p)); // no tail call
        return p;
    }
};
}
void *volatile keep;
int main() {
    keep = shop::Basket<char>::make(6000);
    exit(0);
}
CC
    ${CXX:-c++} -O2 -g -o prog prog.cc
    record ./prog
    names 6000 1 >out
    printf '%s\n' 'shop::Basket<char>::make:prog.cc:5:0' | diff - out
    strip --strip-debug prog
    names 6000 1 >out
    printf '%s\n' 'shop::Basket<char>::make:-:0' | diff - out
}

@test "Rust names are demangled" {
    cat >prog.c <<'C'
#include <stdlib.h>
void *volatile keep;
__attribute__((noinline)) void legacy(void) __asm__("_ZN4shop6basket4make17h0123456789abcdefE");
void legacy(void) { keep = malloc(6000); }
__attribute__((noinline)) void v0(void) __asm__("_RNvNtC4shop6basket4make");
void v0(void) { keep = malloc(6500); }
int main(void) { legacy(); v0(); exit(0); }
C
    ${CC:-cc} -O1 -o prog prog.c
    record ./prog
    [ "$(names 6000 1)" = 'shop::basket::make:-:0' ]
    [ "$(names 6500 1)" = 'shop::basket::make:-:0' ]
}

@test "a shared library's functions have names" {
    cat >lib.c <<'C'
#include <stdlib.h>
void *volatile held;
void lib_hold(void) { held = malloc(6000); __asm__ volatile(""); }
C
    cat >prog.c <<'C'
void lib_hold(void);
void exit(int);
int main(void) { lib_hold(); exit(0); }
C
    ${CC:-cc} -g -shared -fPIC -o libheld.so lib.c
    ${CC:-cc} -g -o prog prog.c -L. -lheld "-Wl,-rpath,$work"
    record ./prog
    names 6000 2 >out
    printf '%s\n' lib_hold:lib.c:3:0 main:prog.c:3:0 | diff - out
}

@test "names do not wait for a network" {
    build
    record ./prog
    DEBUGINFOD_URLS=http://127.0.0.1:1/ strace -f -e trace=connect -o trace "$GOINSPECT" sites heap.gmi >/dev/null 2>&1 ||
        skip "no strace"
    ! grep -q AF_INET trace
}
