/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Which registers of a stopped thread may hold a pointer that the program still has.
 *
 * Most threads of a server wait in a system call of libc.  Whatever called libc's function has kept
 * nothing in the vector registers, which a call does not preserve; but words that were copied
 * through them long ago, pointers to what has leaked since among them, stand there for as long as
 * the thread waits.  So there the general registers are all that counts.  Anywhere else all
 * registers do, as in a system call that a program makes by itself.
 */
#ifndef GM_LEAK_REGISTERS_H
#define GM_LEAK_REGISTERS_H

#include "leak/stop.h"

/* registers_end returns the end of the stored registers that count; they begin at t->regs_lo. */
uint64_t registers_end(const struct stop_thread *t);

/* registers_know is told an address in libc's code, once; else all registers count everywhere. */
void registers_know(uint64_t libc);

#endif
