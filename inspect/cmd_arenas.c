/* SPDX-License-Identifier: BSD-3-Clause
 *
 * goinspect arenas: the 64 MiB pieces of address space that the heap is made of.
 */
#include "view.h"

static const struct column columns[] = {
    {"address", "base", KIND_ADDRESS, 0, "of its first byte"},
    {"live", "live_bytes", KIND_BYTES, 0, "given to live objects"},
    {"in_use", "in_use_pages * 8192", KIND_BYTES, 0, "pages in spans"},
    {"free", "free_pages * 8192", KIND_BYTES, 0, "free pages"},
    {"scavenged", "scavenged_pages * 8192", KIND_BYTES, 0,
     "of the free pages, given back to the kernel"},
    {"ready", "ready_bytes", KIND_BYTES, COLUMN_OPTIONAL, "backed as soon as touched"},
    {"prepared", "prepared_bytes", KIND_BYTES, COLUMN_OPTIONAL, "may be used, not backed"},
    {"reserved", "reserved_bytes", KIND_BYTES, COLUMN_OPTIONAL, "address space only"},
    {"size", NULL, KIND_BYTES, COLUMN_EXTRA, "of the arena: 64 MiB"},
    {"in_use_pages", NULL, KIND_COUNT, COLUMN_EXTRA, "pages of 8 KiB in spans"},
    {"free_pages", NULL, KIND_COUNT, COLUMN_EXTRA, "pages grown and in no span"},
    {"scavenged_pages", NULL, KIND_COUNT, COLUMN_EXTRA, "of these, given back"},
    {"span_pages", NULL, KIND_COUNT, COLUMN_EXTRA, "in_use_pages counted from the spans"},
    {"zeroed_base", NULL, KIND_BYTES, COLUMN_EXTRA, "offset of the first byte never used"},
};

static enum status run(struct command_line *line) {
    return view_run(line, &(struct view_query){.from = "v1_arena", .order = "base"});
}

const struct command command_verb_arenas = {
    .name = "arenas",
    .usage = "TARGET",
    .summary = "heapArenas of 64 MiB: pages in spans, free, given back",
    .examples = "  goinspect arenas redis-server\n",
    .takes = TAKES_FORMAT | TAKES_SNAPSHOT,
    .min_words = 1,
    .max_words = 1,
    .columns = columns,
    .ncolumns = sizeof(columns) / sizeof(*columns),
    .run = run,
};
