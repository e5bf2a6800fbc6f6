/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The heap's sizes, and the equations between them.  Go: runtime/malloc.go, mpagealloc.go,
 * mpagealloc_64bit.go, with the values of linux/amd64.
 *
 *   object  <  span  <  arena       what mheap thinks in
 *   page    <  chunk <  summary     what the page allocator thinks in
 *
 * A page is 8 KiB (not the kernel's 4 KiB), a chunk 512 pages = 4 MiB, an arena 16 chunks = 64 MiB.
 *
 * Addresses.  x86-64 has 48 significant address bits, sign-extended: the usable addresses are two
 * pieces with a gap between them.  Taking ARENA_BASE_OFFSET away from an address (modulo 2^64)
 * makes one piece of 0 .. 2^48-1 out of them.  Linux gives a program only the upper half of it, so
 * that we could do without; but chunk and summary indexes are shown to people, and so they are
 * Go's numbers.
 */
#ifndef GM_HEAP_MCONST_H
#define GM_HEAP_MCONST_H

#include <assert.h>

#include "sys/compiler.h"

/* Not PAGE_SIZE: <sys/user.h> has the kernel's under that name. */
#define GM_PAGE_SHIFT 13
#define GM_PAGE_SIZE  ((uintptr_t)1 << GM_PAGE_SHIFT)

#define PHYS_PAGE_SIZE ((uintptr_t)4096) /* the kernel's */

#define HEAP_ADDR_BITS    48
#define ARENA_BASE_OFFSET ((uintptr_t)0xffff800000000000)

#define HEAP_ARENA_BYTES ((uintptr_t)64 << 20)
#define PAGES_PER_ARENA  (HEAP_ARENA_BYTES / GM_PAGE_SIZE)

/* Chunks: what one leaf summary of the radix tree covers. */
#define LOG_PALLOC_CHUNK_PAGES 9
#define LOG_PALLOC_CHUNK_BYTES (LOG_PALLOC_CHUNK_PAGES + GM_PAGE_SHIFT)
#define PALLOC_CHUNK_PAGES     512u
#define PALLOC_CHUNK_BYTES     ((uintptr_t)1 << LOG_PALLOC_CHUNK_BYTES)

/* The chunks' bitmaps are found through a table of two levels of 13 bits: the first is part of
 * struct page_alloc, an entry of the second covers 32 GiB. */
#define PALLOC_CHUNKS_L1_BITS 13
#define PALLOC_CHUNKS_L2_BITS (HEAP_ADDR_BITS - LOG_PALLOC_CHUNK_BYTES - PALLOC_CHUNKS_L1_BITS)

/* The radix tree: 14 bits at the root, then 3 at each level, because 2^3 summaries of 8 bytes are a
 * cache line. */
#define SUMMARY_LEVELS     5
#define SUMMARY_LEVEL_BITS 3
#define SUMMARY_L0_BITS    14
#define SUMMARY_LEAF       (SUMMARY_LEVELS - 1)

/* The pages of one thread's page cache: the bits of a word. */
#define PAGE_CACHE_PAGES 64u

static_assert(SUMMARY_L0_BITS + (SUMMARY_LEVELS - 1) * SUMMARY_LEVEL_BITS +
                      LOG_PALLOC_CHUNK_BYTES ==
                  HEAP_ADDR_BITS,
              "the tree covers the address space");
static_assert(PALLOC_CHUNK_PAGES == 1u << LOG_PALLOC_CHUNK_PAGES, "chunk size");
static_assert(HEAP_ARENA_BYTES % PALLOC_CHUNK_BYTES == 0, "an arena is whole chunks");

gm_inline uintptr_t align_up(uintptr_t n, uintptr_t a) {
    return (n + a - 1) & ~(a - 1);
}

gm_inline uintptr_t align_down(uintptr_t n, uintptr_t a) {
    return n & ~(a - 1);
}

#endif
