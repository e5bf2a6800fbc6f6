/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What programs with planted leaks share.
 */
#include "leak_world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void world_begin(void) {
    static char buffer[4096 + 64];
    setvbuf(stdout, buffer, _IOFBF, 4096);
}

NOINLINE void world_put(void *place, uintptr_t hidden, uintptr_t offset) {
    *(volatile uintptr_t *)place = HIDE(hidden) + offset;
}

NOINLINE uintptr_t world_make(uintptr_t size) {
    void *p = malloc(size);
    if (!p)
        abort();
    memset(p, 0, size);
    return HIDE(p);
}

static NOINLINE void wipe_registers(void) {
    __asm__ volatile("pxor %%xmm0, %%xmm0\n pxor %%xmm1, %%xmm1\n pxor %%xmm2, %%xmm2\n"
                     "pxor %%xmm3, %%xmm3\n pxor %%xmm4, %%xmm4\n pxor %%xmm5, %%xmm5\n"
                     "pxor %%xmm6, %%xmm6\n pxor %%xmm7, %%xmm7\n pxor %%xmm8, %%xmm8\n"
                     "pxor %%xmm9, %%xmm9\n pxor %%xmm10, %%xmm10\n pxor %%xmm11, %%xmm11\n"
                     "pxor %%xmm12, %%xmm12\n pxor %%xmm13, %%xmm13\n pxor %%xmm14, %%xmm14\n"
                     "pxor %%xmm15, %%xmm15\n"
                     "xor %%ebx, %%ebx\n xor %%r12d, %%r12d\n xor %%r13d, %%r13d\n"
                     "xor %%r14d, %%r14d\n xor %%r15d, %%r15d\n xor %%r8d, %%r8d\n"
                     "xor %%r9d, %%r9d\n xor %%r10d, %%r10d\n xor %%r11d, %%r11d\n" ::
                         : "rbx", "r12", "r13", "r14", "r15", "r8", "r9", "r10", "r11", "xmm0",
                           "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9",
                           "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15");
    if (__builtin_cpu_supports("avx"))
        __asm__ volatile("vzeroall");
}

/* libc's memcpy and memset use these where there are any. */
__attribute__((target("avx512f"))) static NOINLINE void wipe_upper(void) {
    __asm__ volatile("vpxorq %%zmm16, %%zmm16, %%zmm16\n vpxorq %%zmm17, %%zmm17, %%zmm17\n"
                     "vpxorq %%zmm18, %%zmm18, %%zmm18\n vpxorq %%zmm19, %%zmm19, %%zmm19\n"
                     "vpxorq %%zmm20, %%zmm20, %%zmm20\n vpxorq %%zmm21, %%zmm21, %%zmm21\n"
                     "vpxorq %%zmm22, %%zmm22, %%zmm22\n vpxorq %%zmm23, %%zmm23, %%zmm23\n"
                     "vpxorq %%zmm24, %%zmm24, %%zmm24\n vpxorq %%zmm25, %%zmm25, %%zmm25\n"
                     "vpxorq %%zmm26, %%zmm26, %%zmm26\n vpxorq %%zmm27, %%zmm27, %%zmm27\n"
                     "vpxorq %%zmm28, %%zmm28, %%zmm28\n vpxorq %%zmm29, %%zmm29, %%zmm29\n"
                     "vpxorq %%zmm30, %%zmm30, %%zmm30\n vpxorq %%zmm31, %%zmm31, %%zmm31\n" ::
                         : "memory");
}

NOINLINE void world_wipe(void) {
    volatile char room[24 << 10];
    for (unsigned i = 0; i < sizeof room; i++)
        room[i] = 0;
    wipe_registers();
    if (__builtin_cpu_supports("avx512f"))
        wipe_upper();
}

NOINLINE void world_say(int lost, const char *name, uintptr_t hidden) {
    printf("%s %s %lx\n", lost ? "lost" : "kept", name, (unsigned long)hidden);
}

NOINLINE void world_hold(uintptr_t hidden, volatile uint64_t *holds) {
    world_wipe();
    __asm__ volatile("mov %0, %%rbx\n not %%rbx\n movq $1, (%1)\n"
                     "1: mov $34, %%eax\n syscall\n jmp 1b" /* pause() */
                     :
                     : "r"(hidden), "r"(holds)
                     : "rbx", "rax", "rcx", "r11", "memory");
    __builtin_unreachable();
}

NOINLINE void world_rest(int ready) {
    if (ready) {
        puts("ready");
        fflush(stdout);
    }
    for (;;) {
        world_wipe();
        pause();
    }
}
