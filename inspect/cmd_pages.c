/* SPDX-License-Identifier: BSD-3-Clause
 *
 * goinspect pages: the page allocator: its radix tree level by level, and a picture of its chunks.
 */
#include <stdlib.h>
#include <string.h>

#include "chunkmap.h"
#include "view.h"

static const struct column columns[] = {
    {"address", "base", KIND_ADDRESS, 0, "of the chunk, 4 MiB or 512 pages of 8 KiB"},
    {"in_use_pages", NULL, KIND_COUNT, 0, "pages in spans"},
    {"free_pages", NULL, KIND_COUNT, 0, "free pages"},
    {"scavenged_pages", NULL, KIND_COUNT, 0, "of these, given back to the kernel"},
    {"cached_pages", NULL, KIND_COUNT, 0, "of these, in threads' page caches"},
    {"chunk", "idx", KIND_NUMBER, COLUMN_EXTRA, "number of the chunk in the address space"},
    {"map", NULL, KIND_TEXT, COLUMN_EXTRA,
     "a character a page: # in use, . free, _ given back, c cached, C both, - not grown"},
};

static const struct column level_columns[] = {
    {"level", NULL, KIND_NUMBER, 0, "0 = root, 4 = leaf"},
    {"covers", "entry_pages * 8192", KIND_BYTES, 0, "address space that one entry covers"},
    {"entries", NULL, KIND_COUNT, 0, "entries that are not all zero"},
    {"longest_free", "max_free * 8192", KIND_BYTES, 0, "longest run of free pages in one entry"},
    {"wholly_free", NULL, KIND_COUNT, 0, "entries with all pages free"},
    {"entry_pages", NULL, KIND_COUNT, COLUMN_EXTRA, "pages that one entry covers"},
    {"max_free", NULL, KIND_COUNT, COLUMN_EXTRA, "longest run in pages"},
};

static const struct column entry_columns[] = {
    {"level", NULL, KIND_NUMBER, 0, "0 = root, 4 = leaf"},
    {"entry", "idx", KIND_NUMBER, 0, "number of the entry in its level"},
    {"address", "base", KIND_ADDRESS, 0, "from which it covers"},
    {"covers", "npages * 8192", KIND_BYTES, 0, "that much"},
    {"start_free", NULL, KIND_COUNT, 0, "free pages at its start"},
    {"max_free", NULL, KIND_COUNT, 0, "longest run of free pages"},
    {"end_free", NULL, KIND_COUNT, 0, "free pages at its end"},
    {"pages", "npages", KIND_COUNT, COLUMN_EXTRA, "pages that it covers"},
};

#define COUNT(array) (sizeof(array) / sizeof(*(array)))

enum what { WHAT_ALL, WHAT_LEVELS, WHAT_ENTRIES, WHAT_CHUNKS, WHAT_MAP };

struct own {
    enum what what;
};

static const struct argp_option options[] = {
    {"levels", 'l', NULL, 0, "only the radix tree, a row for each level", 1},
    {"entries", 'e', NULL, 0, "the radix tree, a row for each entry", 1},
    {"chunks", 'c', NULL, 0, "a row for each chunk", 1},
    {"map", 'm', NULL, 0, "only the picture", 1},
    {.name = NULL}};

static void option(struct command_line *line, int key, char *arg, struct argp_state *state) {
    (void)arg, (void)state;
    ((struct own *)line->own)->what = key == 'l'   ? WHAT_LEVELS
                                      : key == 'e' ? WHAT_ENTRIES
                                      : key == 'c' ? WHAT_CHUNKS
                                                   : WHAT_MAP;
}

/* show_rows shows a view by a column table that is not the verb's own. */
static enum status show_rows(const struct command_line *line, const struct target *target,
                             const struct column *table, size_t n, const struct view_query *query,
                             struct failure *failure) {
    struct command command = *line->command;
    struct command_line as_if = *line;
    command.columns = table;
    command.ncolumns = n;
    as_if.command = &command;
    return view_show(&as_if, target, query, failure);
}

static enum status show_levels(const struct command_line *line, const struct target *target,
                               struct failure *failure) {
    static const struct view_query query = {.from = "v1_page_level", .order = "level"};
    return show_rows(line, target, level_columns, COUNT(level_columns), &query, failure);
}

static enum status show(const struct command_line *line, const struct target *target,
                        struct failure *failure) {
    static const struct view_query entries = {.from = "v1_page_summary", .order = "level, idx"};
    static const struct view_query chunks = {.from = "v1_chunk", .order = "base"};
    const struct own *own = line->own;
    enum what what = own->what;
    if (what == WHAT_ALL && (line->output.format != OUTPUT_TABLE || line->output.columns))
        what = WHAT_CHUNKS;
    switch (what) {
    case WHAT_LEVELS:
        return show_levels(line, target, failure);
    case WHAT_ENTRIES:
        return show_rows(line, target, entry_columns, COUNT(entry_columns), &entries, failure);
    case WHAT_CHUNKS:
        return view_show(line, target, &chunks, failure);
    case WHAT_MAP:
        break;
    case WHAT_ALL:
        if (show_levels(line, target, failure) != STATUS_DONE)
            return failure->status;
        fputc('\n', line->output.out);
    }
    return chunkmap_show(&line->output, target, failure);
}

static enum status run(struct command_line *line) {
    const struct own *own = line->own;
    struct target target;
    struct failure failure = {.status = STATUS_DONE};
    if (own->what == WHAT_MAP && line->output.format != OUTPUT_TABLE) {
        say("pages: a picture has one format; -o goes with --chunks, --levels and --entries");
        return STATUS_USAGE;
    }
    enum status status = view_target(line, &target, &failure);
    if (status != STATUS_DONE)
        return say_failure(&failure);
    status = show(line, &target, &failure);
    target_close(&target);
    return status == STATUS_DONE ? status : say_failure(&failure);
}

const struct command command_verb_pages = {
    .name = "pages",
    .usage = "TARGET",
    .summary = "page allocator: the radix tree's levels and a picture of the pages",
    .details = "As a table: the levels and the picture.  In the other formats: a row for each\n"
               "chunk, unless --levels or --entries ask for the radix tree.",
    .examples = "  goinspect pages redis-server\n"
                "  goinspect pages redis-server --entries --sort max_free:desc --limit 5\n"
                "  goinspect pages heap.db -o json\n",
    .takes = TAKES_FORMAT | TAKES_SNAPSHOT,
    .min_words = 1,
    .max_words = 1,
    .options = options,
    .option = option,
    .own_size = sizeof(struct own),
    .columns = columns,
    .ncolumns = COUNT(columns),
    .run = run,
};
