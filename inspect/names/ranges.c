/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Sorted ranges of code: of units, of the functions in a unit, of the blocks in a function.  Those
 * of one level do not overlap, so the nearest below an address is the only candidate.
 */
#include <stdlib.h>

#include "names/ranges.h"
#include "base/say.h"

#define MOST_RANGES 1000000 /* of one entry */

static void add(struct ranges *r, const struct range *range) {
    /* what the linker has left out begins at 0, or ends before it begins */
    if (range->low == 0 || range->low >= range->high)
        return;
    if (r->n == r->room) {
        r->room = r->room ? r->room * 2 : 8;
        r->items = must_realloc(r->items, r->room, sizeof(*r->items));
    }
    r->items[r->n++] = *range;
}

void ranges_add(struct ranges *r, Dwarf_Die *die, uint32_t number) {
    struct range range = {.die = *die, .number = number};
    Dwarf_Addr base;
    ptrdiff_t at = 0;
    for (int i = 0; i < MOST_RANGES; i++) {
        at = dwarf_ranges(die, at, &base, &range.low, &range.high);
        if (at <= 0)
            break;
        add(r, &range);
    }
}

static int compare(const void *x, const void *y) {
    const struct range *a = x, *b = y;
    return a->low < b->low ? -1 : a->low > b->low;
}

void ranges_sort(struct ranges *r) {
    if (r->n)
        qsort(r->items, r->n, sizeof(*r->items), compare);
}

struct range *ranges_find(const struct ranges *r, Dwarf_Addr address) {
    size_t low = 0, high = r->n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (r->items[middle].low <= address)
            low = middle + 1;
        else
            high = middle;
    }
    return low && address < r->items[low - 1].high ? &r->items[low - 1] : NULL;
}

void ranges_free(struct ranges *r) {
    free(r->items);
    *r = (struct ranges){.items = NULL};
}
