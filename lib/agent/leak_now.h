/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A leak check that a thread of the program asks for, and waits for: at the program's end, or
 * because the program has called for one.
 *
 * Who stops the threads can't be one whose stack and registers count.  So a thread is made for it,
 * which lives as long as the check takes.  The check is made in place: the program waits for it
 * anyway, and there is no copy that could be refused, or run out of memory.
 */
#ifndef GM_AGENT_LEAK_NOW_H
#define GM_AGENT_LEAK_NOW_H

#include "leak/leak.h"

/* From where on the stack of who waits counts, and the registers that calls preserve, as they are
 * there: what is below is the library's own and whatever was there before. */
struct leak_caller {
    uintptr_t sp;
    uintptr_t regs[6];
};

#define LEAK_CALLER_HERE                                                                           \
    __extension__({                                                                                \
        struct leak_caller caller_ = {.sp = (uintptr_t)__builtin_frame_address(0)};                \
        __asm__ volatile("movq %%rbx, 0(%0)\n\tmovq %%rbp, 8(%0)\n\tmovq %%r12, 16(%0)\n\t"        \
                         "movq %%r13, 24(%0)\n\tmovq %%r14, 32(%0)\n\tmovq %%r15, 40(%0)"          \
                         :                                                                         \
                         : "r"(caller_.regs)                                                       \
                         : "memory");                                                              \
        caller_;                                                                                   \
    })

/* leak_now makes a check and has it reported.  0: the report has run, *ret_result is its result;
 * else an errno and a line of words: there was no check. */
int leak_now(const struct leak_caller *caller, const struct leak_report *report, int *ret_result,
             char *err, size_t errlen);

/* leak_now_say makes a check and says on standard error what has leaked; at_end: the program ends
 * now.  Returns whether anything has. */
bool leak_now_say(const struct leak_caller *caller, bool at_end);

#endif
