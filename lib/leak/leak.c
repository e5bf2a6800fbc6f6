/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A leak check of the running process.
 */
#include "leak/leak.h"

#include <errno.h>
#include <linux/futex.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include "leak/newborn.h"
#include "leak/registers.h"
#include "leak/stack_extent.h"
#include "leak/region.h"
#include "leak/stop_late.h"
#include "leak/stop_signal.h"
#include "leak/unshare.h"
#include "leak/withheld.h"
#include "prof/locks.h"
#include "sys/rawcall.h"
#include "unwind/cfi.h"

#define MOST_TRIES 4 /* to stop threads of which one has the signal blocked for a moment */

/* Between the process and its copy: how long the pause was is known after it only. */
struct leak_shared {
    _Atomic uint32_t unshared; /* see unshare_pages */
    _Atomic uint32_t going;    /* the threads run again: the copy may begin */
    _Atomic uint32_t known;    /* the pause is */
    struct leak_pause pause;
    struct stop_late late;
};

/* What the function that runs while the threads are stopped needs. */
struct begin {
    const struct leak_options *options;
    const struct leak_report *report;
    struct leak_check *check;
    bool locked;               /* all locks are held, see unlock */
    struct withheld *withheld; /* what copies lack; NULL: not known */
    bool give;                 /* the copy is to have that, too */
};

/* unlock lets go of the locks, if that has not been done. */
static void unlock(struct begin *b) {
    if (b->locked)
        locks_release_all();
    b->locked = false;
}

static void note_threads(struct leak_pause *p) {
    uint32_t n = stop_nthreads();
    p->nmissing = 0;
    p->nstopped = 0;
    memset(p->missing, 0, sizeof p->missing);
    for (uint32_t i = 0; i < n; i++) {
        struct stop_thread t = stop_thread(i);
        p->nstopped += t.state == STOP_STOPPED;
        if (t.state != STOP_MISSING && t.state != STOP_LATE)
            continue;
        if (p->nmissing < LEAK_MISSING_TIDS)
            p->missing[p->nmissing] = t.tid;
        p->nmissing++;
    }
}

/* ---- marking ------------------------------------------------------------------------------- */

static uintptr_t thread_pointer(void) {
    uintptr_t v;
    __asm__("movq %%fs:0, %0" : "=r"(v));
    return v;
}

/* note_alternate notes the stack for signals, which the kernel names in a signal's frame. */
static void note_alternate(struct root_thread *t, const ucontext_t *uc) {
    if (uc == NULL || (uc->uc_stack.ss_flags & SS_DISABLE) != 0)
        return;
    t->alt_lo = (uintptr_t)uc->uc_stack.ss_sp;
    t->alt_hi = t->alt_lo + uc->uc_stack.ss_size;
}

/* list_threads fills `to` with those that are stopped; returns their number. */
static size_t list_threads(struct root_thread *to, const struct root_thread *caller) {
    uint32_t n = stop_nthreads();
    size_t k = 0;
    for (uint32_t i = 0; i < n; i++) {
        struct stop_thread t = stop_thread(i);
        if (t.state != STOP_STOPPED)
            continue;
        to[k] = (struct root_thread){.tid = t.tid,
                                     .sp = t.sp,
                                     .tp = t.tp,
                                     .regs_lo = t.regs_lo,
                                     .regs_hi = registers_end(&t),
                                     .pc = t.pc};
        if (caller != NULL && caller->tid == t.tid) {
            to[k] = *caller;
            to[k].tp = t.tp;
        }
        note_alternate(&to[k], (const ucontext_t *)t.regs_lo);
        k++;
    }
    return k;
}

static bool follow(const struct leak_options *o, const struct roots *roots,
                   struct leak_findings *f) {
    if (f->why != NULL)
        return why_ask(&f->mark, roots, o->why, f->why, &f->roots, &f->leaks);
    newborn_mark(&f->mark, roots->threads, roots->nthreads);
    return held_mark(&f->mark, roots, &f->roots, &f->held) && ignore_mark(&f->mark, &f->ignored);
}

static bool mark_from_roots(const struct leak_options *o, struct leak_findings *f) {
    size_t nthreads = stop_nthreads() + 1, nregions = REGIONS_MAX;
    size_t bytes =
        align_up(nthreads * sizeof(struct root_thread) + nregions * sizeof(struct root_region),
                 PHYS_PAGE_SIZE);
    struct root_thread *threads = mem_alloc(bytes, MEM_AGENT);
    if (threads == NULL)
        return false;
    struct root_region *regions = (struct root_region *)(threads + nthreads);
    const struct roots roots = {.threads = threads,
                                .nthreads = list_threads(threads, o->caller),
                                .regions = regions,
                                .nregions = region_list(regions),
                                .self_tp = thread_pointer(),
                                .some_missing = f->pause.nmissing != 0,
                                .mapped = o->mapped};
    bool ok = follow(o, &roots, f);
    mem_free(threads, bytes, MEM_AGENT, 0, 0);
    return ok;
}

/* examine finds what has leaked and has it reported.  A thread that did not stop may change objects
 * meanwhile, but with the locks held not the spans that they lie in; the report may need the locks.
 */
static int examine(struct begin *b, struct leak_findings *f, int fd) {
    uint64_t begin = stop_now_ns();
    if (!mark_begin(&f->mark, &b->options->mark))
        return LEAK_CHECK_FAILED;
    bool ok = mark_from_roots(b->options, f);
    uint64_t marked = stop_now_ns();
    ok = ok && (f->why != NULL || leaks_find(&f->mark, &f->leaks));
    f->mark_ns = marked - begin;
    f->group_ns = stop_now_ns() - marked;
    unlock(b);
    int result = ok ? b->report->run(b->report->arg, f, fd) : LEAK_CHECK_FAILED;
    leaks_free(&f->leaks);
    held_free(&f->held);
    mark_end(&f->mark);
    return result;
}

#define WHY_BYTES align_up(sizeof(struct why), PHYS_PAGE_SIZE)

static int examine_new(struct begin *b, int fd) {
    size_t bytes = align_up(sizeof(struct leak_findings), PHYS_PAGE_SIZE);
    struct leak_findings *f = mem_alloc(bytes, MEM_AGENT);
    if (f == NULL)
        return LEAK_CHECK_FAILED;
    bool known = atomic_load_explicit(&b->check->shared->known, memory_order_acquire) != 0;
    f->pause = known ? b->check->shared->pause : b->check->pause;
    stop_await_late();
    note_threads(&f->pause);
    f->mapped = b->options->mapped;
    f->in_place = b->options->in_place;
    int result = LEAK_CHECK_FAILED;
    if (b->options->why != 0)
        f->why = mem_alloc(WHY_BYTES, MEM_AGENT);
    if (f->why != NULL || b->options->why == 0)
        result = examine(b, f, fd);
    if (f->why != NULL)
        mem_free(f->why, WHY_BYTES, MEM_AGENT, 0, 0);
    mem_free(f, bytes, MEM_AGENT, 0, 0);
    return result;
}

/* unshare is what the process and the copy do before the threads go on. */
static void unshare(void *arg) {
    const struct begin *b = arg;
    unshare_pages(&b->check->shared->unshared);
}

/* await_pause has the copy wait until the pause is known; it ends with the process. */
static void await_pause(struct leak_shared *s) {
    const struct timespec step = {.tv_sec = 1};
    while (atomic_load_explicit(&s->known, memory_order_acquire) == 0)
        sys_call4(SYS_futex, (long)&s->known, FUTEX_WAIT, 0, (long)&step);
}

/* in_copy is what the copy does.  A first byte says that it has looked. */
static int in_copy(void *arg, int fd) {
    struct begin *b = arg;
    unlock(b);
    if (b->withheld != NULL)
        withheld_look(b->withheld);
    if (!fork_copy_write(fd, "", 1))
        return LEAK_CHECK_FAILED;
    await_pause(b->check->shared);
    return examine_new(b, fd);
}

/* ---- while the threads are stopped --------------------------------------------------------- */

static void make_copy(struct begin *b) {
    struct leak_check *c = b->check;
    uint64_t begin = stop_now_ns();
    if (b->give)
        withheld_give(b->withheld);
    /* The copy begins when the threads run again: they need the processors more. */
    const struct fork_copy_job job = {.run = in_copy,
                                      .at_once = unshare,
                                      .arg = b,
                                      .keep = b->report->keep,
                                      .go = &c->shared->going};
    atomic_store_explicit(&c->shared->unshared, 0, memory_order_relaxed);
    atomic_store_explicit(&c->shared->going, 0, memory_order_relaxed);
    int error = fork_copy_start(&c->copy, &job);
    if (b->give)
        withheld_keep(b->withheld);
    c->pause.copying_ns = stop_now_ns() - begin;
    if (error != 0) {
        c->error = LEAK_COPY;
        c->detail = error;
    } else {
        unshare(b);
    }
}

static void while_stopped(void *arg) {
    struct begin *b = arg;
    note_threads(&b->check->pause);
    if (b->options->in_place)
        b->check->result = examine_new(b, -1);
    else
        make_copy(b);
    unlock(b); /* now: who goes on may need them */
}

static struct leak_shared *new_shared(void) {
    long r = sys_call6(SYS_mmap, 0, sizeof(struct leak_shared), PROT_READ | PROT_WRITE,
                       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return sys_is_error(r) ? NULL : (struct leak_shared *)r;
}

static void free_shared(struct leak_check *c) {
    if (stop_late_end())
        sys_call3(SYS_munmap, (long)c->shared, sizeof(struct leak_shared), 0);
    c->shared = NULL;
}

static void tell(_Atomic uint32_t *word) {
    atomic_store_explicit(word, 1, memory_order_release);
    sys_call3(SYS_futex, (long)word, FUTEX_WAKE, 1);
}

/* tell_pause lets the copy know what the stop has found. */
static void tell_pause(struct leak_check *c, const struct stop_result *r) {
    c->pause.longest_ns = r->longest_ns;
    c->pause.longest_tid = r->longest_tid;
    c->pause.stopping_ns = r->stopping_ns;
    c->shared->pause = c->pause;
    tell(&c->shared->known);
}

static struct stop_result stop_once(struct begin *b, bool last) {
    stop_look();
    locks_take_all(); /* nobody else holds any, or the copy could not go on */
    b->locked = true;
    struct stop_result r = b->options->in_place
                               ? stop_all(while_stopped, b)
                               : stop_soon(while_stopped, b, &b->check->shared->late, last);
    unlock(b);
    return r;
}

/* keep_longer has `r` tell the longer pause of two stops. */
static void keep_longer(struct stop_result *r, const struct stop_result *before) {
    if (r->longest_ns >= before->longest_ns)
        return;
    r->longest_ns = before->longest_ns;
    r->longest_tid = before->longest_tid;
}

static struct stop_result stop_and_copy(struct begin *b) {
    struct stop_result r = stop_once(b, false);
    for (int tries = 1; r.error == STOP_BLOCKED; tries++) {
        const struct stop_result before = r;
        bool let_in = stop_await_blocked();
        r = stop_once(b, !let_in || tries == MOST_TRIES);
        keep_longer(&r, &before);
    }
    if (r.error != STOP_OK) {
        b->check->error = LEAK_STOP;
        b->check->detail = (int)r.error;
    }
    return r;
}

/* await_look waits until the copy has looked at itself.  False: it has not. */
static bool await_look(struct begin *b) {
    const struct leak_options *o = b->options;
    struct leak_check *c = b->check;
    char said;
    long n;
    while ((n = fork_copy_read(&c->copy, &said, 1, o->meanwhile != NULL ? 0 : -1)) == -ETIMEDOUT)
        if (o->meanwhile != NULL && !o->meanwhile(o->arg, c->copy.fd))
            return false;
    return n == 1;
}

/* lacks lets the copy begin, and returns how much memory of the process's it lacks. */
static uint64_t lacks(struct begin *b) {
    tell(&b->check->shared->going);
    return b->check->copy.pid != 0 && await_look(b) && b->withheld != NULL
               ? withheld_lacks(b->withheld)
               : 0;
}

/* copy_again makes another copy if the one that there is lacks memory.  `r` is what stopping the
 * threads has cost; returns what it has in all. */
static struct stop_result copy_again(struct begin *b, struct stop_result r) {
    struct leak_check *c = b->check;
    int status;
    if (c->error != LEAK_OK || lacks(b) == 0)
        return r;
    fork_copy_finish(&c->copy, true, &status);
    b->give = true;
    struct stop_result again = stop_and_copy(b);
    keep_longer(&again, &r);
    if (c->error == LEAK_OK) {
        lacks(b);
        c->pause.lacking_bytes = withheld_refused(b->withheld);
    }
    return again;
}

struct leak_check leak_begin(const struct leak_options *o, const struct leak_report *report) {
    struct leak_check c = {.copy = {.fd = -1}, .shared = new_shared()};
    struct begin b = {.options = o, .report = report, .check = &c};
    if (c.shared == NULL) {
        c.error = LEAK_MEMORY;
        return c;
    }
    /* To tell of frames, and of libc's; a library that takes no stacks has not done it. */
    if (cfi_init())
        registers_know((uintptr_t)&syscall);
    stack_extent_know_contexts();
    b.withheld = o->in_place ? NULL : withheld_begin();
    struct stop_result r = copy_again(&b, stop_and_copy(&b));
    withheld_end(b.withheld);
    if (c.error != LEAK_OK)
        free_shared(&c);
    else
        tell_pause(&c, &r);
    return c;
}

enum fork_copy_end leak_end(struct leak_check *c, bool kill, int *ret_result) {
    enum fork_copy_end end = FORK_COPY_DONE;
    *ret_result = c->result;
    if (c->copy.pid != 0)
        end = fork_copy_finish(&c->copy, kill, ret_result);
    free_shared(c);
    return end;
}
