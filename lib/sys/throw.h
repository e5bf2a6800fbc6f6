/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The end of the program: our own broken invariant, or the program's crime.
 *
 * Both print one line on stderr without stdio or heap and call abort() (through the raw system
 * calls, so that no handler of ours or atexit code runs in a broken heap).
 */
#ifndef GM_SYS_THROW_H
#define GM_SYS_THROW_H

#include "sys/compiler.h"
#include "sys/fmt.h"

/* throw_ ends the program because this library is wrong.  Go: runtime.throw. */
_Noreturn gm_cold void throw_(const char *what);

/* throw_values prints two numbers with it. */
_Noreturn gm_cold void throw_values(const char *what, uint64_t a, uint64_t b);

/* report_begin starts a line "PROGRAM(PID): gomalloc: " in f. */
void report_begin(struct fmt *f);

/* report_end writes the line to the program's standard error: fd 2, also from a thread that has a
 * descriptor table of its own and has said so in report_own_table. */
void report_end(const struct fmt *f);
extern gm_tls bool report_own_table;

/* die ends the program with SIGABRT. */
_Noreturn gm_cold void die(void);

/* gm_assert costs nothing in a release build. */
#define gm_assert(cond)                                                                            \
    do {                                                                                           \
        if (gm_debug && !(cond))                                                                   \
            throw_(__FILE__ ": " #cond);                                                           \
    } while (0)

#endif
