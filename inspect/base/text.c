/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Text that may have been chosen by a stranger, and numbers as people read them.
 *
 * Process names, paths and symbol names are bytes: anybody who can start a process can put an
 * escape sequence into one.  Nothing is written to a terminal that has not been through
 * text_clean(); JSON escapes the same characters (output_json.c).
 */
#include <langinfo.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <wchar.h>

#include "base/say.h"
#include "base/text.h"

#define REPLACEMENT 0xfffdu

bool text_utf8_locale(void) {
    return strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
}

/* sequence_length returns the bytes that a lead byte announces, 0 if it is none. */
static size_t sequence_length(unsigned char lead) {
    if (lead < 0x80)
        return 1;
    if (lead >= 0xc2 && lead <= 0xdf)
        return 2;
    if (lead >= 0xe0 && lead <= 0xef)
        return 3;
    return lead >= 0xf0 && lead <= 0xf4 ? 4 : 0;
}

size_t text_decode(const char *s, size_t n, uint32_t *ret_c) {
    static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
    const unsigned char *p = (const unsigned char *)s;
    size_t len = sequence_length(p[0]);
    uint32_t c = len > 1 ? p[0] & (0x7fu >> len) : p[0];
    *ret_c = REPLACEMENT;
    if (len == 0 || len > n)
        return 1;
    for (size_t i = 1; i < len; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 1;
        c = c << 6 | (p[i] & 0x3f);
    }
    if (c < smallest[len] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
        return 1;
    *ret_c = c;
    return len;
}

bool text_is_control(uint32_t c) {
    return c < 0x20 || (c >= 0x7f && c < 0xa0) || (c >= 0x200b && c <= 0x200f) ||
           (c >= 0x2028 && c <= 0x202e) || (c >= 0x2060 && c <= 0x206f) || c == 0xfeff;
}

char *text_clean(const char *s, size_t n, bool utf8) {
    char *clean = must_calloc(n * 3 + 1, 1);
    size_t used = 0;
    for (size_t i = 0; i < n;) {
        uint32_t c;
        size_t len = text_decode(s + i, n - i, &c);
        bool invalid = c == REPLACEMENT && len == 1;
        if (c == '\n' || c == '\t' || c == '\r')
            clean[used++] = ' ';
        else if (text_is_control(c) || (c >= 0x80 && !utf8))
            clean[used++] = '?';
        else if (invalid) {
            memcpy(clean + used, "\xef\xbf\xbd", 3);
            used += 3;
        } else {
            memcpy(clean + used, s + i, len);
            used += len;
        }
        i += len;
    }
    return clean;
}

/* color_length returns the bytes of the sequence at s that sets colours, 0 if there is none. */
static size_t color_length(const char *s) {
    if (s[0] != '\033' || s[1] != '[')
        return 0;
    size_t n = 2 + strspn(s + 2, "0123456789;");
    return s[n] == 'm' ? n + 1 : 0;
}

size_t text_width(const char *s) {
    size_t width = 0, n = strlen(s);
    for (size_t i = 0; i < n;) {
        uint32_t c;
        size_t color = color_length(s + i);
        if (color) {
            i += color;
            continue;
        }
        i += text_decode(s + i, n - i, &c);
        int w = wcwidth((wchar_t)c);
        width += w > 0 ? (size_t)w : 0;
    }
    return width;
}

/* scale divides *bytes until it is shorter than four digits and returns the unit. */
static const char *scale(double *bytes) {
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    size_t unit = 0;
    /* 1023.95 would be rounded to 1024.0 */
    while (fabs(*bytes) >= (unit ? 1023.95 : 1023.5) && unit + 1 < sizeof(units) / sizeof(*units)) {
        *bytes /= 1024;
        unit++;
    }
    return units[unit];
}

void text_bytes(char *buf, double bytes) {
    const char *unit = scale(&bytes);
    if (unit[1])
        snprintf(buf, TEXT_NUMBER_SIZE, "%.1f %s", bytes, unit);
    else
        snprintf(buf, TEXT_NUMBER_SIZE, "%.0f   B  ", bytes);
}

void text_bytes_plain(char *buf, double bytes) {
    const char *unit = scale(&bytes);
    snprintf(buf, TEXT_NUMBER_SIZE, "%.*f %s", unit[1] ? 1 : 0, bytes, unit);
}

bool text_parse_bytes(const char *word, uint64_t *ret) {
    static const char units[] = "bkmg";
    char *end;
    if (strspn(word, "0123456789") == 0)
        return false;
    *ret = strtoull(word, &end, 10);
    const char *unit = *end ? strchr(units, *end | 0x20) : NULL;
    if (*ret > (uint64_t)1 << 50)
        return false;
    if (unit) {
        *ret <<= 10 * (unit - units);
        end++;
        end += unit != units && strcmp(end, "iB") == 0 ? 2 : 0;
    }
    return *end == '\0' && *ret <= (uint64_t)1 << 50;
}

void text_count(char *buf, int64_t n) {
    char digits[24];
    int len = snprintf(digits, sizeof(digits), "%llu",
                       n < 0 ? 0 - (unsigned long long)n : (unsigned long long)n);
    char *to = buf;
    if (n < 0)
        *to++ = '-';
    for (int i = 0; i < len; i++) {
        if (i && (len - i) % 3 == 0)
            *to++ = ',';
        *to++ = digits[i];
    }
    *to = '\0';
}

void text_duration(char *buf, int64_t ns) {
    long long s = ns / 1000000000;
    if (ns == 0) /* an age, say, that is only known to a second */
        snprintf(buf, TEXT_NUMBER_SIZE, "0s");
    else if (ns < 1000000)
        snprintf(buf, TEXT_NUMBER_SIZE, "%.1f us", (double)ns / 1e3);
    else if (s < 1)
        snprintf(buf, TEXT_NUMBER_SIZE, "%.1f ms", (double)ns / 1e6);
    else if (s < 60)
        snprintf(buf, TEXT_NUMBER_SIZE, "%llds", s);
    else if (s < 3600)
        snprintf(buf, TEXT_NUMBER_SIZE, "%lldm %llds", s / 60, s % 60);
    else if (s < 86400)
        snprintf(buf, TEXT_NUMBER_SIZE, "%lldh %lldm", s / 3600, s % 3600 / 60);
    else
        snprintf(buf, TEXT_NUMBER_SIZE, "%lldd %lldh", s / 86400, s % 86400 / 3600);
}

void text_moment(char *buf, int64_t ns) {
    time_t when = (time_t)(ns / 1000000000);
    struct tm tm;
    if (!localtime_r(&when, &tm) || strftime(buf, TEXT_NUMBER_SIZE, "%F %T", &tm) == 0)
        snprintf(buf, TEXT_NUMBER_SIZE, "%lld", (long long)when);
}

/* distance is the number of letters to insert, drop, change or swap to make b of a. */
static size_t distance(const char *a, const char *b) {
    size_t row[3][64];
    size_t na = strlen(a), nb = strlen(b);
    if (na > 60 || nb > 60)
        return SIZE_MAX;
    for (size_t j = 0; j <= nb; j++)
        row[0][j] = j;
    for (size_t i = 1; i <= na; i++) {
        size_t *now = row[i % 3], *up = row[(i + 2) % 3], *up2 = row[(i + 1) % 3];
        now[0] = i;
        for (size_t j = 1; j <= nb; j++) {
            size_t best = up[j - 1] + (a[i - 1] != b[j - 1]);
            best = up[j] + 1 < best ? up[j] + 1 : best;
            best = now[j - 1] + 1 < best ? now[j - 1] + 1 : best;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                best = up2[j - 2] + 1 < best ? up2[j - 2] + 1 : best;
            now[j] = best;
        }
    }
    return row[na % 3][nb];
}

const char *text_nearest(const char *word, const char *const *names, size_t n) {
    const char *nearest = NULL;
    size_t best = strlen(word) / 3 + 2; /* more changes than this: not a slip of the finger */
    for (size_t i = 0; i < n; i++) {
        size_t d = distance(word, names[i]);
        if (strncmp(names[i], word, strlen(word)) == 0 && word[0])
            d = 1; /* cut short */
        if (d < best && d < strlen(names[i])) {
            best = d;
            nearest = names[i];
        }
    }
    return nearest;
}

void text_hint(char *buf, const char *word, const char *const *names, size_t n) {
    const char *nearest = text_nearest(word, names, n);
    buf[0] = '\0';
    if (nearest)
        snprintf(buf, TEXT_HINT_SIZE, ": did you mean %s?", nearest);
}
