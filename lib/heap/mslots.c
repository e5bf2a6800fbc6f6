/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Slot tables.
 *
 * Tables come in multiples of 32 bytes, are re-used by size, and are never given back: readers
 * follow mspan.sites without a lock, and one that comes too late must read stale numbers, not
 * fault.  Such a reader knows by mspan.gen (mheap_read_span) that the span has changed.
 *
 * Order: the table is cleared, then published (release), then the owner's word says RECORDED, so
 * who sees the flag finds the table.  Entries are plain words of one writer at a time: the owner
 * at allocation, whoever frees the slot at free.
 *
 * The exception is MSLOTS_IGNORED, which any thread may set at any time in the life of an object.
 * So making a table and taking the flag away (mslots_settle) are done under the lock; and once the
 * flag is set, who frees the object, which happens after that, goes by way of the table.
 *
 * A wide table takes the place of a narrow one while other threads may be changing entries of that:
 * who is about to free an object clears its entry, or makes it one of an object that is not judged.
 * Both are done without the lock, since a signal handler may come in between.
 *
 *      owner    copies; W1 publishes the wide table; R1 looks at the narrow one again, and does in
 *               the wide one what has been done there
 *      freer    W2 changes the entry of the table that it found; R2 looks which is the span's table
 *               now, and if it is another one, changes the entry there too
 *
 * All four are sequentially consistent, so R1 sees W2 or R2 sees W1; and the slot is not free, to
 * be used again, until the freer is through with it.  The narrow table is kept until the span is
 * empty, as somebody may still be about to write to it or to read it.
 */
#include "heap/mslots.h"

#include "heap/mtiny.h"
#include "sys/lock.h"
#include "sys/persistent.h"
#include "sys/throw.h"

#define STEP     32u            /* bytes */
#define MAX_SIZE (8256u / STEP) /* 1024 slots, wide */

/* A free table.  The link is in the table itself. */
struct free_table {
    struct free_table *next;
};

struct mutex mslots_lock = MUTEX_INIT(LOCK_RANK_SLOT);
static struct free_table *free_tables[MAX_SIZE + 1]; /* by size in steps; guarded by mslots_lock */
_Atomic uint64_t mslots_ignored;

/* blocks_bytes returns what the blocks of the span's slots take.  Behind those of a wide table is
 * the narrow one whose place it has taken, or NULL. */
static inline size_t blocks_bytes(const struct mspan *s, bool narrow) {
    return (s->nelems + MSLOTS_BLOCK - 1u) / MSLOTS_BLOCK * mslots_block_bytes(s, narrow);
}

static inline unsigned table_size(const struct mspan *s, bool narrow) {
    size_t bytes = blocks_bytes(s, narrow) + (narrow ? 0 : sizeof(void *));
    gm_assert(bytes <= MAX_SIZE * STEP);
    return (unsigned)((bytes + STEP - 1) / STEP);
}

static inline struct mslots_table **narrow_before(const struct mspan *s, struct mslots_table *t) {
    return (struct mslots_table **)((char *)t + blocks_bytes(s, false));
}

static inline struct mslots_table *load_table(const struct mspan *s) {
    return atomic_load_explicit(&s->sites, memory_order_acquire);
}

static inline size_t capped(const struct mspan *s, size_t slack) {
    size_t most = s->elem_size <= MSLOTS_BYTE_SLACK ? UINT8_MAX : UINT16_MAX;
    return slack < most ? slack : most;
}

static uint32_t read_tag(const struct mspan *s, struct mslots_table *t, size_t i) {
    if (mslots_is_narrow(t))
        return mslots_widened(
            __atomic_load_n((uint16_t *)mslots_tag_at(s, t, i, true), __ATOMIC_ACQUIRE));
    return __atomic_load_n((uint32_t *)mslots_tag_at(s, t, i, false), __ATOMIC_ACQUIRE);
}

static uint16_t *epoch_at(const struct mspan *s, struct mslots_table *t, size_t i) {
    return mslots_epoch_at(s, t, i, mslots_is_narrow(t));
}

static void put_slack(const struct mspan *s, struct mslots_table *t, size_t i, size_t slack) {
    mslots_put_slack(s, t, i, capped(s, slack), mslots_is_narrow(t));
}

static size_t read_slack(const struct mspan *s, struct mslots_table *t, size_t i) {
    const void *at = mslots_slack_at(s, t, i, mslots_is_narrow(t));
    return s->elem_size <= MSLOTS_BYTE_SLACK
               ? __atomic_load_n((const uint8_t *)at, __ATOMIC_RELAXED)
               : __atomic_load_n((const uint16_t *)at, __ATOMIC_RELAXED);
}

/* exchange_tag puts one tag in the place of another, if that is there. */
static bool exchange_tag(const struct mspan *s, struct mslots_table *t, size_t i, uint32_t old,
                         uint32_t by) {
    if (!mslots_is_narrow(t))
        return __atomic_compare_exchange_n((uint32_t *)mslots_tag_at(s, t, i, false), &old, by,
                                           false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED);
    uint16_t narrow = mslots_narrowed(old);
    /* What does not fit mslots_record_for has not let come here; nothing is known of it. */
    uint16_t narrow_by = mslots_fits(by) ? mslots_narrowed(by) : 0;
    return mslots_fits(old) &&
           __atomic_compare_exchange_n((uint16_t *)mslots_tag_at(s, t, i, true), &narrow, narrow_by,
                                       false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED);
}

/* clear_tag sets a tag to 0. */
static void clear_tag(const struct mspan *s, struct mslots_table *t, size_t i) {
    if (mslots_is_narrow(t))
        __atomic_store_n((uint16_t *)mslots_tag_at(s, t, i, true), 0, __ATOMIC_SEQ_CST);
    else
        __atomic_store_n((uint32_t *)mslots_tag_at(s, t, i, false), 0, __ATOMIC_SEQ_CST);
}

/* take_table returns a table of zeros, without MSLOTS_NARROW. */
static char *take_table(unsigned size) {
    mutex_lock(&mslots_lock);
    struct free_table *f = free_tables[size];
    if (f != NULL)
        free_tables[size] = f->next;
    mutex_unlock(&mslots_lock);
    uint32_t *words = f != NULL ? (uint32_t *)f : persistent_alloc(size * STEP, STEP, MEM_SLOT);
    /* Atomic stores, because a reader of the table's last life may still be in it. */
    for (size_t i = 0; f != NULL && i < size * STEP / sizeof *words; i++)
        __atomic_store_n(&words[i], 0, __ATOMIC_RELAXED);
    return (char *)words;
}

static void give_table(const struct mspan *s, struct mslots_table *t) {
    bool narrow = mslots_is_narrow(t);
    struct free_table *f = (struct free_table *)((char *)t - narrow);
    unsigned size = table_size(s, narrow);
    mutex_lock(&mslots_lock);
    f->next = free_tables[size];
    free_tables[size] = f;
    mutex_unlock(&mslots_lock);
}

/* make_table gives the span a table; NULL: no memory. */
static gm_noinline struct mslots_table *make_table(struct mspan *s, bool narrow) {
    char *p = take_table(table_size(s, narrow));
    if (p == NULL)
        return NULL;
    struct mslots_table *t = (struct mslots_table *)(p + narrow);
    mutex_lock(&mslots_lock);
    struct mslots_table *others = load_table(s);
    if (others == NULL)
        atomic_store_explicit(&s->sites, t, memory_order_release);
    mutex_unlock(&mslots_lock);
    if (others == NULL)
        return t;
    give_table(s, t);
    return others;
}

static void copy_entry(const struct mspan *s, struct mslots_table *from, struct mslots_table *to,
                       size_t i) {
    __atomic_store_n(epoch_at(s, to, i), __atomic_load_n(epoch_at(s, from, i), __ATOMIC_RELAXED),
                     __ATOMIC_RELAXED);
    put_slack(s, to, i, read_slack(s, from, i));
    __atomic_store_n((uint32_t *)mslots_tag_at(s, to, i, false), read_tag(s, from, i),
                     __ATOMIC_RELAXED);
}

/* follow_change does in the wide table what has been done to an entry of the narrow one. */
static void follow_change(const struct mspan *s, struct mslots_table *narrow,
                          struct mslots_table *wide, size_t i) {
    uint32_t now = read_tag(s, narrow, i), copied = read_tag(s, wide, i);
    if ((now == 0 && copied != 0) || (copied & ~now & MSLOTS_ASK) != 0)
        exchange_tag(s, wide, i, copied, now);
}

/* widen gives the span a wide table in the place of its narrow one.  NULL: no memory.  The caller
 * owns the span. */
static gm_cold struct mslots_table *widen(struct mspan *s, struct mslots_table *narrow) {
    struct mslots_table *wide = (struct mslots_table *)take_table(table_size(s, false));
    if (wide == NULL)
        return NULL;
    *narrow_before(s, wide) = narrow;
    mutex_lock(&mslots_lock);
    for (size_t i = 0; i < s->nelems; i++)
        copy_entry(s, narrow, wide, i);
    atomic_store(&s->sites, wide);
    atomic_thread_fence(memory_order_seq_cst);
    for (size_t i = 0; i < s->nelems; i++)
        follow_change(s, narrow, wide, i);
    mutex_unlock(&mslots_lock);
    return wide;
}

static void set_flag(struct mspan *s) {
    if ((atomic_load_explicit(&s->owner, memory_order_relaxed) & SPAN_RECORDED) == 0)
        atomic_fetch_or_explicit(&s->owner, SPAN_RECORDED, memory_order_release);
}

bool mslots_record_for(struct mspan *s, size_t i, uint32_t tag, uint32_t later, size_t slack) {
    gm_assert(i < s->nelems);
    bool fits = mslots_fits(tag) && mslots_fits(later);
    struct mslots_table *t = load_table(s);
    if (gm_unlikely(t == NULL))
        t = make_table(s, fits);
    if (t != NULL && !fits && mslots_is_narrow(t))
        t = widen(s, t);
    if (t == NULL)
        return false;
    set_flag(s);
    if (s->elem_size == 0)
        __atomic_store_n(&s->large_requested, mspan_elem_bytes(s) - slack, __ATOMIC_RELAXED);
    return mslots_put(s, t, i, tag | (read_tag(s, t, i) & MSLOTS_IGNORED), capped(s, slack));
}

bool mslots_record(struct mspan *s, size_t i, uint32_t tag, size_t slack) {
    return mslots_record_for(s, i, tag, 0, slack);
}

bool mslots_ignore(struct mspan *s, size_t i) {
    gm_assert(i < s->nelems);
    if (load_table(s) == NULL && make_table(s, true) == NULL)
        return false;
    mutex_lock(&mslots_lock);
    struct mslots_table *t = load_table(s);
    if (gm_unlikely(t == NULL)) { /* as in mslots_resize */
        mutex_unlock(&mslots_lock);
        return false;
    }
    if (mslots_is_narrow(t))
        __atomic_fetch_or((uint16_t *)mslots_tag_at(s, t, i, true), mslots_narrowed(MSLOTS_IGNORED),
                          __ATOMIC_RELEASE);
    else
        __atomic_fetch_or((uint32_t *)mslots_tag_at(s, t, i, false), MSLOTS_IGNORED,
                          __ATOMIC_RELEASE);
    set_flag(s);
    mutex_unlock(&mslots_lock);
    atomic_fetch_add_explicit(&mslots_ignored, 1, memory_order_release);
    return true;
}

bool mslots_is_ignored(const struct mspan *s, size_t i) {
    struct mslots_table *t = load_table(s);
    return t != NULL && i < s->nelems && (read_tag(s, t, i) & MSLOTS_IGNORED) != 0;
}

void mslots_resize(struct mspan *s, size_t i, size_t slack) {
    if (mslots_tag(s, i) == 0)
        return;
    if (s->elem_size == 0) {
        __atomic_store_n(&s->large_requested, mspan_elem_bytes(s) - slack, __ATOMIC_RELAXED);
        return;
    }
    mutex_lock(&mslots_lock);
    struct mslots_table *t = load_table(s);
    if (gm_likely(t != NULL)) /* else another thread has freed the object, and its span with it */
        put_slack(s, t, i, slack);
    mutex_unlock(&mslots_lock);
}

uint32_t mslots_tag(const struct mspan *s, size_t i) {
    struct mslots_table *t = load_table(s);
    return t != NULL && i < s->nelems ? read_tag(s, t, i) & ~MSLOTS_IGNORED : 0;
}

size_t mslots_slack(const struct mspan *s, size_t i) {
    if (mslots_tag(s, i) == 0)
        return 0;
    if (s->elem_size == 0)
        return mspan_elem_bytes(s) - __atomic_load_n(&s->large_requested, __ATOMIC_RELAXED);
    struct mslots_table *t = load_table(s);
    return t != NULL ? read_slack(s, t, i) : 0;
}

uint16_t mslots_epoch(const struct mspan *s, size_t i) {
    struct mslots_table *t = mslots_tag(s, i) != 0 ? load_table(s) : NULL;
    return t != NULL ? __atomic_load_n(epoch_at(s, t, i), __ATOMIC_RELAXED) : MEPOCH_UNKNOWN;
}

static bool replace_in(const struct mspan *s, struct mslots_table *t, size_t i, uint32_t tag,
                       uint32_t by) {
    uint32_t now;
    do {
        now = read_tag(s, t, i);
        if ((now & ~MSLOTS_IGNORED) != tag)
            return false;
    } while (!exchange_tag(s, t, i, now, by | (now & MSLOTS_IGNORED)));
    return true;
}

bool mslots_replace(struct mspan *s, size_t i, uint32_t tag, uint32_t by) {
    struct mslots_table *t = load_table(s);
    if (t == NULL || i >= s->nelems || !replace_in(s, t, i, tag, by))
        return false;
    struct mslots_table *now = atomic_load(&s->sites);
    if (gm_unlikely(now != t && now != NULL))
        replace_in(s, now, i, tag, by);
    return true;
}

bool mslots_clear(struct mspan *s, size_t i) {
    struct mslots_table *t = load_table(s);
    if (t == NULL || read_tag(s, t, i) == 0)
        return false;
    clear_tag(s, t, i);
    struct mslots_table *now = atomic_load(&s->sites);
    if (gm_unlikely(now != t && now != NULL))
        clear_tag(s, now, i);
    return true;
}

static bool has_entries(const struct mspan *s, struct mslots_table *t) {
    for (size_t i = 0; i < s->nelems; i++)
        if (read_tag(s, t, i) != 0)
            return true;
    return false;
}

void mslots_settle(struct mspan *s) {
    struct mslots_table *t = load_table(s);
    if (t == NULL || tiny_span(s) || has_entries(s, t))
        return;
    mutex_lock(&mslots_lock);
    if (!has_entries(s, t))
        atomic_fetch_and_explicit(&s->owner, ~SPAN_RECORDED, memory_order_relaxed);
    mutex_unlock(&mslots_lock);
}

void mslots_release(struct mspan *s) {
    struct mslots_table *t = load_table(s);
    if (t == NULL)
        return;
    uintptr_t owner = atomic_load_explicit(&s->owner, memory_order_relaxed);
    if ((owner & SPAN_RECORDED) != 0)
        atomic_store_explicit(&s->owner, owner & ~SPAN_RECORDED, memory_order_relaxed);
    atomic_store_explicit(&s->sites, NULL, memory_order_release);
    if (s->elem_size == 0)
        s->large_requested = 0;
    struct mslots_table *before = mslots_is_narrow(t) ? NULL : *narrow_before(s, t);
    if (before != NULL)
        give_table(s, before);
    give_table(s, t);
}
