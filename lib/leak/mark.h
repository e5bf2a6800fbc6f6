/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Which objects can be reached: a conservative mark over the heap at rest.  Go: runtime/mgcmark.go
 * (scanobject, findObject, greyobject), mbitmap.go; the graph is found by the values of words, as
 * Go does it for stacks it knows nothing of.
 *
 * A word that is the address of an object, or lies within one, keeps it.  Objects of noscan spans
 * are kept, not looked into.
 *
 * What costs is the random access, not the work: so all that is asked about an address is packed
 * as tightly as can be, and asked for ahead of time.
 *
 *      pages     2 bytes a page: size class, and the page's place in its span.  Base, size and slot
 *                of an object follow by arithmetic; span headers are not looked at.  256 KiB a GiB
 *      unseen    1 bit for each 8 bytes: an object that begins there is live and not reached yet.
 *                Reaching it clears the bit: one test tells "is it an object, live, and new".  What
 *                is left in the end has leaked.  16 MiB a GiB
 *
 * An address goes through two queues: one while the line of its bit is fetched, another while the
 * object's own first lines are.  Between them objects wait by regions, so that pages are not gone
 * through at random (todo.h).
 *
 * "At rest" means that no thread changes the heap meanwhile: all are stopped, or this is a process
 * of its own that was forked while they were.
 */
#ifndef GM_LEAK_MARK_H
#define GM_LEAK_MARK_H

#include "heap/mheap.h"
#include "leak/todo.h"

#define MARK_GRANULE    8 /* bytes: where an object may begin */
#define MARK_BITS       (HEAP_ARENA_BYTES / MARK_GRANULE)
#define MARK_WORDS      (MARK_BITS / 64)
#define MARK_MAX_ARENAS ((size_t)1 << 22)

struct mark_options {
    bool interior;  /* addresses within an object keep it, not just that of its first byte */
    bool unaligned; /* words may stand at any address, not just at multiples of 8 */
};

#define MARK_LINE 8 /* words of a line of the processor's cache */

/* What is asked about an arena. */
struct mark_arena {
    uint64_t unseen[MARK_WORDS];
    uint16_t pages[PAGES_PER_ARENA]; /* enum mark_page */
    struct todo_region todo[HEAP_ARENA_BYTES / TODO_REGION];
    uint32_t before[MARK_WORDS / MARK_LINE]; /* unseen objects before the line.  See mark_number */
};

/* A page: of nothing, of a large object, or size class | number in its span << MARK_PAGE_SHIFT */
enum mark_page { MARK_PAGE_NONE = 0, MARK_PAGE_SHIFT = 8, MARK_PAGE_LARGE = 0x80 };

#define MARK_NEAR 16 /* addresses whose bits are being fetched */
#define MARK_FAR  8  /* objects whose words are */

struct mark {
    struct mark_options options;
    uintptr_t lo; /* the heap lies in [lo, lo + size), whole arenas */
    uintptr_t size;
    struct mark_arena **arenas; /* by (address - lo) / HEAP_ARENA_BYTES; NULL: none */
    size_t arenas_bytes;
    char *infos; /* the memory of all of them */
    size_t infos_bytes;
    uintptr_t near[MARK_NEAR]; /* a ring, 0 = empty place */
    uintptr_t far[MARK_FAR];   /* the same */
    unsigned near_at, far_at;
    struct todo todo; /* objects reached and not looked into yet */

    uint64_t nlive; /* objects in all */
    uint64_t nreached;
    uint64_t reached_bytes; /* given to these, but for those of mark_take */
    uint64_t nwords;        /* looked at, those of roots included */
};

/* mark_begin sets up a mark of mheap_, which is at rest, with nothing reached.  False: no memory.
 */
bool mark_begin(struct mark *m, const struct mark_options *o);

/* mark_root keeps what the words in n bytes at p lead to at once; they are read, so they must be
 * readable.  Returns how many objects these are that had not been reached. */
uint64_t mark_root(struct mark *m, const void *p, size_t n);

/* mark_keep keeps an object that p points to, whatever else does. */
void mark_keep(struct mark *m, uintptr_t p);

/* mark_take notes an object as reached that will not be followed: by who searches in an order of
 * his own.  p is its first byte, within the heap.  False: it is not live, or was reached before. */
bool mark_take(struct mark *m, uintptr_t p);

/* mark_all follows everything that has been kept, to the end.  False: memory was short. */
bool mark_all(struct mark *m);

/* mark_find returns the first byte of the object, live or not, that p points to, 0: none; and the
 * bytes that were given to it, and whether they may be looked into. */
uintptr_t mark_find(const struct mark *m, uintptr_t p, size_t *ret_bytes, bool *ret_scan);

/* mark_is_unseen tells whether a live object that has not been reached begins at p. */
bool mark_is_unseen(const struct mark *m, uintptr_t p);

/* mark_next_unseen returns the first unseen object that begins at p or behind, 0: none. */
uintptr_t mark_next_unseen(const struct mark *m, uintptr_t p);

/* mark_number numbers what is unseen in the order of addresses, from 0.  From then on nothing is to
 * be marked. */
void mark_number(struct mark *m);

/* mark_leads_to_unseen tells whether a word, an address within [lo, lo + size), leads to an unseen
 * object, and the number of that. */
bool mark_leads_to_unseen(const struct mark *m, uintptr_t v, uint32_t *ret_number);

/* mark_leads is the same for any word: most lead nowhere. */
static inline bool mark_leads(const struct mark *m, uintptr_t v, uint32_t *ret_number) {
    return gm_unlikely(v - m->lo < m->size) && mark_leads_to_unseen(m, v, ret_number);
}

void mark_end(struct mark *m);

#endif
