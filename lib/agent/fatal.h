/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A last image when a signal ends the program: trigger=fatal.
 */
#ifndef GM_AGENT_FATAL_H
#define GM_AGENT_FATAL_H

#include "sys/compiler.h"

/* fatal_install takes the signals that end a program with a core file, as far as their action is
 * still the default one: from the constructor, after trigger_configure. */
void fatal_install(void);

/* fatal_thread gives the calling thread, whose mcache has that number, a stack for the handler,
 * unless it has one.  With no lock held; does nothing before fatal_install. */
void fatal_thread(uint32_t mcache);

/* fatal_report writes the image now, for who is about to end the program by that signal: whose
 * handler may be another one. */
void fatal_report(int sig);

void fatal_fork_child(void);

#endif
