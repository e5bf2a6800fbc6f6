/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Why an object of the heap that the tests know lives: four bytes into a node are asked about, to
 * which a word in data of the program, a table and a list of a million nodes lead.
 */
#include "maker.h"

#define PAGE UINT64_C(8192)

/* A word in a slot of the first span, of nodes, or the second one, of tables. */
static struct gomalloc_holder slot_word(uint64_t slot, bool table, uint32_t site, uint64_t at) {
    uint64_t start = DEMO_ARENA + (table ? PAGE + slot * 48 : slot * 24);
    return (struct gomalloc_holder){.word = start + at,
                                    .value = DEMO_ARENA,
                                    .start = start,
                                    .end = start + (table ? 48 : 24),
                                    .requested = table ? 40 : 20,
                                    .kind = GOMALLOC_HOLDER_OBJECT,
                                    .site = site,
                                    .born = table ? 101 : 11};
}

static void add(struct maker *m, enum gomalloc_section_id id, uint64_t number,
                struct gomalloc_holder h) {
    h.number = number;
    maker_add(m, id, &h);
}

static void add_chain(struct maker *m, uint32_t node, uint32_t table) {
    const enum gomalloc_section_id id = GOMALLOC_SECTION_WHY_STEP;
    struct gomalloc_holder last = slot_word(9, false, node, 0);
    last.word = last.value = 0;
    add(m, id, 0,
        (struct gomalloc_holder){.word = DEMO_TEXT + 0x2010,
                                 .value = DEMO_ARENA + PAGE,
                                 .start = DEMO_TEXT + 0x2000,
                                 .end = DEMO_TEXT + 0x3000,
                                 .kind = GOMALLOC_ROOT_DATA});
    add(m, id, 1, slot_word(1, true, table, 8));
    add(m, id, 2, slot_word(1, false, node, 0));
    add(m, id, 3, slot_word(2, false, node, 0));
    add(m, id, DEMO_WHY_LENGTH - 2, slot_word(3, false, node, 0));
    add(m, id, DEMO_WHY_LENGTH - 1, last);
}

static void add_referrers(struct maker *m, uint32_t node, uint32_t table) {
    const enum gomalloc_section_id id = GOMALLOC_SECTION_REFERRER;
    struct gomalloc_holder lost = slot_word(5, false, node, 8);
    lost.flags = GOMALLOC_HOLDER_LEAKED;
    add(m, id, 1,
        (struct gomalloc_holder){.word = 0x7ffc00001000,
                                 .start = 0x7ffc00000000,
                                 .end = 0x7ffc00010000,
                                 .kind = GOMALLOC_ROOT_REGISTER,
                                 .tid = 4711,
                                 .reg = "rbx",
                                 .comm = "demo"});
    add(m, id, 2,
        (struct gomalloc_holder){.word = 0x7ffc00002000,
                                 .start = 0x7ffc00000000,
                                 .end = 0x7ffc00010000,
                                 .kind = GOMALLOC_ROOT_STACK,
                                 .tid = 4712,
                                 .comm = "work\033[31mer"});
    add(m, id, 3000, slot_word(2, true, table, 16));
    add(m, id, 1, slot_word(3, false, node, 0));
    add(m, id, 2, lost);
}

/* The beginning of the program's file: places in its data are told by their distance from there. */
static void add_mapping(struct maker *m) {
    struct gomalloc_mapping first = {
        .start = DEMO_TEXT, .end = DEMO_TEXT + 0x1000, .inode = 77, .prot = 1};
    first.path_str = maker_string(m, DEMO_MODULE);
    maker_add(m, GOMALLOC_SECTION_MAPPING, &first);
}

void demo_make_why(struct maker *m, uint32_t node, uint32_t table) {
    struct gomalloc_why y = {.asked = DEMO_ARENA + 9 * 24 + 4,
                             .address = DEMO_ARENA + 9 * 24,
                             .size = 24,
                             .requested = 20,
                             .site = node,
                             .born = 11,
                             .length = DEMO_WHY_LENGTH,
                             .words = 3010,
                             .leaked_words = 2};
    maker_add(m, GOMALLOC_SECTION_WHY, &y);
    add_mapping(m);
    add_chain(m, node, table);
    add_referrers(m, node, table);
    m->sections[GOMALLOC_SECTION_LEAK].absent = true;
    m->header.flags |= GOMALLOC_IMAGE_PARTIAL;
}
