/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The "program" of test_capture.
 */
#include "capture_program.h"

#include <alloca.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default"), noinline))

static void note(struct program_run *run, void *pc) {
    run->pcs[run->n++] = (uintptr_t)pc;
}

EXPORT int program_recurse(struct program_run *run, unsigned depth) {
    int ret = 1;
    if (depth == 0)
        run->visit(run);
    else
        ret += program_recurse(run, depth - 1);
    /* after the call, so that it is no tail call, and innermost first */
    note(run, __builtin_return_address(0));
    return ret;
}

static __attribute__((noinline)) int with_alloca(struct program_run *run, unsigned depth) {
    char *p = alloca(depth * 3 + 1);
    memset(p, (int)depth, depth * 3 + 1);
    int ret = program_mutual(run, depth - 1) + p[depth];
    note(run, __builtin_return_address(0));
    return ret;
}

EXPORT int program_mutual(struct program_run *run, unsigned depth) {
    volatile int a = (int)depth, b = a * 3, c = b + a, d = c * b;
    int ret = a + b;
    if (depth == 0)
        run->visit(run);
    else
        ret += with_alloca(run, depth) + c + d;
    note(run, __builtin_return_address(0));
    return ret;
}

__asm__(".text\n"
        ".globl program_wild\n"
        ".type program_wild, @function\n"
        "program_wild:\n"
        "    push %rbp\n"
        "    push %rbx\n"
        "    sub $40, %rsp\n"
        "    mov $0x1008, %ebp\n" /* nothing is mapped there */
        "    call *(%rdi)\n"      /* run->visit */
        "    add $40, %rsp\n"
        "    pop %rbx\n"
        "    pop %rbp\n"
        "    ret\n"
        ".size program_wild, . - program_wild\n");
