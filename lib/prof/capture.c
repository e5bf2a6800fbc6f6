/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Capturing the calling thread's stack: what is common to all unwinders.
 */
#include "prof/capture.h"

#include <link.h>
#include <stdatomic.h>
#include <string.h>

#include "gomalloc/image.h"
#include "prof/prof.h"
#include "prof/stack_table.h"

/* This library's own ELF header: the linker defines it in every object. */
extern const char __ehdr_start[] __attribute__((visibility("hidden")));

static const struct capture_backend *const backends[] = {&capture_libunwind};

static struct {
    const struct capture_backend *backend; /* set before any other thread runs */
    unsigned depth;
    uint64_t own_start; /* this library's code; set before state is READY */
    uint64_t own_end;
    _Atomic uint32_t state; /* enum capture_state */
} capture;

const struct capture_backend *capture_find(const char *name) {
    for (size_t i = 0; i < sizeof backends / sizeof backends[0]; i++) {
        if (strcmp(backends[i]->name, name) == 0)
            return backends[i];
    }
    return NULL;
}

void capture_configure(const struct capture_backend *b, unsigned depth) {
    capture.backend = b;
    capture.depth = depth;
    atomic_store_explicit(&capture.state, b != NULL ? CAPTURE_OFF : CAPTURE_NONE,
                          memory_order_release);
}

/* find_own_code notes the address range of the executable segments of the object that this file
 * is linked into. */
static void find_own_code(void) {
    const ElfW(Ehdr) *ehdr = (const ElfW(Ehdr) *)__ehdr_start;
    const ElfW(Phdr) *ph = (const ElfW(Phdr) *)(__ehdr_start + ehdr->e_phoff);
    uint64_t first = 0; /* address that the object was linked for: 0 unless it is not PIC */
    for (unsigned i = ehdr->e_phnum; i-- > 0;) {
        if (ph[i].p_type == PT_LOAD && ph[i].p_offset == 0)
            first = ph[i].p_vaddr;
    }
    capture.own_start = UINT64_MAX;
    for (unsigned i = 0; i < ehdr->e_phnum; i++) {
        if (ph[i].p_type != PT_LOAD || (ph[i].p_flags & PF_X) == 0)
            continue;
        uint64_t start = (uintptr_t)__ehdr_start + ph[i].p_vaddr - first;
        if (start < capture.own_start)
            capture.own_start = start;
        if (start + ph[i].p_memsz > capture.own_end)
            capture.own_end = start + ph[i].p_memsz;
    }
}

void capture_load(void) {
    uint32_t off = CAPTURE_OFF;
    if (!atomic_compare_exchange_strong_explicit(&capture.state, &off, CAPTURE_LOADING,
                                                 memory_order_acq_rel, memory_order_relaxed))
        return;
    find_own_code();
    bool ok = capture.backend->init();
    uint32_t loading = CAPTURE_LOADING; /* a fork handler may have stopped it meanwhile */
    atomic_compare_exchange_strong_explicit(&capture.state, &loading,
                                            ok ? CAPTURE_READY : CAPTURE_FAILED,
                                            memory_order_release, memory_order_relaxed);
}

void capture_stop(void) {
    if (capture_state() != CAPTURE_NONE)
        atomic_store_explicit(&capture.state, CAPTURE_STOPPED, memory_order_release);
}

enum capture_state capture_state(void) {
    return atomic_load_explicit(&capture.state, memory_order_acquire);
}

const char *capture_name(void) {
    return capture_state() == CAPTURE_READY ? capture.backend->name : "none";
}

unsigned capture_depth(void) {
    return capture.depth;
}

/* credible returns how many of the frames, from the innermost, are addresses that can exist in a
 * process: at another one the unwinder has lost its way. */
static gm_noinline unsigned credible(const uint64_t *pcs, unsigned n) {
    unsigned i = 0;
    while (i < n && pcs[i] != 0 && pcs[i] >> STACK_PC_BITS == 0)
        i++;
    return i;
}

unsigned capture_stack(uint64_t *buf, uint64_t **ret_pcs, uint32_t *ret_flags) {
    *ret_flags = 0;
    if (capture_state() != CAPTURE_READY)
        return 0;
    unsigned n = capture.backend->capture(buf, capture.depth + CAPTURE_SLACK);
    unsigned own = 0;
    while (own < n && buf[own] - capture.own_start < capture.own_end - capture.own_start)
        own++;
    n -= own;
    buf += own;
    if (n > capture.depth) {
        n = capture.depth;
        *ret_flags = GOMALLOC_SITE_TRUNCATED;
    }
    uint64_t all = 0;
    for (unsigned i = 0; i < n; i++)
        all |= buf[i];
    if (gm_unlikely(all >> STACK_PC_BITS != 0 || (n != 0 && buf[n - 1] == 0))) {
        n = credible(buf, n);
        *ret_flags = GOMALLOC_SITE_STOPPED;
    }
    *ret_pcs = buf;
    return n;
}
