/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A leak check of the heap that the tests know: six objects have leaked, three of them directly.
 *
 *      a node (10 s after the start) -> two nodes        site 1
 *      a table (100 s after the start) -> a table        site 2
 *      an object that is not recorded
 *
 * The process had been started ten minutes before.  Words of thread 4711 alone keep two nodes, one
 * of which leads to four more objects.
 */
#include "maker.h"

#define PAGE UINT64_C(8192)

static void add_leak(struct maker *m, uint64_t offset, uint64_t head, struct gomalloc_leak l) {
    l.address = DEMO_ARENA + offset;
    l.head = DEMO_ARENA + head;
    maker_add(m, GOMALLOC_SECTION_LEAK, &l);
}

static void add_held(struct maker *m, uint32_t node) {
    struct gomalloc_held h = {.address = DEMO_ARENA + 72,
                              .size = 24,
                              .requested = 20,
                              .objects = 1,
                              .bytes = 24,
                              .word = 0x7ffe00000010,
                              .site = node,
                              .born = 11,
                              .tid = 4711,
                              .kind = GOMALLOC_ROOT_REGISTER,
                              .reg = "rbx"};
    maker_add(m, GOMALLOC_SECTION_HELD, &h);
    h = (struct gomalloc_held){.address = DEMO_ARENA + 96,
                               .size = 24,
                               .objects = 5,
                               .bytes = 5 * 24,
                               .word = 0x7ffe00000800,
                               .frame = 1,
                               .tid = 4711,
                               .kind = GOMALLOC_ROOT_STACK};
    maker_add(m, GOMALLOC_SECTION_HELD, &h);
}

void demo_make_leak(struct maker *m, uint32_t node, uint32_t table) {
    const struct gomalloc_leak n = {.size = 24, .requested = 20, .site = node, .born = 11};
    const struct gomalloc_leak t = {.size = 48, .requested = 40, .site = table, .born = 101};
    struct gomalloc_process *process = maker_record(m, GOMALLOC_SECTION_PROCESS, 0);
    process->start_ns = m->header.captured_ns - 600 * UINT64_C(1000000000);
    add_leak(m, 0, 0, n);
    add_leak(m, 24, 0, n);
    add_leak(m, 48, 0, n);
    add_leak(m, PAGE, PAGE, t);
    add_leak(m, PAGE + 48, PAGE, t);
    add_leak(m, 2 * PAGE, 2 * PAGE, (struct gomalloc_leak){.size = 16});
    struct gomalloc_leak_check check = {.flags = GOMALLOC_LEAK_INTERIOR | GOMALLOC_LEAK_MAPPED,
                                        .nstopped = 3,
                                        .nmissing = 2,
                                        .longest_tid = 4711,
                                        .longest_ns = 700000,
                                        .stopping_ns = 200000,
                                        .copying_ns = 400000,
                                        .mark_ns = 900000,
                                        .group_ns = 10000,
                                        .live_objects = 1000 + DEMO_LEAKS,
                                        .reached_objects = 1000,
                                        .direct = DEMO_DIRECT,
                                        .words = 5000,
                                        .unreadable_bytes = 4096,
                                        .dead_stacks = 1,
                                        .unknown_ranges = 1,
                                        .ignored_objects = 2,
                                        .spared_objects = 7,
                                        .held_objects = 6,
                                        .held_bytes = 6 * 24,
                                        .missing_tids = {4712, 4713}};
    maker_add(m, GOMALLOC_SECTION_LEAK_CHECK, &check);
    for (uint32_t kind = 0; kind <= GOMALLOC_ROOT_REGION; kind++) {
        struct gomalloc_root r = {
            .kind = kind, .ranges = kind, .bytes = 4096 * kind, .objects = kind};
        maker_add(m, GOMALLOC_SECTION_ROOT, &r);
    }
    add_held(m, node);
}
