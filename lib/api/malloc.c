/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The malloc family, as glibc 2.36 documents it: the only file, with new.c, that programs see.
 *
 * errno is set to ENOMEM or EINVAL on failure and left alone otherwise.  Alignment is 16, or 8 for
 * requests of up to 8 bytes, as in Go; gcc and clang assume no more for such sizes.
 */
#include "api/malloc.h"

#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/agent.h"
#include "api/crime.h"
#include "api/start.h"
#include "heap/malloc.h"
#include "heap/mtiny.h"
#include "leak/ignore.h"
#include "prof/exact.h"
#include "prof/prof.h"

/* What an allocation asks for, beyond its size. */
struct request {
    size_t size;
    size_t align; /* power of two; 0 = malloc's */
    size_t room;  /* bytes more, behind a large object, into which it may grow */
    bool zero;
    bool noscan;
    uint32_t *chain; /* the recorder's, of the object that is to be moved, 0: it is not judged;
                        NULL: it is not recorded, or there is none.  Set to 0 when the new one has
                        been recorded as its continuation */
};

static void *serve(struct mcache *c, const struct request *r) {
    if (r->align != 0)
        return heap_alloc_aligned(c, r->size, r->align);
    if (r->zero)
        return heap_alloc_zeroed(c, r->size, r->noscan);
    return heap_alloc(c, r->size + r->room, r->noscan);
}

/* The recorder's turn: the stack is captured before the heap is entered, so that no lock of ours is
 * held while somebody else's code runs. */
static gm_noinline void *serve_sampled(struct mcache *c, const struct request *r) {
    struct prof_sample sample;
    bool take = prof_sample(c, r->size, &sample);
    void *p = serve(c, r);
    if (!take || p == NULL)
        return p;
    if (gm_unlikely(r->chain != NULL)) {
        sample.judged = false; /* it does not begin here */
        sample.chain = *r->chain;
        *r->chain = 0;
    }
    prof_record(c, p, r->size, &sample);
    return p;
}

/* What was refused has not been allocated; and beyond PTRDIFF_MAX it has counted upwards, to where
 * the thread would not be sampled for ever. */
static void count_back(struct mcache *c, size_t size) {
    c->next_sample = (int64_t)((uint64_t)c->next_sample + size);
}

/* While the thread ignores what it allocates (api_ignore_begin), next_sample stays below zero, so
 * that everything comes by here; the distance to the next sample is held beside it. */
static void hold_sample(struct mcache *c) {
    c->held_sample = c->next_sample;
    c->next_sample = -1;
    atomic_store_explicit(&c->exact_gen, 0, memory_order_relaxed);
}

static void take_back_sample(struct mcache *c) {
    if (c->next_sample >= NEXT_SAMPLE_UNKNOWN / 2) /* else the rate has changed */
        c->next_sample = c->held_sample;
}

static gm_noinline void *serve_ignored(struct mcache *c, const struct request *r) {
    count_back(c, r->size);
    take_back_sample(c);
    c->next_sample = (int64_t)((uint64_t)c->next_sample - r->size);
    bool sampled = c->next_sample < 0;
    void *p = sampled ? serve_sampled(c, r) : serve(c, r);
    if (p == NULL && !sampled)
        count_back(c, r->size);
    hold_sample(c);
    if (p != NULL)
        ignore_object((uintptr_t)p);
    return p;
}

void api_ignore_begin(void) {
    struct mcache *c = mcache_self != &mcache0 ? mcache_self : start_thread();
    if (c != NULL && c->ignoring++ == 0)
        hold_sample(c);
}

void api_ignore_end(void) {
    struct mcache *c = mcache_self;
    if (c->ignoring != 0 && --c->ignoring == 0)
        take_back_sample(c);
}

/* Everything but the fast path.  c->next_sample has been counted down. */
static gm_noinline void *allocate_slow(struct mcache *c, const struct request *r) {
    int saved = errno;
    bool passing = c == &mcache0 && mcache_ending;
    if (c == &mcache0)
        c = start_thread();
    void *p = NULL;
    if (c != NULL) {
        agent_poke();
        if (gm_unlikely(c->ignoring != 0))
            p = serve_ignored(c, r);
        else if (c->next_sample < 0)
            p = serve_sampled(c, r);
        else if ((p = serve(c, r)) == NULL)
            count_back(c, r->size);
        if (gm_unlikely(passing))
            mcache_detach();
    }
    errno = p != NULL ? saved : ENOMEM;
    return p;
}

gm_inline bool wants_sample(struct mcache *c, size_t size) {
    c->next_sample = (int64_t)((uint64_t)c->next_sample - size);
    return c->next_sample < 0;
}

static void *allocate(const struct request *r) {
    struct mcache *c = mcache_self;
    if (gm_unlikely(wants_sample(c, r->size) || c == &mcache0))
        return allocate_slow(c, r);
    void *p = serve(c, r);
    return gm_likely(p != NULL) ? p : allocate_slow(c, r);
}

/* What malloc_exact leaves: a class without a slot at hand, a span without a table, an object that
 * is to be judged.  p: the object, 0: still to be had. */
static gm_noinline void *exact_slow(struct mcache *c, uintptr_t p, const struct request *r,
                                    const struct prof_sample *sample) {
    int saved = errno;
    agent_poke();
    if (p == 0) {
        exact_now_and_then(c);
        p = (uintptr_t)serve(c, r);
    }
    if (p != 0)
        prof_record(c, (void *)p, r->size, sample);
    errno = p != 0 ? saved : ENOMEM;
    return (void *)p;
}

/* malloc_exact and calloc_exact serve small objects where every one is recorded.  The stack is
 * captured first, as no lock of ours may be held then; errno stays what it is. */
gm_inline void *allocate_exact(struct mcache *c, size_t size, bool zero) {
    struct prof_sample sample;
    bool judged;
    uint32_t site = exact_site(c, size, &judged, &sample);
    struct mcache_entry *e = mcache_entry_of(c, size);
    uintptr_t p = 0;
    bool ok = zero ? mcache_take_zeroed(e, size, &p) : mcache_take(e, &p);
    if (gm_likely(ok && !judged) && gm_likely(exact_record(c, p, size, site)))
        return (void *)p;
    if (!judged)
        sample = (struct prof_sample){.site = site, .rate = 1};
    return exact_slow(c, ok ? p : 0, &(struct request){.size = size, .zero = zero}, &sample);
}

static gm_noinline void *malloc_exact(struct mcache *c, size_t size) {
    return allocate_exact(c, size, false);
}

static gm_noinline void *calloc_exact(struct mcache *c, size_t size) {
    return allocate_exact(c, size, true);
}

static gm_noinline void *malloc_slow(struct mcache *c, size_t size) {
    return allocate_slow(c, &(struct request){.size = size});
}

/* What malloc leaves: larger objects, samples, and classes that have no slot at hand. */
static gm_noinline void *malloc_more(size_t size, struct mcache *c) {
    uintptr_t p;
    if (gm_unlikely(c->next_sample < 0))
        return exact_ready(c) && size <= MAX_SMALL_SIZE ? malloc_exact(c, size)
                                                        : malloc_slow(c, size);
    if (gm_likely(size <= MAX_SMALL_SIZE) && gm_likely(mcache_take(mcache_entry_of(c, size), &p)))
        return (void *)p;
    if (mcache_take_large(c, size, &p))
        return (void *)p;
    return malloc_slow(c, size);
}

gm_export void *malloc(size_t size) {
    struct mcache *c = mcache_self;
    uintptr_t p;
    if (gm_likely(!wants_sample(c, size)) && gm_likely(size <= SMALL_SIZE_MAX) &&
        gm_likely(mcache_take(mcache_small_entry(c, size), &p)))
        return (void *)p;
    return malloc_more(size, c);
}

static gm_noinline void free_slow(void *p) {
    if (p == NULL || gm_likely(heap_free_remote((uintptr_t)p)))
        return;
    enum free_result r = heap_free_slow((uintptr_t)p);
    if (gm_unlikely(r == FREE_ASK)) {
        prof_freed(p);
        r = heap_free_slow((uintptr_t)p);
    }
    /* FREE_ASK again: another thread has freed it meanwhile, and the slot is in use anew. */
    if (gm_unlikely(r != FREE_OK))
        crime_committed(r == FREE_INVALID ? CRIME_invalid_free : CRIME_double_free, p, "free");
}

/* What free leaves: first of all objects that may be recorded. */
static gm_noinline void free_more(void *p, struct mspan *s, struct mcache *c) {
    if (gm_unlikely(!heap_free_recorded(p, s, c)))
        free_slow(p);
}

gm_export void free(void *p) {
    struct mspan *s = mheap_span_guess((uintptr_t)p);
    struct mcache *c = mcache_self;
    if (gm_unlikely(!heap_free_own(p, s, c)))
        free_more(p, s, c);
}

gm_export void cfree(void *p);
void cfree(void *p) {
    free(p);
}

/* C23; glibc 2.36 does not declare them yet. */
gm_export void free_sized(void *p, size_t size);
gm_export void free_aligned_sized(void *p, size_t align, size_t size);

void free_sized(void *p, size_t size) {
    (void)size; /* the span knows */
    free(p);
}

void free_aligned_sized(void *p, size_t align, size_t size) {
    (void)align;
    (void)size;
    free(p);
}

gm_export void *calloc(size_t n, size_t size) {
    size_t bytes;
    if (__builtin_mul_overflow(n, size, &bytes)) {
        errno = ENOMEM;
        return NULL;
    }
    struct mcache *c = mcache_self;
    uintptr_t p;
    if (gm_likely(!wants_sample(c, bytes) && bytes <= MAX_SMALL_SIZE) &&
        gm_likely(mcache_take_zeroed(mcache_entry_of(c, bytes), bytes, &p)))
        return (void *)p;
    if (c->next_sample < 0 && exact_ready(c) && bytes <= MAX_SMALL_SIZE)
        return calloc_exact(c, bytes);
    return allocate_slow(c, &(struct request){.size = bytes, .zero = true});
}

/* A resize in place counts as an allocation of the new size by the caller of realloc.  The
 * recorder's turn comes afterwards: what has to be moved is counted there. */
static bool resize_in_place(void *p, struct mspan *s, size_t slot, size_t size) {
    struct mcache *c = mcache_self;
    bool mine = s->elem_size == 0 || mspan_owner(s) == &c->owner;
    if (!mine && c != &mcache0 && c->next_sample < (int64_t)size)
        return false; /* only an owner may begin to record in a span: move it to one of ours */
    if (!heap_realloc_in_place(s, size))
        return false;
    struct prof_sample sample;
    if (c != &mcache0 && c->ignoring == 0 && wants_sample(c, size) &&
        prof_sample(c, size, &sample)) {
        /* Taken from the slot: if the rate has changed just now, the span may be another thread's
         * after all, and then the chain ends. */
        sample.judged = sample.judged && mslots_tag(s, slot) == 0;
        sample.chain = prof_chain_take(s, slot);
        prof_record(c, p, size, &sample);
        return true;
    }
    uint32_t chain = prof_chain_at(s, slot);
    if (chain != 0)
        prof_chain_grown(chain);
    mslots_resize(s, slot, mspan_elem_bytes(s) - size);
    return true;
}

/* allocate_for returns a new place for the object in a slot, NULL: there is none.  The recorder
 * goes on there with what it knows of the object. */
static void *allocate_for(struct mspan *s, size_t slot, const struct request *r) {
    bool recorded = mslots_tag(s, slot) != 0;
    uint32_t chain = prof_chain_take(s, slot), goes_on = chain;
    if (!recorded)
        return allocate(r);
    struct request with = *r;
    with.chain = &goes_on;
    void *q = allocate(&with);
    if (q == NULL) {
        if (chain != 0)
            prof_chain_put_back(s, slot, chain);
        return NULL;
    }
    if (goes_on != 0)
        prof_chain_on(q, r->size, chain);
    return q;
}

/* s: its span; NULL: nothing is recorded there. */
static void *move(void *p, struct mspan *s, size_t slot, size_t usable, size_t size) {
    const struct request r = {.size = size};
    void *q = s != NULL ? allocate_for(s, slot, &r) : allocate(&r);
    if (q == NULL)
        return NULL;
    memcpy(q, p, usable < size ? usable : size);
    free(p);
    return q;
}

/* What has to be moved because it grows will grow again, so it gets room for that: else an object
 * between others that grows by a page at a time would be moved each time. */
static void *move_large(void *p, struct mspan *s, size_t size) {
    size_t usable = mspan_elem_bytes(s);
    size_t room = size > usable && size < PTRDIFF_MAX ? size / LARGE_ROOM_PART : 0;
    void *q = allocate_for(s, 0, &(struct request){.size = size, .room = room});
    if (q == NULL && room != 0)
        q = allocate_for(s, 0, &(struct request){.size = size});
    if (q == NULL)
        return NULL;
    if (large_move(s, q))
        return q;
    memcpy(q, p, usable < size ? usable : size);
    free(p);
    return q;
}

static gm_noinline void *realloc_slow(void *p, size_t size) {
    size_t slot = 0;
    struct mspan *s = NULL;
    size_t usable = tiny_usable(p);
    if (usable == 0) {
        s = heap_find(p, &slot);
        usable = s != NULL ? mspan_elem_bytes(s) : 0;
    }
    if (gm_unlikely(usable == 0)) {
        crime_committed(CRIME_invalid_realloc, p, "realloc");
        errno = EINVAL;
        return NULL;
    }
    if (s != NULL && heap_resizable(s, size) && resize_in_place(p, s, slot, size))
        return p;
    if (s != NULL && s->elem_size == 0)
        return move_large(p, s, size);
    return move(p, s, slot, usable, size);
}

gm_export void *realloc(void *p, size_t size) {
    if (p == NULL)
        return malloc(size);
    if (size == 0) {
        free(p);
        return NULL;
    }
    struct mcache *c = mcache_self;
    size_t elem = heap_own_size(c, p);
    if (gm_unlikely(elem == 0))
        return realloc_slow(p, size);
    if (!heap_fits(elem, size))
        return move(p, NULL, 0, elem, size);
    if (gm_unlikely(c->next_sample < (int64_t)size))
        return realloc_slow(p, size);
    c->next_sample -= (int64_t)size;
    return p;
}

gm_export void *reallocarray(void *p, size_t n, size_t size) {
    size_t bytes;
    if (__builtin_mul_overflow(n, size, &bytes)) {
        errno = ENOMEM;
        return NULL;
    }
    return realloc(p, bytes);
}

static bool power_of_two(size_t n) {
    return n != 0 && (n & (n - 1)) == 0;
}

gm_export void *memalign(size_t align, size_t size) {
    if (align > SIZE_MAX / 2 + 1) {
        errno = EINVAL;
        return NULL;
    }
    size_t a = 16;
    while (a < align)
        a <<= 1; /* glibc rounds an alignment up */
    return allocate(&(struct request){.size = size, .align = a});
}

gm_export void *aligned_alloc(size_t align, size_t size) {
    return memalign(align, size);
}

gm_export int posix_memalign(void **ret, size_t align, size_t size) {
    if (!power_of_two(align) || align % sizeof(void *) != 0)
        return EINVAL;
    void *p = memalign(align, size);
    if (p == NULL)
        return ENOMEM; /* and errno says so too, as in glibc */
    *ret = p;
    return 0;
}

static size_t os_page(void) {
    return (size_t)sysconf(_SC_PAGESIZE);
}

gm_export void *valloc(size_t size) {
    return memalign(os_page(), size);
}

gm_export void *pvalloc(size_t size) {
    size_t page = os_page();
    size_t bytes;
    if (__builtin_add_overflow(size, page - 1, &bytes)) {
        errno = ENOMEM;
        return NULL;
    }
    return memalign(page, bytes & ~(page - 1));
}

static gm_noinline size_t usable_slow(const void *p) {
    size_t n = p != NULL ? tiny_usable(p) : 0;
    return n != 0 || p == NULL ? n : heap_usable(p);
}

/* Some programs ask at each allocation and each free. */
gm_export size_t malloc_usable_size(void *p) {
    size_t n = heap_own_usable(mcache_self, p);
    return gm_likely(n != 0) ? n : usable_slow(p);
}

void *api_allocate(size_t size, bool zero, bool noscan) {
    return allocate(&(struct request){.size = size, .zero = zero, .noscan = noscan});
}
