/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A plugin of test_replay_never: reload_call(f) calls f.  Compiled twice, with another FRAME
 * (bytes, 8 less than a multiple of 16, at most 120) each time, it has the same code at the same
 * places, but for the size of the frame.
 */
#define TEXT_(x) #x
#define TEXT(x)  TEXT_(x)

__asm__(".text\n"
        ".globl reload_call\n"
        ".type reload_call, @function\n"
        "reload_call:\n"
        "    .cfi_startproc\n"
        "    sub $" TEXT(
            FRAME) ", %rsp\n"
                   "    .cfi_adjust_cfa_offset " TEXT(
                       FRAME) "\n"
                              "    call *%rdi\n"
                              "    add $" TEXT(
                                  FRAME) ", %rsp\n"
                                         "    .cfi_adjust_cfa_offset -" TEXT(
                                             FRAME) "\n"
                                                    "    ret\n"
                                                    "    .cfi_endproc\n"
                                                    ".size reload_call, . - reload_call\n");
