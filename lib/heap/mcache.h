/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A thread's cache: for each span class the span it allocates from.  Go: runtime/mcache.go.
 *
 * In front of the current span's free bits stands a small stack of hints.  A free of a slot in a
 * span of ours sets the slot's bit (the truth) and pushes a hint, (address, bit address); malloc
 * pops a hint and clears that bit.  If the bit is clear already, the hint is stale and is dropped.
 * Hints are advice: losing one loses nothing, and no reader of the heap ever looks at them.  What
 * they buy is that memory freed last, still in the CPU's cache, is used first, whichever of many
 * spans it lies in: 3-5 times the speed of refilling span by span on random replacement.
 *
 * calloc need not clear what has never been used.  A current span that the heap has just made of
 * pages that read as zero is `fresh`: all slots of its that are free and to which no hint leads are
 * untouched.  As the words are looked at only when there is no hint left, what they give then is
 * untouched too.  Whatever makes a used slot free without a hint ends that: a hint that did not fit
 * or is dropped, a sweep.
 *
 * A span that we own is in exactly one of these places: current; listed (has free slots); or none,
 * which means that all its free slots, if any, are referred to by hints, or that it waits on our
 * pending list.  free lists a span only if the hint did not fit.
 *
 * mcaches are Go's Ps and mcaches in one: a thread attaches to one at its first malloc and leaves
 * it, spans and all, when it ends; the next new thread adopts it.  They are never freed.
 */
#ifndef GM_HEAP_MCACHE_H
#define GM_HEAP_MCACHE_H

#include "heap/mlarge.h"
#include "heap/mpagecache.h"
#include "heap/mspan.h"
#include "heap/mstack.h"

/* A slot that was free when this was written. */
struct hint {
    uintptr_t p;        /* address */
    uintptr_t bit_addr; /* of its bit in free_bits: word address * 8 + bit */
};

/* The hints that fit for a class: fewer for large slots, of which fewer are free at a time. */
#define SMALL_HINTS    64
#define LARGE_HINTS    16
#define SMALL_HINTS_TO 1024 /* bytes of a slot */
size_t mcache_hints_of(struct span_class spc);

/* One span class's state in an mcache.  A cache line. */
struct mcache_entry {
    struct hint *sp;     /* the stack's top, one behind the last hint */
    struct hint *bottom; /* where the stack begins */
    struct hint *end;    /* where it is full */
    uint64_t *word;      /* of the current span's free_bits; a zero word if there is no span */
    uintptr_t word_base; /* address of the slot that bit 0 of the word stands for */
    uint64_t elem_size;  /* bytes */
    struct mspan *span;  /* current span, or NULL */
    uint64_t fresh;      /* 1: what the words give when there is no hint reads as zero */
} __attribute__((aligned(64)));

/* mcache.next_sample while the recorder is to decide anew at the next allocation: so far below zero
 * that what one allocation takes away from it does not matter. */
#define NEXT_SAMPLE_UNKNOWN (INT64_MIN / 2)

struct mcache {
    struct span_owner owner; /* must be first */
    int64_t next_sample;     /* bytes until the recorder wants to see an allocation, or
                                NEXT_SAMPLE_UNKNOWN; see prof */
    struct mcache_entry alloc[NUM_SPAN_CLASSES];
    /* By number of pages; only the stack of hints is used.  Zero until needed.  See mlarge.c. */
    struct mcache_entry large_alloc[LARGE_KEEP_PAGES + 1];
    struct mspan_list listed[NUM_SPAN_CLASSES]; /* spans of ours with free slots, not current */
    struct page_cache pcache; /* of a processor rather: see mheap.c.  Heap's lock.  Go: p.pcache */

    uintptr_t tiny; /* current tiny block, 0 = none.  Go: mcache.tiny */
    uintptr_t tiny_offset;

    struct mcache *next_idle;     /* guarded by mcaches.lock */
    _Atomic uint32_t tid;         /* kernel thread id attached, 0 = idle */
    uint32_t flush_gen;           /* heap's sweepgen when this was last prepared for sweeping */
    bool attached;                /* a living thread uses it */
    bool orphan;                  /* its thread was lost in a fork: lists must be rebuilt */
    _Atomic uint32_t rate_gen;    /* the recorder's rate generation that next_sample follows */
    _Atomic uint32_t exact_gen;   /* the one for which all is recorded by the short path; 0: it is
                                     not.  See prof/exact.h */
    _Atomic uint32_t in_recorder; /* the recorder is at work in this thread: do not record */
    uint32_t ignoring;            /* __lsan_disable was called so often: what is allocated is to be
                                     ignored by leak checks, and next_sample < 0 all the time */
    int64_t held_sample;          /* what next_sample would be; while ignoring */
    uint64_t rng;                 /* recorder's random state */
    void *prof;                   /* recorder's per-thread counts, lasting as long as the mcache */

    struct large_cache large;

    /* Counted by the thread, read by anybody. */
    _Atomic uint64_t nlarge; /* large objects allocated */
    _Atomic uint64_t nrefill;
    _Atomic uint64_t nspan_alloc;
    _Atomic uint64_t nspan_free;

    struct stack_cache stacks; /* Go: stackcache */
};

/* The calling thread's mcache; &mcache0, whose entries are all empty, before it attaches. */
extern gm_tls struct mcache *mcache_self;
extern struct mcache mcache0;

/* The calling thread is ending: it has given its mcache back.  If another destructor allocates, the
 * thread attaches to one again; as libc calls destructors four times at most, nobody may tell us
 * when it is over, so who has allocated for it detaches it at once. */
extern gm_tls bool mcache_ending;

/* mcache_count adds 1 to a count of one writer: no torn reading, and no atomic addition. */
gm_inline void mcache_count(_Atomic uint64_t *n) {
    atomic_store_explicit(n, atomic_load_explicit(n, memory_order_relaxed) + 1,
                          memory_order_relaxed);
}

/* All mcaches ever made, by owner.id. */
#define MAX_MCACHES 65536
struct mcaches {
    struct mutex lock;      /* LOCK_RANK_IDLE */
    _Atomic uint32_t n;     /* made */
    struct mem_table table; /* `all` lies there: room for MAX_MCACHES */
    struct mcache **all;
    struct mcache *idle; /* linked by next_idle */
    _Atomic uint32_t nidle;
    bool have_orphans;     /* some mcache is an orphan */
    uint32_t next_drained; /* whose turn it is in mcaches_drain_some */
    uint32_t nlost; /* threads lost in forks, each with one large span or tiny block at most */
    _Atomic bool record_ending; /* threads that are ending are recorded.  Set by the recorder */
};
extern struct mcaches mcaches;

/* mcache_attach gives the calling thread an mcache: an idle one, else a new one.  NULL: out of
 * memory. */
struct mcache *mcache_attach(void);

/* mcache_detach parks the calling thread's mcache for the next thread; its free memory is given to
 * the mcentrals and the heap. */
void mcache_detach(void);

/* mcache_alloc_slow returns a slot of the class when the fast path has none, or 0. */
uintptr_t mcache_alloc_slow(struct mcache *c, struct span_class spc);

/* mcache_enlist puts a span of c's that got a free slot, for which no hint could be kept, on c's
 * list. */
void mcache_enlist(struct mcache *c, struct mspan *s);

/* mcache_drain_pending sweeps the spans of c's that others have freed into: c is the caller's, or
 * idle and mcaches.lock is held. */
void mcache_drain_pending(struct mcache *c);

/* For mcaches.c: the stacks of a new mcache; and an mcache whose thread was lost in a fork forgets
 * what that thread may have been changing. */
void mcache_place_hints(struct mcache *c);
void mcache_forget_lists(struct mcache *c);

/* mcache_flush gives back to the heap what the thread does not use: listed spans that are empty,
 * and the large cache.  For the mcache's thread. */
void mcache_flush(struct mcache *c);

/* mcache_flush_if_due does so if a sweep cycle has begun since it was done last. */
void mcache_flush_if_due(struct mcache *c);

/* mcache_release gives back everything but full spans, the page cache too: when the thread ends,
 * and when memory has run out. */
void mcache_release(struct mcache *c);

/* mcaches_drain_some hands what was freed into the spans of a few idle mcaches to the mcentrals;
 * returns whether there was something. */
bool mcaches_drain_some(void);

/* mcaches_reclaim_idle gives back what was freed into idle mcaches' spans; returns how many mcaches
 * had something. */
size_t mcaches_reclaim_idle(void);

/* mcaches_after_fork makes every mcache but the caller's idle and re-lists their spans: for the
 * only thread of a forked child. */
void mcaches_after_fork(void);

/* mcache_visible has the address of an object in a register, or on the stack, before its bit says
 * that it lives: a leak check that stops the thread in between would find nobody who knows of it.
 */
gm_inline uintptr_t mcache_visible(uintptr_t p) {
    __asm__ volatile("" : "+r"(p) : : "memory");
    return p;
}

#endif
