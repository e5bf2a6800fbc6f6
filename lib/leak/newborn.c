/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Large objects in their first moment.
 */
#include "leak/newborn.h"

#include <elf.h>
#include <stdalign.h>

#include "leak/peek.h"
#include "unwind/own.h"

#define FRAMES ((size_t)2048) /* bytes of the library's frames between malloc and the page heap */

/* is_header tells whether a word is the address of a span's header: what stands there must say so.
 */
static bool is_header(uintptr_t v) {
    uint32_t index;
    const struct mspan *s = (const struct mspan *)v;
    return v % alignof(struct mspan) == 0 && v >= PHYS_PAGE_SIZE &&
           peek(&index, v + offsetof(struct mspan, index), sizeof index) == sizeof index &&
           index < atomic_load_explicit(&mheap_.nallspans, memory_order_acquire) &&
           mheap_.allspans[index] == s;
}

static void consider(struct mark *m, uintptr_t v) {
    if (!is_header(v))
        return;
    const struct mspan *s = (const struct mspan *)v;
    if (s->elem_size == 0 &&
        atomic_load_explicit(&s->state, memory_order_relaxed) == GOMALLOC_SPAN_IN_USE)
        mark_keep(m, s->base);
}

static void consider_words(struct mark *m, uintptr_t start, uintptr_t end) {
    uintptr_t words[FRAMES / sizeof(uintptr_t)] = {0};
    start = align_up(start, sizeof *words);
    size_t n = end > start ? end - start : 0;
    n = peek(words, start, n < sizeof words ? n : sizeof words) / sizeof *words;
    for (size_t i = 0; i < n; i++)
        consider(m, words[i]);
}

void newborn_mark(struct mark *m, const struct root_thread *threads, size_t n) {
    struct own_range code = own_segments(PF_X);
    for (size_t i = 0; i < n; i++) {
        const struct root_thread *t = &threads[i];
        if (t->pc < code.start || t->pc >= code.end)
            continue;
        consider_words(m, t->regs_lo, t->regs_hi);
        consider_words(m, t->sp, t->sp + FRAMES);
    }
}
