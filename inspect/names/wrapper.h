/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Functions that allocate for their caller, like xmalloc and std::vector's inside: what a site is
 * called after is the first function that is none of these.
 *
 * The list is wrappers.txt, built in, and what the user adds: files of the same form, read later,
 * so that they can also take back a line of the built-in ones.
 */
#ifndef GOINSPECT_WRAPPER_H
#define GOINSPECT_WRAPPER_H

#include <stdbool.h>
#include <stddef.h>

#include "base/say.h"

/*
 * wrapper_load reads the user's lists: the one in the user's configuration, the one that
 * $GOINSPECT_WRAPPERS names, and file (NULL = none), in this order.  STATUS_DONE, or *failure with
 * file and line.  Without it, wrapper_matches knows what is built in.
 */
enum status wrapper_load(const char *file, struct failure *failure);

/* wrapper_add adds the lines of a list of n bytes; name is what a failure calls it. */
enum status wrapper_add(const char *name, const char *text, size_t n, struct failure *failure);

/* wrapper_reset forgets all that was added, for tests. */
void wrapper_reset(void);

/* wrapper_matches says whether a function of a source file in a program or library is one; NULL
 * stands for what is not known. */
bool wrapper_matches(const char *function, const char *file, const char *module);

/* wrapper_plain_name writes function without parameters, template arguments, return type and a
 * compiler's suffixes to buf, cut to size, and returns buf. */
char *wrapper_plain_name(const char *function, char *buf, size_t size);

/* The text of wrappers.txt, NUL-terminated. */
extern const char wrapper_builtin[];

#endif
