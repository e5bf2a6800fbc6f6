/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The program's crimes, reported.
 */
#ifndef GM_API_CRIME_H
#define GM_API_CRIME_H

#include "sys/compiler.h"

enum crime {
#define CRIME(id, text) CRIME_##id,
#include "api/crimes.def"
#undef CRIME
    NUM_CRIMES
};

/* crime_committed prints "PROGRAM(PID): gomalloc: TEXT: 0xADDRESS in FUNCTION (...)" on stderr and
 * ends the program, unless the option on_error=report is set. */
gm_cold void crime_committed(enum crime what, const void *p, const char *function);

#endif
