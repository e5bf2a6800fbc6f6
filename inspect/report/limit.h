/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Limits as people write them: 0, 10, 5%, 64MiB, 1000objects.
 */
#ifndef GOINSPECT_LIMIT_H
#define GOINSPECT_LIMIT_H

#include <stdbool.h>
#include <stddef.h>

enum limit_unit { LIMIT_OBJECTS = 1, LIMIT_BYTES = 2, LIMIT_PERCENT = 4 };

struct limit {
    const char *word; /* as it was written, NULL: there is no limit */
    enum limit_unit unit;
    double most; /* in that unit: more is too much */
};

#define LIMIT_TEXT_SIZE 64

/*
 * limit_parse reads a limit.  allowed: the units that it may be in, a mask; plain: the one of a
 * number without a unit, 0 = it must have one, unless it is 0.  word must outlive *ret.  On failure
 * false, and why it is none in error.
 */
bool limit_parse(const char *word, unsigned allowed, unsigned plain, struct limit *ret, char *error,
                 size_t size);

/* limit_text writes an amount with its unit: "3 objects", "1.5 MiB", "5.2%". */
void limit_text(char buf[LIMIT_TEXT_SIZE], enum limit_unit unit, double amount);

/* limit_unit_name returns "objects", "bytes" or "percent". */
const char *limit_unit_name(enum limit_unit unit);

#endif
