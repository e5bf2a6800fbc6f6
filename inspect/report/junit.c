/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Results of checks as JUnit XML: one <testsuite>, a <testcase> for each check, with <failure> or
 * <error> in it.
 *
 * Texts may hold names that a stranger chose.  XML has no way to write most control characters, not
 * even escaped, and a reader refuses a file with bytes that are not UTF-8: both become '?', or
 * U+FFFD, as on a terminal, only that line breaks stay.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "report/junit.h"
#include "base/savefile.h"
#include "base/text.h"

/* put_line writes n bytes without a line break. */
static void put_line(FILE *out, const char *s, size_t n) {
    char *clean = text_clean(s, n, true);
    for (const char *p = clean; *p; p++)
        switch (*p) {
        case '&':
            fputs("&amp;", out);
            break;
        case '<':
            fputs("&lt;", out);
            break;
        case '>':
            fputs("&gt;", out);
            break;
        case '"':
            fputs("&quot;", out);
            break;
        default:
            if ((unsigned char)p[0] == 0xef && (unsigned char)p[1] == 0xbf &&
                (unsigned char)p[2] >= 0xbe) { /* U+FFFE and U+FFFF are no characters */
                fputs("\xef\xbf\xbd", out);
                p += 2;
            } else
                fputc(*p, out);
        }
    free(clean);
}

static void put_text(FILE *out, const char *s) {
    for (;;) {
        size_t n = strcspn(s, "\n");
        put_line(out, s, n);
        s += n;
        if (*s++ == '\0')
            return;
        fputc('\n', out);
    }
}

static void put_case(FILE *out, const struct junit_case *c) {
    static const char *const elements[] = {[JUNIT_FAILED] = "failure", [JUNIT_ERROR] = "error"};
    fputs("    <testcase classname=\"goinspect.check\" name=\"", out);
    put_line(out, c->name, strlen(c->name));
    if (c->result == JUNIT_PASSED) {
        fputs("\">\n      <system-out>", out);
        put_text(out, c->message);
        fputs("</system-out>\n", out);
    } else {
        fprintf(out, "\">\n      <%s type=\"limit\" message=\"", elements[c->result]);
        put_line(out, c->message, strlen(c->message));
        fputs("\">", out);
        put_text(out, c->text ? c->text : c->message);
        fprintf(out, "</%s>\n", elements[c->result]);
    }
    fputs("    </testcase>\n", out);
}

static size_t count(const struct junit_case *cases, size_t n, enum junit_result result) {
    size_t found = 0;
    for (size_t i = 0; i < n; i++)
        found += cases[i].result == result;
    return found;
}

int junit_write(const char *path, const char *suite, const struct junit_case *cases, size_t n) {
    char *text = NULL, numbers[128];
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    if (!out)
        return -ENOMEM;
    snprintf(numbers, sizeof(numbers), "tests=\"%zu\" failures=\"%zu\" errors=\"%zu\"", n,
             count(cases, n, JUNIT_FAILED), count(cases, n, JUNIT_ERROR));
    fprintf(out, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites %s>\n", numbers);
    fputs("  <testsuite name=\"", out);
    put_line(out, suite, strlen(suite));
    fprintf(out, "\" %s>\n", numbers);
    for (size_t i = 0; i < n; i++)
        put_case(out, &cases[i]);
    fputs("  </testsuite>\n</testsuites>\n", out);
    int error = fclose(out) == 0 ? savefile_text(path, text, size) : -ENOMEM;
    free(text);
    return error;
}
