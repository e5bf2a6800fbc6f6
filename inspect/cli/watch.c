/* SPDX-License-Identifier: BSD-3-Clause
 *
 * --watch: the same report again and again.
 *
 * On a terminal each report is painted over the last one without clearing first, so that nothing
 * flickers, and cut to the terminal's height.  In a pipe the reports simply follow each other.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "cli/command.h"
#include "base/text.h"

static unsigned terminal_height(void) {
    struct winsize size;
    return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row > 2 ? size.ws_row : 24;
}

/* paint writes text from the top of the screen and clears what was behind and below it. */
static void paint(const char *text, const char *title, size_t width) {
    unsigned left = terminal_height() - 1;
    printf("\033[H%.*s\033[K\n", (int)width, title);
    while (*text && --left) {
        size_t n = strcspn(text, "\n");
        printf("%.*s\033[K\n", (int)n, text);
        text += text[n] ? n + 1 : n;
    }
    fputs("\033[J", stdout);
}

static void pause_for(double seconds) {
    struct timespec t = {.tv_sec = (time_t)seconds,
                         .tv_nsec = (long)((seconds - (double)(time_t)seconds) * 1e9)};
    nanosleep(&t, NULL);
}

enum status watch_run(struct command_line *line, enum status (*run)(struct command_line *)) {
    bool terminal = isatty(STDOUT_FILENO) && line->output.format == OUTPUT_TABLE;
    for (bool first = true;; first = false) {
        char *text = NULL;
        size_t size = 0;
        line->output.out = open_memstream(&text, &size);
        if (!line->output.out)
            return STATUS_FAILURE;
        enum status status = run(line);
        fclose(line->output.out);
        if (terminal && status <= STATUS_FINDINGS) {
            char now[TEXT_NUMBER_SIZE], title[256];
            struct timespec t;
            clock_gettime(CLOCK_REALTIME, &t);
            text_moment(now, (int64_t)t.tv_sec * 1000000000);
            snprintf(title, sizeof(title), "goinspect %s %s  %s  every %g s; ^C ends",
                     line->command->name, line->nwords ? line->words[0] : "", now,
                     line->output.watch);
            fputs(first ? "\033[2J" : "", stdout);
            paint(text, title, output_width(&line->output));
        } else
            fwrite(text, 1, size, stdout);
        free(text);
        if (status > STATUS_FINDINGS || fflush(stdout) != 0 || ferror(stdout))
            return status;
        pause_for(line->output.watch);
    }
}
