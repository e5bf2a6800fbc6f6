/* SPDX-License-Identifier: BSD-3-Clause
 *
 * goinspect pages: the page allocator: its radix tree level by level, and a picture of its chunks.
 */
#include <stdlib.h>
#include <string.h>

#include "report/chunkmap.h"
#include "base/text.h"
#include "cli/view.h"
#include "base/usage.h"

#define COUNT(array) (sizeof(array) / sizeof(*(array)))

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
    {"wholly_free", NULL, KIND_COUNT, COLUMN_OPTIONAL, "entries with all pages free"},
    {"entry_pages", NULL, KIND_COUNT, COLUMN_EXTRA, "pages that one entry covers"},
    {"max_free", NULL, KIND_COUNT, COLUMN_EXTRA, "longest run in pages"},
};

static const struct column entry_columns[] = {
    {"level", NULL, KIND_NUMBER, COLUMN_OPTIONAL, "0 = root, 4 = leaf"},
    {"entry", "idx", KIND_NUMBER, 0, "number of the entry in its level"},
    {"address", "base", KIND_ADDRESS, 0, "from which it covers"},
    {"to", "base + npages * 8192", KIND_ADDRESS, COLUMN_OPTIONAL,
     "address after the last that it covers"},
    {"start_free", NULL, KIND_COUNT, 0, "pallocSum.start: free pages at its start"},
    {"max_free", NULL, KIND_COUNT, 0, "pallocSum.max: longest run of free pages"},
    {"end_free", NULL, KIND_COUNT, 0, "pallocSum.end: free pages at its end"},
    {"covers", "npages * 8192", KIND_BYTES, COLUMN_EXTRA, "address space that it covers"},
    {"pages", "npages", KIND_COUNT, COLUMN_EXTRA, "pages that it covers"},
    {"max_bytes", "max_free * 8192", KIND_BYTES, COLUMN_OPTIONAL, "max_free in bytes"},
    {"packed",
     "CASE WHEN max_free = 2097152 THEN '0x8000000000000000' ELSE "
     "printf('0x%x', start_free | (max_free << 21) | (end_free << 42)) END",
     KIND_TEXT, COLUMN_EXTRA, "the three as Go packs them into 64 bits"},
};

static const struct column run_columns[] = {
    {"pages",
     "CASE min_pages WHEN 1 THEN '1' ELSE min_pages || coalesce('-' || max_pages, ' or more') END",
     KIND_TEXT, 0, "free pages of 8 KiB in a row"},
    {"runs", NULL, KIND_COUNT, 0, "so many runs of about that length"},
    {"free", "bytes", KIND_BYTES, 0, "in all of them"},
    {"share", "100.0 * bytes / sum(bytes) OVER ()", KIND_PERCENT, 0, "of all free pages"},
    {"returned", "returned_bytes", KIND_BYTES, 0,
     "of free, given back to the kernel, or never used"},
    {"longest", "longest_run * 8192", KIND_BYTES, 0, "the longest of these runs"},
    {"min_pages", NULL, KIND_COUNT, COLUMN_EXTRA, "shortest run that is counted here"},
    {"max_pages", NULL, KIND_COUNT, COLUMN_EXTRA, "longest run that is, or null: any longer one"},
};

static const struct column_list lists[] = {
    {"Columns of --levels", level_columns, COUNT(level_columns)},
    {"Columns of --level and --entries", entry_columns, COUNT(entry_columns)},
    {"Columns of --runs", run_columns, COUNT(run_columns)},
    {NULL, NULL, 0}};

#define TERMINAL_ENTRIES 25 /* rows of entries on a terminal */

enum what { WHAT_ALL, WHAT_LEVELS, WHAT_ENTRIES, WHAT_LEVEL, WHAT_CHUNKS, WHAT_RUNS, WHAT_MAP };

struct own {
    enum what what;
    int level; /* WHAT_LEVEL */
};

enum { OPT_LEVEL = 0x300 };

static const struct argp_option options[] = {
    {"level", OPT_LEVEL, "N", 0, "the entries of level N, 0 (root) to 4 (leaves)", 1},
    {"levels", 'l', NULL, 0, "only the radix tree, a row for each level", 1},
    {"entries", 'e', NULL, 0, "the radix tree, a row for each entry", 1},
    {"chunks", 'c', NULL, 0, "a row for each chunk", 1},
    {"runs", 'r', NULL, 0, "free pages by the length of the run that they stand in", 1},
    {"map", 'm', NULL, 0, "only the picture", 1},
    {.name = NULL}};

static void option(struct command_line *line, int key, char *arg, struct argp_state *state) {
    struct own *own = line->own;
    if (key == OPT_LEVEL) {
        if (arg[0] < '0' || arg[0] > '4' || arg[1] != '\0')
            usage_error(state, "--level: '%s' is none of 0, 1, 2, 3 and 4", arg);
        own->level = arg[0] - '0';
    }
    own->what = key == OPT_LEVEL ? WHAT_LEVEL
                : key == 'l'     ? WHAT_LEVELS
                : key == 'e'     ? WHAT_ENTRIES
                : key == 'c'     ? WHAT_CHUNKS
                : key == 'r'     ? WHAT_RUNS
                                 : WHAT_MAP;
}

static enum status show_levels(const struct command_line *line, const struct target *target,
                               struct failure *failure) {
    static const struct view_query query = {.from = "v1_page_level", .order = "level"};
    return view_show_as(line, target, &lists[0], 0, &query, failure);
}

/* print_level says what an entry of a level is. */
static void print_level(const struct command_line *line, int level) {
    static const char *const names[] = {" (root)", "", "", "", " (leaves)"};
    char covers[TEXT_NUMBER_SIZE], pages[TEXT_NUMBER_SIZE];
    int64_t npages = INT64_C(512) << 3 * (4 - level);
    if (line->output.format != OUTPUT_TABLE || line->output.no_header)
        return;
    text_bytes_plain(covers, (double)npages * 8192);
    text_count(pages, npages);
    fprintf(line->output.out, "level %d%s: %s, %s pages an entry\n\n", level, names[level], covers,
            pages);
}

static enum status show_entries(const struct command_line *line, const struct target *target,
                                int level, struct failure *failure) {
    struct view_binding binding = {":level", level, NULL};
    struct view_query query = {.from = "v1_page_summary",
                               .where = "(:level < 0 OR level = :level)",
                               .order = "level, idx",
                               .bindings = &binding,
                               .nbindings = 1};
    if (level >= 0)
        print_level(line, level);
    return view_show_as(line, target, &lists[1], TERMINAL_ENTRIES, &query, failure);
}

/* print_heap says where the search for pages begins, and how the scavenger stands. */
static void print_heap(const struct command_line *line, const struct target *target) {
    static const char sql[] =
        "SELECT search_address, grows_from, goal_bytes, retained_bytes, released_bytes,"
        " reused_bytes, windows, regrets, worked_ns, time_percent, working FROM v1_heap h"
        " JOIN v1_scavenger s ON s.snapshot_id = h.snapshot_id"
        " WHERE h.snapshot_id = :snapshot";
    char text[4][TEXT_NUMBER_SIZE];
    struct failure ignored;
    sqlite3_stmt *stmt = NULL;
    /* An older file has neither. */
    if (view_prepare(target, sql, NULL, &stmt, &ignored) == STATUS_DONE &&
        sqlite3_step(stmt) == SQLITE_ROW) {
        const char *search = (const char *)sqlite3_column_text(stmt, 0);
        for (int i = 0; i < 4; i++)
            text_bytes_plain(text[i], sqlite3_column_double(stmt, i + 2));
        output_text(&line->output, "\nsearchAddr %s, grows at %s\n", search ? search : "none",
                    (const char *)sqlite3_column_text(stmt, 1));
        output_text(&line->output, "scavenger  %s retained, goal %s%s\n", text[1], text[0],
                    sqlite3_column_int(stmt, 10) ? ": at work" : "");
        output_text(&line->output, "           %s given back, %s used again\n", text[2], text[3]);
        output_text(&line->output, "           %lld windows, %lld of them regretted\n",
                    (long long)sqlite3_column_int64(stmt, 6),
                    (long long)sqlite3_column_int64(stmt, 7));
        text_duration(text[0], sqlite3_column_int64(stmt, 8));
        output_text(&line->output, "           worked %s, %.3f%% of a CPU\n", text[0],
                    sqlite3_column_double(stmt, 9));
    }
    sqlite3_finalize(stmt);
}

/* show_runs shows how long the runs of free pages are, of the heap as a whole. */
static enum status show_runs(const struct command_line *line, const struct target *target,
                             struct failure *failure) {
    static const struct view_query query = {
        .from = "v1_free_run", .where = "base IS NULL", .order = "min_pages"};
    if (!view_with(target, "v1_free_run", "runs", NULL))
        return fail(failure, STATUS_BAD_VERSION,
                    "%s does not tell of runs: it was made by an older goinspect", target->word);
    return view_show_as(line, target, &lists[2], 0, &query, failure);
}

static enum status show(const struct command_line *line, const struct target *target,
                        struct failure *failure) {
    static const struct view_query chunks = {.from = "v1_chunk", .order = "base"};
    const struct own *own = line->own;
    enum what what = own->what;
    if (what == WHAT_ALL && (line->output.format != OUTPUT_TABLE || line->output.columns))
        what = WHAT_CHUNKS;
    switch (what) {
    case WHAT_LEVELS:
        return show_levels(line, target, failure);
    case WHAT_ENTRIES:
        return show_entries(line, target, -1, failure);
    case WHAT_LEVEL:
        return show_entries(line, target, own->level, failure);
    case WHAT_RUNS:
        return show_runs(line, target, failure);
    case WHAT_CHUNKS:
        return view_show(line, target, &chunks, failure);
    case WHAT_MAP:
        break;
    case WHAT_ALL:
        if (show_levels(line, target, failure) != STATUS_DONE)
            return failure->status;
        print_heap(line, target);
        fputc('\n', line->output.out);
    }
    return chunkmap_show(&line->output, target, failure);
}

static enum status run(struct command_line *line) {
    const struct own *own = line->own;
    if (own->what == WHAT_MAP && line->output.format != OUTPUT_TABLE) {
        say("pages: a picture has one format; -o goes with --chunks, --runs, --levels and "
            "--entries");
        return STATUS_USAGE;
    }
    return view_on_target(line, show);
}

const struct command command_verb_pages = {
    .name = "pages",
    .usage = "TARGET",
    .summary = "page allocator: the radix tree's levels and a picture of the pages",
    .details = "As a table: the levels, where the search for pages begins, the scavenger's pace,\n"
               "and the picture.  In the other formats: a row for each chunk, unless\n"
               "--runs, --levels, --level or --entries ask for something else.",
    .examples = "  goinspect pages redis-server\n"
                "  goinspect pages redis-server --level 4\n"
                "  goinspect pages redis-server --entries --sort max_free:desc --limit 5\n"
                "  goinspect pages redis-server --runs\n"
                "  goinspect pages heap.db -o json\n",
    .takes = TAKES_FORMAT | TAKES_SNAPSHOT,
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
