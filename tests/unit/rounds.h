/* SPDX-License-Identifier: BSD-3-Clause
 *
 * How long random tests run, and on what: as ctest runs them, a second or so on the same numbers
 * each time.  GOMALLOC_TEST_ROUNDS=N makes them N times as long, GOMALLOC_TEST_SEED=N gives them
 * other numbers: for a night.
 */
#ifndef GM_TESTS_ROUNDS_H
#define GM_TESTS_ROUNDS_H

#include <stdlib.h>

static inline unsigned test_number(const char *name, unsigned otherwise) {
    const char *text = getenv(name);
    return text != NULL ? (unsigned)strtoul(text, NULL, 10) : otherwise;
}

static inline unsigned test_rounds(void) {
    return test_number("GOMALLOC_TEST_ROUNDS", 1);
}

static inline unsigned test_seed(void) {
    return test_number("GOMALLOC_TEST_SEED", 0);
}

#endif
