/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Paragraphs of text, wrapped.  A figure stays with its unit: there is no break between a digit and
 * a unit ("2.4 MiB", "37 %"), nor between the arguments of a template.
 */
#include <ctype.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/say.h"
#include "base/text.h"
#include "base/wrap.h"

/* is_unit tells whether the n bytes at s, perhaps with a mark behind, are a unit. */
static bool is_unit(const char *s, size_t n) {
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "%", "s", "ms", "us"};
    while (n > 0 && strchr(",.;:)", s[n - 1]))
        n--;
    for (size_t i = 0; i < sizeof(units) / sizeof(*units); i++)
        if (strlen(units[i]) == n && strncmp(s, units[i], n) == 0)
            return true;
    return false;
}

/* word_length returns the bytes up to the next blank that is not within a name's <>. */
static size_t word_length(const char *s) {
    size_t n = 0, depth = 0;
    for (; s[n] && (s[n] != ' ' || depth > 0); n++) {
        if (n > 0 && s[n] == '<' && (isalnum((unsigned char)s[n - 1]) || depth > 0))
            depth++;
        else if (s[n] == '>' && depth > 0 && s[n - 1] != '-')
            depth--;
    }
    return depth > 0 ? strcspn(s, " ") : n; /* not a name's: operator< */
}

size_t wrap_piece(const char *s) {
    size_t n = word_length(s);
    while (n > 0 && s[n] == ' ' && s[n - 1] >= '0' && s[n - 1] <= '9' &&
           is_unit(s + n + 1, strcspn(s + n + 1, " ")))
        n += 1 + strcspn(s + n + 1, " ");
    return n;
}

static void print(FILE *out, const char *text, size_t width, size_t column, size_t others) {
    bool begun = false;
    for (text += strspn(text, " "); *text; text += strspn(text, " ")) {
        size_t n = wrap_piece(text);
        char *piece = must_dup_n(text, n);
        size_t cells = text_width(piece);
        if (begun && column + 1 + cells > width) {
            fprintf(out, "\n%*s", (int)others, "");
            column = others;
        } else if (begun) {
            fputc(' ', out);
            column++;
        }
        fputs(piece, out);
        column += cells;
        begun = true;
        free(piece);
        text += n;
    }
    fputc('\n', out);
}

void wrap_print(FILE *out, const char *text, size_t width, size_t first, size_t others) {
    fprintf(out, "%*s", (int)first, "");
    print(out, text, width, first, others);
}

void wrap_rest(FILE *out, const char *text, size_t width, size_t indent) {
    print(out, text, width, indent, indent);
}
