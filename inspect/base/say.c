/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Messages on standard error, and memory that is there or ends the program.
 *
 * Every line that goinspect prints there may carry names that another process chose (its comm, its
 * path, the text of its agent's reply), so every line is cleaned before it reaches a terminal.
 */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/progress.h"
#include "base/say.h"
#include "base/text.h"
#include "base/wrap.h"

enum status fail(struct failure *failure, enum status status, const char *format, ...) {
    va_list ap;
    va_start(ap, format);
    vsnprintf(failure->text, sizeof(failure->text), format, ap);
    va_end(ap);
    failure->status = status;
    return status;
}

static int output_error; /* errno of the first flush of standard output that failed, or 0 */

/* terminal_width returns that of standard error, 0: it is none. */
static size_t terminal_width(void) {
    const char *columns = getenv("COLUMNS");
    struct winsize size;
    if (!isatty(STDERR_FILENO))
        return 0;
    if (columns && atoi(columns) > 0)
        return (size_t)atoi(columns);
    return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 ? size.ws_col : 0;
}

/* print_line prints one line, which a terminal gets in several, broken at blanks. */
static void print_line(const char *clean) {
    size_t width = terminal_width();
    if (width) {
        char *text = must_format("goinspect: %s", clean);
        wrap_print(stderr, text, width, 0, 2);
        free(text);
    } else
        fprintf(stderr, "goinspect: %s\n", clean);
}

void say(const char *format, ...) {
    char line[1024];
    va_list ap;
    va_start(ap, format);
    vsnprintf(line, sizeof(line), format, ap);
    va_end(ap);
    char *clean = text_clean(line, strlen(line), text_utf8_locale());
    if (fflush(stdout) != 0 && !output_error)
        output_error = errno;
    progress_clear();
    print_line(clean);
    free(clean);
}

int say_output_error(void) {
    return output_error;
}

enum status say_failure(const struct failure *failure) {
    if (failure->text[0])
        say("%s", failure->text);
    return failure->status;
}

static void out_of_memory(void) __attribute__((noreturn));
static void out_of_memory(void) {
    fputs("goinspect: out of memory\n", stderr);
    exit(STATUS_FAILURE);
}

void *must_calloc(size_t n, size_t size) {
    void *p = calloc(n ? n : 1, size ? size : 1);
    if (!p)
        out_of_memory();
    return p;
}

void *must_realloc(void *p, size_t n, size_t size) {
    if (size && n > SIZE_MAX / size)
        out_of_memory();
    p = realloc(p, n && size ? n * size : 1);
    if (!p)
        out_of_memory();
    return p;
}

char *must_dup(const char *s) {
    return must_dup_n(s, strlen(s));
}

char *must_dup_n(const char *s, size_t n) {
    char *copy = strndup(s, n);
    if (!copy)
        out_of_memory();
    return copy;
}

char *must_format(const char *format, ...) {
    char *s = NULL;
    va_list ap;
    va_start(ap, format);
    if (vasprintf(&s, format, ap) < 0)
        out_of_memory();
    va_end(ap);
    return s;
}

FILE *must_stream(char **text, size_t *size) {
    FILE *out = open_memstream(text, size);
    if (!out)
        out_of_memory();
    return out;
}
