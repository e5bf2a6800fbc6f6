/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What the program is going to do, by what it imports.
 */
#ifndef GM_AGENT_AGENT_IMPORTS_H
#define GM_AGENT_AGENT_IMPORTS_H

#include "sys/compiler.h"

/* agent_program_needs_one_thread tells whether the executable itself imports a function that a
 * process of several threads may not call, or that has other results there. */
bool agent_program_needs_one_thread(void);

#endif
