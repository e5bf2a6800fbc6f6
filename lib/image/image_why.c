/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Sections "why", "why_step" and "referrer": who points to an object, and who to that.  Written
 * where the search was made, in a copy of the process or with its threads stopped: nothing moves.
 */
#include <string.h>

#include "image/image_private.h"
#include "leak/leak.h"

static_assert((int)GOMALLOC_WHY_FREE == (int)WHY_FREE, "states are numbered alike");

static void gather_verdict(struct image_writer *w, const struct why *y) {
    const struct why_object *o = &y->object;
    struct gomalloc_why *r = image_add(w, GOMALLOC_SECTION_WHY, sizeof(struct gomalloc_why));
    struct image_recorded recorded = {.site = 0};
    if (r == NULL)
        return;
    if (o->state == WHY_REACHABLE || o->state == WHY_LEAKED)
        recorded = image_recorded_at(o->start);
    *r = (struct gomalloc_why){.asked = y->asked,
                               .address = o->start,
                               .size = o->bytes,
                               .requested = recorded.requested,
                               .site = recorded.site,
                               .born = recorded.born,
                               .state = o->state,
                               .flags = o->tiny ? GOMALLOC_WHY_TINY : 0,
                               .head = y->head,
                               .length = y->length,
                               .words = y->referrers.nwords,
                               .leaked_words = y->referrers.nleaked};
}

static void add_holder(struct image_writer *w, enum gomalloc_section_id id,
                       const struct why_place *p, uintptr_t value, uint64_t number,
                       uint32_t flags) {
    struct gomalloc_holder *r = image_add(w, id, sizeof(struct gomalloc_holder));
    struct image_recorded recorded = {.site = 0};
    if (r == NULL)
        return;
    if (p->is_object)
        recorded = image_recorded_at(p->start);
    *r = (struct gomalloc_holder){.number = number,
                                  .word = p->word,
                                  .value = value,
                                  .start = p->start,
                                  .end = p->end,
                                  .requested = recorded.requested,
                                  .tp = p->tp,
                                  .pc = p->pc,
                                  .kind = p->is_object ? GOMALLOC_HOLDER_OBJECT : p->kind,
                                  .site = recorded.site,
                                  .born = recorded.born,
                                  .tid = p->tid,
                                  .flags = flags | (p->variable ? GOMALLOC_HOLDER_VARIABLE : 0)};
    static_assert(sizeof r->reg == sizeof p->reg, "a name fits");
    memcpy(r->reg, p->reg, sizeof r->reg);
    if (p->tid != 0)
        image_read_comm(w->pid, p->tid, r->comm);
}

void image_gather_why(struct image_writer *w) {
    const struct why *y = w->leaks->why;
    gather_verdict(w, y);
    for (uint32_t i = 0; i < y->nsteps; i++)
        add_holder(w, GOMALLOC_SECTION_WHY_STEP, &y->steps[i].place, y->steps[i].value,
                   y->steps[i].number, 0);
    for (uint32_t i = 0; i < y->referrers.n; i++) {
        const struct why_referrer *f = &y->referrers.all[i];
        add_holder(w, GOMALLOC_SECTION_REFERRER, &f->place, f->value, f->words,
                   f->leaked ? GOMALLOC_HOLDER_LEAKED : 0);
    }
}
