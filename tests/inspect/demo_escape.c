/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What became of the objects of the heap that the tests know, and how it grew.
 *
 * Of make_node's objects, 1000 were freed: most after make_node had returned and before build had,
 * some by another thread.  Of make_table's, none was.  There are three ticks of history.
 */
#include "maker.h"

#include <string.h>

#define SECOND UINT64_C(1000000000)

static void add_outlived(struct maker *m, uint32_t site, uint32_t frames, uint64_t objects,
                         uint64_t proved) {
    struct gomalloc_outlived o = {site, frames, objects, proved};
    maker_add(m, GOMALLOC_SECTION_OUTLIVED, &o);
}

static void add_handover(struct maker *m, uint32_t site, uint64_t objects, const char *to) {
    struct gomalloc_handover h = {
        .site = site, .objects = objects, .from_tid = 4711, .to_tid = 4712, .from_comm = "demo"};
    strncpy(h.to_comm, to, sizeof h.to_comm - 1);
    maker_add(m, GOMALLOC_SECTION_HANDOVER, &h);
}

static void add_history(struct maker *m, uint32_t site, uint32_t tick, double objects) {
    struct gomalloc_history h = {.site = site,
                                 .tick = tick,
                                 .live_bytes = 20 * objects,
                                 .live_objects = objects,
                                 .alloc_bytes = 200 * objects};
    maker_add(m, GOMALLOC_SECTION_HISTORY, &h);
}

void demo_make_escape(struct maker *m, const struct demo *d, uint32_t node, uint32_t table) {
    struct gomalloc_escape nodes = {.site = node,
                                    .judged = d->nodes + 1000,
                                    .freed = 1000,
                                    .other_thread = 30,
                                    .reentered = 10,
                                    .unknown_switched = 10,
                                    .life_ns_p50 = 1500,
                                    .life_ns_p99 = 2e6,
                                    .life_bytes_p50 = 4096,
                                    .life_bytes_p99 = 65536,
                                    .chains = 2,
                                    .growths = 5,
                                    .final_size_p50 = 64,
                                    .final_size_p99 = 80};
    struct gomalloc_escape tables = {.site = table, .judged = d->tables + 1};
    maker_add(m, GOMALLOC_SECTION_ESCAPE, &nodes);
    maker_add(m, GOMALLOC_SECTION_ESCAPE, &tables);
    add_outlived(m, node, 0, 50, 1);
    add_outlived(m, node, 1, 890, 3);
    add_outlived(m, node, GOMALLOC_OUTLIVED_MORE, 10, 0);
    add_handover(m, node, 25, "io-2");
    add_handover(m, 0, 5, "io-3");
    for (uint32_t i = 1; i <= 3; i++) {
        struct gomalloc_tick t = {.tick = i,
                                  .when_ns = d->captured_ns - (4 - i) * SECOND,
                                  .live_bytes = 1000 * i,
                                  .live_objects = 50 * i,
                                  .alloc_bytes = 10000 * i,
                                  .rss_bytes = 1 << 20};
        maker_add(m, GOMALLOC_SECTION_TICK, &t);
        add_history(m, 0, i, 1);
    }
    uint32_t sites[2] = {node < table ? node : table, node < table ? table : node};
    for (unsigned k = 0; k < 2; k++)
        for (uint32_t i = sites[k] == node ? 1 : 2; i <= 3; i++)
            add_history(m, sites[k], i, sites[k] == node ? 40 * i : i);
}
