/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Made heaps, span by span and object by object, for tests of what is found in them.  What maker.h
 * calls the demo is one heap that all tests know; here each test says what it has.
 */
#ifndef TESTS_HEAP_MAKER_H
#define TESTS_HEAP_MAKER_H

#include "image/image.h"
#include "maker.h"

#define HEAP_ARENA UINT64_C(0xc000000000)
#define HEAP_MIB   (UINT64_C(1) << 20)
#define HEAP_PAGE  8192u

/* heap_begin makes an image of a process with sites 1 to nsites, whose stacks are unknown. */
void heap_begin(struct maker *m, uint64_t rate, uint32_t nsites);

/* heap_arena adds an arena; its chunks are added as their pages are told. */
void heap_arena(struct maker *m, uint64_t base);

/* heap_span adds an empty span and returns its number.  size_class 0: one large object, as large as
 * the span; recorded: its slots have records. */
size_t heap_span(struct maker *m, uint64_t base, uint32_t npages, uint32_t size_class,
                 uint32_t elem_size, bool recorded);

/* heap_object makes a slot live; site and slack go unrecorded in a span without records. */
void heap_object(struct maker *m, size_t span, uint32_t slot, uint32_t site, uint32_t slack);

/* heap_pages tells of n pages from an address on, as in the maps of chunks: '#', '.', '_', 'c', 'C'
 * (column.h).  Pages that are not told of are '-'. */
void heap_pages(struct maker *m, uint64_t address, uint64_t n, char what);

/* heap_backing says that n pages of the kernel's, from an address on, are resident, or swapped. */
void heap_backing(struct maker *m, uint64_t address, uint64_t n, bool swapped);

/* heap_open finishes the image and opens it, and frees the maker; a test fails if it is damaged. */
struct image *heap_open(struct maker *m);

#endif
