/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Start-up, fork and exit.
 */
#ifndef GM_API_START_H
#define GM_API_START_H

#include "heap/mcache.h"

/* start_thread gives the calling thread an mcache; the first call reads the options, so that not
 * even the loader's allocations are missed at rate=1.  NULL: out of memory. */
struct mcache *start_thread(void);

#endif
