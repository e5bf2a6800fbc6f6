/* SPDX-License-Identifier: BSD-3-Clause
 *
 * goinspect leaks: objects that nothing leads to any more.
 *
 * A row is a site of direct leaks with what is lost below them, or an object.  A live process makes
 * the check when it is asked; a file has one if it was asked for when it was made.
 */
#include <stdlib.h>
#include <string.h>

#include "target/client.h"
#include "report/held.h"
#include "report/leakask.h"
#include "report/leakcheck.h"
#include "report/reachable.h"
#include "report/stacks.h"
#include "base/text.h"
#include "cli/view.h"
#include "base/usage.h"

#define COUNT(a) (sizeof(a) / sizeof(*(a)))

static const struct column columns[] = {
    {"direct", "bytes", KIND_BYTES, 0, "bytes of leaks that no other leak leads to"},
    {"objects", NULL, KIND_COUNT, 0, "these"},
    {"indirect", "indirect_bytes", KIND_BYTES, 0, "bytes of leaks that these lead to"},
    {"indirect_objects", NULL, KIND_COUNT, COLUMN_OPTIONAL, "these"},
    {"oldest", "oldest_s * 1000000000", KIND_DURATION, 0, "age of the oldest direct leak"},
    {"youngest", "youngest_s * 1000000000", KIND_DURATION, COLUMN_OPTIONAL, "and of the youngest"},
    VIEW_FUNCTION_COLUMNS,
    {"site", "site_id", KIND_NUMBER, COLUMN_EXTRA, "number of the call stack, 0 = not recorded"},
    VIEW_PLACE_COLUMNS,
    {"truncated", NULL, KIND_NUMBER, COLUMN_EXTRA, "1: deeper than the bound, frames are missing"},
    {"stopped", NULL, KIND_NUMBER, COLUMN_EXTRA, "1: the unwinder gave up before the end"},
};

static const struct column object_columns[] = {
    {"address", "address_number", KIND_ADDRESS, 0, "of the object"},
    {"size", "coalesce(requested, size)", KIND_BYTES, 0, "asked for; given, if not recorded"},
    {"kind", NULL, KIND_TEXT, 0, "direct, or indirect"},
    {"age", "age_s * 1000000000", KIND_DURATION, 0, "since its allocation"},
    VIEW_FUNCTION_COLUMNS,
    {"head", "head_number", KIND_ADDRESS, COLUMN_EXTRA, "the direct leak it is counted under"},
    {"given", "size", KIND_BYTES, COLUMN_EXTRA, "with the slot's slack"},
    {"site", "site_id", KIND_NUMBER, COLUMN_EXTRA, "number of the call stack, 0 = not recorded"},
    VIEW_PLACE_COLUMNS,
};

static const struct column_list lists[] = {
    {"Columns of --objects", object_columns, COUNT(object_columns)},
    {"Columns of --reachable", reachable_columns, REACHABLE_COLUMNS},
    {"Columns of --stack-held", held_columns, HELD_COLUMNS},
    {NULL, NULL, 0},
};

/* With --stacks. */
static const struct column figure_columns[] = {
    {"site", "site_id", KIND_NUMBER, 0, "number of the call stack, 0 = not recorded"},
    {"direct", "bytes", KIND_BYTES, 0, "bytes of leaks that no other leak leads to"},
    {"objects", "objects", KIND_COUNT, 0, "these"},
    {"indirect", "indirect_bytes", KIND_BYTES, 0, "bytes of leaks that these lead to"},
    {"indirect_objects", "indirect_objects", KIND_COUNT, 0, "these"},
    {"oldest", "oldest_s", KIND_DURATION, 0, "age of the oldest direct leak, s"},
    {"youngest", "youngest_s", KIND_DURATION, 0, "and of the youngest, s"},
};
enum { SITE, DIRECT, OBJECTS, INDIRECT, INDIRECT_OBJECTS, OLDEST, YOUNGEST };

struct own {
    bool all, objects, stacks, reachable, held;
    int64_t older_than; /* seconds, 0: any */
    struct suppress_files suppressions;
    const char *since; /* snapshot; NULL: all leaks */
    uint64_t ask;      /* GOMALLOC_ASK_LEAK_* */
};

enum {
    OPT_OLDER = 0x300,
    OPT_SINCE,
    OPT_SUPPRESSIONS,
    OPT_ALL,
    OPT_OBJECTS,
    OPT_STACKS,
    OPT_REACHABLE,
    OPT_HELD
};

static const struct argp_option options[] = {
    {"older-than", OPT_OLDER, "TIME", 0, "only leaks that were allocated so long ago: 30s, 10m, 2h",
     1},
    {"since", OPT_SINCE, "SNAPSHOT", 0,
     "only leaks that are new since an earlier FILE.db, FILE.db@NUMBER or FILE.gmi of the process",
     1},
    {"suppressions", OPT_SUPPRESSIONS, "FILE", 0,
     "leave out what is accepted: lines of leak:PATTERN, as LeakSanitizer has them", 1},
    {"stacks", OPT_STACKS, NULL, 0, "the whole call stack under each row", 1},
    {"objects", OPT_OBJECTS, NULL, 0, "a row for each object, direct or indirect", 1},
    {"reachable", OPT_REACHABLE, NULL, 0,
     "what has not leaked instead, by site, each with an example for \"goinspect why\"", 1},
    {"stack-held", OPT_HELD, NULL, 0,
     "what only words on stacks and in registers keep instead: some may be left over, and hide "
     "leaks",
     1},
    {"all", OPT_ALL, NULL, 0, "all rows, also on a terminal", 1},
    LEAKASK_OPTIONS,
    {.name = NULL}};

/* age parses "90", "30s", "10m", "2h" or "3d". */
static int64_t age(const char *arg, struct argp_state *state) {
    static const char units[] = "smhd";
    static const int64_t seconds[] = {1, 60, 3600, 86400};
    char *end;
    long long n = strtoll(arg, &end, 10);
    const char *unit = *end ? strchr(units, *end) : units;
    if (end == arg || n < 0 || n > 1000000000 || !unit || (*end && end[1]))
        usage_error(state, "--older-than: '%s' is not a time such as 30s, 10m, 2h or 1d", arg);
    return n * seconds[unit ? unit - units : 0];
}

static void option(struct command_line *line, int key, char *arg, struct argp_state *state) {
    struct own *own = line->own;
    switch (key) {
    case OPT_OLDER:
        own->older_than = age(arg, state);
        break;
    case OPT_SINCE:
        own->since = arg;
        break;
    case OPT_SUPPRESSIONS:
        if (!suppress_name(&own->suppressions, arg))
            usage_error(state, "at most %d --suppressions", SUPPRESS_FILES);
        break;
    case OPT_ALL:
        own->all = true;
        break;
    case OPT_OBJECTS:
        own->objects = true;
        break;
    case OPT_STACKS:
        own->stacks = true;
        break;
    case OPT_REACHABLE:
        own->reachable = true;
        break;
    case OPT_HELD:
        own->held = true;
        break;
    default:
        leakask_option(key, &own->ask);
    }
}

/* ---- rows --------------------------------------------------------------------------------- */

/* Sites with the leaks of which the condition, the %s, holds; the names are those of v1_leak_site.
 * CROSS JOIN: each leak's head is looked up by its address. */
#define SITES                                                                                      \
    "(SELECT f.*, n.function, n.location, n.file, n.line, n.module, n.module_offset, n.stack_id,"  \
    " n.truncated, n.stopped,"                                                                     \
    " max((p.captured_ns - p.start_ns) / 1000000000 - f.first_born, 0) AS oldest_s,"               \
    " max((p.captured_ns - p.start_ns) / 1000000000 - f.last_born, 0) AS youngest_s"               \
    " FROM (SELECT l.snapshot_id, h.site_id, sum(l.address = l.head) AS objects,"                  \
    " sum((l.address = l.head) * coalesce(l.requested, l.size)) AS bytes,"                         \
    " sum(l.address <> l.head) AS indirect_objects,"                                               \
    " sum((l.address <> l.head) * coalesce(l.requested, l.size)) AS indirect_bytes,"               \
    " min(h.born) AS first_born, max(h.born) AS last_born"                                         \
    " FROM leak l CROSS JOIN leak h ON h.snapshot_id = l.snapshot_id AND h.address = l.head"       \
    " WHERE l.snapshot_id = :snapshot AND %s GROUP BY l.snapshot_id, h.site_id) f"                 \
    " JOIN snapshot p ON p.snapshot_id = f.snapshot_id"                                            \
    " JOIN leak_site_name n ON n.snapshot_id = f.snapshot_id AND n.site_id = f.site_id)"

#define BIGGEST       "bytes + indirect_bytes DESC, objects DESC"
#define TERMINAL_ROWS 25

/* times writes "10m 5s old" or "3m to 10m old". */
static void times(char *buf, size_t size, sqlite3_stmt *row) {
    char oldest[TEXT_NUMBER_SIZE], youngest[TEXT_NUMBER_SIZE];
    if (sqlite3_column_type(row, OLDEST) == SQLITE_NULL) {
        snprintf(buf, size, "of unknown age");
        return;
    }
    text_duration(oldest, sqlite3_column_int64(row, OLDEST) * 1000000000);
    text_duration(youngest, sqlite3_column_int64(row, YOUNGEST) * 1000000000);
    if (strcmp(oldest, youngest) == 0)
        snprintf(buf, size, "%s old", oldest);
    else
        snprintf(buf, size, "%s to %s old", youngest, oldest);
}

static void heading(const struct command_line *line, sqlite3_stmt *row) {
    char direct[TEXT_NUMBER_SIZE], indirect[TEXT_NUMBER_SIZE], objects[TEXT_NUMBER_SIZE],
        more[TEXT_NUMBER_SIZE], old[2 * TEXT_NUMBER_SIZE + 16];
    bool bold = output_has_color(&line->output);
    stacks_bytes(line, direct, sizeof(direct), sqlite3_column_int64(row, DIRECT));
    stacks_bytes(line, indirect, sizeof(indirect), sqlite3_column_int64(row, INDIRECT));
    text_count(objects, sqlite3_column_int64(row, OBJECTS));
    text_count(more, sqlite3_column_int64(row, INDIRECT_OBJECTS));
    times(old, sizeof(old), row);
    char *below = sqlite3_column_int64(row, INDIRECT_OBJECTS)
                      ? must_format(" and %s in %s that they lead to", indirect, more)
                      : must_dup("");
    output_text(&line->output, "%s%s in %s objects%s%s  (%s)  site %lld\n", bold ? "\033[1m" : "",
                direct, objects, bold ? "\033[0m" : "", below, old,
                sqlite3_column_int64(row, SITE));
    free(below);
}

static const struct stacks_figures figures = {figure_columns, COUNT(figure_columns), heading};

static enum status show_sites(const struct command_line *line, const struct target *target,
                              const struct leak_filter *filter, struct failure *failure) {
    const struct own *own = line->own;
    static const struct leak_columns head = {"h.address", "h.site_id", "h.born"};
    char *condition = leakcheck_condition(filter, &head);
    char *from = must_format(SITES, condition);
    const struct view_query query = {.from = from,
                                     .order = own->stacks ? BIGGEST : BIGGEST ", site_id"};
    enum status status =
        own->stacks
            ? stacks_show(line, target, &figures, &query, failure)
            : view_show_as(line, target, &(struct column_list){NULL, columns, COUNT(columns)},
                           own->all ? 0 : TERMINAL_ROWS, &query, failure);
    free(from);
    free(condition);
    return status;
}

static enum status show_objects(const struct command_line *line, const struct target *target,
                                const struct leak_filter *filter, struct failure *failure) {
    const struct own *own = line->own;
    static const struct leak_columns head = {"head_number", "head_site_id", NULL};
    char *where = leakcheck_condition(filter, &head);
    const struct view_query query = {.from = "v1_leak",
                                     .where = where,
                                     .order = "coalesce(requested, size) DESC, address_number"};
    enum status status =
        view_show_as(line, target, &lists[0], own->all ? 0 : TERMINAL_ROWS, &query, failure);
    free(where);
    return status;
}

static enum status show(const struct command_line *line, const struct target *target,
                        struct leak_filter *filter, struct failure *failure) {
    const struct own *own = line->own;
    struct leak_totals totals;
    bool people = line->output.format == OUTPUT_TABLE && !line->output.columns;
    enum status status = leakcheck_there(target, failure);
    if (status == STATUS_DONE && own->since)
        status = leaksince_open(target, own->since, &filter->since, failure);
    if (status == STATUS_DONE)
        status = leakcheck_filter(target, filter, failure);
    if (status == STATUS_DONE)
        status = leakcheck_totals(target, filter, &totals, failure);
    if (status != STATUS_DONE)
        return status;
    if (own->reachable)
        status = reachable_show(line, target, own->all ? 0 : TERMINAL_ROWS, failure);
    else if (own->held)
        status = held_show(line, target, own->all ? 0 : TERMINAL_ROWS, failure);
    else if (totals.direct || !people)
        status = own->objects ? show_objects(line, target, filter, failure)
                              : show_sites(line, target, filter, failure);
    if (status != STATUS_DONE)
        return status;
    if (line->output.watch <= 0)
        leakcheck_say(target, filter, &totals, own->held);
    return totals.direct ? STATUS_FINDINGS : STATUS_DONE;
}

/* ---- the verb ----------------------------------------------------------------------------- */

#define SECTION(id) (UINT64_C(1) << GOMALLOC_SECTION_##id)
#define SECTIONS    (CLIENT_LEAKS | SECTION(MAPPING) | SECTION(FRAME) | SECTION(SITE))
#define OBJECTS_OF  (SECTION(SPAN) | SECTION(BITMAP) | SECTION(SLOT)) /* --reachable */

static enum status open_and_show(struct command_line *line, const struct suppressions *accepted,
                                 struct failure *failure) {
    const struct own *own = line->own;
    struct leak_filter filter = {.older_than = own->older_than, .accepted = accepted};
    struct target target;
    uint64_t sections = SECTIONS | own->ask | (own->reachable ? OBJECTS_OF : 0);
    enum status status =
        target_open_asking(line->words[0], line->snapshot, sections, &target, failure);
    if (status != STATUS_DONE)
        return status;
    if (own->ask && target.kind != TARGET_PROCESS)
        status = fail(failure, STATUS_USAGE,
                      "%s holds a check that was made: how to make one is said to a process",
                      target.word);
    else
        status = show(line, &target, &filter, failure);
    free(filter.sites);
    target_close(&target);
    return status;
}

static enum status run(struct command_line *line) {
    const struct own *own = line->own;
    struct suppressions accepted;
    struct failure failure = {.status = STATUS_DONE};
    if (own->stacks && own->objects) {
        say("--stacks has a row for each site, and does not go with --objects");
        return STATUS_USAGE;
    }
    if ((own->reachable || own->held) &&
        (own->stacks || own->objects || own->since || own->older_than || own->suppressions.n ||
         (own->reachable && own->held))) {
        say("--%s shows what has not leaked, and does not go with options about %s",
            own->reachable ? "reachable" : "stack-held",
            own->reachable && own->held ? "other such objects" : "leaks");
        return STATUS_USAGE;
    }
    enum status status = suppress_read(&own->suppressions, &accepted, &failure);
    if (status == STATUS_DONE)
        status = open_and_show(line, &accepted, &failure);
    suppress_free(&accepted);
    return status == STATUS_DONE || status == STATUS_FINDINGS ? status : say_failure(&failure);
}

const struct command command_verb_leaks = {
    .name = "leaks",
    .usage = "TARGET",
    .summary = "objects that nothing leads to any more, by call site",
    .details = "A process is stopped for about a millisecond, while a copy of it is made; the\n"
               "copy follows all pointers from data, stacks and registers.  What is not met\n"
               "has leaked.  The exit status is 1 if there are leaks, after suppressions.",
    .examples = "  goinspect leaks server\n"
                "  goinspect leaks server --older-than 10m --stacks\n"
                "  goinspect leaks server --suppressions known.txt -o json\n"
                "  goinspect leaks server --since yesterday.gmi\n"
                "  goinspect snapshot server --leaks -o heap.gmi; goinspect leaks heap.gmi\n",
    .takes = TAKES_FORMAT | TAKES_SNAPSHOT | TAKES_WRAPPERS,
    .min_words = 1,
    .max_words = 1,
    .options = options,
    .option = option,
    .own_size = sizeof(struct own),
    .columns = columns,
    .ncolumns = COUNT(columns),
    .lists = lists,
    .run = run,
};
