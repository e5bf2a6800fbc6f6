/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Which threads free what others have allocated.
 */
#include "prof/handover.h"

#include <assert.h>
#include <string.h>
#include <sys/prctl.h>

#include "sys/persistent.h"
#include "sys/rawcall.h"

#define INDEX_SIZE (2 * HANDOVERS)

static_assert(HANDOVERS < UINT16_MAX, "the index has 16 bits");
static_assert(HANDOVER_THREADS % 4096 == 0 && HANDOVERS % 4096 == 0, "whole pages of memory");

/* make gives the table its memory at the first use: 2 pages of it are touched then. */
static bool make(struct handover_table *t) {
    if (t->all == NULL)
        t->all = mem_alloc_sparse(HANDOVERS * sizeof *t->all, MEM_RECORDER);
    if (t->index == NULL)
        t->index = mem_alloc_sparse(INDEX_SIZE * sizeof *t->index, MEM_RECORDER);
    return t->all != NULL && t->index != NULL;
}

static struct handover_thread *thread_at(struct handover_table *t, uint32_t number) {
    if (t->threads == NULL)
        t->threads = mem_alloc_sparse(HANDOVER_THREADS * sizeof *t->threads, MEM_RECORDER);
    return t->threads != NULL ? &t->threads[number % HANDOVER_THREADS] : NULL;
}

void handover_note_thread(struct handover_table *t, uint32_t number) {
    struct handover_thread *d = thread_at(t, number);
    if (d == NULL)
        return;
    *d =
        (struct handover_thread){.number = number, .tid = (uint32_t)sys_call3(SYS_gettid, 0, 0, 0)};
    sys_call3(SYS_prctl, PR_GET_NAME, (long)d->comm, 0);
}

/* name_thread stores what the directory knows. */
static void name_thread(struct handover_table *t, uint32_t number, uint32_t *ret_tid,
                        char ret_comm[16]) {
    const struct handover_thread *d = thread_at(t, number);
    if (d == NULL || d->number != number)
        return;
    *ret_tid = d->tid;
    memcpy(ret_comm, d->comm, sizeof d->comm);
}

/* name_both is for the first object, the second, fourth, ...: most threads have their creator's
 * name when they begin, and are named soon after.  Called by the thread that frees. */
static void name_both(struct handover_table *t, struct handover *h) {
    handover_note_thread(t, h->to);
    name_thread(t, h->from, &h->from_tid, h->from_comm);
    name_thread(t, h->to, &h->to_tid, h->to_comm);
}

static uint32_t hash_of(uint32_t site, uint32_t from, uint32_t to) {
    uint64_t h = site * UINT64_C(0x9e3779b97f4a7c15) ^ from * UINT64_C(0xbf58476d1ce4e5b9) ^
                 to * UINT64_C(0x94d049bb133111eb);
    return (uint32_t)((h ^ h >> 32) * UINT64_C(0x9e3779b97f4a7c15) >> 40) % INDEX_SIZE;
}

static struct handover *add_entry(struct handover_table *t, uint16_t *index, uint32_t site,
                                  uint32_t from, uint32_t to) {
    struct handover *h = &t->all[t->n++];
    *h = (struct handover){.site = site, .from = from, .to = to};
    *index = (uint16_t)t->n;
    return h;
}

/* find returns the entry, made if there is room for it, or NULL. */
static struct handover *find(struct handover_table *t, uint32_t site, uint32_t from, uint32_t to) {
    for (uint32_t i = hash_of(site, from, to);; i = (i + 1) % INDEX_SIZE) {
        if (t->index[i] == 0)
            return t->n < HANDOVERS ? add_entry(t, &t->index[i], site, from, to) : NULL;
        struct handover *h = &t->all[t->index[i] - 1];
        if (h->site == site && h->from == from && h->to == to)
            return h;
    }
}

void handover_add(struct handover_table *t, uint32_t site, uint32_t from, uint32_t to) {
    struct handover *h = make(t) ? find(t, site, from, to) : NULL;
    if (h == NULL) {
        t->rest++;
        return;
    }
    h->objects++;
    if ((h->objects & (h->objects - 1)) == 0)
        name_both(t, h);
}
