/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Stacks that fool a replay which compares less than every word.
 */
#ifndef REPLAY_CASES_H
#define REPLAY_CASES_H

#include <stdbool.h>
#include <stdint.h>

typedef void case_visit(void);
typedef void case_function(uint64_t a, uint64_t b);

/* The same inner frame, whose caller is found by rbp, which differs. */
void case_same_place_other_rbp(case_visit *visit);

/* The same, but the rbp that differs is one that the inner frame has saved. */
void case_same_place_other_saved_rbp(case_visit *visit);

/* A frame whose caller restored rbp, so that it did not matter, is called by one where it does. */
void case_dead_rbp_comes_alive(case_visit *visit);

/* Eight times the same stack, but for an rbp that was saved and doesn't matter. */
void case_dead_rbp_is_another(case_visit *visit);

/* Such a frame, after an rbp that was not compared, is called by one where it matters. */
void case_saved_rbp_comes_alive(case_visit *visit);

/* One of so many stacks, by i; of each third of them, the innermost frame is the same. */
#define CASE_MANY 90
void case_one_of_many(case_visit *visit, unsigned i);

/* A frame that aligns its stack is at the same place though its caller is not. */
void case_other_place_same_alignment(case_visit *visit);

/* case_one_of_two_frames: two stacks that are the same up to a word which an rbp is restored from,
 * and where each has its return addresses, there they are in the other one, too.  farther: visited
 * from a function that either calls. */
void case_one_of_two_frames(case_visit *visit, bool outer, bool farther);

void case_recursion(case_visit *visit, unsigned depth);

/* case_begins, case_begins_too: on another stack, whose outermost frame it is, as a coroutine's.
 * case_borrows: on another piece of memory, from which a walk goes on to the stack it was called
 * on. */
void case_begins(void *top, case_visit *visit);
void case_begins_too(void *top, case_visit *visit);
void case_borrows(void *top, case_visit *visit);

/* case_one_after_another: on another stack, whose outer frames all leave rbp alone, five visits:
 * from a recursion; from farther below one of the two frames; from a deeper recursion; from below
 * the frame again, and then from farther below the other one. */
void case_one_after_another(void *top, case_visit *visit);

/* case_begins_fuzz is fuzz_next on another stack, whose outer frames all leave rbp alone. */
struct fuzz;
void case_begins_fuzz(void *top, struct fuzz *f, unsigned depth, uint64_t x);

/* case_by_rbx: from a function whose frame is found by rbx, so that its walk is a slow one. */
void case_by_rbx(case_visit *visit);

/* case_overflow: visited from a function whose unwind information has a number that is too large.
 */
void case_overflow(case_visit *visit);

/* case_wrong_frame: visited from a function whose unwind information takes rbp, which is something
 * else, for its frame's. */
void case_wrong_frame(case_visit *visit, void *rbp);

#endif
