/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Two ways to learn who allocates, side by side: the library's (verified replay, and the stack
 * table), and that of profilers before it (unw_backtrace, and a trie that is gone through frame by
 * frame).
 *
 * Preloaded, with BENCH_CAPTURE=FILE, it does both at each allocation of the program, in turns the
 * one first and the other first; the memory itself is glibc's.  The costs are summed, and written
 * as one line when the program ends.  So both are measured in the same run, with the caches as the
 * program leaves them, and on the same stacks.
 *
 * It is an object of its own, made of the library's layers, because the recorder drops the frames
 * of the object that it is in.  Only one thread is looked at.
 */
#include "capture.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <x86intrin.h>

#include "prof/capture.h"
#include "unwind/own.h"
#include "prof/trail.h"

#define DEPTH      128   /* the library's default */
#define CLAMP      30000 /* ticks; what takes longer was interrupted */
#define EXPORT     __attribute__((visibility("default")))
#define FIRST_BITS 16

/* ---- the library's way ---- */

static struct {
    struct capture_self self;
    struct trail trail;
    struct stack_table table;
} replay;

static bool init_replay(void) {
    const struct capture_options o = {.backend = capture_find("replay"), .depth = DEPTH};
    capture_configure(&o);
    capture_load();
    return capture_state() == CAPTURE_READY && stack_table_init(&replay.table, 0);
}

static bool init_thread(void) {
    trail_init(&replay.trail, DEPTH);
    return capture_self_init(&replay.self);
}

EXPORT gm_noinline bool both_first(void) {
    struct capture_self self = {.pcs = NULL};
    struct trail trail = {.pcs = NULL};
    struct capture_stack s;
    uint32_t fresh;
    trail_init(&trail, DEPTH);
    return capture_self_init(&self) && capture_take(&self, &s) &&
           trail_intern(&trail, &replay.table, s.pcs, s.n, s.known, s.flags, &fresh) != 0;
}

/* ---- the other way ---- */

struct entry {
    uint64_t pc;
    uint32_t parent;
    uint32_t node; /* 0: free */
};

static struct {
    int (*backtrace)(void **pcs, int max);
    struct entry *entries;
    unsigned bits;
    uint32_t nnodes;
} unwind;

static struct entry *find(uint64_t pc, uint32_t parent) {
    uint64_t mask = ((uint64_t)1 << unwind.bits) - 1;
    uint64_t i = ((pc ^ (uint64_t)parent << 40) * 0x9e3779b97f4a7c15u) >> (64 - unwind.bits);
    struct entry *e = &unwind.entries[i];
    while (e->node != 0 && (e->pc != pc || e->parent != parent))
        e = &unwind.entries[++i & mask];
    return e;
}

static void grow(void) {
    struct entry *old = unwind.entries;
    size_t n = old != NULL ? (size_t)1 << unwind.bits : 0;
    unwind.bits = old != NULL ? unwind.bits + 1 : FIRST_BITS;
    unwind.entries = calloc((size_t)1 << unwind.bits, sizeof *old);
    if (unwind.entries == NULL)
        abort();
    for (size_t i = 0; i < n; i++) {
        if (old[i].node != 0)
            *find(old[i].pc, old[i].parent) = old[i];
    }
    free(old);
}

static uint32_t child(uint32_t parent, uint64_t pc) {
    struct entry *e = find(pc, parent);
    if (e->node == 0) {
        *e = (struct entry){.pc = pc, .parent = parent, .node = ++unwind.nnodes};
        if (unwind.nnodes > (1u << unwind.bits) / 3 * 2)
            grow();
        return unwind.nnodes;
    }
    return e->node;
}

static bool init_unwind(void) {
    void *handle = dlopen("libunwind.so.8", RTLD_NOW | RTLD_LOCAL);
    void *pcs[DEPTH];
    if (handle == NULL)
        return false;
    *(void **)&unwind.backtrace = dlsym(handle, "unw_backtrace");
    for (int i = 0; i < 3 && unwind.backtrace != NULL; i++)
        unwind.backtrace(pcs, DEPTH);
    grow();
    return unwind.backtrace != NULL;
}

/* ---- both ---- */

EXPORT bool both_init(void) {
    return init_unwind() && init_replay() && init_thread();
}

gm_inline uint64_t tick(void) {
    unsigned cpu;
    uint64_t t = __rdtscp(&cpu);
    _mm_lfence();
    return t;
}

EXPORT gm_noinline struct capture_cost both_replay(void) {
    struct capture_stack s;
    uint32_t fresh;
    uint64_t begin = tick();
    capture_take(&replay.self, &s);
    uint64_t captured = tick();
    if (s.site == 0)
        capture_tell(&replay.self, trail_intern(&replay.trail, &replay.table, s.pcs, s.n, s.known,
                                                s.flags, &fresh));
    return (struct capture_cost){captured - begin, tick() - captured};
}

EXPORT gm_noinline struct capture_cost both_unwind(void) {
    uint64_t pcs[DEPTH];
    uint64_t begin = tick();
    int n = unwind.backtrace((void **)pcs, DEPTH);
    uint64_t captured = tick();
    uint32_t node = 0;
    while (n > 0 && !own_code(pcs[n - 1]))
        node = child(node, pcs[--n]);
    return (struct capture_cost){captured - begin, tick() - captured};
}

EXPORT gm_noinline unsigned both_capture_replay(unsigned n) {
    struct capture_stack s = {.n = 0};
    for (unsigned i = 0; i < n; i++)
        capture_take(&replay.self, &s);
    return s.n;
}

EXPORT gm_noinline unsigned both_capture_unwind(unsigned n) {
    uint64_t pcs[DEPTH];
    int found = 0;
    for (unsigned i = 0; i < n; i++)
        found = unwind.backtrace((void **)pcs, DEPTH);
    return (unsigned)found;
}

/* ---- preloaded ---- */

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t size);

static struct {
    const char *file; /* NULL: not wanted */
    bool busy;        /* libunwind itself allocates at times */
    uint64_t overhead;
    uint64_t n;
    struct capture_cost replay;
    struct capture_cost unwind;
} sums;

static uint64_t net(uint64_t ticks) {
    if (ticks > CLAMP)
        ticks = CLAMP;
    return ticks > sums.overhead ? ticks - sums.overhead : 0;
}

static void add(struct capture_cost *sum, struct capture_cost cost) {
    sum->capture += net(cost.capture);
    sum->intern += net(cost.intern);
}

static gm_noinline void measure(void) {
    if (sums.busy)
        return;
    sums.busy = true;
    bool first = sums.n++ % 2 == 0;
    if (first)
        add(&sums.replay, both_replay());
    add(&sums.unwind, both_unwind());
    if (!first)
        add(&sums.replay, both_replay());
    sums.busy = false;
}

EXPORT void *malloc(size_t size) {
    if (sums.file != NULL)
        measure();
    return __libc_malloc(size);
}

EXPORT void *calloc(size_t n, size_t size) {
    if (sums.file != NULL)
        measure();
    return __libc_calloc(n, size);
}

EXPORT void *realloc(void *p, size_t size) {
    if (sums.file != NULL)
        measure();
    return __libc_realloc(p, size);
}

static uint64_t least_tick(void) {
    uint64_t least = UINT64_MAX;
    for (int i = 0; i < 1000; i++) {
        uint64_t begin = tick();
        uint64_t took = tick() - begin;
        least = took < least ? took : least;
    }
    return least;
}

__attribute__((constructor)) static void begin_sums(void) {
    const char *file = getenv("BENCH_CAPTURE");
    if (file == NULL || !both_init())
        return;
    sums.overhead = least_tick();
    sums.file = file;
}

__attribute__((destructor)) static void end_sums(void) {
    char line[256];
    if (sums.file == NULL || sums.n == 0)
        return;
    sums.busy = true;
    int n =
        snprintf(line, sizeof line, "%llu %llu %llu %llu %llu\n", (unsigned long long)sums.n,
                 (unsigned long long)sums.replay.capture, (unsigned long long)sums.replay.intern,
                 (unsigned long long)sums.unwind.capture, (unsigned long long)sums.unwind.intern);
    int fd = open(sums.file, O_WRONLY | O_CREAT | O_APPEND, 0666);
    if (fd < 0 || write(fd, line, (size_t)n) != n)
        abort();
    close(fd);
}
