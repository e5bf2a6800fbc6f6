/* SPDX-License-Identifier: BSD-3-Clause
 *
 * glibc's functions that ask the heap about itself or give memory back.
 */
#include <malloc.h>
#include <string.h>

#include "heap/mheap.h"
#include "sys/fmt.h"

/* Sums over all spans, bytes. */
struct totals {
    uint64_t live;  /* in objects */
    uint64_t free;  /* in free slots */
    uint64_t large; /* of live: objects of their own span */
    uint64_t nlarge;
    uint64_t nspans;
};

static void count_spans(struct totals *t) {
    uint32_t n = atomic_load_explicit(&mheap_.nallspans, memory_order_acquire);
    for (uint32_t i = 0; i < n; i++) {
        struct mspan s;
        if (!mheap_read_span(mheap_.allspans[i], &s))
            continue;
        size_t live = mspan_count_live(&s);
        size_t elem = mspan_elem_bytes(&s);
        t->nspans++;
        t->live += live * elem;
        t->free += ((uint64_t)s.npages << GM_PAGE_SHIFT) - live * elem;
        if (s.elem_size == 0) {
            t->nlarge += live;
            t->large += live * elem;
        }
    }
}

static uint64_t free_page_bytes(void) {
    mutex_lock(&mheap_.lock);
    uint64_t grown = mheap_.pages.npages_grown;
    mutex_unlock(&mheap_.lock);
    return (grown - atomic_load_explicit(&mheap_.pages_in_use, memory_order_relaxed))
           << GM_PAGE_SHIFT;
}

/* The fields' meanings, as near to glibc's as another allocator's can be: gomalloc(3).  As there,
 * large objects (hblkhd) are not part of arena and uordblks. */
gm_export struct mallinfo2 mallinfo2(void) {
    struct mallinfo2 m;
    memset(&m, 0, sizeof m);
    if (!mheap_is_ready(&mheap_))
        return m;
    struct totals t = {0};
    count_spans(&t);
    uint64_t free_pages = free_page_bytes();
    m.arena = t.live - t.large + t.free + free_pages;
    m.ordblks = t.nspans;
    m.hblks = t.nlarge;
    m.hblkhd = t.large;
    m.uordblks = t.live - t.large;
    m.fordblks = t.free + free_pages;
    return m;
}

static int clamp(size_t n) {
    return n > INT32_MAX ? INT32_MAX : (int)n;
}

gm_export struct mallinfo mallinfo(void) {
    struct mallinfo2 m = mallinfo2();
    return (struct mallinfo){.arena = clamp(m.arena),
                             .ordblks = clamp(m.ordblks),
                             .hblks = clamp(m.hblks),
                             .hblkhd = clamp(m.hblkhd),
                             .uordblks = clamp(m.uordblks),
                             .fordblks = clamp(m.fordblks)};
}

/* Figures are right-aligned in ten columns, as by %10u. */
static void line(struct fmt *f, const char *name, uint64_t v) {
    fmt_str(f, name);
    for (uint64_t bound = UINT64_C(1000000000); bound > 1 && v < bound; bound /= 10)
        fmt_char(f, ' ');
    fmt_uint(f, v);
    fmt_char(f, '\n');
}

/* In glibc's form, which programs parse.  Of "max mmap" there is none: no object is mapped for
 * itself. */
gm_export void malloc_stats(void) {
    struct mallinfo2 m = mallinfo2();
    char buf[512];
    struct fmt f = fmt_on(buf, sizeof buf);
    fmt_str(&f, "Arena 0:\n");
    line(&f, "system bytes     = ", m.arena);
    line(&f, "in use bytes     = ", m.uordblks);
    fmt_str(&f, "Total (incl. mmap):\n");
    line(&f, "system bytes     = ", m.arena + m.hblkhd);
    line(&f, "in use bytes     = ", m.uordblks + m.hblkhd);
    line(&f, "max mmap regions = ", 0);
    line(&f, "max mmap bytes   = ", 0);
    fmt_write(&f, 2);
}

/* glibc's 1: memory was given back; 0: there was none to give. */
gm_export int malloc_trim(size_t pad) {
    (void)pad;
    if (!mheap_is_ready(&mheap_))
        return 0;
    if (mcache_self != &mcache0)
        mcache_flush(mcache_self);
    mheap_reclaim(&mheap_);
    return mheap_scavenge(&mheap_) != 0;
}

/* None of glibc's parameters means anything here; 1: accepted, as glibc says of the ones that it
 * knows. */
gm_export int mallopt(int param, int value) {
    (void)param;
    (void)value;
    return 1;
}
