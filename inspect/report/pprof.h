/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A target as a profile for pprof: profile.proto, compressed by gzip.
 */
#ifndef GOINSPECT_PPROF_H
#define GOINSPECT_PPROF_H

#include "target/target.h"

/* pprof_make returns the bytes of the profile, to be freed.  STATUS_DONE or *failure. */
enum status pprof_make(const struct target *target, void **ret_bytes, size_t *ret_size,
                       struct failure *failure);

#endif
