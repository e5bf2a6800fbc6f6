/* SPDX-License-Identifier: BSD-3-Clause
 *
 * goinspect pins: whose objects keep memory that is mostly free.
 *
 * A row is a site, with the bytes that would come back if its objects in sparse blocks were gone;
 * what of it is certain, since nothing else stands in the way, and what is a share.  How blocks are
 * divided is said in pins.h.
 */
#include <stdlib.h>
#include <string.h>

#include "image/pins.h"
#include "base/text.h"
#include "cli/view.h"
#include "base/usage.h"

#define DEFAULT_UTIL 25

static const struct column columns[] = {
    {"bytes", NULL, KIND_BYTES, 0, "would come back if the site's objects were gone"},
    {"sole", "sole_bytes", KIND_BYTES, 0, "of these, in blocks that no other site keeps"},
    {"blocks", NULL, KIND_COUNT, COLUMN_OPTIONAL | COLUMN_LATE,
     "spans, 2 MiB or arenas in which it has objects"},
    {"objects", NULL, KIND_COUNT, 0, "of the site in these"},
    {"kept",
     "CASE WHEN sole_blocks = blocks THEN 'sole' WHEN sole_blocks = 0 THEN 'shared' "
     "ELSE 'both' END",
     KIND_TEXT, COLUMN_OPTIONAL,
     "sole: nothing else keeps them; shared: other sites do, too; both: some, and others"},
    VIEW_FUNCTION_COLUMNS,
    {"site", "site_id", KIND_NUMBER, COLUMN_EXTRA, "number of the call stack, 0 = not recorded"},
    {"sole_blocks", NULL, KIND_COUNT, COLUMN_EXTRA, "of the blocks, kept by no other site"},
    {"block_bytes", NULL, KIND_BYTES, COLUMN_EXTRA, "of all its blocks, shared or not"},
    {"used", "block_used", KIND_BYTES, COLUMN_EXTRA, "of these, given to live objects of any site"},
    VIEW_PLACE_COLUMNS,
};

struct own {
    enum pin_unit by;
    double util; /* percent, 0 = not given */
    bool all;
};

enum { OPT_UTIL = 0x300, OPT_BY, OPT_ALL };

static const struct argp_option options[] = {
    {"util", OPT_UTIL, "P", 0, "blocks of which less than P % are in use: default 25, at most 75",
     1},
    {"by", OPT_BY, "WHAT", 0,
     "blocks are spans (default), huge pages of 2 MiB, or arenas: span, huge, arena", 1},
    {"all", OPT_ALL, NULL, 0, "on a terminal all sites, not the first 25", 1},
    {.name = NULL}};

static double parse_util(const char *arg, struct argp_state *state) {
    char *end;
    double util = strtod(arg + (*arg == '<'), &end);
    if (end == arg || (*end && strcmp(end, "%") != 0) || !(util > 0))
        usage_error(state, "--util: '%s' is not a percentage such as 25", arg);
    if (util > PINS_MOST_USED)
        usage_error(state, "--util: blocks that are more than %d %% used are not looked at",
                    PINS_MOST_USED);
    return util;
}

static void option(struct command_line *line, int key, char *arg, struct argp_state *state) {
    static const char *const names[PIN_NUNITS] = {"span", "huge", "arena"};
    struct own *own = line->own;
    switch (key) {
    case OPT_UTIL:
        own->util = parse_util(arg, state);
        break;
    case OPT_ALL:
        own->all = true;
        break;
    case OPT_BY:
        for (own->by = 0; own->by < PIN_NUNITS && strcmp(arg, names[own->by]) != 0;)
            own->by++;
        if (own->by == PIN_NUNITS)
            usage_error(state, "--by: '%s' is none of span, huge and arena", arg);
        break;
    }
}

/* The pins that are asked for; :util is in millionths of a percent. */
#define CHOSEN                                                                                     \
    "pin WHERE snapshot_id = :snapshot AND unit = :unit "                                          \
    "AND block_used * 100000000 < :util * block_bytes"

static const char source[] =
    "(SELECT g.*, CASE WHEN g.site_id = 0 THEN '(not recorded)' WHEN s.stack_id = 0 THEN "
    "'(no stack)' ELSE coalesce(n.function, n.location) END AS function, n.location, n.file, "
    "n.line, n.module, n.module_offset, "
    "CASE g.site_id WHEN 0 THEN NULL ELSE s.stack_id END AS stack_id "
    "FROM (SELECT snapshot_id, site_id, sum(bytes) AS bytes, "
    "sum(CASE block_sites WHEN 1 THEN bytes ELSE 0 END) AS sole_bytes, count(*) AS blocks, "
    "sum(block_sites = 1) AS sole_blocks, sum(objects) AS objects, "
    "sum(block_bytes) AS block_bytes, sum(block_used) AS block_used "
    "FROM " CHOSEN " GROUP BY site_id) g "
    "JOIN site s ON s.snapshot_id = g.snapshot_id AND s.site_id = g.site_id "
    "JOIN stack_name n ON n.stack_id = s.stack_id)";

/* What all rows come to. */
struct sums {
    int64_t objects, unrecorded, sites, blocks, bytes, shared_blocks, shared_bytes, rate;
};

static enum status sum_up(const struct target *target, const struct view_query *query,
                          struct sums *ret, struct failure *failure) {
    static const char sql[] =
        "SELECT coalesce(sum(objects), 0), "
        "coalesce(sum(CASE site_id WHEN 0 THEN objects ELSE 0 END), 0), "
        "count(DISTINCT nullif(site_id, 0)), count(DISTINCT base), coalesce(sum(bytes), 0), "
        "count(DISTINCT CASE WHEN block_sites > 1 THEN base END), "
        "coalesce(sum(CASE WHEN block_sites > 1 THEN bytes ELSE 0 END), 0), "
        "(SELECT rate FROM snapshot WHERE snapshot_id = :snapshot) FROM " CHOSEN;
    sqlite3_stmt *stmt = NULL;
    int64_t *const fields[] = {&ret->objects, &ret->unrecorded,    &ret->sites,        &ret->blocks,
                               &ret->bytes,   &ret->shared_blocks, &ret->shared_bytes, &ret->rate};
    enum status status = view_prepare(target, sql, query, &stmt, failure);
    if (status == STATUS_DONE && sqlite3_step(stmt) == SQLITE_ROW)
        for (size_t i = 0; i < sizeof(fields) / sizeof(*fields); i++)
            *fields[i] = sqlite3_column_int64(stmt, (int)i);
    sqlite3_finalize(stmt);
    return status;
}

/* print_count writes a number with its noun: "1 span", "1,312 objects". */
static void print_count(FILE *out, int64_t n, const char *one, const char *many) {
    char text[TEXT_NUMBER_SIZE];
    text_count(text, n);
    fprintf(out, "%s %s", text, n == 1 ? one : many);
}

/* print_unrecorded says what is not known, since not every allocation was recorded. */
static void print_unrecorded(const struct sums *s, FILE *out) {
    char n[TEXT_NUMBER_SIZE];
    if (s->unrecorded == 0)
        return;
    text_count(n, s->unrecorded);
    fprintf(out, "Of %s of these objects the site is not recorded", n);
    if (s->rate == 0)
        fputs(": nothing is (rate=0)", out);
    else if (s->rate > 1)
        fputs(", as allocations are sampled: GOMALLOC=rate=1 records all", out);
    fputs(".\n", out);
}

/* write_end writes what it comes to, in a sentence or two. */
static void write_end(const struct own *own, const struct sums *s, double util, FILE *out) {
    static const char *const one[] = {"span", "huge page of 2 MiB", "arena"};
    static const char *const many[] = {"spans", "huge pages of 2 MiB", "arenas"};
    char bytes[TEXT_NUMBER_SIZE];
    if (s->blocks == 0) {
        fprintf(out, "No %s with live objects is less than %g %% used.\n", one[own->by], util);
        return;
    }
    fputc('\n', out);
    print_count(out, s->objects, "object", "objects");
    if (s->sites) {
        fputs(" from ", out);
        print_count(out, s->sites, "site", "sites");
    }
    fputs(s->objects == 1 ? " keeps " : " keep ", out);
    print_count(out, s->blocks, one[own->by], many[own->by]);
    text_bytes_plain(bytes, (double)s->bytes);
    fprintf(out, " (%s) alive", bytes);
    if (s->shared_blocks) {
        text_bytes_plain(bytes, (double)s->shared_bytes);
        fputs("; ", out);
        print_count(out, s->shared_blocks, "is", "are");
        fprintf(out, " shared (%s), and divided by objects", bytes);
    }
    fputs(".\n", out);
    print_unrecorded(s, out);
}

static void print_end(const struct command_line *line, const struct sums *s, double util) {
    struct output_prose prose;
    write_end(line->own, s, util, output_prose(&prose));
    output_prose_end(&line->output, &prose);
}

/* check says why there are no pins to be had, if so. */
static enum status check(const struct target *target, struct failure *failure) {
    sqlite3_stmt *stmt = NULL;
    struct failure ignored;
    enum status status = view_prepare(
        target, "SELECT count(*) FROM pin WHERE snapshot_id = :snapshot", NULL, &stmt, &ignored);
    sqlite3_finalize(stmt);
    if (status == STATUS_DONE)
        return status;
    return fail(failure, STATUS_BAD_VERSION,
                "%s does not tell of pins: it was made by an older goinspect", target->word);
}

static enum status show(const struct command_line *line, const struct target *target,
                        struct failure *failure) {
    const struct own *own = line->own;
    double util = own->util > 0 ? own->util : DEFAULT_UTIL;
    const struct view_binding bindings[] = {{":unit", own->by, NULL},
                                            {":util", (int64_t)(util * 1e6), NULL}};
    const struct view_query query = {.from = source,
                                     .order = "bytes DESC, objects, site_id",
                                     .bindings = bindings,
                                     .nbindings = 2};
    const struct column_list list = {NULL, columns, sizeof(columns) / sizeof(*columns)};
    struct sums sums = {0};
    enum status status = check(target, failure);
    if (status == STATUS_DONE)
        status = sum_up(target, &query, &sums, failure);
    bool table = line->output.format == OUTPUT_TABLE;
    if (status == STATUS_DONE && (!table || sums.blocks))
        status = view_show_as(line, target, &list, own->all ? 0 : 25, &query, failure);
    if (status == STATUS_DONE && table && !line->output.no_header)
        print_end(line, &sums, util);
    return status;
}

static enum status run(struct command_line *line) {
    return view_on_target(line, show);
}

const struct command command_verb_pins = {
    .name = "pins",
    .usage = "TARGET",
    .summary = "whose objects keep memory that is mostly free",
    .details =
        "A span goes back to the kernel when its last object is freed.  A row is a site with\n"
        "objects in spans of which less than a quarter is in use, and the bytes that would\n"
        "come back if these objects were gone: SOLE is certain, the rest is a share of spans\n"
        "that objects of other sites keep, too, divided by the number of objects.",
    .examples = "  goinspect pins redis-server\n"
                "  goinspect pins redis-server --util 50 --by huge\n"
                "  goinspect pins FILE.db --limit 5 -o json\n",
    .takes = TAKES_FORMAT | TAKES_SNAPSHOT | TAKES_WRAPPERS,
    .min_words = 1,
    .max_words = 1,
    .options = options,
    .option = option,
    .own_size = sizeof(struct own),
    .columns = columns,
    .ncolumns = sizeof(columns) / sizeof(*columns),
    .run = run,
};
