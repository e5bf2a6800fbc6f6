/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Verifying captures: each Nth is compared with a full walk, and with libunwind.
 *
 * What is compared is what the recorder ends up with: the frames that were handed out, and those
 * that were only said to be the same as before, which are remembered here apart.  The full walk
 * must agree in all frames, and in whether the end was found.  libunwind must agree in the
 * innermost 512, unless the walk was lost: there it guesses.  libunwind itself is wrong after a
 * library was unloaded and another mapped over it, so its differences are counted apart as well.
 *
 * It costs 10 us a capture and 300 KiB a thread, and is for finding errors in this library.
 */
#ifndef GM_PROF_VERIFY_H
#define GM_PROF_VERIFY_H

#include "prof/capture.h"

/* verify_init: of every `every` captures of a thread one is verified.  Calls dlopen.  False: there
 * is no verifying here. */
bool verify_init(uint32_t every);

/* verify_fork_child ends the use of libunwind, which may wait for a thread that is no more. */
void verify_fork_child(void);

bool verify_init_thread(struct capture_self *t, unsigned depth);

/* verify_capture notes the capture, and verifies it if it is its turn. */
void verify_capture(struct capture_self *t, const struct capture_stack *s);

#endif
