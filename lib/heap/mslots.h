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
 * A table of n slots is three arrays, one behind the other, so 7 or 8 bytes a slot:
 *
 *      4n bytes   tags
 *      2n bytes   when they were recorded (mepoch.h)
 *      n or 2n    slack: bytes given beyond those asked for; one byte where slots have 256 or less
 *
 * A span with recorded objects is marked (SPAN_RECORDED), so that only frees in such a span pay for
 * the recorder: at the default rate one span in some sixty.
 */
#ifndef GM_HEAP_MSLOTS_H
#define GM_HEAP_MSLOTS_H

#include "heap/mepoch.h"
#include "heap/mspan.h"

#define MSLOTS_BYTE_SLACK 256 /* bytes of a slot, up to which a byte of slack will do */

/* A tag with this bit asks that the recorder be told before its slot is freed: heap_free_slow does
 * nothing but say so (FREE_ASK), until somebody has put another tag there. */
#define MSLOTS_ASK 0x80000000u

/* A tag with this bit is of an object that a leak check is to ignore (lib/leak/ignore.h).  It is
 * beside what the recorder has there, which neither sees it nor loses it, and goes at free. */
#define MSLOTS_IGNORED 0x40000000u

/* mslots_record notes that slot i of s, which the caller has just allocated and whose span the
 * caller owns, has the tag and was asked to hold elem - slack bytes.  False: no memory, the
 * slot stays unrecorded.  slack is capped at what its array holds for small objects; a large
 * object's size goes to large_requested. */
bool mslots_record(struct mspan *s, size_t i, uint32_t tag, size_t slack);

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

gm_inline uint16_t *mslots_epochs(const struct mspan *s, uint32_t *tags) {
    return (uint16_t *)(tags + s->nelems);
}

gm_inline uint16_t *mslots_slacks(const struct mspan *s, uint32_t *tags) {
    return mslots_epochs(s, tags) + s->nelems;
}

/* mslots_put_slack writes the slack of an entry, which its array can hold. */
gm_inline void mslots_put_slack(const struct mspan *s, uint32_t *tags, size_t i, size_t slack) {
    uint16_t *slacks = mslots_slacks(s, tags);
    if (s->elem_size <= MSLOTS_BYTE_SLACK)
        __atomic_store_n((uint8_t *)slacks + i, (uint8_t)slack, __ATOMIC_RELAXED);
    else
        __atomic_store_n(&slacks[i], (uint16_t)slack, __ATOMIC_RELAXED);
}

/* mslots_put writes an entry of the span's table, whose slack its array can hold. */
gm_inline void mslots_put(const struct mspan *s, uint32_t *tags, size_t i, uint32_t tag,
                          size_t slack) {
    __atomic_store_n(&mslots_epochs(s, tags)[i], mepoch_now(), __ATOMIC_RELAXED);
    mslots_put_slack(s, tags, i, slack);
    /* release: who reads the tag reads what belongs to it */
    __atomic_store_n(&tags[i], tag, __ATOMIC_RELEASE);
}

#endif
