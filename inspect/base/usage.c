/* SPDX-License-Identifier: BSD-3-Clause
 *
 * How a command line that makes no sense is refused: in one line, as all that goinspect says, where
 * argp would take three.
 */
#include <stdlib.h>
#include <string.h>

#include "base/say.h"
#include "base/usage.h"

static void refuse(const char *verb, const char *format, va_list ap) __attribute__((noreturn));
static void refuse(const char *verb, const char *format, va_list ap) {
    char text[512];
    vsnprintf(text, sizeof(text), format, ap);
    say("%s: %s; \"goinspect help %s\" says more", verb, text, verb);
    exit(STATUS_USAGE);
}

void usage_error(const struct argp_state *state, const char *format, ...) {
    const char *blank = strrchr(state->name, ' '); /* "goinspect leaks" */
    va_list ap;
    va_start(ap, format);
    refuse(blank ? blank + 1 : state->name, format, ap);
}

void usage_error_of(const char *verb, const char *format, ...) {
    va_list ap;
    va_start(ap, format);
    refuse(verb, format, ap);
}
