/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Suppressions: the file, line by line, and the patterns.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "report/suppress.h"
#include "target/target.h"
#include "base/text.h"

#define KIND "leak:"

/* A pattern is matched like a glob whose beginning and end are open.  What follows the last * met
 * is tried at each place behind; nothing before it needs to be tried again. */
bool suppress_pattern_matches(const char *pattern, const char *text) {
    bool open = *pattern != '^';
    const char *p = pattern + !open, *t = text;
    const char *again_p = open ? p : NULL, *again_t = t;
    for (;;) {
        if (*p == '\0' || (p[0] == '$' && p[1] == '\0' && *t == '\0'))
            return true;
        if (*p == '*') {
            again_p = ++p;
            again_t = t;
        } else if (*t != '\0' && *p == *t && !(p[0] == '$' && p[1] == '\0')) {
            p++;
            t++;
        } else if (again_p && *again_t != '\0') {
            p = again_p;
            t = ++again_t;
        } else
            return false;
    }
}

bool suppress_match(const struct suppressions *s, const char *text) {
    for (size_t i = 0; i < s->n && text && *text; i++)
        if (suppress_pattern_matches(s->patterns[i], text))
            return true;
    return false;
}

void suppress_free(struct suppressions *s) {
    for (size_t i = 0; i < s->n; i++)
        free(s->patterns[i]);
    free(s->patterns);
    *s = (struct suppressions){NULL, 0};
}

/* trim takes blanks off both ends of a line. */
static char *trim(char *line) {
    static const char blanks[] = " \t\r\n\v\f";
    line += strspn(line, blanks);
    size_t n = strlen(line);
    while (n && strchr(blanks, line[n - 1]))
        line[--n] = '\0';
    return line;
}

/* take adds what a line says; false: it makes no sense. */
static bool take(struct suppressions *s, const char *line) {
    if (*line == '\0' || *line == '#')
        return true;
    if (strncmp(line, KIND, strlen(KIND)) != 0 || line[strlen(KIND)] == '\0')
        return false;
    s->patterns = must_realloc(s->patterns, s->n + 1, sizeof(*s->patterns));
    s->patterns[s->n++] = must_dup(line + strlen(KIND));
    return true;
}

static enum status read_lines(FILE *f, const char *path, struct suppressions *ret,
                              struct failure *failure) {
    char *line = NULL;
    size_t size = 0, number = 0;
    enum status status = STATUS_DONE;
    while (status == STATUS_DONE && getline(&line, &size, f) >= 0) {
        const char *text = trim(line);
        number++;
        if (!take(ret, text))
            status = fail(failure, STATUS_FAILURE,
                          "%s:%zu: '%.80s' is no suppression: they read leak:PATTERN", path, number,
                          text);
    }
    if (status == STATUS_DONE && ferror(f))
        status = fail(failure, STATUS_FAILURE,
                      "--suppressions: %s: %s; a text with lines of leak:PATTERN is wanted", path,
                      strerror(errno));
    free(line);
    return status;
}

static enum status read_file(const char *path, struct suppressions *ret, struct failure *failure) {
    FILE *f = fopen(path, "re");
    if (!f)
        return fail(failure, status_of_error(-errno),
                    "--suppressions: %s: %s; a text with lines of leak:PATTERN is wanted", path,
                    strerror(errno));
    enum status status = read_lines(f, path, ret, failure);
    fclose(f);
    return status;
}

bool suppress_name(struct suppress_files *files, const char *path) {
    if (files->n == SUPPRESS_FILES)
        return false;
    files->path[files->n++] = path;
    return true;
}

enum status suppress_read(const struct suppress_files *files, struct suppressions *ret,
                          struct failure *failure) {
    enum status status = STATUS_DONE;
    *ret = (struct suppressions){NULL, 0};
    for (size_t i = 0; i < files->n && status == STATUS_DONE; i++)
        status = read_file(files->path[i], ret, failure);
    if (status != STATUS_DONE)
        suppress_free(ret);
    return status;
}
