/* SPDX-License-Identifier: BSD-3-Clause
 *
 * How long others wait for the processor that a thread of the library's has.
 */
#ifndef GM_SYS_SLICE_H
#define GM_SYS_SLICE_H

/* slice_shorten has the calling thread give way to the program's after a tenth of a millisecond,
 * where the scheduler's own slice is about three.  Its share of the processors stays what it is: of
 * low priority it would never end its work on a busy machine.  Kernels before 6.12 don't care. */
void slice_shorten(void);

#endif
