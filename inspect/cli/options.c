/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The options about rows that every verb with rows takes, as an argp child.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli/command.h"
#include "names/namecache.h"
#include "base/text.h"
#include "base/usage.h"

enum {
    OPT_BYTES = 0x100,
    OPT_SORT,
    OPT_LIMIT,
    OPT_COLUMNS,
    OPT_NO_HEADER,
    OPT_COLOR,
    OPT_NO_CACHE
};

static const struct argp_option output_argp_options[] = {
    {NULL, 0, NULL, 0, "Output:", 50},
    {"output", 'o', "FORMAT", 0, "table (default), json, ndjson or csv", 50},
    {"json", 'j', NULL, 0, "the same as -o json", 50},
    {"columns", OPT_COLUMNS, "A,B,C", 0, "these columns, in this order", 50},
    {"sort", OPT_SORT, "COL[:desc]", 0, "order of the rows", 50},
    {"limit", OPT_LIMIT, "N", 0, "at most N rows", 50},
    {"bytes", OPT_BYTES, NULL, 0, "whole numbers in tables, no KiB or MiB", 50},
    {"no-header", OPT_NO_HEADER, NULL, 0, "no line of column names", 50},
    {"color", OPT_COLOR, "WHEN", OPTION_ARG_OPTIONAL, "auto (default), always or never", 50},
    {"no-cache", OPT_NO_CACHE, NULL, 0, "look all names up, and do not keep them", 50},
    {"watch", 'w', "SECONDS", OPTION_ARG_OPTIONAL, "again and again, every 2 seconds", 50},
    {.name = NULL}};

void output_options_init(struct output_options *options) {
    memset(options, 0, sizeof(*options));
    options->limit = -1;
    options->out = stdout;
}

/* choice returns the index of arg among names, or ends with a usage error. */
static int choice(const char *arg, const char *const *names, size_t n, const char *option,
                  struct argp_state *state) {
    for (size_t i = 0; i < n; i++)
        if (strcmp(arg, names[i]) == 0)
            return (int)i;
    char hint[TEXT_HINT_SIZE];
    text_hint(hint, arg, names, n);
    usage_error(state, "%s: unknown '%s'%s", option, arg, hint);
    return 0;
}

long long option_number(const char *arg, const char *option, long long min,
                        struct argp_state *state) {
    char *end;
    errno = 0;
    long long n = strtoll(arg, &end, 10);
    if (errno || end == arg || *end || n < min)
        usage_error(state, "%s: '%s' is not a whole number of at least %lld", option, arg, min);
    return n;
}

static double seconds(const char *arg, struct argp_state *state) {
    char *end;
    double s = arg ? strtod(arg, &end) : 2;
    if (arg && (end == arg || *end || !(s >= 0.1 && s <= 86400)))
        usage_error(state, "--watch: '%s' is not a number of seconds from 0.1 to 86400", arg);
    return s;
}

static error_t parse(int key, char *arg, struct argp_state *state) {
    static const char *const formats[] = {"table", "json", "ndjson", "csv"};
    static const char *const colors[] = {"auto", "always", "never"};
    struct output_options *options = state->input;
    switch (key) {
    case 'o':
        options->format = (enum output_format)choice(arg, formats, 4, "-o", state);
        break;
    case 'j':
        options->format = OUTPUT_JSON;
        break;
    case OPT_COLUMNS:
        options->columns = arg;
        break;
    case OPT_SORT:
        options->sort = arg;
        break;
    case OPT_LIMIT:
        options->limit = option_number(arg, "--limit", 0, state);
        break;
    case OPT_BYTES:
        options->raw_bytes = true;
        break;
    case OPT_NO_HEADER:
        options->no_header = true;
        break;
    case OPT_COLOR:
        options->color =
            arg ? (enum output_color)choice(arg, colors, 3, "--color", state) : COLOR_ALWAYS;
        break;
    case OPT_NO_CACHE:
        namecache_off();
        break;
    case 'w':
        options->watch = seconds(arg, state);
        break;
    default:
        return ARGP_ERR_UNKNOWN;
    }
    return 0;
}

const struct argp output_argp = {.options = output_argp_options, .parser = parse};
