/* SPDX-License-Identifier: BSD-3-Clause
 *
 * By how much the process has grown.
 *
 * Where the thread shares the program's descriptor table, a file that is opened takes a number that
 * the program may count on: once at the start, but not five times a second.  So what counts there
 * is what is known without: the library's own memory, and the largest resident set that there ever
 * was.  Which of the two it will be is not known at the start, so all levels are measured then.
 */
#include "agent/growth.h"

#include <stdatomic.h>
#include <string.h>
#include <sys/resource.h>

#include "image/image_private.h"
#include "sys/mem.h"
#include "sys/rawcall.h"

/* Bytes; 0: is not known. */
enum level { LEVEL_RESIDENT, LEVEL_OWN, LEVEL_PEAK, NLEVELS };

static struct {
    uint64_t by;
    uint64_t base[NLEVELS]; /* from where it counts */
    uint64_t now[NLEVELS];  /* as last measured */
} growth;

/* own is what the library has of the kernel and has not given back. */
static uint64_t own(void) {
    uint64_t sum = 0;
    for (unsigned i = 0; i < MEM_NPURPOSES; i++)
        sum += atomic_load_explicit(&mem_stats[i].ready, memory_order_relaxed);
    return sum;
}

/* peak may be that of the program that this process was before, or was forked for: then it says
 * nothing until that is exceeded. */
static uint64_t peak(void) {
    struct rusage r = {.ru_maxrss = 0};
    sys_call3(SYS_getrusage, RUSAGE_SELF, (long)&r, 0);
    return (uint64_t)r.ru_maxrss << 10;
}

static void measure(uint64_t levels[NLEVELS], bool files, bool others) {
    levels[LEVEL_RESIDENT] = files ? image_resident() : 0;
    levels[LEVEL_OWN] = others ? own() : 0;
    levels[LEVEL_PEAK] = others ? peak() : 0;
}

void growth_start(uint64_t by) {
    growth.by = by;
    if (by != 0)
        measure(growth.base, true, true);
}

bool growth_measure(bool own_table) {
    bool grown = false;
    if (growth.by == 0)
        return false;
    measure(growth.now, own_table, !own_table);
    for (unsigned i = 0; i < NLEVELS; i++) {
        if (growth.base[i] == 0)
            growth.base[i] = growth.now[i];
        grown |= growth.now[i] != 0 && growth.now[i] >= growth.base[i] + growth.by;
    }
    return grown;
}

void growth_restart(void) {
    memcpy(growth.base, growth.now, sizeof growth.base);
}
