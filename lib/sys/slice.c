/* SPDX-License-Identifier: BSD-3-Clause
 *
 * How long others wait for the processor that a thread of the library's has.
 */
#include "sys/slice.h"

#include <sched.h>
#include <stdint.h>

#include "sys/rawcall.h"

#define SLICE_NS 100000 /* the least there is */

/* The first version of the kernel's struct sched_attr, whose header does not go with libc's. */
struct attributes {
    uint32_t size;
    uint32_t policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime; /* ns; of a thread of the usual policies: its slice */
    uint64_t deadline;
    uint64_t period;
};

void slice_shorten(void) {
    struct attributes a = {.size = sizeof a};
    long error = sys_call4(SYS_sched_getattr, 0, (long)&a, sizeof a, 0);
    if (error != 0 || (a.policy != SCHED_OTHER && a.policy != SCHED_BATCH))
        return;
    a.runtime = SLICE_NS;
    sys_call3(SYS_sched_setattr, 0, (long)&a, 0);
}
