/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What goinspect says to people, and with which status it ends.
 *
 * Data goes to standard output and talk to standard error.  A module that can fail in ways a user
 * must hear about fills a struct failure: the exit status and one line that names what failed and
 * what to do next.  The command prints it, once.
 */
#ifndef GOINSPECT_SAY_H
#define GOINSPECT_SAY_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

/* Exit statuses, part of goinspect(1). */
enum status {
    STATUS_DONE = 0,
    STATUS_FINDINGS = 1,    /* a check found something */
    STATUS_FAILURE = 2,     /* it could not be done */
    STATUS_NO_TARGET = 3,   /* no such process, file or snapshot */
    STATUS_FORBIDDEN = 4,   /* another user's, or control=off */
    STATUS_BAD_VERSION = 5, /* the other side speaks another version */
    STATUS_USAGE = 64       /* the command line was wrong (EX_USAGE) */
};

struct failure {
    enum status status;
    char text[768]; /* one line without its newline */
};

/* fail fills *failure and returns its status, so that `return fail(...)` reads well. */
enum status fail(struct failure *failure, enum status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* say prints "goinspect: ..." and a newline on standard error, without control characters. */
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* say_output_error returns why standard output could not be written, as far as saying something has
 * found out; 0: not. */
int say_output_error(void);

/* say_failure says failure->text and returns its status. */
enum status say_failure(const struct failure *failure);

/* Memory that is there, or the program ends with STATUS_FAILURE. */
void *must_calloc(size_t n, size_t size);
void *must_realloc(void *p, size_t n, size_t size);
char *must_dup(const char *s);
char *must_dup_n(const char *s, size_t n);
char *must_format(const char *format, ...) __attribute__((format(printf, 1, 2)));
FILE *must_stream(char **text, size_t *size); /* open_memstream */

#endif
