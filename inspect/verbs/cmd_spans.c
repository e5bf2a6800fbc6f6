/* SPDX-License-Identifier: BSD-3-Clause
 *
 * goinspect spans: runs of pages that hold objects of one size, those with most free bytes first.
 */
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "cli/view.h"
#include "base/usage.h"

static const struct column columns[] = {
    {"address", "base", KIND_ADDRESS, 0, "of its first byte"},
    {"class", "size_class", KIND_NUMBER, 0, "size class; 0 = one large object"},
    {"size", "elem_size", KIND_BYTES, 0, "of a slot"},
    {"objects", "live_objects", KIND_COUNT, 0, "live objects"},
    {"slots", "nelems", KIND_COUNT, COLUMN_OPTIONAL, "slots for objects"},
    {"used", "100.0 * live_bytes / span_bytes", KIND_PERCENT, COLUMN_OPTIONAL | COLUMN_LATE,
     "live bytes of the span's bytes"},
    {"free", "free_bytes", KIND_BYTES, 0, "free slots"},
    {"owner", NULL, KIND_TEXT, COLUMN_CUT | COLUMN_OPTIONAL,
     "thread whose cache holds it, central, or heap"},
    {"fill", "filled", KIND_TEXT, COLUMN_OPTIONAL,
     "empty, partial or full; cached large: kept for reuse"},
    {"place", NULL, KIND_TEXT, COLUMN_OPTIONAL, "where it is kept there"},
    {"state", NULL, KIND_TEXT, COLUMN_EXTRA, "in use, or manual: its slots are stacks"},
    {"noscan", NULL, KIND_NUMBER, COLUMN_EXTRA, "1: objects hold no pointers"},
    {"pages", "npages", KIND_COUNT, COLUMN_EXTRA, "pages of 8 KiB"},
    {"live", "live_bytes", KIND_BYTES, COLUMN_EXTRA, "given to live objects"},
    {"span_bytes", NULL, KIND_BYTES, COLUMN_EXTRA, "bytes of the span"},
    {"unswept", "unswept_objects", KIND_COUNT, COLUMN_EXTRA,
     "free slots that other threads freed, not swept yet"},
    {"tail", "tail_bytes", KIND_BYTES, COLUMN_EXTRA, "its end that holds no slot"},
    {"requested", "requested_bytes", KIND_BYTES, COLUMN_EXTRA,
     "asked for by the live objects of which that is recorded"},
    {"slack", "internal_bytes", KIND_BYTES, COLUMN_EXTRA, "given to these beyond that"},
    {"recorded_objects", NULL, KIND_COUNT, COLUMN_EXTRA, "their number"},
    {"resident", "resident_bytes", KIND_BYTES, COLUMN_EXTRA | COLUMN_MEASURED,
     "of the span's bytes, in memory"},
    {"swapped", "swapped_bytes", KIND_BYTES, COLUMN_EXTRA | COLUMN_MEASURED,
     "of the span's bytes, swapped out"},
    {"recorded", NULL, KIND_NUMBER, COLUMN_EXTRA, "1: some objects have their site recorded"},
    {"sweepgen", NULL, KIND_NUMBER, COLUMN_OPTIONAL, "sweep generation in which it was last swept"},
    {"needzero", NULL, KIND_NUMBER, COLUMN_OPTIONAL, "1: free slots may hold old data"},
    {"freeindex", NULL, KIND_NUMBER, COLUMN_EXTRA, "slot at which the next search begins"},
};

/* v1_span with the columns that a file of an older version does not have. */
#define NEW_COLUMNS                                                                                \
    ", NULL AS tail_bytes, NULL AS requested_bytes, NULL AS internal_bytes, "                      \
    "NULL AS recorded_objects, NULL AS resident_bytes, NULL AS swapped_bytes"
#define FROM_SPANS(more)                                                                           \
    "(SELECT *" more                                                                               \
    ", CASE WHEN state <> 'in use' THEN NULL WHEN place = 'cached large' THEN place "              \
    "WHEN live_objects = 0 THEN 'empty' WHEN live_objects = nelems THEN 'full' "                   \
    "ELSE 'partial' END AS filled FROM v1_span)"

/* What is asked for; the defaults let everything through. */
struct own {
    const char *size_class, *state, *place, *owner;
    double util;     /* percent */
    char util_order; /* '<' or '>', 0: any */
};

enum { OPT_CLASS = 0x300, OPT_STATE, OPT_PLACE, OPT_OWNER, OPT_UTIL };

static const struct argp_option options[] = {
    {"class", OPT_CLASS, "CLASS", 0, "of a size class: its number, or a size in bytes (96, 48B)",
     1},
    {"util", OPT_UTIL, "'<P'", 0, "less ('<25%') or more ('>75%') of the span in use", 1},
    {"owner", OPT_OWNER, "OWNER", 0, "central, heap, or 'thread TID'", 1},
    {"place", OPT_PLACE, "PLACE", 0,
     "current, listed, 'partial swept', 'partial unswept', 'full swept', 'full unswept', "
     "'cached large'",
     1},
    {"state", OPT_STATE, "STATE", 0,
     "'in use', manual; or, of those in use: empty, partial, full, 'cached large'", 1},
    {.name = NULL}};

static void parse_util(struct own *own, const char *arg, struct argp_state *state) {
    char *end;
    own->util_order = *arg == '<' || *arg == '>' ? *arg++ : '<';
    own->util = strtod(arg, &end);
    if (end == arg || (*end && strcmp(end, "%") != 0) || !(own->util >= 0))
        usage_error(state, "--util: '%s' is not a percentage such as '<25%%' or '>75%%'", arg);
}

static const char *known(const char *arg, const char *option, const char *const *names, size_t n,
                         struct argp_state *state) {
    char *word = must_dup(arg); /* partial-swept is easier to type than 'partial swept' */
    for (char *p = word; *p; p++)
        *p = *p == '-' || *p == '_' ? ' ' : *p;
    for (size_t i = 0; i < n; i++)
        if (strcmp(word, names[i]) == 0) {
            free(word);
            return names[i];
        }
    char hint[TEXT_HINT_SIZE];
    text_hint(hint, word, names, n);
    usage_error(state, "%s: unknown '%s'%s", option, arg, hint);
    free(word);
    return NULL;
}

static void option(struct command_line *line, int key, char *arg, struct argp_state *state) {
    static const char *const states[] = {"in use",  "manual", "dead",        "empty",
                                         "partial", "full",   "cached large"};
    static const char *const places[] = {"current",     "listed",       "partial swept",
                                         "full swept",  "full unswept", "partial unswept",
                                         "cached large"};
    struct own *own = line->own;
    switch (key) {
    case OPT_CLASS:
        own->size_class = arg;
        break;
    case OPT_STATE:
        own->state = known(arg, "--state", states, 7, state);
        break;
    case OPT_PLACE:
        own->place = known(arg, "--place", places, 7, state);
        break;
    case OPT_OWNER:
        own->owner = arg;
        break;
    case OPT_UTIL:
        parse_util(own, arg, state);
        break;
    }
}

static enum status show(const struct command_line *line, const struct target *target,
                        struct failure *failure) {
    const struct own *own = line->own;
    int64_t size_class = -1;
    if (own->size_class && view_class(target, own->size_class, &size_class, failure) != STATUS_DONE)
        return failure->status;
    const struct view_binding bindings[] = {
        {":class", size_class, NULL},
        {":state", 0, own->state ? own->state : ""},
        {":place", 0, own->place ? own->place : ""},
        {":owner", 0, own->owner ? own->owner : ""},
        /* per mille: bindings are whole numbers */
        {":below", own->util_order == '<' ? (int64_t)(own->util * 1000) : INT64_MAX, NULL},
        {":above", own->util_order == '>' ? (int64_t)(own->util * 1000) : -1, NULL},
    };
    return view_show(line, target,
                     &(struct view_query){.from = view_with(target, "v1_span", "tail_bytes", NULL)
                                                      ? FROM_SPANS("")
                                                      : FROM_SPANS(NEW_COLUMNS),
                                          .where =
                                              "(:class < 0 OR size_class = :class)"
                                              " AND (:state IN ('', state, filled))"
                                              " AND (:place = '' OR place = :place)"
                                              " AND (:owner = '' OR owner = :owner)"
                                              " AND live_bytes * 100000.0 / span_bytes < :below"
                                              " AND live_bytes * 100000.0 / span_bytes > :above",
                                          .order = "free_bytes DESC, base",
                                          .bindings = bindings,
                                          .nbindings = sizeof(bindings) / sizeof(*bindings)},
                     failure);
}

static enum status run(struct command_line *line) {
    return view_on_target(line, show);
}

const struct command command_verb_spans = {
    .name = "spans",
    .usage = "TARGET",
    .summary = "spans, those with most free bytes first",
    .examples =
        "  goinspect spans redis-server --util '<25%' --limit 20\n"
        "  goinspect spans redis-server --class 5 --state partial\n"
        "  goinspect spans redis-server --class 96B --columns address,objects,slots,owner\n",
    .takes = TAKES_FORMAT | TAKES_SNAPSHOT,
    .min_words = 1,
    .max_words = 1,
    .options = options,
    .option = option,
    .terminal_rows = 25,
    .own_size = sizeof(struct own),
    .columns = columns,
    .ncolumns = sizeof(columns) / sizeof(*columns),
    .run = run,
};
