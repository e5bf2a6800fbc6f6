/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What an address is to the heap.
 */
#include "leak/why_address.h"

#include <elf.h>

#include "heap/mtiny.h"
#include "unwind/own.h"
#include "sys/owned.h"

static bool in_arena(uintptr_t p) {
    for (size_t i = 0; i < mheap_.narenas; i++)
        if (p - mheap_.all_arenas[i]->base < HEAP_ARENA_BYTES)
            return true;
    return false;
}

static bool in_table(const struct owned_range *r, size_t n, uintptr_t p) {
    for (size_t i = 0; i < n; i++)
        if (p >= r[i].start && p < r[i].end)
            return true;
    return false;
}

/* is_own tells whether the address is the library's, outside of the arenas. */
static bool is_own(uintptr_t p) {
    struct own_range data = own_segments(PF_W), code = own_segments(PF_X);
    size_t bytes = align_up(OWNED_MAX * sizeof(struct owned_range), PHYS_PAGE_SIZE);
    if (p - data.start < data.end - data.start || p - code.start < code.end - code.start)
        return true;
    struct owned_range *r = mem_alloc(bytes, MEM_AGENT);
    if (r == NULL)
        return false;
    bool own = in_table(r, owned_list(r, OWNED_MAX), p);
    mem_free(r, bytes, MEM_AGENT, 0, 0);
    return own;
}

static bool is_live(const struct mspan *s, size_t slot) {
    return (mspan_live_word(s, slot / 64) >> slot % 64 & 1) != 0;
}

static struct why_object in_span(const struct mspan *s, uintptr_t p) {
    size_t slot = mspan_object_index(s, p);
    if (slot >= s->nelems)
        return (struct why_object){.state = WHY_NO_SLOT};
    return (struct why_object){.state = is_live(s, slot) ? WHY_REACHABLE : WHY_FREE,
                               .tiny = tiny_span(s),
                               .start = s->base + slot * mspan_elem_bytes(s),
                               .bytes = mspan_elem_bytes(s)};
}

struct why_object why_address(uintptr_t address) {
    if (!in_arena(address))
        return (struct why_object){.state = is_own(address) ? WHY_OWN : WHY_OUTSIDE};
    const struct mspan *s = mheap_span_covering(address);
    unsigned state = s != NULL ? atomic_load_explicit(&s->state, memory_order_relaxed) : 0;
    if (state == GOMALLOC_SPAN_IN_USE)
        return in_span(s, address);
    return (struct why_object){.state = state == GOMALLOC_SPAN_MANUAL ? WHY_STACK : WHY_NO_SPAN};
}
