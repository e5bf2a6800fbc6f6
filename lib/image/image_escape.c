/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Sections "escape", "outlived" and "handover": what became of the objects that were judged.
 *
 * A site's figures are read under their lock, all of them at once: so what is told of a site adds
 * up whatever the program does meanwhile.  Sites are counted after this (image_sites.c), so each
 * that is named here has its record.
 */
#include <string.h>

#include "image/image_private.h"
#include "prof/escape.h"

static void add_escape(struct image_writer *w, uint32_t site, const struct escape_summary *s) {
    struct gomalloc_escape *r =
        image_add(w, GOMALLOC_SECTION_ESCAPE, sizeof(struct gomalloc_escape));
    if (r == NULL)
        return;
    *r = (struct gomalloc_escape){
        .site = site,
        .judged = s->judged,
        .freed = s->freed,
        .other_thread = s->verdicts[ESCAPE_OTHER_THREAD],
        .reentered = s->verdicts[ESCAPE_REENTERED],
        .unknown_switched = s->verdicts[ESCAPE_SWITCHED],
        .unknown_stopped = s->verdicts[ESCAPE_STOPPED],
        .unknown_deep = s->verdicts[ESCAPE_DEEP],
        .life_ns_p50 = s->life_ns[0],
        .life_ns_p99 = s->life_ns[1],
        .life_bytes_p50 = s->life_bytes[0],
        .life_bytes_p99 = s->life_bytes[1],
        .chains = s->chains,
        .growths = s->growths,
        .final_size_p50 = s->final_size[0],
        .final_size_p99 = s->final_size[1],
    };
}

static void add_outlived(struct image_writer *w, uint32_t site, uint32_t frames,
                         const struct escape_outlived *o) {
    struct gomalloc_outlived *r =
        image_add(w, GOMALLOC_SECTION_OUTLIVED, sizeof(struct gomalloc_outlived));
    if (r == NULL)
        return;
    r->site = site;
    r->frames = frames;
    r->objects = o->objects;
    r->proved = o->proved;
}

static void gather_site(struct image_writer *w, uint32_t site) {
    struct escape_summary s;
    if (!escape_site_read(&escape.sites, site, &s))
        return;
    if (image_wants(w, GOMALLOC_SECTION_ESCAPE))
        add_escape(w, site, &s);
    if (!image_wants(w, GOMALLOC_SECTION_OUTLIVED))
        return;
    for (uint32_t i = 0; i < s.noutlived; i++)
        add_outlived(w, site, s.outlived[i].frames, &s.outlived[i]);
    if (s.more.objects != 0)
        add_outlived(w, site, GOMALLOC_OUTLIVED_MORE, &s.more);
}

void image_gather_escapes(struct image_writer *w) {
    uint32_t n = atomic_load_explicit(&escape.sites.reach, memory_order_acquire);
    for (uint32_t site = 1; site < n; site++)
        gather_site(w, site);
}

/* handover_at copies entry i, or what was counted of all the rest if it is the one behind the last.
 * False: there is no more. */
static bool handover_at(uint32_t i, struct handover *ret) {
    const struct handover_table *t = &escape.handovers;
    mutex_lock(&escape.lock);
    bool entry = i < t->n, rest = i == t->n && t->rest != 0;
    if (entry)
        *ret = t->all[i];
    else if (rest)
        *ret = (struct handover){.objects = t->rest};
    mutex_unlock(&escape.lock);
    return entry || rest;
}

void image_gather_handovers(struct image_writer *w) {
    struct handover h;
    for (uint32_t i = 0; handover_at(i, &h); i++) {
        struct gomalloc_handover *r =
            image_add(w, GOMALLOC_SECTION_HANDOVER, sizeof(struct gomalloc_handover));
        if (r == NULL)
            return;
        r->site = h.site;
        r->objects = h.objects;
        r->from_tid = h.from_tid;
        r->to_tid = h.to_tid;
        memcpy(r->from_comm, h.from_comm, sizeof r->from_comm);
        memcpy(r->to_comm, h.to_comm, sizeof r->to_comm);
    }
}
