/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Stacks that fool a replay which compares less than every word: see replay_cases.h.
 *
 * Each case calls the visitor twice with stacks that look alike where it would look: the same
 * return addresses at the same places, while something farther out is elsewhere.  The frames are an
 * assembler's, so that they are what the case needs, whatever the compiler.
 */
#include "fuzz_program.h"
#include "replay_cases.h"

/* Makes room on the stack and calls to(a, b): what is called is `room` bytes lower.  Its frame is
 * found by rbp. */
void case_shift(case_function *to, uint64_t a, uint64_t b, uint64_t room);
__asm__(".text\n"
        ".type case_shift, @function\n"
        "case_shift:\n"
        "    .cfi_startproc\n"
        "    push %rbp\n"
        "    .cfi_def_cfa_offset 16\n"
        "    .cfi_offset %rbp, -16\n"
        "    mov %rsp, %rbp\n"
        "    .cfi_def_cfa_register %rbp\n"
        "    sub %rcx, %rsp\n"
        "    mov %rdi, %rax\n"
        "    mov %rsi, %rdi\n"
        "    mov %rdx, %rsi\n"
        "    call *%rax\n"
        "    leave\n"
        "    .cfi_def_cfa %rsp, 8\n"
        "    ret\n"
        "    .cfi_endproc\n"
        ".size case_shift, . - case_shift\n");

/* Calls the visitor; leaves rbp alone, and does not save it. */
void case_plain(uint64_t visit, uint64_t unused);
__asm__(".type case_plain, @function\n"
        "case_plain:\n"
        "    .cfi_startproc\n"
        "    sub $8, %rsp\n"
        "    .cfi_def_cfa_offset 16\n"
        "    call *%rdi\n"
        "    add $8, %rsp\n"
        "    .cfi_def_cfa_offset 8\n"
        "    ret\n"
        "    .cfi_endproc\n"
        ".size case_plain, . - case_plain\n");

/* Calls the visitor; saves rbp and uses it for something else. */
void case_saves(uint64_t visit, uint64_t value);
__asm__(".type case_saves, @function\n"
        "case_saves:\n"
        "    .cfi_startproc\n"
        "    push %rbp\n"
        "    .cfi_def_cfa_offset 16\n"
        "    .cfi_offset %rbp, -16\n"
        "    mov %rsi, %rbp\n"
        "    call *%rdi\n"
        "    pop %rbp\n"
        "    .cfi_restore %rbp\n"
        "    .cfi_def_cfa_offset 8\n"
        "    ret\n"
        "    .cfi_endproc\n"
        ".size case_saves, . - case_saves\n");

/* Saves rbp, uses it for something else, and calls case_plain. */
void case_saves_plain(uint64_t visit, uint64_t value);
__asm__(".type case_saves_plain, @function\n"
        "case_saves_plain:\n"
        "    .cfi_startproc\n"
        "    push %rbp\n"
        "    .cfi_def_cfa_offset 16\n"
        "    .cfi_offset %rbp, -16\n"
        "    mov %rsi, %rbp\n"
        "    sub $16, %rsp\n"
        "    .cfi_def_cfa_offset 32\n"
        "    call case_plain\n"
        "    add $16, %rsp\n"
        "    .cfi_def_cfa_offset 16\n"
        "    pop %rbp\n"
        "    .cfi_restore %rbp\n"
        "    .cfi_def_cfa_offset 8\n"
        "    ret\n"
        "    .cfi_endproc\n"
        ".size case_saves_plain, . - case_saves_plain\n");

/* Is found by rbp, and calls case_plain, which is as deep as under case_saves_plain. */
void case_frame_plain(uint64_t visit, uint64_t unused);
__asm__(".type case_frame_plain, @function\n"
        "case_frame_plain:\n"
        "    .cfi_startproc\n"
        "    push %rbp\n"
        "    .cfi_def_cfa_offset 16\n"
        "    .cfi_offset %rbp, -16\n"
        "    mov %rsp, %rbp\n"
        "    .cfi_def_cfa_register %rbp\n"
        "    sub $16, %rsp\n"
        "    call case_plain\n"
        "    leave\n"
        "    .cfi_def_cfa %rsp, 8\n"
        "    ret\n"
        "    .cfi_endproc\n"
        ".size case_frame_plain, . - case_frame_plain\n");

/* Aligns its stack to 256 bytes, as compilers do: where it was called from is a word below rbp. */
void case_aligns(uint64_t visit, uint64_t unused);
__asm__(".type case_aligns, @function\n"
        "case_aligns:\n"
        "    .cfi_startproc\n"
        "    lea 8(%rsp), %r10\n"
        "    .cfi_def_cfa %r10, 0\n"
        "    and $-256, %rsp\n"
        "    push -8(%r10)\n"
        "    push %rbp\n"
        "    mov %rsp, %rbp\n"
        "    .cfi_escape 0x10, 6, 2, 0x76, 0\n" /* rbp is at breg6(0) */
        "    push %r10\n"
        "    .cfi_escape 0x0f, 3, 0x76, 0x78, 6\n" /* CFA is what is at breg6(-8) */
        "    sub $40, %rsp\n"
        "    call *%rdi\n"
        "    add $40, %rsp\n"
        "    pop %r10\n"
        "    .cfi_def_cfa %r10, 0\n"
        "    pop %rbp\n"
        "    lea -8(%r10), %rsp\n"
        "    .cfi_def_cfa %rsp, 8\n"
        "    ret\n"
        "    .cfi_endproc\n"
        ".size case_aligns, . - case_aligns\n");

/* Calls case_visitor; saves rbp and uses it for something else. */
void case_saves_and_visits(void);
__attribute__((visibility("hidden"))) case_visit *case_visitor;
__asm__(".type case_saves_and_visits, @function\n"
        "case_saves_and_visits:\n"
        "    .cfi_startproc\n"
        "    push %rbp\n"
        "    .cfi_def_cfa_offset 16\n"
        "    .cfi_offset %rbp, -16\n"
        "    mov $1, %ebp\n"
        "    call *case_visitor(%rip)\n"
        "    pop %rbp\n"
        "    .cfi_restore %rbp\n"
        "    .cfi_def_cfa_offset 8\n"
        "    ret\n"
        "    .cfi_endproc\n"
        ".size case_saves_and_visits, . - case_saves_and_visits\n");

/* Calls case_saves_and_visits.  Its unwind information takes for its frame that of its caller, or,
 * if outer is not 0, that of the caller's, both of which are found by rbp. */
void case_skips(uint64_t outer, uint64_t unused);
__asm__(".type case_skips, @function\n"
        "case_skips:\n"
        "    .cfi_startproc\n"
        "    push %rbp\n"
        "    .cfi_def_cfa_offset 16\n"
        "    .cfi_offset %rbp, -16\n"
        "    test %rdi, %rdi\n"
        "    je 1f\n"
        "    mov (%rbp), %rbp\n"
        "1:  .cfi_def_cfa %rbp, 16\n"
        "    call case_saves_and_visits\n"
        "    pop %rbp\n"
        "    .cfi_restore %rbp\n"
        "    .cfi_def_cfa %rsp, 8\n"
        "    ret\n"
        "    .cfi_endproc\n"
        ".size case_skips, . - case_skips\n");

/* Says that r12 is saved 2^63 - 1 times the alignment away. */
void overflows(case_visit *visit);
__asm__(".type overflows, @function\n"
        "overflows:\n"
        "    .cfi_startproc\n"
        "    sub $8, %rsp\n"
        "    .cfi_def_cfa_offset 16\n"
        "    .cfi_escape 0x05, 12, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f\n"
        "    call *%rdi\n"
        "    add $8, %rsp\n"
        "    .cfi_def_cfa_offset 8\n"
        "    ret\n"
        "    .cfi_endproc\n"
        ".size overflows, . - overflows\n");

void case_overflow(case_visit *visit) {
    overflows(visit);
    __asm__ volatile(""); /* no tail call */
}

/* Two ways to the same depth: by rooms a and then `both - a`, for two values of a.  Between them
 * stands old: what was a frame in the first is untouched room in the second. */
static void __attribute__((noinline)) outer(uint64_t to, uint64_t packed) {
    uint64_t *p = (uint64_t *)packed; /* visit, value, room */
    case_shift((case_function *)to, p[0], p[1], p[2]);
}

static void __attribute__((noinline))
both(case_function *to, case_visit *visit, uint64_t value, uint64_t first) {
    const uint64_t all = 512;
    uint64_t packed[3] = {(uint64_t)visit, value, all - first};
    case_shift(outer, (uint64_t)to, (uint64_t)packed, first);
}

void case_same_place_other_rbp(case_visit *visit) {
    both(case_plain, visit, 0, 128);
    both(case_plain, visit, 0, 256);
    both(case_plain, visit, 0, 128);
}

void case_same_place_other_saved_rbp(case_visit *visit) {
    both(case_saves, visit, 77, 128);
    both(case_saves, visit, 77, 256);
    both(case_saves, visit, 77, 128);
}

void case_dead_rbp_comes_alive(case_visit *visit) {
    both(case_saves_plain, visit, 0x1008, 256);
    both(case_frame_plain, visit, 0, 256);
    both(case_saves_plain, visit, 0x2008, 256);
    both(case_frame_plain, visit, 0, 256);
}

void case_dead_rbp_is_another(case_visit *visit) {
    case_visitor = visit;
    for (volatile uint64_t value = 0x1008; value < 0x9008; value += 0x1000)
        both(case_saves_plain, case_saves_and_visits, value, 256);
}

void case_saved_rbp_comes_alive(case_visit *visit) {
    case_visitor = visit;
    for (volatile uint64_t value = 0x1008; value < 0x5008; value += 0x1000) {
        for (volatile uint64_t more = 0; more < 0x300; more += 0x100)
            both(case_saves_plain, case_saves_and_visits, value + more, 256);
        both(case_frame_plain, case_saves_and_visits, 0, 256);
    }
}

static case_visit *visitor_of_farther;

static void from_farther(void) {
    visitor_of_farther();
    __asm__ volatile(""); /* no tail call */
}

void case_one_of_two_frames(case_visit *visit, bool outer, bool farther) {
    visitor_of_farther = visit;
    case_visitor = farther ? from_farther : visit;
    case_shift((case_function *)(uintptr_t)case_shift, (uint64_t)case_skips, outer, 64);
    __asm__ volatile(""); /* no tail call */
}

void case_one_of_many(case_visit *visit, unsigned i) {
    static case_function *const wrappers[] = {case_plain, case_saves, case_saves_plain};
    unsigned ways = CASE_MANY / 3;
    both(wrappers[i / ways % 3], visit, 0x1008, 16 + i % ways * 16);
}

/* The inner frame is aligned to the same place while its caller moves. */
void case_other_place_same_alignment(case_visit *visit) {
    for (int i = 0; i < 2; i++) {
        for (uint64_t room = 0; room < 256; room += 16)
            case_shift(case_aligns, (uint64_t)visit, 0, room);
        for (uint64_t room = 256; room > 0; room -= 16)
            case_shift(case_aligns, (uint64_t)visit, 0, room);
    }
}

/* Not inlined into itself: a frame each. */
__attribute__((noinline)) void case_recursion(case_visit *visit, unsigned depth) {
    if (depth == 0)
        visit();
    else
        case_recursion(visit, depth - 1);
    __asm__ volatile("" ::: "memory"); /* no tail call */
}

/* Functions that change to another stack, which their unwind information tells of or not. */
#define ON_ANOTHER_STACK(name, outside)                                                            \
    __asm__(".text\n"                                                                              \
            ".globl " name "\n"                                                                    \
            ".type " name ", @function\n" name ":\n"                                               \
            "    .cfi_startproc\n" outside "    push %rbp\n"                                       \
            "    .cfi_def_cfa_offset 16\n"                                                         \
            "    .cfi_offset %rbp, -16\n"                                                          \
            "    mov %rsp, %rbp\n"                                                                 \
            "    .cfi_def_cfa_register %rbp\n"                                                     \
            "    mov %rdi, %rsp\n"                                                                 \
            "    call *%rsi\n"                                                                     \
            "    leave\n"                                                                          \
            "    .cfi_def_cfa %rsp, 8\n"                                                           \
            "    ret\n"                                                                            \
            "    .cfi_endproc\n"                                                                   \
            ".size " name ", . - " name "\n")

ON_ANOTHER_STACK("case_begins", "    .cfi_undefined %rip\n");
ON_ANOTHER_STACK("case_begins_too", "    .cfi_undefined %rip\n");
ON_ANOTHER_STACK("case_borrows", "");

static case_visit *one_after_another;

static void visit_one_after_another(void) {
    for (volatile int i = 0; i < 5; i++) { /* volatile: the same return addresses */
        if (i % 2 == 0 && i < 3)
            case_recursion(one_after_another, i == 0 ? 1 : 9);
        else
            case_one_of_two_frames(one_after_another, i == 4, i != 3);
    }
}

void case_one_after_another(void *top, case_visit *visit) {
    one_after_another = visit;
    case_begins(top, visit_one_after_another);
    __asm__ volatile(""); /* no tail call */
}

static struct fuzz *begun;
static unsigned begun_depth;
static uint64_t begun_x;

static void go_on(void) {
    fuzz_next(begun, begun_depth, begun_x);
    __asm__ volatile(""); /* no tail call */
}

void case_begins_fuzz(void *top, struct fuzz *f, unsigned depth, uint64_t x) {
    begun = f;
    begun_depth = depth;
    begun_x = x;
    case_begins(top, go_on);
}

__asm__(".globl case_by_rbx\n"
        ".type case_by_rbx, @function\n"
        "case_by_rbx:\n"
        "    .cfi_startproc\n"
        "    push %rbx\n"
        "    .cfi_def_cfa_offset 16\n"
        "    .cfi_offset %rbx, -16\n"
        "    mov %rsp, %rbx\n"
        "    .cfi_def_cfa_register %rbx\n"
        "    call *%rdi\n"
        "    pop %rbx\n"
        "    .cfi_def_cfa %rsp, 8\n"
        "    .cfi_restore %rbx\n"
        "    ret\n"
        "    .cfi_endproc\n"
        ".size case_by_rbx, . - case_by_rbx\n");

/* with_rbp calls a function with rbp as it is told, which its unwind information takes for its
 * frame: so do threads look that were made by setjmp and a new stack pointer. */
void with_rbp(void *rbp, case_visit *visit);
__asm__(".text\n"
        ".type with_rbp, @function\n"
        "with_rbp:\n"
        ".cfi_startproc\n"
        "pushq %rbp\n"
        ".cfi_def_cfa_offset 16\n"
        ".cfi_offset 6, -16\n"
        "movq %rdi, %rbp\n"
        ".cfi_def_cfa_register 6\n"
        "callq *%rsi\n"
        "popq %rbp\n"
        ".cfi_def_cfa 7, 8\n"
        "retq\n"
        ".cfi_endproc\n"
        ".size with_rbp, . - with_rbp\n");

void case_wrong_frame(case_visit *visit, void *rbp) {
    with_rbp(rbp, visit);
    __asm__ volatile(""); /* no tail call */
}
