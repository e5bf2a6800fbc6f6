/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The scavenger's policy.  Go: runtime/mgcscavenge.go (gcPaceScavenger, scavengerState), mheap.go
 * allocSpan.
 *
 * A page that is given back and used again has cost a system call and a page fault, 3-8 us,
 * some thousand mallocs; a page that is never given back costs memory for ever.  The policy keeps
 * what will probably be used again, and never works much.
 *
 * The goal.  The heap may retain 110 % of what was in use at most (in pages) lately:
 *
 *     goal = 1.1 * max(peak of this window, peak of the last window)
 *
 * A window is a second, to begin with.  So pages are given back when nobody has needed them for one
 * to two seconds.  Go takes the heap's size at the last collection instead of peaks; without a
 * collector there is no cycle, and a program that goes up and down faster than a window keeps its
 * memory.  Example: 100 MiB in use, then 20: for two seconds the goal stays at 110, then it is 22,
 * and 78 MiB are given back, highest addresses first.
 *
 * Never for little.  Work begins only if at least 1 MiB, and at least 1/32 of the goal, is
 * above it, and ends at the goal.  Runs shorter than 64 KiB are left (mgcscavenge.c).
 *
 * Never again and again.  Pages that were given back and come into use are counted.  If during a
 * window more than a quarter as many came back as were given back in it and the one before, it was
 * a mistake: the windows' length doubles (to 64 s at most), so that longer cycles of the program
 * are seen as such.  Eight windows without regret halve it again.
 *
 * Never much at once.  After a millisecond of work the thread sleeps 99 times as long as it worked:
 * 1 % of one CPU.  At 0.2-0.8 us for 8 KiB that is still 100-400 MiB a second.  Go steers the ratio
 * with a controller, because its sleeps are late; being late here only means less work.
 *
 * On growth.  The heap grows when no free run was long enough: there may be many short ones.  Then
 * as much as it has grown by is given back at once, down to the goal, so that a fragmented heap
 * doesn't grow without end in memory while it must in address space.  Not while the last window was
 * regretted.
 */
#include "heap/mgcpacer.h"

#define SCAVENGE_PERCENT     1u  /* of one CPU's time */
#define RETAIN_EXTRA_PERCENT 10u /* over the peak */

#define WINDOW_MIN_NS ((uint64_t)1000000000)
#define WINDOW_MAX_NS (64 * WINDOW_MIN_NS)
#define CALM_WINDOWS  8u /* after so many the window is halved */
#define IDLE_WINDOWS  8u /* with nothing to give back: look again after so many */

/* Surplus below which nothing is begun: bytes, and part of the goal. */
#define MIN_GAIN      ((uint64_t)1 << 20)
#define MIN_GAIN_PART 32u

#define MIN_WORK_NS ((uint64_t)1000000)

/* Bytes between looks at the clock: large enough for cheap system calls, small enough that these
 * pages, which nobody can have meanwhile, aren't missed. */
#define SCAVENGE_QUANTUM ((uint64_t)1 << 20)

void scavenger_init(struct scavenger *s, struct page_alloc *p, uint64_t (*nanotime)(void)) {
    *s = (struct scavenger){.pages = p, .nanotime = nanotime, .window_ns = WINDOW_MIN_NS};
}

uint64_t page_alloc_retained(const struct page_alloc *p) {
    return (p->npages_grown - p->npages_scavenged) * GM_PAGE_SIZE;
}

uint64_t scavenger_goal(const struct scavenger *s) {
    uint64_t peak = s->pages->npages_in_use_peak;
    if (s->last_peak > peak)
        peak = s->last_peak;
    return (peak + peak * RETAIN_EXTRA_PERCENT / 100) * GM_PAGE_SIZE;
}

/* surplus returns the bytes retained above the goal.  Heap lock held. */
static uint64_t surplus(const struct scavenger *s, uint64_t *ret_goal) {
    uint64_t retained = page_alloc_retained(s->pages);
    *ret_goal = scavenger_goal(s);
    return retained > *ret_goal ? retained - *ret_goal : 0;
}

/* judge decides how long the next window is.  Heap lock held. */
static void judge(struct scavenger *s, uint64_t released, uint64_t reused) {
    uint64_t recent = released + s->released_last;
    s->regretful = recent != 0 && reused > recent / 4;
    if (s->regretful) {
        s->nregrets++;
        s->ncalm = 0;
        if (s->window_ns < WINDOW_MAX_NS)
            s->window_ns *= 2;
    } else if (++s->ncalm >= CALM_WINDOWS && s->window_ns > WINDOW_MIN_NS) {
        s->ncalm = 0;
        s->window_ns /= 2;
    }
}

/* roll_window ends the window if it is over, and begins the next.  Heap lock held. */
static void roll_window(struct scavenger *s, uint64_t now_ns) {
    struct page_alloc *p = s->pages;
    if (now_ns < s->window_end_ns)
        return;
    if (s->window_end_ns != 0) {
        uint64_t released = p->npages_released - s->released_base;
        judge(s, released, p->npages_reused - s->reused_base);
        s->released_last = released;
        s->last_peak = p->npages_in_use_peak;
        s->nwindows++;
        p->npages_in_use_peak = p->npages_in_use;
    }
    s->released_base = p->npages_released;
    s->reused_base = p->npages_reused;
    s->window_end_ns = now_ns + s->window_ns;
}

/* work gives pages back until the goal is reached, the time is used up, or there are no more runs
 * that are worth it.  Returns the time it took. */
static uint64_t work(struct scavenger *s) {
    const uint64_t start = s->nanotime();
    uint64_t worked = 0;
    while (s->working && worked < MIN_WORK_NS) {
        uint64_t goal;
        mutex_lock(s->pages->mheap_lock);
        uint64_t todo = surplus(s, &goal);
        mutex_unlock(s->pages->mheap_lock);
        if (todo > SCAVENGE_QUANTUM)
            todo = SCAVENGE_QUANTUM;
        uint64_t done = todo == 0 ? 0 : page_alloc_scavenge(s->pages, todo);
        s->working = todo != 0 && done >= todo;
        worked = s->nanotime() - start;
    }
    s->worked_ns += worked;
    return worked;
}

uint64_t scavenger_tick(struct scavenger *s, uint64_t now_ns) {
    struct page_alloc *p = s->pages;
    mutex_lock(p->mheap_lock);
    roll_window(s, now_ns);
    uint64_t goal;
    uint64_t over = surplus(s, &goal);
    uint64_t free = page_alloc_retained(p) - p->npages_in_use * GM_PAGE_SIZE;
    uint64_t wait = s->window_end_ns - now_ns;
    mutex_unlock(p->mheap_lock);

    if (free < MIN_GAIN) /* even all of it would be little */
        return wait + (IDLE_WINDOWS - 1) * s->window_ns;
    if (over >= MIN_GAIN && over >= goal / MIN_GAIN_PART)
        s->working = true;
    if (!s->working)
        return wait;
    uint64_t worked = work(s);
    /* Not working any more: at the goal, or what is left is not worth it. */
    uint64_t sleep = worked * (100 / SCAVENGE_PERCENT - 1);
    return s->working || sleep > wait ? sleep : wait;
}

size_t scavenge_for_growth(struct scavenger *s, size_t growth) {
    mutex_lock(s->pages->mheap_lock);
    uint64_t goal;
    uint64_t todo = s->regretful ? 0 : surplus(s, &goal);
    mutex_unlock(s->pages->mheap_lock);
    /* Somebody else is at it: no use to wait for the kernel in the middle of malloc. */
    if (todo < MIN_GAIN || !mutex_try_lock(&s->pages->scav_lock))
        return 0;
    mutex_unlock(&s->pages->scav_lock);
    return page_alloc_scavenge(s->pages, todo < growth ? todo : growth);
}
