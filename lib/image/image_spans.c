/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Sections "span", "bitmap", "slot", "size_class" and "thread": the heap as its spans tell it.
 *
 * No lock is taken and no thread is stopped.  A span's header has a generation, which changes when
 * the span is freed or used anew; a record is made between two readings of it that are equal.  When
 * all records are made, those whose generation has moved on since are taken out again: each of the
 * rest existed from before this last pass began, so they existed together.
 *
 * `live` is counted in the very words that are written.  In a process at rest every figure is
 * exact; in a running one a span's bits are those of some moment of the capture.
 */
#include <string.h>

#include "image/image_private.h"
#include "heap/mheap.h"
#include "heap/mslots.h"
#include "heap/msize.h"
#include "prof/prof.h"

#define SPAN_TRIES 8

void image_gather_size_classes(struct image_writer *w) {
    for (unsigned i = 0; i < NUM_SIZE_CLASSES; i++) {
        struct gomalloc_size_class *r =
            image_add(w, GOMALLOC_SECTION_SIZE_CLASS, sizeof(struct gomalloc_size_class));
        if (r == NULL)
            return;
        r->size_class = i;
        r->bytes = class_to_size[i];
        r->npages = class_to_allocnpages[i];
        r->nelems = i == 0 ? 1 : r->npages * (uint32_t)GM_PAGE_SIZE / r->bytes;
    }
}

static uint32_t gen_of(const struct mspan *s) {
    /* What was read before must not be read after: the fence keeps it here. */
    atomic_thread_fence(memory_order_acquire);
    return atomic_load_explicit(&s->gen, memory_order_acquire);
}

static void fill_span(struct gomalloc_span *r, const struct mspan *copy) {
    const struct span_owner *owner = mspan_owner(copy);
    memset(r, 0, sizeof *r); /* a try before may have seen another kind of span */
    r->base = copy->base;
    r->npages = copy->npages;
    r->elem_size = mspan_elem_bytes(copy);
    r->nelems = copy->nelems;
    r->owner = owner != NULL ? owner->id : GOMALLOC_OWNER_HEAP;
    r->span_class = copy->spc.v;
    r->state = atomic_load_explicit(&copy->state, memory_order_relaxed);
    /* One that its thread keeps says nothing: it has been freed by the fast path. */
    bool kept =
        copy->elem_size == 0 && r->state == GOMALLOC_SPAN_IN_USE && mspan_count_live(copy) == 0;
    r->place = kept ? GOMALLOC_PLACE_CACHED_LARGE : copy->place;
    r->needzero = copy->needzero;
    if (copy->spc.v >= 2) /* the others are not swept */
        r->sweepgen = copy->sweepgen;
    r->freeindex = copy->freeindex * 64 < copy->nelems ? copy->freeindex * 64u : copy->nelems;
    r->slot_index = GOMALLOC_NO_SLOTS;
    /* Its thread writes it without a lock, and may be making the object larger just now. */
    if (r->state == GOMALLOC_SPAN_IN_USE && copy->elem_size == 0)
        r->large_requested = copy->large_requested <= r->elem_size ? copy->large_requested : 0;
}

static uint64_t slots_of_word(const struct mspan *s, size_t word) {
    size_t rest = s->nelems - word * 64;
    return rest >= 64 ? UINT64_MAX : ((uint64_t)1 << rest) - 1;
}

static void fill_bits(struct gomalloc_span *r, uint64_t *words, const struct mspan *copy) {
    r->live = 0;
    r->marked = 0;
    for (size_t i = 0; i < copy->nwords; i++) {
        uint64_t all = slots_of_word(copy, i);
        words[i] = mspan_live_word(copy, i) & all;
        uint64_t marks = atomic_load_explicit(&mspan_free_marks(copy)[i], memory_order_relaxed);
        r->live += (uint32_t)__builtin_popcountll(words[i]);
        r->marked += (uint32_t)__builtin_popcountll(marks & all & ~words[i]);
    }
}

/* read_span fills the room behind the tables' ends; false if the span is not in use, or did not
 * hold still. */
static bool read_span(struct image_writer *w, const struct mspan *s, struct gomalloc_span *r,
                      uint64_t *words, struct image_span_ref *ref) {
    for (int i = 0; i < SPAN_TRIES; i++) {
        struct mspan copy;
        if (!mheap_read_span(s, &copy))
            return false;
        fill_span(r, &copy);
        if (words != NULL)
            fill_bits(r, words, &copy);
        uint32_t gen = atomic_load_explicit(&copy.gen, memory_order_relaxed);
        *ref = (struct image_span_ref){
            .span = s,
            .gen = gen,
            .has_slots = atomic_load_explicit(&copy.sites, memory_order_relaxed) != NULL,
        };
        if (gen_of(s) == gen)
            return true;
    }
    w->ndropped++;
    return false;
}

#define MAX_SPAN_WORDS 1024 /* of a bitmap: nelems is 16 bits wide */

static bool gather_span(struct image_writer *w, const struct mspan *s, bool bits) {
    struct image_table *spans = &w->table[GOMALLOC_SECTION_SPAN];
    struct image_table *bitmap = &w->table[GOMALLOC_SECTION_BITMAP];
    struct gomalloc_span *r = image_table_room(spans, sizeof *r);
    struct image_span_ref *ref = image_table_room(&w->span_refs, sizeof *ref);
    uint64_t *words = bits ? image_table_room(bitmap, MAX_SPAN_WORDS * sizeof *words) : NULL;
    if (r == NULL || ref == NULL || (bits && words == NULL)) {
        image_fail(w, -ENOMEM);
        return false;
    }
    if (!read_span(w, s, r, words, ref)) {
        memset(r, 0, sizeof *r);
        return true;
    }
    image_table_commit(spans, sizeof *r);
    image_table_commit(&w->span_refs, sizeof *ref);
    if (bits)
        image_table_commit(bitmap, ((size_t)r->nelems + 63) / 64 * sizeof *words);
    return true;
}

/* keep_unchanged takes out the records of spans that have changed, and numbers the rest's words
 * and slots. */
static void keep_unchanged(struct image_writer *w, bool bits, bool slots) {
    struct image_table *spans = &w->table[GOMALLOC_SECTION_SPAN];
    struct image_table *bitmap = &w->table[GOMALLOC_SECTION_BITMAP];
    struct gomalloc_span *r = (struct gomalloc_span *)spans->p;
    struct image_span_ref *refs = (struct image_span_ref *)w->span_refs.p;
    uint64_t *words = (uint64_t *)bitmap->p;
    size_t n = spans->len / sizeof *r, kept = 0, from = 0, to = 0;
    for (size_t i = 0; i < n; i++) {
        size_t nwords = bits ? ((size_t)r[i].nelems + 63) / 64 : 0;
        if (gen_of(refs[i].span) != refs[i].gen) {
            w->ndropped++;
            from += nwords;
            continue;
        }
        if (nwords != 0 && to != from)
            memmove(&words[to], &words[from], nwords * sizeof *words);
        r[kept] = r[i];
        refs[kept] = refs[i];
        r[kept].bitmap_index = to;
        if (slots && refs[i].has_slots) {
            r[kept].slot_index = w->nslots;
            w->nslots += r[i].nelems;
        }
        kept++;
        from += nwords;
        to += nwords;
    }
    image_table_cut(spans, kept * sizeof *r);
    image_table_cut(&w->span_refs, kept * sizeof *refs);
    image_table_cut(bitmap, to * sizeof *words);
}

void image_gather_spans(struct image_writer *w) {
    bool bits = image_wants(w, GOMALLOC_SECTION_BITMAP) ||
                image_wants(w, GOMALLOC_SECTION_THREAD) ||
                image_wants(w, GOMALLOC_SECTION_MCENTRAL);
    uint32_t n = atomic_load_explicit(&mheap_.nallspans, memory_order_acquire);
    for (uint32_t i = 0; i < n; i++)
        if (mheap_.allspans[i] != NULL && !gather_span(w, mheap_.allspans[i], bits))
            return;
    if (w->span_refs.len != 0)
        keep_unchanged(w, bits, bits && image_wants(w, GOMALLOC_SECTION_SLOT));
}

/* read_slots reads the live slots of a span; false if it is not the span any more that it was. */
static uint32_t slot_rate(uint16_t epoch, uint64_t now) {
    uint64_t rate = prof_rate_at(epoch);
    if (rate == now)
        return 0;
    return rate < UINT32_MAX ? (uint32_t)rate : UINT32_MAX;
}

static bool read_slots(const struct image_span_ref *ref, const struct gomalloc_span *r,
                       const uint64_t *words, struct gomalloc_slot *slots) {
    struct mspan copy;
    uint64_t rate = prof_rate();
    if (!mheap_read_span(ref->span, &copy) ||
        atomic_load_explicit(&copy.gen, memory_order_relaxed) != ref->gen)
        return false;
    for (uint32_t i = 0; i < r->nelems; i++) {
        if ((words[i / 64] >> (i % 64) & 1) == 0)
            continue;
        size_t slack = mslots_slack(&copy, i);
        slots[i].site = prof_tag_site(mslots_tag(&copy, i));
        slots[i].slack = slack <= r->elem_size && slack <= UINT32_MAX ? (uint32_t)slack : 0;
        uint16_t epoch = mslots_epoch(&copy, i);
        slots[i].born = mepoch_seconds(epoch) + 1; /* 0: not a time */
        slots[i].rate = slots[i].site != 0 ? slot_rate(epoch, rate) : 0;
    }
    if (gen_of(ref->span) != ref->gen)
        return false;
    uint32_t nsites = prof_nsites();
    for (uint32_t i = 0; i < r->nelems; i++)
        if (slots[i].site > nsites)
            slots[i].site = 0;
    return true;
}

uint64_t image_stream_slots(struct image_writer *w) {
    struct image_table scratch = {0};
    const struct gomalloc_span *r = (const struct gomalloc_span *)w->table[GOMALLOC_SECTION_SPAN].p;
    const struct image_span_ref *refs = (const struct image_span_ref *)w->span_refs.p;
    const uint64_t *words = (const uint64_t *)w->table[GOMALLOC_SECTION_BITMAP].p;
    size_t n = w->nslots != 0 ? w->span_refs.len / sizeof *refs : 0;
    for (size_t i = 0; i < n; i++) {
        if (r[i].slot_index == GOMALLOC_NO_SLOTS)
            continue;
        size_t size = r[i].nelems * sizeof(struct gomalloc_slot);
        struct gomalloc_slot *slots = image_table_room(&scratch, size);
        if (slots == NULL) {
            image_fail(w, -ENOMEM);
            break;
        }
        memset(slots, 0, size);
        if (!read_slots(&refs[i], &r[i], words + r[i].bitmap_index, slots))
            memset(slots, 0, size);
        image_out_put(&w->out, slots, size);
    }
    image_table_free(&scratch);
    return w->nslots;
}

void image_read_comm(int pid, uint32_t tid, char comm[16]) {
    char path[64], text[32];
    struct fmt f = fmt_on(path, sizeof path);
    fmt_str(&f, "/proc/");
    fmt_uint(&f, (unsigned)pid);
    fmt_str(&f, "/task/");
    fmt_uint(&f, tid);
    fmt_str(&f, "/comm");
    long n = raw_read_file(path, text, sizeof text);
    for (long i = 0; i < n && i < 15 && text[i] != '\n'; i++)
        comm[i] = text[i];
}

static void add_span_to_owner(struct gomalloc_thread *threads, uint32_t n,
                              const struct gomalloc_span *s) {
    if (s->owner >= n)
        return;
    threads[s->owner].nspans++;
    threads[s->owner].cached_bytes += (uint64_t)(s->nelems - s->live) * s->elem_size;
}

void image_gather_threads(struct image_writer *w) {
    uint32_t n = atomic_load_explicit(&mcaches.n, memory_order_acquire);
    for (uint32_t i = 0; i < n; i++) {
        struct gomalloc_thread *r =
            image_add(w, GOMALLOC_SECTION_THREAD, sizeof(struct gomalloc_thread));
        if (r == NULL)
            return;
        r->mcache = i;
        const struct mcache *c = mcaches.all[i];
        r->tid = c != NULL ? atomic_load_explicit(&c->tid, memory_order_relaxed) : 0;
        if (r->tid != 0)
            image_read_comm(w->pid, r->tid, r->comm);
    }
    const struct gomalloc_span *s = (const struct gomalloc_span *)w->table[GOMALLOC_SECTION_SPAN].p;
    size_t nspans = image_count(w, GOMALLOC_SECTION_SPAN, sizeof *s);
    for (size_t i = 0; i < nspans; i++)
        add_span_to_owner((struct gomalloc_thread *)w->table[GOMALLOC_SECTION_THREAD].p, n, &s[i]);
}
