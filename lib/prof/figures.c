/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Reading the recorder: frames, sites and counters, summed over all threads.  No locks are taken;
 * figures that are being written meanwhile are some samples old.
 */
#include "gomalloc/image.h"
#include "prof/capture.h"
#include "prof/prof.h"
#include "prof/state.h"
#include "prof/thread.h"

uint32_t prof_nframes(void) {
    return atomic_load_explicit(&prof.stacks.nnodes, memory_order_acquire);
}

/* The site of no stack exists before the table does. */
uint32_t prof_nsites(void) {
    uint32_t n = atomic_load_explicit(&prof.stacks.nsites, memory_order_acquire);
    return n != 0 ? n : PROF_SITE_NONE;
}

uint32_t prof_intern_stack(const uint64_t *pcs, unsigned n) {
    uint32_t nodes[PROF_MAX_DEPTH];
    uint64_t hashes[PROF_MAX_DEPTH];
    if (n == 0 || n > PROF_MAX_DEPTH || prof.stacks.nodes == NULL)
        return 0;
    stack_path_hashes(0, pcs, n, hashes);
    return stack_table_intern(&prof.stacks, 0, pcs, hashes, n, nodes);
}

void prof_frame(uint32_t node, uint64_t *ret_pc, uint32_t *ret_parent, uint32_t *ret_depth) {
    const struct stack_node *n = &prof.stacks.nodes[node];
    *ret_pc = stack_node_pc(n);
    *ret_parent = n->parent;
    *ret_depth = stack_node_depth(n);
}

static struct prof_thread *thread_at(uint32_t i) {
    struct mcache *c = __atomic_load_n(&mcaches.all[i], __ATOMIC_ACQUIRE);
    return c != NULL ? prof_thread_peek(c) : NULL;
}

void prof_site(uint32_t site, struct prof_site_figures *ret) {
    *ret = (struct prof_site_figures){.flags = GOMALLOC_SITE_STOPPED};
    if (atomic_load_explicit(&prof.stacks.nsites, memory_order_acquire) != 0) {
        struct stack_site *s = &prof.stacks.sites[site];
        ret->node = s->node;
        ret->flags = atomic_load_explicit(&s->flags, memory_order_relaxed);
    }
    struct site_figures sum = {0};
    uint32_t n = atomic_load_explicit(&mcaches.n, memory_order_acquire);
    for (uint32_t i = 0; i < n; i++) {
        const struct prof_thread *t = thread_at(i);
        if (t != NULL)
            prof_thread_read(t, site, &sum);
    }
    ret->samples = sum.samples;
    ret->sample_bytes = sum.sample_bytes;
    ret->alloc_objects = sum.objects;
    ret->alloc_bytes = sum.bytes;
}

/* Counters that belong to no thread. */
enum {
    COUNTER_RATE,
    COUNTER_STATE,
    COUNTER_FULL,
    COUNTER_NOMEMORY,
    COUNTER_UNRECORDED,
    COUNTER_VERIFIED,                      /* and three more: struct capture_verified */
    COUNTER_ESCAPE = COUNTER_VERIFIED + 4, /* and three more: struct escape */
    NCOUNTERS = COUNTER_ESCAPE + 4
};

static void verify_counter(unsigned i, struct prof_counter *ret) {
    const struct capture_verified v = capture_verified();
    const struct prof_counter counters[] = {
        {"recorder.verify.captures", "stacks", v.captures},
        {"recorder.verify.differences", "stacks", v.differences},
        {"recorder.verify.libunwind.captures", "stacks", v.libunwind_captures},
        {"recorder.verify.libunwind.differences", "stacks", v.libunwind_differences},
    };
    *ret = counters[i];
}

static void escape_counter(unsigned i, struct prof_counter *ret) {
    static const struct {
        const char *name;
        const _Atomic uint64_t *value;
    } counters[] = {
        {"recorder.escape.judged", &escape.njudged},
        {"recorder.escape.passed_over", &escape.nbound},
        {"recorder.escape.full", &escape.nfull},
        {"recorder.escape.lost", &escape.nlost},
    };
    *ret = (struct prof_counter){counters[i].name, "objects",
                                 atomic_load_explicit(counters[i].value, memory_order_relaxed)};
}

static void global_counter(unsigned i, struct prof_counter *ret) {
    switch (i) {
    case COUNTER_RATE:
        *ret = (struct prof_counter){"recorder.rate", "bytes", prof_rate()};
        break;
    case COUNTER_STATE: /* 1 if the unwinder is missing though wanted: enum capture_state */
        *ret = (struct prof_counter){"recorder.unwinder_failed", "flag",
                                     capture_state() == CAPTURE_FAILED ||
                                         capture_state() == CAPTURE_STOPPED};
        break;
    case COUNTER_FULL:
        *ret =
            (struct prof_counter){"recorder.stack_table_full", "stacks",
                                  atomic_load_explicit(&prof.stacks.nfull, memory_order_relaxed)};
        break;
    case COUNTER_NOMEMORY:
        *ret = (struct prof_counter){"recorder.no_memory", "samples",
                                     atomic_load_explicit(&prof.nomemory, memory_order_relaxed)};
        break;
    case COUNTER_UNRECORDED:
        *ret = (struct prof_counter){"recorder.dropped", "samples",
                                     atomic_load_explicit(&prof.dropped, memory_order_relaxed)};
        break;
    default:
        if (i < COUNTER_ESCAPE)
            verify_counter(i - COUNTER_VERIFIED, ret);
        else
            escape_counter(i - COUNTER_ESCAPE, ret);
        break;
    }
}

bool prof_counter(unsigned i, struct prof_counter *ret) {
    static const struct prof_counter names[] = {
#define THREAD_COUNTER_NAME(id, name, unit) {"recorder." name, unit, 0},
        THREAD_COUNTERS(THREAD_COUNTER_NAME)
#undef THREAD_COUNTER_NAME
    };
    if (i < NCOUNTERS) {
        global_counter(i, ret);
        return true;
    }
    i -= NCOUNTERS;
    if (i >= THREAD_NCOUNTERS)
        return false;
    *ret = names[i];
    uint32_t n = atomic_load_explicit(&mcaches.n, memory_order_acquire);
    for (uint32_t k = 0; k < n; k++) {
        const struct prof_thread *t = thread_at(k);
        if (t != NULL)
            ret->value += atomic_load_explicit(&t->counters[i], memory_order_relaxed);
    }
    return true;
}

const char *prof_unwinder(void) {
    return capture_name();
}

uint64_t prof_exact_since_ns(void) {
    return atomic_load_explicit(&prof.exact_since_ns, memory_order_relaxed);
}
