/* SPDX-License-Identifier: BSD-3-Clause
 *
 * goinspect classes: the 68 size classes, what lives in them and what they keep free.
 */
#include "cli/view.h"

static const struct column columns[] = {
    {"class", "size_class", KIND_NUMBER, 0, "size class; 0 = large objects, a span each"},
    {"size", "slot_bytes", KIND_BYTES, 0, "of a slot"},
    {"objects", "live_objects", KIND_COUNT, 0, "live objects"},
    {"live", "live_bytes", KIND_BYTES, 0, "given to live objects"},
    {"slack", "internal_bytes", KIND_BYTES, COLUMN_OPTIONAL | COLUMN_LATE,
     "of these, not asked for; an estimate unless all objects are recorded"},
    {"free", "free_bytes", KIND_BYTES, 0, "free slots in its spans"},
    {"tail", "tail_bytes", KIND_BYTES, COLUMN_OPTIONAL | COLUMN_LATE,
     "ends of spans that hold no slot"},
    {"used", "used_percent", KIND_PERCENT, COLUMN_OPTIONAL, "of the spans' bytes, in live objects"},
    {"spans", NULL, KIND_COUNT, COLUMN_OPTIONAL, "spans in use"},
    {"free_slots", "free_objects", KIND_COUNT, COLUMN_OPTIONAL, "free slots"},
    {"span_bytes", NULL, KIND_BYTES, COLUMN_EXTRA, "bytes of all its spans"},
    {"empty", "empty_spans", KIND_COUNT, COLUMN_EXTRA, "spans without a live object"},
    {"cached", "cached_bytes", KIND_BYTES, COLUMN_EXTRA,
     "of the free slots, in spans that threads keep"},
    {"recorded", "100.0 * recorded_bytes / nullif(live_bytes, 0)", KIND_PERCENT, COLUMN_EXTRA,
     "of the live bytes, in objects of which it is known what they asked for"},
    {"resident", "resident_bytes", KIND_BYTES, COLUMN_EXTRA | COLUMN_MEASURED,
     "of the spans' bytes, in memory"},
    {"swapped", "swapped_bytes", KIND_BYTES, COLUMN_EXTRA | COLUMN_MEASURED,
     "of the spans' bytes, swapped out"},
    {"span_pages", NULL, KIND_COUNT, COLUMN_EXTRA, "pages of 8 KiB in one span"},
    {"span_slots", NULL, KIND_COUNT, COLUMN_EXTRA, "slots in one span"},
    {"noscan_spans", NULL, KIND_COUNT, COLUMN_EXTRA, "spans whose objects hold no pointers"},
};

struct own {
    bool all;
};

static const struct argp_option options[] = {
    {"all", 'a', NULL, 0, "also classes without a span", 1}, {.name = NULL}};

static void option(struct command_line *line, int key, char *arg, struct argp_state *state) {
    (void)key, (void)arg, (void)state;
    ((struct own *)line->own)->all = true;
}

/* v1_class of a file of an older version, without what it does not tell. */
#define OLD_CLASS                                                                                  \
    "(SELECT *, NULL AS internal_bytes, NULL AS recorded_bytes, NULL AS resident_bytes, "          \
    "NULL AS swapped_bytes, NULL AS empty_spans, NULL AS cached_bytes FROM v1_class)"

static enum status show(const struct command_line *line, const struct target *target,
                        struct failure *failure) {
    const struct own *own = line->own;
    const struct view_query query = {.from =
                                         view_with(target, "v1_class", "internal_bytes", OLD_CLASS),
                                     .where = own->all ? NULL : "spans > 0",
                                     .order = "size_class"};
    return view_show(line, target, &query, failure);
}

static enum status run(struct command_line *line) {
    return view_on_target(line, show);
}

const struct command command_verb_classes = {
    .name = "classes",
    .usage = "TARGET",
    .summary = "size classes: live objects, and free slots that only they can use",
    .examples = "  goinspect classes redis-server --sort free:desc --limit 10\n",
    .takes = TAKES_FORMAT | TAKES_SNAPSHOT,
    .min_words = 1,
    .max_words = 1,
    .options = options,
    .option = option,
    .own_size = sizeof(struct own),
    .columns = columns,
    .ncolumns = sizeof(columns) / sizeof(*columns),
    .run = run,
};
