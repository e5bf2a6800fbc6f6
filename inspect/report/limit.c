/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Limits as people write them.
 *
 * A number alone is refused where it could mean two things: "5" is as easily 5 % as 5 bytes, and a
 * check that means the other one passes for years.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "report/limit.h"
#include "base/text.h"

/* unit_of reads what follows a number; 0: it is nothing that we know. */
static unsigned unit_of(const char *suffix) {
    if (strcmp(suffix, "%") == 0)
        return LIMIT_PERCENT;
    if (strcmp(suffix, "objects") == 0 || strcmp(suffix, "object") == 0)
        return LIMIT_OBJECTS;
    return LIMIT_BYTES; /* text_parse_bytes will say */
}

static const char *examples(unsigned allowed) {
    switch (allowed) {
    case LIMIT_BYTES:
        return "512KiB or 2GiB";
    case LIMIT_BYTES | LIMIT_OBJECTS:
        return "100objects, 512KiB or 2GiB";
    case LIMIT_BYTES | LIMIT_PERCENT:
        return "30% or 512MiB";
    default:
        return "5%, 64MiB or 1000objects";
    }
}

bool limit_parse(const char *word, unsigned allowed, unsigned plain, struct limit *ret, char *error,
                 size_t size) {
    char *end = NULL;
    double number = word[0] >= '0' && word[0] <= '9' ? strtod(word, &end) : -1;
    uint64_t bytes = 0;
    while (end && *end == ' ')
        end++;
    unsigned unit = end ? unit_of(end) : 0;
    if (end && *end == '\0')
        unit = plain ? plain : number == 0 ? allowed & LIMIT_BYTES : 0;
    *ret = (struct limit){.word = word, .unit = (enum limit_unit)unit, .most = number};
    bool fine = number >= 0 && number < 1e18 && (unit & allowed) != 0;
    if (fine && unit == LIMIT_BYTES && number > 0) {
        fine = text_parse_bytes(word, &bytes);
        ret->most = (double)bytes;
    }
    if (!fine)
        snprintf(error, size, "'%.40s' is not a limit such as %s", word, examples(allowed));
    return fine;
}

void limit_text(char buf[LIMIT_TEXT_SIZE], enum limit_unit unit, double amount) {
    char number[TEXT_NUMBER_SIZE];
    if (unit == LIMIT_PERCENT) {
        snprintf(buf, LIMIT_TEXT_SIZE, "%.1f%%", amount);
        return;
    }
    if (unit == LIMIT_BYTES)
        text_bytes_plain(number, amount);
    else
        text_count(number, (int64_t)amount);
    snprintf(buf, LIMIT_TEXT_SIZE, "%s%s", number,
             unit == LIMIT_BYTES ? ""
             : amount == 1       ? " object"
                                 : " objects");
}

const char *limit_unit_name(enum limit_unit unit) {
    return unit == LIMIT_PERCENT ? "percent" : unit == LIMIT_BYTES ? "bytes" : "objects";
}
