/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Making heap images with known content, good ones and broken ones, for tests.
 *
 * A maker collects records section by section; maker_finish() lays them out with all checksums
 * right.  Tests that want a broken image change the records before, or the bytes after, and call
 * image_repair() if the damage is to get past the checksums.
 */
#ifndef TESTS_MAKER_H
#define TESTS_MAKER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gomalloc/image.h"

struct maker_section {
    char *bytes;
    size_t size;
    size_t capacity;
    uint32_t record_size; /* written to the directory; records are cut or extended to it */
    bool absent;
};

struct maker {
    struct gomalloc_image header;
    struct maker_section sections[GOMALLOC_NSECTIONS];
};

/* maker_init begins an image without records. */
void maker_init(struct maker *m);
void maker_free(struct maker *m);

/* maker_add appends a record of the section's type and returns its number. */
size_t maker_add(struct maker *m, enum gomalloc_section_id id, const void *record);

/* maker_string appends a string and returns its offset. */
uint32_t maker_string(struct maker *m, const char *text);

/* maker_record returns the nth record of a section, to change it. */
void *maker_record(struct maker *m, enum gomalloc_section_id id, size_t nth);

/* maker_finish returns the image, to be freed. */
unsigned char *maker_finish(const struct maker *m, size_t *ret_size);

/* image_repair makes the checksums of an image right again, as far as its directory makes sense. */
void image_repair(unsigned char *bytes, size_t size);

/*
 * The heap that the tests know: one process with three sites.
 *
 *      main -> build -> make_node     site 1: 24-byte slots, asks for 20
 *      main -> build -> make_table    site 2: 48-byte slots, asks for 40; and a large object
 *      main -> xmalloc                site 3: 48-byte slots, asks for 33
 *
 * and objects that nothing is recorded of.  Addresses of code are DEMO_TEXT + an offset.
 */
struct demo {
    uint32_t pid;
    uint64_t start_ticks;
    uint64_t captured_ns;
    uint64_t rate;
    uint8_t id;          /* first byte of image_id: another image */
    uint64_t text;       /* where the program is mapped */
    uint32_t nodes;      /* live objects of site 1, at most 341 */
    uint32_t tables;     /* of site 2 (beside the large one); tables + buffers <= 170 */
    uint32_t buffers;    /* of site 3 */
    uint32_t unrecorded; /* objects without a site, 16-byte slots, at most 512 */
    uint32_t more_spans; /* further full spans of 1024 8-byte objects of site 1 */
    uint32_t more_sites; /* the objects of more_spans belong to so many further sites in turn */
    bool other_numbers;  /* the sites have other ids, and other places in the trie */
    bool leaks;          /* with a leak check: see demo_make_leak */
    bool why;            /* an answer to WHY: see demo_make_why */
    bool old;            /* by a library that did not tell of caches and what follows them */
};

#define DEMO_NODE_OFFSET   0x1100u /* return address in make_node */
#define DEMO_TABLE_OFFSET  0x1200u /* in make_table */
#define DEMO_BUILD_OFFSET  0x1300u /* in build */
#define DEMO_MAIN_OFFSET   0x1400u /* in main */
#define DEMO_BUFFER_OFFSET 0x1500u /* in xmalloc */
#define DEMO_TEXT          UINT64_C(0x555555554000)
#define DEMO_ARENA         UINT64_C(0xc000000000)
#define DEMO_LARGE_PAGES   5u
#define DEMO_LARGE_BYTES   40000u
#define DEMO_MANUAL_PAGES  4u
#define DEMO_MODULE        "/opt/demo/bin/demo"

/* demo_default is a process of pid 4711 with 100 nodes, 20 tables, 7 buffers, 50 unrecorded. */
extern const struct demo demo_default;

/* demo_make fills a maker that maker_init has prepared. */
void demo_make(struct maker *m, const struct demo *demo);

/* demo_make_heap adds the allocator's structures for pages of which the first `used` are in spans,
 * and all from `grown` on not the heap's: for demo_make. */
void demo_make_heap(struct maker *m, uint64_t used, uint64_t grown);

/* demo_make_escape adds verdicts on two of its sites, and history: for demo_make. */
void demo_make_escape(struct maker *m, const struct demo *demo, uint32_t node, uint32_t table);

/* demo_make_leak adds a leak check, by which six objects of the two spans with sites have leaked:
 * for demo_make.  Addresses are those of the spans' first slots. */
#define DEMO_LEAKS  6u
#define DEMO_DIRECT 3u
void demo_make_leak(struct maker *m, uint32_t node, uint32_t table);

/* demo_make_why makes it the answer to why the object at DEMO_WHY lives: for demo_make, after
 * demo_make_leak. */
#define DEMO_WHY        (DEMO_ARENA + 9 * 24)
#define DEMO_WHY_LENGTH 1000000u
void demo_make_why(struct maker *m, uint32_t node, uint32_t table);

/* demo_image returns the finished image, to be freed. */
unsigned char *demo_image(const struct demo *demo, size_t *ret_size);

/* demo_write writes it to a file; false with errno on failure. */
bool demo_write(const struct demo *demo, const char *path);

#endif
