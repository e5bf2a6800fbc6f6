/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Leaks that are known and accepted, in LeakSanitizer's file format.
 *
 *      # glib keeps these for ever
 *      leak:g_type_register_*
 *      leak:libfontconfig.so
 *
 * A line is "leak:" and a pattern; lines that begin with # are comments.  A pattern is looked for
 * anywhere in the text; * stands for any characters, ^ at the pattern's beginning for that of the
 * text, and $ for its end.
 */
#ifndef GOINSPECT_SUPPRESS_H
#define GOINSPECT_SUPPRESS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/say.h"

#define SUPPRESS_FILES 16

/* Files that the command line names; all of them count. */
struct suppress_files {
    const char *path[SUPPRESS_FILES];
    size_t n;
};

struct suppressions {
    char **patterns;
    size_t n;
};

/* suppress_name notes one more file.  False: they are too many. */
bool suppress_name(struct suppress_files *files, const char *path);

/* suppress_read reads them.  STATUS_DONE, or *failure with the line that is none. */
enum status suppress_read(const struct suppress_files *files, struct suppressions *ret,
                          struct failure *failure);

/* suppress_match tells whether any pattern is found in text; NULL is never. */
bool suppress_match(const struct suppressions *s, const char *text);

void suppress_free(struct suppressions *s);

/* suppress_pattern_matches tells whether one is. */
bool suppress_pattern_matches(const char *pattern, const char *text);

#endif
