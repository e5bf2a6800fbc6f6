/* SPDX-License-Identifier: BSD-3-Clause
 *
 * goinspect sites: who holds the memory, and who has asked for how much since the start.
 *
 * A row is a call stack; --by sums those of one line, function or module up.  On a terminal the
 * table stops after 25 rows unless told otherwise: the rest is rarely looked at, and naming it is
 * most of the work.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "report/stacks.h"
#include "base/text.h"
#include "report/trend.h"
#include "cli/view.h"
#include "base/usage.h"

enum { BY_STACK, BY_LINE, BY_FUNCTION, BY_MODULE };

/* What the sites that v1_site has hold altogether, whichever of them are shown. */
#define LIVE_BYTES                                                                                 \
    "(SELECT sum(objects * weight * coalesce(requested, given)) FROM site_live"                    \
    " WHERE snapshot_id = :snapshot AND (site_id > 0 OR"                                           \
    " (SELECT rate <= 1 FROM snapshot WHERE snapshot_id = :snapshot)))"

static const struct column columns[] = {
    {"live", "live_bytes", KIND_BYTES, 0, "bytes asked for by live objects"},
    {"percent", "100.0 * live_bytes / nullif(" LIVE_BYTES ", 0)", KIND_PERCENT, COLUMN_OPTIONAL,
     "of all live bytes"},
    {"objects", "live_objects", KIND_COUNT, 0, "live objects"},
    {"total", "alloc_bytes", KIND_BYTES, COLUMN_OPTIONAL, "bytes asked for since the start"},
    {"total_objects", "alloc_objects", KIND_COUNT, COLUMN_OPTIONAL, "objects since the start"},
    VIEW_FUNCTION_COLUMNS,
    {"site", "site_id", KIND_NUMBER, COLUMN_EXTRA, "number of the call stack"},
    VIEW_PLACE_COLUMNS,
    {"given", "live_given_bytes", KIND_BYTES, COLUMN_EXTRA, "live bytes with the slots' slack"},
    {"recorded", "recorded_objects", KIND_COUNT, COLUMN_EXTRA, "live objects really recorded"},
    {"samples", NULL, KIND_COUNT, COLUMN_EXTRA, "allocations recorded since the start"},
    {"truncated", NULL, KIND_NUMBER, COLUMN_EXTRA, "1: deeper than the bound, frames are missing"},
    {"stopped", NULL, KIND_NUMBER, COLUMN_EXTRA, "1: the unwinder gave up before the end"},
};

struct own {
    int by;
    bool stacks;
    enum trend_rows growth;
    int64_t site; /* 0: all */
};

enum { OPT_STACKS = 0x300, OPT_BY, OPT_SITE, OPT_GROWTH };

static const struct argp_option options[] = {
    {"by", OPT_BY, "WHAT", 0, "a row for each stack (default), line, function or module", 1},
    {"stacks", OPT_STACKS, NULL, 0, "the whole call stack under each row", 1},
    {"site", OPT_SITE, "N", 0, "only site N", 1},
    {"growth", OPT_GROWTH, "all", OPTION_ARG_OPTIONAL,
     "by the process's history: the sites that grow, fastest first; or all that are followed", 1},
    {.name = NULL}};

static void option(struct command_line *line, int key, char *arg, struct argp_state *state) {
    static const char *const names[] = {"stack", "line", "function", "module"};
    struct own *own = line->own;
    switch (key) {
    case OPT_STACKS:
        own->stacks = true;
        break;
    case OPT_SITE:
        own->site = option_number(arg, "--site", 1, state);
        break;
    case OPT_GROWTH:
        own->growth = arg ? TREND_ALL : TREND_GROWING;
        if (arg && strcmp(arg, "all") != 0)
            usage_error(state, "--growth: '%s' is not \"all\"", arg);
        break;
    case OPT_BY:
        for (own->by = 0; own->by < 4 && strcmp(arg, names[own->by]) != 0;)
            own->by++;
        if (own->by == 4)
            usage_error(state, "--by: '%s' is none of stack, line, function and module", arg);
        break;
    }
}

/* Figures of several stacks summed up; what differs among them is NULL. */
#define SUMS                                                                                       \
    "sum(live_bytes) AS live_bytes, sum(live_objects) AS live_objects, "                           \
    "sum(alloc_bytes) AS alloc_bytes, sum(alloc_objects) AS alloc_objects, "                       \
    "sum(live_given_bytes) AS live_given_bytes, sum(recorded_objects) AS recorded_objects, "       \
    "sum(samples) AS samples, max(truncated) AS truncated, max(stopped) AS stopped, "              \
    "NULL AS site_id, NULL AS stack_id, NULL AS module_offset, "

static const char *const sources[] = {
    [BY_STACK] = "v1_site",
    [BY_LINE] = "(SELECT snapshot_id, " SUMS "function, location, file, line, module FROM v1_site "
                "GROUP BY snapshot_id, function, location, module)",
    [BY_FUNCTION] = "(SELECT snapshot_id, " SUMS "function, "
                    "CASE WHEN count(DISTINCT location) = 1 THEN min(location) END AS location, "
                    "file, NULL AS line, module FROM v1_site "
                    "GROUP BY snapshot_id, function, file, module)",
    [BY_MODULE] = "(SELECT snapshot_id, " SUMS "NULL AS function, module AS location, "
                  "NULL AS file, NULL AS line, module FROM v1_site GROUP BY snapshot_id, module)",
};

/* The sites of the first rows, without their names. */
static const char first_sites[] =
    "SELECT site_id FROM site_figure WHERE snapshot_id = :snapshot"
    " ORDER BY live_bytes DESC, alloc_bytes DESC, site_id LIMIT :limit";

/* sorted_by returns the name of the column that --sort names, "" if it names none, or one of list.
 */
static const char *sorted_by(const char *sort, const char *list) {
    size_t n = sort ? strcspn(sort, ":") : 0;
    for (size_t i = 0; n && i < sizeof(columns) / sizeof(*columns); i++)
        if (strncasecmp(columns[i].name, sort, n) == 0 && columns[i].name[n] == '\0')
            return strstr(list, columns[i].name) ? "" : columns[i].name;
    return "";
}

/* columns_by returns the columns of rows that are several stacks', and of these always the one that
 * they are sorted by; to be freed. */
static char *columns_by(bool module, bool narrow, const char *sort) {
    const char *figures = narrow ? "live,objects," : "live,percent,objects,total,total_objects,";
    const char *names = module ? "module" : "function,location";
    char *list = must_format("%s%s", figures, names);
    const char *sorted = sorted_by(sort, list);
    char *ret = must_format("%s%s%s%s", figures, sorted, sorted[0] ? "," : "", names);
    free(list);
    return ret;
}

static enum status show(struct command_line *line, const struct target *target,
                        struct failure *failure) {
    const struct own *own = line->own;
    if (own->growth != TREND_NONE)
        return trend_show(line, target, own->growth, own->site, failure);
    const struct view_binding bindings[] = {{":site", own->site, NULL}};
    const struct view_query query = {.from = sources[own->by],
                                     .where = own->site ? "site_id = :site" : NULL,
                                     .order = "live_bytes DESC, alloc_bytes DESC",
                                     .first = own->by == BY_STACK ? first_sites : NULL,
                                     .key = "site_id",
                                     .bindings = bindings,
                                     .nbindings = 1};
    size_t width = output_width(&line->output);
    if (own->by != BY_STACK && line->output.format == OUTPUT_TABLE && !line->output.columns)
        line->output.columns =
            columns_by(own->by == BY_MODULE, width && width < 90, line->output.sort);
    return own->stacks ? stacks_show(line, target, &stacks_of_sites, &query, failure)
                       : view_show(line, target, &query, failure);
}

static enum status run(struct command_line *line) {
    const struct own *own = line->own;
    struct target target;
    struct failure failure = {.status = STATUS_DONE};
    if (own->stacks && own->by != BY_STACK) {
        say("--stacks goes with one row for each stack, not with --by");
        return STATUS_USAGE;
    }
    if (own->growth != TREND_NONE && (own->stacks || own->by != BY_STACK)) {
        say("--growth has one row for each stack, and goes with neither --by nor --stacks");
        return STATUS_USAGE;
    }
    enum status status = view_target(line, &target, &failure);
    if (status != STATUS_DONE)
        return say_failure(&failure);
    if (line->output.format == OUTPUT_TABLE)
        view_warn_full(&target, stderr);
    status = show(line, &target, &failure);
    target_close(&target);
    return status == STATUS_DONE ? status : say_failure(&failure);
}

const struct command command_verb_sites = {
    .name = "sites",
    .usage = "TARGET",
    .summary = "call sites: live and cumulative objects and bytes, biggest first",
    .details = "Unless the recording is exact (rate 1), the figures are estimates from samples.\n"
               "\n" TREND_DETAILS,
    .examples = "  goinspect sites redis-server\n"
                "  goinspect sites redis-server --stacks --limit 3\n"
                "  goinspect sites FILE.db --snapshot 2 --by function --sort total:desc\n"
                "  goinspect sites redis-server --growth\n",
    .takes = TAKES_FORMAT | TAKES_SNAPSHOT | TAKES_WRAPPERS,
    .min_words = 1,
    .max_words = 1,
    .options = options,
    .option = option,
    .terminal_rows = 25,
    .own_size = sizeof(struct own),
    .columns = columns,
    .ncolumns = sizeof(columns) / sizeof(*columns),
    .lists = trend_lists,
    .run = run,
};
