/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The list of wrappers: reading it, and asking it.  The form of a list is told in wrappers.txt.
 *
 * A name is compared with every pattern, of which there are some hundreds; who asks for many
 * remembers the answers (code.c).
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/say.h"
#include "names/wrapper.h"

#define MAX_LIST (1u << 20) /* bytes of a user's file */

enum what {
    PLAIN, /* name without parameters and the like */
    WHOLE, /* name as it is shown */
    FILES, /* source file with its path */
    MODULE /* name of the program or library, without its path */
};

struct pattern {
    char *text;
    enum what what; /* it is compared with */
    bool negative;  /* what fits is no wrapper */
};

static struct pattern *patterns; /* NULL = nothing has been read yet */
static size_t npatterns, room;

void wrapper_reset(void) {
    for (size_t i = 0; i < npatterns; i++)
        free(patterns[i].text);
    free(patterns);
    patterns = NULL;
    npatterns = room = 0;
}

/* Reading. */

static void add(const char *text, size_t n, bool negative, bool module) {
    if (npatterns == room) {
        room = room ? 2 * room : 512;
        patterns = must_realloc(patterns, room, sizeof *patterns);
    }
    char *copy = must_dup_n(text, n);
    enum what what = module                                   ? MODULE
                     : copy[0] == '/'                         ? FILES
                     : strchr(copy, '<') || strchr(copy, '(') ? WHOLE
                                                              : PLAIN;
    patterns[npatterns++] = (struct pattern){copy, what, negative};
}

static bool is_blank(char c) {
    return c == ' ' || c == '\t' || c == '\r';
}

/* add_line takes the n bytes of a line; a text that says what is wrong, or NULL. */
static const char *add_line(const char *s, size_t n) {
    bool negative, module;
    for (size_t i = 0; i < n; i++)
        if (s[i] == '#' && (i == 0 || is_blank(s[i - 1])))
            n = i;
    while (n && is_blank(s[n - 1]))
        n--;
    for (; n && is_blank(*s); n--)
        s++;
    if (n == 0)
        return NULL;
    negative = *s == '!';
    s += negative, n -= negative;
    module = n && *s == '@';
    s += module, n -= module;
    if (n == 0)
        return "there is no pattern after ! or @";
    if (strspn(s, "*") >= n)
        return "a pattern of nothing but * would pass over everything";
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)s[i] < ' ' || s[i] == 0x7f)
            return "a control character; a list is text, with one pattern a line";
    if (module && memchr(s, '/', n))
        return "after @ comes the name of a file without its directories";
    add(s, n, negative, module);
    return NULL;
}

static enum status add_lines(const char *name, const char *text, size_t n,
                             struct failure *failure) {
    size_t line = 1;
    for (const char *s = text, *end = text + n; s < end; line++) {
        const char *newline = memchr(s, '\n', (size_t)(end - s));
        size_t length = newline ? (size_t)(newline - s) : (size_t)(end - s);
        const char *wrong = add_line(s, length);
        if (wrong)
            return fail(failure, STATUS_FAILURE, "%s:%zu: %s", name, line, wrong);
        s += length + 1;
    }
    return STATUS_DONE;
}

static void need_builtin(void) {
    struct failure failure;
    if (!patterns)
        add_lines("wrappers.txt", wrapper_builtin, strlen(wrapper_builtin), &failure);
}

enum status wrapper_add(const char *name, const char *text, size_t n, struct failure *failure) {
    need_builtin();
    return add_lines(name, text, n, failure);
}

/* add_file reads a list; one that can't be opened is a failure only if it must be there: the home
 * of whoever runs us as another user may be closed to us. */
static enum status add_file(const char *path, bool must, struct failure *failure) {
    FILE *f = fopen(path, "re");
    if (!f && !must)
        return STATUS_DONE;
    if (!f)
        return fail(failure, STATUS_FAILURE, "%s: a list of wrappers: %s", path, strerror(errno));
    char *text = must_calloc(1, MAX_LIST + 1);
    size_t n = fread(text, 1, MAX_LIST + 1, f);
    enum status status = STATUS_DONE;
    if (ferror(f))
        status = fail(failure, STATUS_FAILURE, "%s: a list of wrappers: %s", path, strerror(errno));
    else if (n > MAX_LIST)
        status = fail(failure, STATUS_FAILURE, "%s: a list of wrappers has at most 1 MiB", path);
    else
        status = wrapper_add(path, text, n, failure);
    fclose(f);
    free(text);
    return status;
}

/* configured returns the path of the user's own list, NULL if there is no home. */
static char *configured(void) {
    const char *config = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
    if (config && config[0] == '/')
        return must_format("%s/goinspect/wrappers", config);
    return home && home[0] == '/' ? must_format("%s/.config/goinspect/wrappers", home) : NULL;
}

enum status wrapper_load(const char *file, struct failure *failure) {
    const char *named = getenv("GOINSPECT_WRAPPERS");
    char *own = configured();
    enum status status = own ? add_file(own, false, failure) : STATUS_DONE;
    free(own);
    if (status == STATUS_DONE && named && named[0])
        status = add_file(named, true, failure);
    if (status == STATUS_DONE && file)
        status = add_file(file, true, failure);
    return status;
}

/* Asking. */

/* fits compares a text with a pattern in which * stands for any characters: after a mismatch, the
 * last * takes one character more. */
static bool fits(const char *pattern, const char *text) {
    const char *star = NULL, *resume = NULL;
    while (*text) {
        if (*pattern == '*') {
            star = pattern++;
            resume = text;
        } else if (*pattern == *text) {
            pattern++;
            text++;
        } else if (star) {
            pattern = star + 1;
            text = ++resume;
        } else
            return false;
    }
    return pattern[strspn(pattern, "*")] == '\0';
}

bool wrapper_matches(const char *function, const char *file, const char *module) {
    char plain[4096];
    const char *slash = module ? strrchr(module, '/') : NULL;
    const char *texts[] = {
        [PLAIN] = NULL, [WHOLE] = function, [FILES] = file, [MODULE] = slash ? slash + 1 : module};
    bool found = false;
    need_builtin();
    if (function)
        texts[PLAIN] = wrapper_plain_name(function, plain, sizeof plain);
    for (size_t i = 0; i < npatterns; i++) {
        const struct pattern *p = &patterns[i];
        if (texts[p->what] && found == p->negative && fits(p->text, texts[p->what]))
            found = !p->negative;
    }
    return found;
}
