/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Records of judged objects: 48 bytes each while the object lives.
 *
 * Records are numbers into a table that only grows, up to a bound.  A thread takes and gives them
 * back one by one from a list of its own, and those lists are filled and emptied by batches,
 * through a stack that all threads share.  That is a list of batches whose head is one word, number
 * and version, changed by compare-and-swap: no thread ever waits for another, one that is lost in a
 * fork leaves nothing locked, and the version keeps a head that came back from being taken for the
 * old one.  Making new records takes the caller's lock.
 */
#ifndef GM_PROF_ESCAPE_POOL_H
#define GM_PROF_ESCAPE_POOL_H

#include <stdatomic.h>

#include "sys/lock.h"
#include "sys/mem.h"

/* A judged object.  Written before its number is stored beside the slot, by the thread that
 * allocates the object, and after by who frees or resizes it. */
struct escape_record {
    union {
        uint64_t when; /* the capture at its allocation (replay.h), 0: its stack is not known */
        struct {
            uint32_t next;               /* a free one's in its list */
            _Atomic uint32_t next_batch; /* of a batch's first */
        };
    };
    uint64_t birth_ns;        /* CLOCK_MONOTONIC */
    uint64_t birth_bytes;     /* escape_bytes() */
    uint32_t site : 24;       /* where the chain began */
    uint32_t watched : 8;     /* frame whose return slot the ticket is of */
    _Atomic uint32_t present; /* where it was last recorded as allocated, 0: it has grown since
                                 without being sampled */
    uint32_t thread;          /* escape_thread(), of who allocated it */
    uint32_t ticket;          /* watch.h, 0: none */
    uint32_t look;            /* how f0's return slot looked: a hash; a free batch's number of
                                 records */
    uint16_t depth;           /* frames of the stack */
    uint16_t growths;         /* times that realloc has resized or moved it, at most UINT16_MAX */
};

#define ESCAPE_BATCH 16 /* records */

/* A thread's own free records.  All zero to begin with. */
struct escape_cache {
    uint32_t head; /* 0: none */
    uint32_t n;
};

struct escape_pool {
    struct mem_table table;
    uint32_t made;          /* records, number 0 included: it is none.  Under the lock */
    _Atomic uint64_t free;  /* version << 32 | first record of the first batch */
    _Atomic uint32_t nfree; /* records in the shared list */
};

#define ESCAPE_RECORDS_MAX ((uint32_t)1 << 20) /* what a tag has room for is more */

/* escape_pool_init reserves address space for max records.  False: there is none. */
bool escape_pool_init(struct escape_pool *p, uint32_t max);

/* escape_pool_take returns a record's number, or 0: `bound` have been made, or no memory.  The lock
 * is taken if new ones are made. */
uint32_t escape_pool_take(struct escape_pool *p, struct escape_cache *c, uint32_t bound,
                          struct mutex *lock);

/* escape_pool_give takes a record back.  c may be NULL: the caller has no cache, or must not touch
 * it. */
void escape_pool_give(struct escape_pool *p, struct escape_cache *c, uint32_t i);

/* escape_pool_used returns how many records are with objects, or with threads. */
uint32_t escape_pool_used(const struct escape_pool *p);

gm_inline struct escape_record *escape_pool_at(const struct escape_pool *p, uint32_t i) {
    return (struct escape_record *)p->table.base + i;
}

#endif
