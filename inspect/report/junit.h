/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Results of checks as JUnit XML, which programs that run tests read.
 */
#ifndef GOINSPECT_JUNIT_H
#define GOINSPECT_JUNIT_H

#include <stddef.h>

enum junit_result { JUNIT_PASSED, JUNIT_FAILED, JUNIT_ERROR };

struct junit_case {
    const char *name;
    enum junit_result result;
    const char *message; /* one line */
    const char *text;    /* more of it, NULL = none */
};

/* junit_write writes a file with one suite; it appears whole, or not at all.  0 or a negative
 * errno. The texts may hold anything. */
int junit_write(const char *path, const char *suite, const struct junit_case *cases, size_t n);

#endif
