/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The program's crimes, reported.
 */
#include "api/crime.h"

#include <signal.h>

#include "agent/fatal.h"
#include "api/options.h"
#include "heap/malloc.h"
#include "sys/throw.h"

static const char *const texts[NUM_CRIMES] = {
#define CRIME(id, text) [CRIME_##id] = text,
#include "api/crimes.def"
#undef CRIME
};

/* What the heap knows of the address: a live, freed or large object, and where it begins. */
static void describe(struct fmt *f, uintptr_t p) {
    const struct mspan *s = mheap_span_covering(p);
    if (s == NULL || atomic_load_explicit(&s->state, memory_order_acquire) == GOMALLOC_SPAN_DEAD) {
        fmt_str(f, s == NULL ? " (not in the heap)" : " (in free pages)");
        return;
    }
    size_t i = mspan_object_index(s, p);
    if (i >= s->nelems) {
        fmt_str(f, " (behind the last object of a span)");
        return;
    }
    bool stack = atomic_load_explicit(&s->state, memory_order_relaxed) == GOMALLOC_SPAN_MANUAL;
    size_t guard = stack ? s->guard : 0;
    uintptr_t start = s->base + guard + i * mspan_elem_bytes(s);
    bool live = mspan_live_word(s, i / 64) >> (i % 64) & 1;
    fmt_str(f, " (");
    if (p != start) {
        fmt_uint(f, p > start ? p - start : start - p);
        fmt_str(f, p > start ? " bytes into " : " bytes below ");
    }
    fmt_str(f, live ? "a live " : "a freed ");
    fmt_str(f, stack ? "stack" : "object");
    fmt_str(f, " of ");
    fmt_uint(f, mspan_elem_bytes(s) - guard);
    fmt_str(f, " bytes)");
}

void crime_committed(enum crime what, const void *p, const char *function) {
    char buf[512];
    struct fmt f = fmt_on(buf, sizeof buf);
    report_begin(&f);
    fmt_str(&f, texts[what]);
    fmt_str(&f, ": ");
    fmt_hex(&f, (uintptr_t)p);
    fmt_str(&f, " in ");
    fmt_str(&f, function);
    describe(&f, (uintptr_t)p);
    fmt_char(&f, '\n');
    report_end(&f);
    if (options.on_error == ON_ERROR_REPORT)
        return;
    fatal_report(SIGABRT);
    die();
}
