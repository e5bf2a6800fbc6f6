/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Memory from the operating system, in Go's four states.  Go: runtime/mem.go, mem_linux.go.
 *
 *   None      not ours
 *   Reserved  address space of ours, any access faults (PROT_NONE)
 *   Prepared  may be used, is not expected to be backed: never touched, or given back
 *   Ready     in use, backed as soon as it is touched
 *
 *   mem_alloc:   None -> Ready        mem_reserve: None -> Reserved
 *   mem_map:     Reserved -> Prepared mem_used:    Prepared -> Ready
 *   mem_unused:  Ready -> Prepared    mem_free:    any -> None
 *   mem_fault:   Prepared -> Reserved
 *
 * Each purpose has a struct mem_stat: the bytes in each state now, and the bytes that each
 * transition has moved since the start, under Go's names.  So for each purpose and state
 *
 *   bytes in it = bytes moved into it - bytes moved out of it
 *
 * which whoever reads an image can check.  Departure: Go accounts totals by purpose, the states
 * only for the heap; we keep the states of each.
 *
 * All sizes are bytes and multiples of 4096.  None of these change errno.
 */
#ifndef GM_SYS_MEM_H
#define GM_SYS_MEM_H

#include <stdatomic.h>

#include "sys/compiler.h"

enum mem_state { MEM_NONE, MEM_RESERVED, MEM_PREPARED, MEM_READY };

/* X(id, Go's name, from, to) */
#define MEM_TRANSITIONS(X)                                                                         \
    X(RESERVE, "sysReserve", MEM_NONE, MEM_RESERVED)                                               \
    X(MAP, "sysMap", MEM_RESERVED, MEM_PREPARED)                                                   \
    X(USED, "sysUsed", MEM_PREPARED, MEM_READY)                                                    \
    X(UNUSED, "sysUnused", MEM_READY, MEM_PREPARED)                                                \
    X(FAULT, "sysFault", MEM_PREPARED, MEM_RESERVED)                                               \
    X(ALLOC, "sysAlloc", MEM_NONE, MEM_READY)                                                      \
    X(FREE_RESERVED, "sysFree", MEM_RESERVED, MEM_NONE)                                            \
    X(FREE_PREPARED, "sysFree", MEM_PREPARED, MEM_NONE)                                            \
    X(FREE_READY, "sysFree", MEM_READY, MEM_NONE)

enum mem_transition {
#define MEM_TRANSITION_ID(id, name, from, to) MEM_SYS_##id,
    MEM_TRANSITIONS(MEM_TRANSITION_ID)
#undef MEM_TRANSITION_ID
        MEM_NTRANSITIONS
};

struct mem_transition_kind {
    const char *name;
    enum mem_state from, to;
};
extern const struct mem_transition_kind mem_transitions[MEM_NTRANSITIONS];

/* One purpose.  Counted by atomic adds: no lock. */
struct mem_stat {
    char name[24];
    _Atomic uint64_t reserved; /* bytes in each state now */
    _Atomic uint64_t prepared;
    _Atomic uint64_t ready;
    _Atomic uint64_t used; /* of Ready, handed out by the purpose's own allocator */
    _Atomic uint64_t moved[MEM_NTRANSITIONS]; /* bytes, since the start */
    _Atomic uint64_t calls[MEM_NTRANSITIONS]; /* how often */
};

/* All purposes, in the order in which the image lists them. */
enum mem_purpose {
    MEM_HEAP,     /* heapArenas: where objects live */
    MEM_ARENA,    /* struct heap_arena: the page -> span map */
    MEM_SPAN,     /* span headers and bitmaps */
    MEM_SUMMARY,  /* the radix tree's summaries */
    MEM_CHUNK,    /* the chunks' bitmaps */
    MEM_MCACHE,   /* mcaches and their hint stacks */
    MEM_SLOT,     /* site ids and slacks per slot */
    MEM_STACK,    /* the stack table */
    MEM_RECORDER, /* the rest of the recorder */
    MEM_AGENT,    /* the agent's buffers */
    MEM_OTHER,
    MEM_NPURPOSES
};
extern struct mem_stat mem_stats[MEM_NPURPOSES];

/* mem_alloc returns n zeroed bytes in Ready, or NULL. */
void *mem_alloc(size_t n, enum mem_purpose why);

/* mem_reserve returns n bytes of address space in Reserved, at hint if it is free (hint may be
 * NULL), or NULL. */
void *mem_reserve(void *hint, size_t n, enum mem_purpose why);

/* mem_reserve_aligned is mem_reserve with the result a multiple of align (a power of two). */
void *mem_reserve_aligned(size_t n, size_t align, enum mem_purpose why);

/* mem_map makes Reserved memory Prepared.  False if the kernel refuses. */
bool mem_map(void *p, size_t n, enum mem_purpose why);

/* mem_used makes Prepared memory Ready.  Pages given back by mem_unused read as zero. */
void mem_used(void *p, size_t n, enum mem_purpose why);

/* mem_unused gives Ready memory back to the kernel: it becomes Prepared.  False: the kernel refused
 * (the program has locked its memory), nothing was changed, and the pages do not read as zero. */
bool mem_unused(void *p, size_t n, enum mem_purpose why);

/* mem_huge asks the kernel to back Prepared memory, a multiple of 2 MiB in size and place, by huge
 * pages.  False: it has none. */
bool mem_huge(void *p, size_t n);

/* mem_move moves the contents of n bytes of Ready memory to other Ready memory, by moving the
 * pages; from reads as zero then, and is not backed.  False: it can't be done, and only to's
 * contents are lost. */
bool mem_move(void *to, void *from, size_t n);

/* mem_fault makes Prepared memory Reserved again. */
void mem_fault(void *p, size_t n, enum mem_purpose why);

/* mem_free unmaps memory of which the given parts are in each state (reserved + prepared + ready
 * = n). */
void mem_free(void *p, size_t n, enum mem_purpose why, size_t reserved, size_t prepared);

/* mem_grow makes n bytes of Ready memory newn bytes long, moving them if need be; what is new is
 * zero.  NULL: the kernel refuses, and they stay as they are. */
void *mem_grow(void *p, size_t n, size_t newn, enum mem_purpose why);

/* mem_alloc_sparse returns n zeroed bytes (address space reserved and readable/writable at once,
 * without commitment: MAP_NORESERVE), for big tables of which a few pages are touched.  Accounted
 * as Prepared, by way of Reserved.  NULL on failure. */
void *mem_alloc_sparse(size_t n, enum mem_purpose why);

/* mem_seal makes n bytes of the library's own .bss read as zero, and nothing else: unless the
 * kernel refuses, which does no harm.  mem_unseal lets them be written.  False: the kernel refuses.
 */
void mem_seal(void *p, size_t n);
bool mem_unseal(void *p, size_t n);

/* mem_adopt accounts n bytes of the library's own .bss, a part of which comes into use, as
 * mem_alloc_sparse does its. */
void mem_adopt(size_t n, enum mem_purpose why);

/* A table that grows at its end.  What is not in use of it is Reserved, so that a program that
 * locks its memory (mlockall backs all that can be read or written) does not have it resident; the
 * rest is Prepared.  Guarded by the lock of who grows the table; a reader without it keeps below a
 * count that is published after mem_table_reach. */
struct mem_table {
    char *base;
    size_t open; /* bytes that may be read and written, from base on */
    size_t max;  /* bytes */
    enum mem_purpose why;
};

/* mem_table_init reserves max bytes, a multiple of 4096.  False: the kernel refuses, and base is
 * NULL. */
bool mem_table_init(struct mem_table *t, size_t max, enum mem_purpose why);

/* mem_table_reach makes sure that the first n bytes may be read and written; new ones are zero.
 * False: n is more than the table may have, or the kernel refuses; nothing has changed. */
bool mem_table_reach(struct mem_table *t, size_t n);

/* mem_table_free unmaps a table, if it has been made. */
void mem_table_free(struct mem_table *t);

#endif
