/* SPDX-License-Identifier: BSD-3-Clause
 *
 * How a command line that makes no sense is refused.
 */
#ifndef GOINSPECT_USAGE_H
#define GOINSPECT_USAGE_H

#include <argp.h>

/* usage_error ends the program with one line that says what is wrong and where it is explained;
 * usage_error_of is for who has just the verb's name. */
void usage_error(const struct argp_state *state, const char *format, ...)
    __attribute__((format(printf, 2, 3), noreturn));
void usage_error_of(const char *verb, const char *format, ...)
    __attribute__((format(printf, 2, 3), noreturn));

#endif
