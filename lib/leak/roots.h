/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Where a mark begins: everything the program can get at without following an object.
 *
 * That is what is, or was, writable in the process and not the library's own: data and bss of every
 * object, what the program has mapped for itself (an interpreter's arenas, coroutine stacks) and
 * perhaps protected since, what it has named (region.h), stacks that it has from the heap, the
 * threads' registers and stacks, and with a thread's stack or the loader's memory its static
 * thread-local variables and the first keys of pthread_setspecific.  What else libc keeps for a
 * thread, dynamic thread-local variables and further keys, are objects of the heap that these lead
 * to.
 *
 * Of a stack only what is in use counts: what is below the stack pointer (and the 128 bytes of the
 * red zone) is over, as far as the stack is known to reach (stack_extent.h).  libc keeps stacks of
 * threads that have ended for new ones; nothing in them is alive but libc's descriptor at their
 * end, by which they are known: no living thread has it.
 *
 * Memory is read as it is in the process that calls: a forked child reads its copy.  Pages that are
 * not there (never touched, or of a file and not changed) are passed over: they hold no pointers.
 * What cannot be read is counted, not crashed on.
 */
#ifndef GM_LEAK_ROOTS_H
#define GM_LEAK_ROOTS_H

#include "leak/mark.h"

enum root_kind {
    ROOT_DATA,     /* data and bss of an object */
    ROOT_STACK,    /* a thread's, from its stack pointer on, and what stands behind it */
    ROOT_REGISTER, /* a thread's registers */
    ROOT_MAPPED,   /* other memory of the program */
    ROOT_REGION    /* named by gomalloc_root_add */
};

/* A thread, stopped. */
struct root_thread {
    uint32_t tid;
    uintptr_t sp;
    uintptr_t tp;      /* thread pointer: libc's descriptor of it */
    uintptr_t regs_lo; /* where its registers have been stored */
    uintptr_t regs_hi;
    uintptr_t pc;     /* 0: not known */
    uintptr_t alt_lo; /* its alternate stack for signals; 0, 0: none, or not known */
    uintptr_t alt_hi;
};

struct root_region {
    uintptr_t start;
    uintptr_t end;
};

/* Where words of a root stand. */
struct root_place {
    enum root_kind kind;
    bool always;       /* they keep what they lead to whatever the options: libc's own */
    uintptr_t address; /* of the first of the words */
    uintptr_t start;   /* of the range that they are a part of */
    uintptr_t end;
};

/* Who is handed the words of roots, n bytes at p, instead of the mark. */
struct root_reader {
    void (*words)(void *arg, const struct root_place *at, const void *p, size_t n);
    void *arg;
};

struct roots {
    const struct root_thread *threads; /* all but the one that marks */
    size_t nthreads;
    uintptr_t self_tp; /* thread pointer of the one that marks; 0: it is one of them */
    bool some_missing; /* there are more threads: what looks like the stack of one that has ended
                          may be theirs, and counts */
    const struct root_region *regions;
    size_t nregions;
    bool mapped;                      /* ROOT_MAPPED counts */
    unsigned kinds;                   /* mask of 1 << enum root_kind: no others are read; 0: all */
    const struct root_reader *reader; /* NULL: they are marked from */
    uintptr_t tls_bytes; /* of static variables below a thread's pointer; 0: not known */
};

/* What was read, by kind and in all. */
struct roots_report {
    struct {
        uint64_t ranges;
        uint64_t bytes;   /* read */
        uint64_t objects; /* that a word there was the first to lead to */
    } kind[ROOT_REGION + 1];
    uint64_t unreadable_bytes;
    uint64_t dead_stacks; /* of ended threads, passed over */
    uint64_t unknown; /* ranges of the library's own that it has lost count of: taken for roots */
    bool no_mappings; /* the list of mappings could not be read to its end */
};

/* roots_mark keeps all that the roots lead to, or has their words read.  False: the list of
 * mappings could not be read, or memory is short: then what the mark leaves may well be reachable.
 */
bool roots_mark(struct mark *m, const struct roots *r, struct roots_report *ret);

#endif
