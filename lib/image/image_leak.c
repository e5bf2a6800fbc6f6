/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Sections "leak", "leak_check", "root" and "held": what a leak check has found.  Written where the
 * check was made, in a copy of the process or with its threads stopped: nothing moves.
 */
#include <string.h>

#include "image/image_private.h"
#include "heap/mslots.h"
#include "leak/leak.h"
#include "prof/prof.h"

static_assert((int)GOMALLOC_ROOT_REGION == (int)ROOT_REGION, "kinds of roots are numbered alike");

static void gather_check(struct image_writer *w, const struct leak_findings *f) {
    struct gomalloc_leak_check *r =
        image_add(w, GOMALLOC_SECTION_LEAK_CHECK, sizeof(struct gomalloc_leak_check));
    if (r == NULL)
        return;
    *r = (struct gomalloc_leak_check){
        .flags = (f->mark.options.interior ? GOMALLOC_LEAK_INTERIOR : 0) |
                 (f->mark.options.unaligned ? GOMALLOC_LEAK_UNALIGNED : 0) |
                 (f->mapped ? GOMALLOC_LEAK_MAPPED : 0) |
                 (f->in_place ? GOMALLOC_LEAK_IN_PLACE : 0),
        .nstopped = f->pause.nstopped,
        .nmissing = f->pause.nmissing,
        .longest_tid = f->pause.longest_tid,
        .longest_ns = f->pause.longest_ns,
        .stopping_ns = f->pause.stopping_ns,
        .copying_ns = f->pause.copying_ns,
        .mark_ns = f->mark_ns,
        .group_ns = f->group_ns,
        .live_objects = f->mark.nlive,
        .reached_objects = f->mark.nreached,
        .direct = f->leaks.ndirect,
        .words = f->mark.nwords,
        .unreadable_bytes = f->roots.unreadable_bytes + f->pause.lacking_bytes,
        .dead_stacks = f->roots.dead_stacks,
        .unknown_ranges = f->roots.unknown,
        .ignored_objects = f->ignored.objects,
        .spared_objects = f->ignored.spared,
        .held_objects = f->held.objects,
        .held_bytes = f->held.bytes,
    };
    static_assert(sizeof r->missing_tids == sizeof f->pause.missing, "as many are named");
    memcpy(r->missing_tids, f->pause.missing, sizeof r->missing_tids);
}

static void gather_roots(struct image_writer *w, const struct roots_report *report) {
    for (unsigned kind = 0; kind <= ROOT_REGION; kind++) {
        struct gomalloc_root *r = image_add(w, GOMALLOC_SECTION_ROOT, sizeof(struct gomalloc_root));
        if (r == NULL)
            return;
        r->kind = kind;
        r->ranges = report->kind[kind].ranges;
        r->bytes = report->kind[kind].bytes;
        r->objects = report->kind[kind].objects;
    }
}

struct image_recorded image_recorded_at(uintptr_t p) {
    const struct mspan *s = mheap_span_covering(p);
    if (s == NULL) /* freed by a thread that did not stop, in place */
        return (struct image_recorded){.site = 0};
    size_t slot = mspan_object_index(s, p);
    uint32_t site = prof_tag_site(mslots_tag(s, slot));
    if (site == 0 || site > prof_nsites())
        return (struct image_recorded){.site = 0};
    return (struct image_recorded){.site = site,
                                   .born = mepoch_seconds(mslots_epoch(s, slot)) + 1,
                                   .requested = mspan_elem_bytes(s) - mslots_slack(s, slot)};
}

static void fill_leak(struct gomalloc_leak *r, const struct leaks *l, size_t i) {
    uintptr_t p = l->all[i].address;
    const struct mspan *s = mheap_span_covering(p);
    const struct image_recorded recorded = image_recorded_at(p);
    *r = (struct gomalloc_leak){.address = p,
                                .head = l->all[l->all[i].head].address,
                                .size = s != NULL ? mspan_elem_bytes(s) : 1, /* 0 is damage */
                                .requested = recorded.requested,
                                .site = recorded.site,
                                .born = recorded.born};
}

static void fill_held(struct gomalloc_held *r, const struct held_word *h) {
    const struct mspan *s = mheap_span_covering(h->object);
    const struct image_recorded recorded = image_recorded_at(h->object);
    const uint64_t pc = h->place.pc + 1; /* as if it were a return address */
    *r = (struct gomalloc_held){.address = h->object,
                                .size = s != NULL ? mspan_elem_bytes(s) : 1,
                                .requested = recorded.requested,
                                .objects = h->objects,
                                .bytes = h->bytes,
                                .word = h->place.word,
                                .site = recorded.site,
                                .born = recorded.born,
                                .frame = h->place.pc != 0 ? prof_intern_stack(&pc, 1) : 0,
                                .tid = h->place.tid,
                                .kind = h->place.kind};
    static_assert(sizeof r->reg == sizeof h->place.reg, "a name fits");
    memcpy(r->reg, h->place.reg, sizeof r->reg);
}

static void gather_held(struct image_writer *w, const struct held *h) {
    for (size_t i = 0; i < h->n && image_wants(w, GOMALLOC_SECTION_HELD); i++) {
        struct gomalloc_held *r = image_add(w, GOMALLOC_SECTION_HELD, sizeof(struct gomalloc_held));
        if (r == NULL)
            return;
        fill_held(r, &h->all[i]);
    }
}

void image_gather_leaks(struct image_writer *w) {
    const struct leak_findings *f = w->leaks;
    gather_check(w, f);
    gather_roots(w, &f->roots);
    gather_held(w, &f->held);
    for (size_t i = 0; i < f->leaks.n && image_wants(w, GOMALLOC_SECTION_LEAK); i++) {
        struct gomalloc_leak *r = image_add(w, GOMALLOC_SECTION_LEAK, sizeof(struct gomalloc_leak));
        if (r == NULL)
            return;
        fill_leak(r, &f->leaks, i);
    }
}
