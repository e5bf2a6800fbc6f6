/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Slot tables: four bytes of tag and two of slack for each slot of a span.
 *
 * The recorder keeps a tag for each sampled object: a word that the heap does not understand, but
 * for its being 0 where nothing is recorded, and one bit.  It stands in a table beside the span
 * (not in the object: that would change the heap that is watched), made when the first object of
 * the span is recorded, and cleared at free.  An entry is meaningful while its slot is live.
 * Large objects have a table of one slot.
 *
 * A span with recorded objects is marked (SPAN_RECORDED), so that only frees in such a span pay for
 * the recorder: at the default rate one span in some sixty.
 */
#ifndef GM_HEAP_MSLOTS_H
#define GM_HEAP_MSLOTS_H

#include "heap/mspan.h"

/* A tag with this bit asks that the recorder be told before its slot is freed: heap_free_slow does
 * nothing but say so (FREE_ASK), until somebody has put another tag there. */
#define MSLOTS_ASK 0x80000000u

/* mslots_record notes that slot i of s, which the caller has just allocated and whose span the
 * caller owns, has the tag and was asked to hold elem - slack bytes.  False: no memory, the
 * slot stays unrecorded.  slack is capped at 65535 for small objects; a large object's size goes to
 * large_requested. */
bool mslots_record(struct mspan *s, size_t i, uint32_t tag, size_t slack);

/* mslots_tag returns the tag of slot i, 0 if not recorded; mslots_slack what was not asked for.
 * Anybody may ask. */
uint32_t mslots_tag(const struct mspan *s, size_t i);
size_t mslots_slack(const struct mspan *s, size_t i);

/* mslots_replace puts another tag in the place of one that is not 0.  False: that one is not, or no
 * more, there; of several threads that replace the same one, one is told true. */
bool mslots_replace(struct mspan *s, size_t i, uint32_t tag, uint32_t by);

/* mslots_clear forgets slot i: called before it is freed, by who frees it.  Returns whether it was
 * recorded. */
bool mslots_clear(struct mspan *s, size_t i);

/* mslots_settle lets free take its fast path in s again if nothing that lives is recorded there.
 * The table stays: it is zero, and another thread may be about to clear an entry of it.  The caller
 * owns the span. */
void mslots_settle(struct mspan *s);

/* mslots_release takes the table from an empty span.  The caller owns the span. */
void mslots_release(struct mspan *s);

extern struct mutex mslots_lock; /* for fork handlers */

#endif
