/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What programs with planted leaks share: objects whose addresses stand nowhere in clear but where
 * the test puts them, and the means to forget what registers and the stack remember.
 */
#ifndef TESTS_LEAK_WORLD_H
#define TESTS_LEAK_WORLD_H

#include <stdint.h>

#ifdef __clang__
#define NOINLINE __attribute__((noinline))
#else
#define NOINLINE __attribute__((noinline, noclone, noipa))
#endif

/* hide is its own inverse.  Nothing below the top of user addresses looks like one afterwards. */
#define HIDE(p) (~(uintptr_t)(p))

/* world_put stores the address that is hidden in `hidden`, plus an offset. */
void world_put(void *place, uintptr_t hidden, uintptr_t offset);

/* world_make returns the hidden address of a new object of zeros. */
uintptr_t world_make(uintptr_t size);

/* world_wipe overwrites the stack below the caller, and the registers. */
void world_wipe(void);

/* world_begin comes first: standard output has no buffer in the heap, whose end would be the
 * address of the object behind it. */
void world_begin(void);

/* world_say prints "lost" or "kept", a name, and the hidden address. */
void world_say(int lost, const char *name, uintptr_t hidden);

/* world_hold never returns, with a hidden address in clear in one register and nowhere else; *holds
 * becomes 1 then. */
void world_hold(uintptr_t hidden, volatile uint64_t *holds) __attribute__((noreturn));

/* world_rest never returns.  ready: it says so before. */
void world_rest(int ready) __attribute__((noreturn));

/* leak_plugin.c, which is loaded at run time. */
struct leak_plugin {
    uintptr_t *data;
    uintptr_t *bss;
    uintptr_t *(*tls)(void);
};

#endif
