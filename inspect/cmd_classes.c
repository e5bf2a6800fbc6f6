/* SPDX-License-Identifier: BSD-3-Clause
 *
 * goinspect classes: the 68 size classes, what lives in them and what they keep free.
 */
#include "view.h"

static const struct column columns[] = {
    {"class", "size_class", KIND_NUMBER, 0, "size class; 0 = large objects, a span each"},
    {"size", "slot_bytes", KIND_BYTES, 0, "of a slot"},
    {"live", "live_bytes", KIND_BYTES, 0, "given to live objects"},
    {"objects", "live_objects", KIND_COUNT, 0, "live objects"},
    {"spans", NULL, KIND_COUNT, 0, "spans in use"},
    {"used", "used_percent", KIND_PERCENT, 0, "of the spans' bytes, in live objects"},
    {"free", "free_bytes", KIND_BYTES, 0, "free slots in these spans"},
    {"free_slots", "free_objects", KIND_COUNT, COLUMN_OPTIONAL, "their number"},
    {"tail", "tail_bytes", KIND_BYTES, COLUMN_OPTIONAL, "ends of spans that hold no slot"},
    {"span_bytes", NULL, KIND_BYTES, COLUMN_EXTRA, "bytes of all its spans"},
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

static enum status run(struct command_line *line) {
    const struct own *own = line->own;
    return view_run(line, &(struct view_query){.from = "v1_class",
                                               .where = own->all ? NULL : "spans > 0",
                                               .order = "size_class"});
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
