/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Watches: proof that an activation of a function goes on.
 *
 * Nothing in memory tells one activation of a function from the next one that is called from the
 * same place at the same depth: the call writes the return address that was there before.  But it
 * writes.  A hardware watchpoint on the return slot, on writes by this thread, sees that; if it saw
 * none between two moments, and the slot was that of a living activation at both, it is the same
 * activation.
 *
 * What is guaranteed of a thread that notes a slot and asks with the ticket it got:
 *
 *   WATCH_SILENT  between the two calls no instruction of this thread has written into the eight
 *                 bytes of the slot, and the slot lies on this thread's own stack, where no other
 *                 thread runs.  Hence, if a function's return address stood there at the note and
 *                 does at the question: the activation is the same, however the thread jumped
 *                 about, changed stacks, ran handlers or was moved between processors.
 *   WATCH_FIRED   some instruction of this thread has written there.  A return slot is written by
 *                 a call and by whatever uses the dead stack, so the activation of the note has
 *                 ended.  (Programs that change return addresses in place are the exception.)
 *   WATCH_NONE    nothing is known: no watch, or it was taken away, or another thread asks, or a
 *                 child of the process that noted, or one made by vfork.
 *
 * What a watch does not see, and why SILENT stands nevertheless: the kernel writes into memory
 * too, signal frames for one, and so may other threads; but neither calls functions, and what they
 * write over a return address shows as another return address.  A debugger that calls functions of
 * the process does not end the ones that are there.  (A coroutine's stack that is a piece of a
 * thread's own, where another thread may go on, is not watched: verdict.c asks whether the capture
 * was at the thread's home.)  Two cases are not told: a thread's own stack that another thread runs
 * on all the same, or copies away and back; and the child of vfork in another pid
 * namespace that has its parent's number.
 *
 * The kernel has four watchpoints a thread, and a hit costs some microseconds (tens in some virtual
 * machines), so: a watch sees WATCH_HITS writes and is spent; at most WATCH_RATE writes and new
 * watches come upon a process in any second; a thread has WATCHES_A_THREAD at most, which leaves
 * one for a debugger.  A watch that stays silent serves any number of objects.
 *
 * Events are opened by the library's own thread, in a descriptor table of its own, and their
 * descriptors are closed at once: the mapping of an event's ring keeps it alive, and the ring's
 * head tells any thread, without a system call, how often the watch was hit; the instruction after
 * the one that hit it sees that already.
 */
#ifndef GM_PROF_WATCH_H
#define GM_PROF_WATCH_H

#include "sys/compiler.h"

#define WATCHES          16 /* at a time in the process */
#define WATCHES_A_THREAD 3
#define WATCH_HITS       4 /* that a watch sees */
#define WATCH_RATE       50

enum watch_answer { WATCH_NONE, WATCH_SILENT, WATCH_FIRED };

/* watch_note returns a ticket for watch_ask if the calling thread's slot is watched, else 0, and
 * asks for a watch on it: the library's thread looks after that at its next turn, so that it serves
 * a later object.  The slot must be the return slot of a living activation of this thread.  From
 * within malloc: takes no lock, allocates nothing, keeps errno; no system call unless the slot is
 * watched or newly asked for. */
uint32_t watch_note(uint64_t slot);

/* watch_ask answers for the time since the note; each ticket once.  Ticket 0: WATCH_NONE.  Likewise
 * from within free. */
enum watch_answer watch_ask(uint32_t ticket);

/* For the library's own thread.  watch_start allows watching, and is called when the thread has a
 * descriptor table of its own; in a forked child again, where until then all answers are
 * WATCH_NONE, whether fork handlers ran or not.  watch_turn closes what is spent and sets up what
 * is asked for; returns when it wants to be called again, UINT64_MAX: whenever the thread is awake.
 */
void watch_start(void);
uint64_t watch_turn(uint64_t now_ns);

/* watch_counter returns counter i, from 0 while it returns true: "recorder.watch.armed" ... */
struct prof_counter;
bool watch_counter(unsigned i, struct prof_counter *ret);

#endif
