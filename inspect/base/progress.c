/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A bar on standard error: one line, painted over itself at most ten times a second.
 *
 *      finding names  4,120 of 20,856  [######--------------------]
 *
 * In a pipe, and for what is done within half a second, there is none.  It has no colours, so
 * NO_COLOR has nothing to ask of it.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "base/progress.h"
#include "base/text.h"

#define PATIENCE_MS 500
#define BETWEEN_MS  100
#define WIDEST      100 /* cells */
#define NARROWEST   12  /* a terminal of less has none */

static bool begun, visible;
static int64_t begin_ms, painted_ms;

static int64_t now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* width returns the cells there are, 0 = no bar. */
static size_t width(void) {
    struct winsize size;
    const char *term = getenv("TERM");
    if (!isatty(STDERR_FILENO) || !term || strcmp(term, "dumb") == 0)
        return 0;
    size_t n = ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col ? size.ws_col : 80;
    return n < NARROWEST ? 0 : n > WIDEST ? WIDEST : n;
}

/* paint writes one line of less than cells cells: in the last one some terminals would wrap. */
static void paint(const char *what, size_t done, size_t total, size_t cells) {
    char n[TEXT_NUMBER_SIZE], of[TEXT_NUMBER_SIZE], line[256];
    text_count(n, (int64_t)done);
    text_count(of, (int64_t)total);
    snprintf(line, sizeof(line), "%s  %s of %s  [", what, n, of);
    size_t used = strlen(line), bar = used + 12 < cells ? cells - used - 2 : 0;
    if (bar == 0)
        snprintf(line, sizeof(line), "%zu%% %s", done * 100 / total, what);
    else {
        for (size_t i = 0; i < bar; i++)
            line[used++] = i < bar * done / total ? '#' : '-';
        snprintf(line + used, sizeof(line) - used, "]");
    }
    fprintf(stderr, "\r%.*s\033[K", (int)cells - 1, line);
    fflush(stderr);
    visible = true;
}

void progress_show(const char *what, size_t done, size_t total) {
    int64_t now = now_ms();
    if (!begun) {
        begun = true;
        begin_ms = now;
    }
    if (now - begin_ms < PATIENCE_MS || now - painted_ms < BETWEEN_MS || total == 0)
        return;
    size_t cells = width();
    painted_ms = now;
    if (cells)
        paint(what, done < total ? done : total, total, cells);
}

void progress_wait(const char *what) {
    int64_t now = now_ms();
    if (!begun) {
        begun = true;
        begin_ms = now;
    }
    if (now - begin_ms < PATIENCE_MS || now - painted_ms < BETWEEN_MS)
        return;
    size_t cells = width();
    painted_ms = now;
    if (cells == 0)
        return;
    char line[256];
    snprintf(line, sizeof(line), "%s  %lld s", what, (long long)((now - begin_ms) / 1000));
    fprintf(stderr, "\r%.*s\033[K", (int)cells - 1, line);
    fflush(stderr);
    visible = true;
}

/* chop takes off the last character. */
static void chop(char *s) {
    size_t n = strlen(s);
    while (n && ((unsigned char)s[n - 1] & 0xc0) == 0x80)
        n--;
    s[n ? n - 1 : 0] = '\0';
}

bool progress_visible(void) {
    return width() != 0;
}

void progress_line(const char *line) {
    size_t cells = width();
    if (cells == 0)
        return;
    char *clean = text_clean(line, strlen(line), text_utf8_locale());
    while (text_width(clean) >= cells)
        chop(clean);
    fprintf(stderr, "\r%s\033[K", clean);
    fflush(stderr);
    free(clean);
    visible = true;
}

void progress_clear(void) {
    if (visible) {
        fputs("\r\033[K", stderr);
        fflush(stderr);
    }
    visible = false;
}

void progress_end(void) {
    progress_clear();
    begun = false;
}
