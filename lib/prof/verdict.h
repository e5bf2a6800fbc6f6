/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What is proved of an object's end when the thread frees it that allocated it.
 *
 * Three things are known then.
 *
 *   stamps   which activations of the allocation's stack have ended, for certain; the others may
 *            have ended too (replay.h).  This proves "outlived", never "within".
 *   look     whether the return slot of the function at f0's depth is where f0's was and holds the
 *            same address.  If it does though f0 has ended, who compares stacks would take it for
 *            the same call: "re-entered".
 *   watch    whether this thread wrote into the return slot of one activation f_k meanwhile
 *            (watch.h), where there was a watch.  Fired proves that f_k and all within it ended;
 *            silent that f_k goes on, as long as its function is the same: a tail call puts another
 *            in its place without touching the slot.
 *
 *      stamps say n ended    look      watch of f_k           verdict
 *      n = 0                 same      fired                  re-entered
 *      n = 0                 same      silent, k = 0          outlived 0, proved
 *      n = 0                 same      other, none            outlived 0
 *      n > 0                 same      any                    re-entered
 *      n > 0                 another   fired, k >= n          outlived k + 1
 *      n > 0                 another   silent, k = n          outlived n, proved
 *      n > 0                 another   other, none            outlived n
 *
 * (No activation has ended and f0's slot looks different: f0's slot could not be read at one of the
 * ends.  Then the rows of n = 0 hold just so.)
 */
#ifndef GM_PROF_VERDICT_H
#define GM_PROF_VERDICT_H

#include "prof/escape.h"

struct capture_self;

/* verdict_note fills in what is to be known of an allocation at the site by the thread's last
 * capture, which was of it. */
void verdict_note(struct capture_self *c, uint32_t site, struct escape_birth *ret);

/* verdict_find sets verdict, frames and proved, for a free by the thread that has allocated the
 * object.  It captures the stack. */
void verdict_find(struct capture_self *c, const struct escape_record *r, struct escape_end *ret);

#endif
