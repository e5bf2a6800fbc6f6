/* SPDX-License-Identifier: BSD-3-Clause
 *
 * goinspect arenas: the 64 MiB pieces of address space that the heap is made of; and the states of
 * address space, with the bytes that have gone from one to another.
 */
#include "cli/view.h"

#define COUNT(array) (sizeof(array) / sizeof(*(array)))

static const struct column columns[] = {
    {"address", "base", KIND_ADDRESS, 0, "of its first byte"},
    {"live", "live_bytes", KIND_BYTES, 0, "given to live objects"},
    {"in_use", "in_use_pages * 8192", KIND_BYTES, 0, "pages in spans"},
    {"free", "free_pages * 8192", KIND_BYTES, 0, "free pages"},
    {"scavenged", "scavenged_pages * 8192", KIND_BYTES, 0,
     "of the free pages, given back to the kernel, or never used"},
    {"run", "longest_run * 8192", KIND_BYTES, COLUMN_OPTIONAL | COLUMN_LATE,
     "longest run of free pages"},
    {"ready", "ready_bytes", KIND_BYTES, COLUMN_OPTIONAL, "backed as soon as touched"},
    {"prepared", "prepared_bytes", KIND_BYTES, COLUMN_OPTIONAL, "may be used, not backed"},
    {"reserved", "reserved_bytes", KIND_BYTES, COLUMN_OPTIONAL, "address space only"},
    {"size", NULL, KIND_BYTES, COLUMN_EXTRA, "of the arena: 64 MiB"},
    {"in_use_pages", NULL, KIND_COUNT, COLUMN_EXTRA, "pages of 8 KiB in spans"},
    {"free_pages", NULL, KIND_COUNT, COLUMN_EXTRA, "pages grown and in no span"},
    {"scavenged_pages", NULL, KIND_COUNT, COLUMN_EXTRA, "of these, given back"},
    {"span_pages", NULL, KIND_COUNT, COLUMN_EXTRA, "in_use_pages counted from the spans"},
    {"objects", "live_objects", KIND_COUNT, COLUMN_EXTRA, "live objects"},
    {"slots", "external_bytes", KIND_BYTES, COLUMN_EXTRA, "free slots in its spans"},
    {"free_slots", "free_objects", KIND_COUNT, COLUMN_EXTRA, "their number"},
    {"tail", "tail_bytes", KIND_BYTES, COLUMN_EXTRA, "ends of spans that hold no slot"},
    {"recorded", "recorded_bytes", KIND_BYTES, COLUMN_EXTRA,
     "of the live bytes, in objects of which it is known what they asked for"},
    {"slack", "internal_bytes", KIND_BYTES, COLUMN_EXTRA, "given to these beyond that"},
    {"resident", "resident_bytes", KIND_BYTES, COLUMN_EXTRA | COLUMN_MEASURED, "in memory"},
    {"free_resident", "free_resident_bytes", KIND_BYTES, COLUMN_EXTRA | COLUMN_MEASURED,
     "of these, in free pages"},
    {"huge", "huge_bytes", KIND_BYTES, COLUMN_EXTRA | COLUMN_MEASURED,
     "of the resident ones, in huge pages"},
    {"huge_exact", NULL, KIND_NUMBER, COLUMN_EXTRA | COLUMN_MEASURED,
     "0: huge is the arena's share of what the kernel tells of a mapping"},
    {"swapped", "swapped_bytes", KIND_BYTES, COLUMN_EXTRA | COLUMN_MEASURED, "swapped out"},
    {"zeroed_base", NULL, KIND_BYTES, COLUMN_EXTRA, "offset of the first byte never used"},
};

static const struct column state_columns[] = {
    {"purpose", "name", KIND_TEXT, 0, "what the memory is for: heap is the arenas"},
    {"reserved", "reserved_bytes", KIND_BYTES, 0, "Reserved: address space only"},
    {"prepared", "prepared_bytes", KIND_BYTES, 0, "Prepared: may be used, not backed"},
    {"ready", "ready_bytes", KIND_BYTES, 0, "Ready: in use, backed as soon as touched"},
    {"used", "used_bytes", KIND_BYTES, COLUMN_EXTRA, "of these, handed out by its own allocator"},
    {"sys_reserve", NULL, KIND_BYTES, COLUMN_EXTRA,
     "by sysReserve since the start, None to Reserved"},
    {"sys_map", NULL, KIND_BYTES, COLUMN_EXTRA, "by sysMap, Reserved to Prepared"},
    {"sys_used", NULL, KIND_BYTES, COLUMN_EXTRA, "by sysUsed, Prepared to Ready"},
    {"sys_unused", NULL, KIND_BYTES, COLUMN_EXTRA, "by sysUnused, Ready to Prepared: given back"},
    {"sys_fault", NULL, KIND_BYTES, COLUMN_EXTRA, "by sysFault, Prepared to Reserved"},
    {"sys_alloc", NULL, KIND_BYTES, COLUMN_EXTRA, "by sysAlloc, None to Ready"},
    {"sys_free", NULL, KIND_BYTES, COLUMN_EXTRA, "by sysFree, any to None"},
};

static const struct column arena_state_columns[] = {
    {"arena", "base", KIND_ADDRESS, 0, "address"},
    {"reserved", "reserved_bytes", KIND_BYTES, 0, "Reserved"},
    {"prepared", "prepared_bytes", KIND_BYTES, 0, "Prepared"},
    {"ready", "ready_bytes", KIND_BYTES, 0, "Ready"},
};

static const struct column transition_columns[] = {
    {"transition", "name", KIND_TEXT, 0, "Go's name"},
    {"from", "from_state", KIND_TEXT, 0, "state"},
    {"to", "to_state", KIND_TEXT, 0, "state"},
    {"heap", "heap_bytes", KIND_BYTES, 0, "moved, of the arenas"},
    {"other", "other_bytes", KIND_BYTES, COLUMN_OPTIONAL | COLUMN_LATE, "moved, of other purposes"},
    {"calls", NULL, KIND_COUNT, COLUMN_OPTIONAL, "times"},
};

static const struct column_list lists[] = {
    {"Columns of --states", state_columns, COUNT(state_columns)}, {NULL, NULL, 0}};
static const struct column_list arena_states = {"", arena_state_columns,
                                                COUNT(arena_state_columns)};
static const struct column_list transitions = {"", transition_columns, COUNT(transition_columns)};

struct own {
    bool states;
};

static const struct argp_option options[] = {
    {"states", 's', NULL, 0, "the states of address space, and the bytes moved between them", 1},
    {.name = NULL}};

static void option(struct command_line *line, int key, char *arg, struct argp_state *state) {
    (void)key, (void)arg, (void)state;
    ((struct own *)line->own)->states = true;
}

static const char explanation[] = "Reserved  address space only\n"
                                  "Prepared  usable, not backed: new, or given back\n"
                                  "Ready     in use, backed as soon as touched\n\n";

/* show_tables shows the states by arena, by purpose, and the transitions. */
static enum status show_tables(const struct command_line *line, const struct target *target,
                               struct failure *failure) {
    static const struct view_query arenas = {.from = "v1_arena", .order = "base"};
    static const struct view_query purposes = {
        .from = "state_figure",
        .where = "reserved_bytes + prepared_bytes + ready_bytes > 0",
        .order = "name <> 'heap', ready_bytes DESC, name"};
    static const struct view_query moves = {
        .from = "transition_figure", .where = "calls > 0", .order = "ord"};
    const struct {
        const struct column_list *list;
        const struct view_query *query;
        int rows;
    } tables[] = {
        {&arena_states, &arenas, 16}, {&lists[0], &purposes, 0}, {&transitions, &moves, 0}};
    FILE *out = line->output.out;
    if (!line->output.no_header)
        fputs(explanation, out);
    for (size_t i = 0; i < COUNT(tables); i++) {
        enum status status =
            view_show_as(line, target, tables[i].list, tables[i].rows, tables[i].query, failure);
        if (status != STATUS_DONE)
            return status;
        if (i + 1 < COUNT(tables))
            fputc('\n', out);
    }
    return STATUS_DONE;
}

/* v1_arena of a file of an older version, without what it does not tell. */
#define OLD_ARENA                                                                                  \
    "(SELECT *, NULL AS live_objects, NULL AS free_objects, NULL AS external_bytes, "              \
    "NULL AS tail_bytes, NULL AS recorded_bytes, NULL AS internal_bytes, NULL AS longest_run, "    \
    "NULL AS resident_bytes, NULL AS swapped_bytes, NULL AS huge_bytes, NULL AS huge_exact, "      \
    "NULL AS free_resident_bytes FROM v1_arena)"

static enum status show(const struct command_line *line, const struct target *target,
                        struct failure *failure) {
    const struct view_query arenas = {
        .from = view_with(target, "v1_arena", "longest_run", OLD_ARENA), .order = "base"};
    static const struct view_query states = {.from = "state_figure", .order = "name"};
    const struct own *own = line->own;
    if (!own->states)
        return view_show(line, target, &arenas, failure);
    enum status status = view_structures(target, failure);
    if (status != STATUS_DONE)
        return status;
    if (line->output.format == OUTPUT_TABLE && !line->output.columns && !line->output.sort)
        return show_tables(line, target, failure);
    return view_show_as(line, target, &lists[0], 0, &states, failure);
}

static enum status run(struct command_line *line) {
    return view_on_target(line, show);
}

const struct command command_verb_arenas = {
    .name = "arenas",
    .usage = "TARGET",
    .summary = "heapArenas of 64 MiB: pages in spans, free, given back",
    .details =
        "With --states, as a table: the states of each arena, those of each purpose that the\n"
        "library has memory for, and the bytes that each transition has moved since the\n"
        "start, by Go's names.  In the other formats: a row for each purpose.",
    .examples = "  goinspect arenas redis-server\n"
                "  goinspect arenas redis-server --states\n",
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
