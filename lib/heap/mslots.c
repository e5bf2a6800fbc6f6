/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Slot tables.
 *
 * Tables come in sizes 1, 1.25, 1.5 and 1.75 * 2^k (the last is what the n = 2^k slots of the
 * smallest classes need: 7n), are re-used by size, and are never given back: readers follow
 * mspan.sites without a lock, and one that comes too late must read stale numbers, not fault.  Such
 * a reader knows by mspan.gen (mheap_read_span) that the span has changed.
 *
 * Order: the table is cleared, then published (release), then the owner's word says RECORDED, so
 * who sees the flag finds the table.  Entries are plain words of one writer at a time: the owner
 * at allocation, whoever frees the slot at free.
 *
 * The exception is MSLOTS_IGNORED, which any thread may set at any time in the life of an object.
 * So making a table and taking the flag away (mslots_settle) are done under the lock; and once the
 * flag is set, who frees the object, which happens after that, goes by way of the table.
 */
#include "heap/mslots.h"

#include "heap/mtiny.h"
#include "sys/lock.h"
#include "sys/persistent.h"
#include "sys/throw.h"

#define MIN_SHIFT 5 /* the smallest table: 32 bytes */
#define NSIZES    64

/* A free table.  The link is in the table itself. */
struct free_table {
    struct free_table *next;
};

struct mutex mslots_lock = MUTEX_INIT(LOCK_RANK_SLOT);
static struct free_table *free_tables[NSIZES]; /* by size class; guarded by mslots_lock */
_Atomic uint64_t mslots_ignored;

/* Class 4j is 2^(j + MIN_SHIFT) bytes, and the next three are a quarter of that more each. */
static inline size_t class_bytes(unsigned cls) {
    return (size_t)(4 + cls % 4) << (cls / 4 + MIN_SHIFT - 2);
}

static unsigned class_for(size_t bytes) {
    unsigned cls = 0;
    while (class_bytes(cls) < bytes)
        cls++;
    gm_assert(cls < NSIZES);
    return cls;
}

static inline size_t table_bytes(const struct mspan *s) {
    size_t slack = s->elem_size <= MSLOTS_BYTE_SLACK ? sizeof(uint8_t) : sizeof(uint16_t);
    return s->nelems * (sizeof(uint32_t) + sizeof(uint16_t) + slack);
}

static inline uint32_t *load_sites(const struct mspan *s) {
    return atomic_load_explicit(&s->sites, memory_order_acquire);
}

static inline size_t capped(const struct mspan *s, size_t slack) {
    size_t most = s->elem_size <= MSLOTS_BYTE_SLACK ? UINT8_MAX : UINT16_MAX;
    return slack < most ? slack : most;
}

static uint32_t *take_table(unsigned cls) {
    mutex_lock(&mslots_lock);
    struct free_table *f = free_tables[cls];
    if (f != NULL)
        free_tables[cls] = f->next;
    mutex_unlock(&mslots_lock);
    return f != NULL ? (uint32_t *)f : persistent_alloc(class_bytes(cls), 8, MEM_SLOT);
}

static void give_table(uint32_t *sites, unsigned cls) {
    struct free_table *f = (struct free_table *)sites;
    mutex_lock(&mslots_lock);
    f->next = free_tables[cls];
    free_tables[cls] = f;
    mutex_unlock(&mslots_lock);
}

/* make_table gives the span a table of zeros; NULL: no memory. */
static gm_noinline uint32_t *make_table(struct mspan *s) {
    unsigned cls = class_for(table_bytes(s));
    uint32_t *sites = take_table(cls);
    if (sites == NULL)
        return NULL;
    /* Atomic stores, because a reader of the table's last life may still be in it. */
    for (size_t i = 0; i < class_bytes(cls) / sizeof *sites; i++)
        __atomic_store_n(&sites[i], 0, __ATOMIC_RELAXED);
    mutex_lock(&mslots_lock);
    uint32_t *others = load_sites(s);
    if (others == NULL)
        atomic_store_explicit(&s->sites, sites, memory_order_release);
    mutex_unlock(&mslots_lock);
    if (others == NULL)
        return sites;
    give_table(sites, cls);
    return others;
}

/* need_table returns the span's table. */
static uint32_t *need_table(struct mspan *s) {
    uint32_t *sites = load_sites(s);
    return gm_likely(sites != NULL) ? sites : make_table(s);
}

static void set_flag(struct mspan *s) {
    if ((atomic_load_explicit(&s->owner, memory_order_relaxed) & SPAN_RECORDED) == 0)
        atomic_fetch_or_explicit(&s->owner, SPAN_RECORDED, memory_order_release);
}

bool mslots_record(struct mspan *s, size_t i, uint32_t tag, size_t slack) {
    gm_assert(i < s->nelems);
    uint32_t *sites = need_table(s);
    if (sites == NULL)
        return false;
    set_flag(s);
    if (s->elem_size == 0)
        __atomic_store_n(&s->large_requested, mspan_elem_bytes(s) - slack, __ATOMIC_RELAXED);
    tag |= __atomic_load_n(&sites[i], __ATOMIC_RELAXED) & MSLOTS_IGNORED;
    mslots_put(s, sites, i, tag, capped(s, slack));
    return true;
}

bool mslots_ignore(struct mspan *s, size_t i) {
    gm_assert(i < s->nelems);
    uint32_t *sites = need_table(s);
    if (sites == NULL)
        return false;
    mutex_lock(&mslots_lock);
    __atomic_fetch_or(&sites[i], MSLOTS_IGNORED, __ATOMIC_RELEASE);
    set_flag(s);
    mutex_unlock(&mslots_lock);
    atomic_fetch_add_explicit(&mslots_ignored, 1, memory_order_release);
    return true;
}

bool mslots_is_ignored(const struct mspan *s, size_t i) {
    uint32_t *sites = load_sites(s);
    return sites != NULL && i < s->nelems &&
           (__atomic_load_n(&sites[i], __ATOMIC_ACQUIRE) & MSLOTS_IGNORED) != 0;
}

void mslots_resize(struct mspan *s, size_t i, size_t slack) {
    if (mslots_tag(s, i) == 0)
        return;
    uint32_t *sites = load_sites(s);
    if (s->elem_size == 0)
        __atomic_store_n(&s->large_requested, mspan_elem_bytes(s) - slack, __ATOMIC_RELAXED);
    else if (sites != NULL)
        mslots_put_slack(s, sites, i, capped(s, slack));
}

uint32_t mslots_tag(const struct mspan *s, size_t i) {
    uint32_t *sites = load_sites(s);
    if (sites == NULL || i >= s->nelems)
        return 0;
    return __atomic_load_n(&sites[i], __ATOMIC_ACQUIRE) & ~MSLOTS_IGNORED;
}

size_t mslots_slack(const struct mspan *s, size_t i) {
    if (mslots_tag(s, i) == 0)
        return 0;
    if (s->elem_size == 0)
        return mspan_elem_bytes(s) - __atomic_load_n(&s->large_requested, __ATOMIC_RELAXED);
    uint32_t *sites = load_sites(s);
    if (sites == NULL)
        return 0;
    const uint16_t *slacks = mslots_slacks(s, sites);
    return s->elem_size <= MSLOTS_BYTE_SLACK
               ? __atomic_load_n((const uint8_t *)slacks + i, __ATOMIC_RELAXED)
               : __atomic_load_n(&slacks[i], __ATOMIC_RELAXED);
}

uint16_t mslots_epoch(const struct mspan *s, size_t i) {
    uint32_t *sites = mslots_tag(s, i) != 0 ? load_sites(s) : NULL;
    return sites != NULL ? __atomic_load_n(&mslots_epochs(s, sites)[i], __ATOMIC_RELAXED)
                         : MEPOCH_UNKNOWN;
}

bool mslots_replace(struct mspan *s, size_t i, uint32_t tag, uint32_t by) {
    uint32_t *sites = load_sites(s);
    if (sites == NULL || i >= s->nelems)
        return false;
    uint32_t old = __atomic_load_n(&sites[i], __ATOMIC_RELAXED), kept;
    do {
        kept = old & MSLOTS_IGNORED;
        if (old != (tag | kept))
            return false;
    } while (!__atomic_compare_exchange_n(&sites[i], &old, by | kept, false, __ATOMIC_ACQ_REL,
                                          __ATOMIC_RELAXED));
    return true;
}

bool mslots_clear(struct mspan *s, size_t i) {
    uint32_t *sites = load_sites(s);
    if (sites == NULL || __atomic_load_n(&sites[i], __ATOMIC_RELAXED) == 0)
        return false;
    __atomic_store_n(&sites[i], 0, __ATOMIC_RELAXED);
    return true;
}

static bool has_entries(const struct mspan *s, const uint32_t *sites) {
    for (size_t i = 0; i < s->nelems; i++)
        if (__atomic_load_n(&sites[i], __ATOMIC_RELAXED) != 0)
            return true;
    return false;
}

void mslots_settle(struct mspan *s) {
    uint32_t *sites = load_sites(s);
    if (sites == NULL || tiny_span(s) || has_entries(s, sites))
        return;
    mutex_lock(&mslots_lock);
    if (!has_entries(s, sites))
        atomic_fetch_and_explicit(&s->owner, ~SPAN_RECORDED, memory_order_relaxed);
    mutex_unlock(&mslots_lock);
}

void mslots_release(struct mspan *s) {
    uint32_t *sites = load_sites(s);
    if (sites == NULL)
        return;
    uintptr_t owner = atomic_load_explicit(&s->owner, memory_order_relaxed);
    if ((owner & SPAN_RECORDED) != 0)
        atomic_store_explicit(&s->owner, owner & ~SPAN_RECORDED, memory_order_relaxed);
    atomic_store_explicit(&s->sites, NULL, memory_order_release);
    if (s->elem_size == 0)
        s->large_requested = 0;
    give_table(sites, class_for(table_bytes(s)));
}
