/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Slot tables: whence the object in each slot of a span came, when, and for how many bytes.
 *
 * The recorder keeps a tag for each sampled object: a word that the heap does not understand, but
 * for its being 0 where nothing is recorded, and one bit.  It stands in a table beside the span
 * (not in the object: that would change the heap that is watched), made when the first object of
 * the span is recorded, and cleared at free.  An entry is meaningful while its slot is live.
 * Large objects have a table of one slot.
 *
 * What belongs together lies together, since a large heap's tables are not in the cache: a block
 * for each 8 slots, of 40 to 64 bytes.
 *
 *      8 tags     of 16 bits; of 32 in the table of a span where one has not fitted
 *      8 times    of 16 bits, when they were recorded (mepoch.h)
 *      8 slacks   bytes given beyond those asked for; of 8 bits where slots have 256 bytes or less,
 *                 else of 16
 *
 * A narrow tag has 14 bits of number, so it does for programs with up to 16,383 call sites, which
 * is most of them, and for as many judged objects.  The span's owner makes a table wide
 * (mslots.c says how), and it stays so.
 *
 * A span with recorded objects is marked (SPAN_RECORDED), so that only frees in such a span pay for
 * the recorder: at the default rate one span in some sixty.
 */
#ifndef GM_HEAP_MSLOTS_H
#define GM_HEAP_MSLOTS_H

#include "heap/mepoch.h"
#include "heap/mspan.h"

#define MSLOTS_BYTE_SLACK 256 /* bytes of a slot, up to which a byte of slack will do */

/* Tags of up to this number, with or without the two bits below, fit a narrow table. */
#define MSLOTS_NARROW_MAX 0x3fffu

/* A tag with this bit asks that the recorder be told before its slot is freed: heap_free_slow does
 * nothing but say so (FREE_ASK), until somebody has put another tag there. */
#define MSLOTS_ASK 0x80000000u

/* A tag with this bit is of an object that a leak check is to ignore (lib/leak/ignore.h).  It is
 * beside what the recorder has there, which neither sees it nor loses it, and goes at free. */
#define MSLOTS_IGNORED 0x40000000u

/* mslots_record notes that slot i of s, which the caller has just allocated and whose span the
 * caller owns, has the tag and was asked to hold elem - slack bytes.  False: no memory, the
 * slot stays unrecorded.  slack is capped at what its array holds for small objects; a large
 * object's size goes to large_requested.  mslots_record_for does so for a tag that mslots_replace
 * may exchange for another one, `later`. */
bool mslots_record(struct mspan *s, size_t i, uint32_t tag, size_t slack);
bool mslots_record_for(struct mspan *s, size_t i, uint32_t tag, uint32_t later, size_t slack);

/* mslots_resize notes that the object in slot i, if it is recorded, is now asked to hold elem -
 * slack bytes.  By whom the object belongs to. */
void mslots_resize(struct mspan *s, size_t i, size_t slack);

/* mslots_tag returns the tag of slot i, 0 if not recorded; mslots_slack what was not asked for;
 * mslots_epoch when it was recorded, MEPOCH_UNKNOWN if it was not.  Anybody may ask. */
uint32_t mslots_tag(const struct mspan *s, size_t i);
size_t mslots_slack(const struct mspan *s, size_t i);
uint16_t mslots_epoch(const struct mspan *s, size_t i);

/* mslots_replace puts another tag in the place of one that is not 0.  False: that one is not, or no
 * more, there; of several threads that replace the same one, one is told true. */
bool mslots_replace(struct mspan *s, size_t i, uint32_t tag, uint32_t by);

/* mslots_ignore sets MSLOTS_IGNORED for slot i, which lives as long as this takes; from any thread.
 * False: no memory. */
bool mslots_ignore(struct mspan *s, size_t i);
bool mslots_is_ignored(const struct mspan *s, size_t i);

/* mslots_clear forgets slot i: called before it is freed, by who frees it.  Returns whether it was
 * recorded. */
bool mslots_clear(struct mspan *s, size_t i);

/* mslots_settle lets free take its fast path in s again if nothing that lives is recorded there.
 * The table stays: it is zero, and another thread may be about to clear an entry of it.  The caller
 * owns the span. */
void mslots_settle(struct mspan *s);

/* mslots_release takes the table from an empty span.  The caller owns the span. */
void mslots_release(struct mspan *s);

extern struct mutex mslots_lock;        /* for fork handlers */
extern _Atomic uint64_t mslots_ignored; /* how often an object was ignored so far */

/* ---- the layout --------------------------------------------------------------------------- */

#define MSLOTS_BLOCK  8              /* slots */
#define MSLOTS_NARROW ((uintptr_t)1) /* added to a table's address: its tags are narrow */

gm_inline bool mslots_is_narrow(const struct mslots_table *t) {
    return ((uintptr_t)t & MSLOTS_NARROW) != 0;
}

/* mslots_block_bytes returns the bytes of 8 slots of the span in a table of either kind. */
gm_inline size_t mslots_block_bytes(const struct mspan *s, bool narrow) {
    return (narrow ? 5 * MSLOTS_BLOCK : 7 * MSLOTS_BLOCK) +
           (s->elem_size > MSLOTS_BYTE_SLACK ? MSLOTS_BLOCK : 0);
}

/* mslots_tag_at returns the place of a slot's tag, of 2 or 4 bytes; mslots_epoch_at and
 * mslots_slack_at those of the rest, the latter of 1 or 2 bytes.  narrow: what mslots_is_narrow
 * says; who knows it when he is compiled gets a few instructions. */
gm_inline char *mslots_block(const struct mspan *s, struct mslots_table *t, size_t i, bool narrow) {
    /* mslots_block_bytes for each, without its multiplication. */
    size_t first = i & ~(size_t)(MSLOTS_BLOCK - 1);
    size_t wider = s->elem_size > MSLOTS_BYTE_SLACK ? first : 0;
    return (char *)t - narrow + first * (narrow ? 5 : 7) + wider;
}

gm_inline void *mslots_tag_at(const struct mspan *s, struct mslots_table *t, size_t i,
                              bool narrow) {
    return mslots_block(s, t, i, narrow) + i % MSLOTS_BLOCK * (narrow ? 2 : 4);
}

gm_inline uint16_t *mslots_epoch_at(const struct mspan *s, struct mslots_table *t, size_t i,
                                    bool narrow) {
    char *epochs = mslots_block(s, t, i, narrow) + MSLOTS_BLOCK * (narrow ? 2 : 4);
    return (uint16_t *)epochs + i % MSLOTS_BLOCK;
}

gm_inline char *mslots_slack_at(const struct mspan *s, struct mslots_table *t, size_t i,
                                bool narrow) {
    char *slacks = mslots_block(s, t, i, narrow) + MSLOTS_BLOCK * (narrow ? 4 : 6);
    return slacks + i % MSLOTS_BLOCK * (s->elem_size > MSLOTS_BYTE_SLACK ? 2 : 1);
}

gm_inline bool mslots_fits(uint32_t tag) {
    return (tag & ~(MSLOTS_ASK | MSLOTS_IGNORED)) <= MSLOTS_NARROW_MAX;
}

/* The two bits are the upper ones of either. */
gm_inline uint16_t mslots_narrowed(uint32_t tag) {
    return (uint16_t)(tag | tag >> 16);
}
gm_inline uint32_t mslots_widened(uint16_t tag) {
    return (uint32_t)(tag & ~MSLOTS_NARROW_MAX) << 16 | (tag & MSLOTS_NARROW_MAX);
}

/* mslots_put_slack writes the slack of an entry, which its array can hold. */
gm_inline void mslots_put_slack(const struct mspan *s, struct mslots_table *t, size_t i,
                                size_t slack, bool narrow) {
    char *at = mslots_slack_at(s, t, i, narrow);
    if (s->elem_size <= MSLOTS_BYTE_SLACK)
        __atomic_store_n((uint8_t *)at, (uint8_t)slack, __ATOMIC_RELAXED);
    else
        __atomic_store_n((uint16_t *)at, (uint16_t)slack, __ATOMIC_RELAXED);
}

/* mslots_put_in is mslots_put for a tag that fits: the block is found once, for all three. */
gm_inline void mslots_put_in(const struct mspan *s, struct mslots_table *t, size_t i, uint32_t tag,
                             size_t slack, bool narrow) {
    char *block = mslots_block(s, t, i, narrow);
    size_t k = i % MSLOTS_BLOCK, tag_bytes = narrow ? 2 : 4;
    char *epoch = block + MSLOTS_BLOCK * tag_bytes + 2 * k;
    char *slacks = block + MSLOTS_BLOCK * (tag_bytes + 2);
    if (s->elem_size <= MSLOTS_BYTE_SLACK)
        __atomic_store_n((uint8_t *)slacks + k, (uint8_t)slack, __ATOMIC_RELAXED);
    else
        __atomic_store_n((uint16_t *)slacks + k, (uint16_t)slack, __ATOMIC_RELAXED);
    __atomic_store_n((uint16_t *)epoch, mepoch_now(), __ATOMIC_RELAXED);
    /* release: who reads the tag reads what belongs to it */
    if (narrow)
        __atomic_store_n((uint16_t *)block + k, mslots_narrowed(tag), __ATOMIC_RELEASE);
    else
        __atomic_store_n((uint32_t *)block + k, tag, __ATOMIC_RELEASE);
}

/* mslots_put writes an entry of the span's table, whose slack its array can hold.  False: the tag
 * does not fit. */
gm_inline bool mslots_put(const struct mspan *s, struct mslots_table *t, size_t i, uint32_t tag,
                          size_t slack) {
    if (gm_likely(mslots_is_narrow(t))) {
        if (gm_unlikely(!mslots_fits(tag)))
            return false;
        mslots_put_in(s, t, i, tag, slack, true);
    } else {
        mslots_put_in(s, t, i, tag, slack, false);
    }
    return true;
}

#endif
