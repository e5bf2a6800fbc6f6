/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Names that are too long for a terminal.
 *
 * A C++ name is long because of what it is made for: the arguments of templates, the longest first,
 * and then those of functions tell least.  What is still too long loses its middle, as the end of
 * it is what the function is called:
 *
 *      std::vector<std::pair<int, char> >::push_back(std::pair<int, char>&&)
 *      std::vector<...>::push_back(...)
 *      std::vec...::push_back(...)
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/elide.h"
#include "base/say.h"
#include "base/text.h"

static const char *mark(void) {
    return text_utf8_locale() ? "\xe2\x80\xa6" : "~";
}

/* prefix returns the bytes of s that take at most so many cells. */
static size_t prefix(const char *s, size_t cells) {
    size_t n = strlen(s), to = 0, used = 0;
    uint32_t c;
    while (to < n) {
        char one[5] = {0};
        size_t len = text_decode(s + to, n - to, &c);
        memcpy(one, s + to, len);
        used += text_width(one);
        if (used > cells)
            break;
        to += len;
    }
    return to;
}

/* suffix returns where the end of s begins that takes at most so many cells. */
static size_t suffix(const char *s, size_t cells) {
    size_t n = strlen(s), from = 0;
    uint32_t c;
    while (from < n && text_width(s + from) > cells)
        from += text_decode(s + from, n - from, &c);
    return from;
}

char *elide_end(const char *text, size_t width) {
    if (width == 0 || text_width(text) <= width)
        return must_dup(text);
    return must_format("%.*s%s", (int)prefix(text, width - 1), text, mark());
}

char *elide_begin(const char *text, size_t width) {
    if (width == 0 || text_width(text) <= width)
        return must_dup(text);
    return must_format("%s%s", mark(), text + suffix(text, width - 1));
}

static char *elide_middle(const char *text, size_t width) {
    size_t head = (width - 1) / 3;
    return must_format("%.*s%s%s", (int)prefix(text, head), text, mark(),
                       text + suffix(text, width - 1 - head));
}

/* ---- brackets ------------------------------------------------------------------------------ */

static bool follows(const char *name, size_t i, const char *word) {
    size_t n = strlen(word);
    return i >= n && memcmp(name + i - n, word, n) == 0;
}

/* group_end returns where the group that opens at i closes; 0: it is none, as in operator<<. */
static size_t group_end(const char *name, size_t i, char open, char close) {
    size_t depth = 0, n = strlen(name);
    if (follows(name, i, "operator") || (open == '<' && follows(name, i, "operator<")))
        return 0;
    for (size_t k = i; k < n; k++) {
        if (name[k] == open)
            depth++;
        else if (name[k] == close && !(close == '>' && follows(name, k, "-")) && --depth == 0)
            return k;
    }
    return 0;
}

/* empty_longest takes what is in the longest group of these brackets out of *name; false: none has
 * more in it than a mark. */
static bool empty_longest(char **name, char open, char close) {
    size_t at = 0, longest = strlen(mark());
    char *s = *name;
    for (size_t i = 0; s[i]; i++) {
        size_t end = s[i] == open ? group_end(s, i, open, close) : 0;
        bool unnamed = strncmp(s + i, "(anonymous", 10) == 0;
        if (end != 0 && !unnamed && end - i - 1 > longest) {
            longest = end - i - 1;
            at = i + 1;
        }
    }
    if (at == 0)
        return false;
    *name = must_format("%.*s%s%s", (int)at, s, mark(), s + at + longest);
    free(s);
    return true;
}

char *elide_name(const char *name, size_t width) {
    char *s = must_dup(name);
    if (width == 0)
        return s;
    while (text_width(s) > width && empty_longest(&s, '<', '>'))
        continue;
    while (text_width(s) > width && empty_longest(&s, '(', ')'))
        continue;
    if (text_width(s) <= width)
        return s;
    char *cut = elide_middle(s, width);
    free(s);
    return cut;
}
