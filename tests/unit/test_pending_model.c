/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The protocol of remote frees (the top comment of lib/heap/mspan.c), checked in every interleaving
 * of its steps.
 *
 * This is a model, not the code: a span of two slots; two threads that free whatever lives, again
 * and again; and an owner who allocates, frees, sweeps, drains lists, gives the span to an mcentral
 * and takes it back, frees it when it is empty, and uses the header again, for a small span or a
 * large one.  Who acts next, and what, is tried in every way; a state that has been seen before is
 * not looked into again, so the search ends although nobody in it does.  Each step is one memory
 * operation, and all see them in one order.
 *
 * When all are at rest:
 *
 *      a slot that is marked is in a span that is on a list which somebody drains, or is known to
 *      the mcentral as unswept; and a span whose `pending` is set is on such a list.
 *
 * and never is a span pushed that is on a list already.  Rules of the protocol are broken one at a
 * time to see that the search would notice.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum mutant {
    AS_WRITTEN,
    D1_AFTER_D2,    /* the flag is cleared after the sweep */
    NO_RECHECK,     /* F5 does not read the owner again */
    LARGE_HAS_LIST, /* F4 pushes on the list of the large spans' owner, which nobody drains */
};

enum owner { NOBODY, MCACHE, MCENTRAL, LARGE };

enum { NSLOTS = 2, ALL = 3, NFREERS = 2, NTHREADS = NFREERS + 1, OWNER_THREAD = NFREERS };

/* Where a thread stands.  The next step has the name that it has in mspan.c. */
enum pc {
    REST,
    F2,
    F3,
    F4,
    F4_PUSH,
    F5,
    F5_RECHECK,
    D1,
    D2,
    D1_LATE,
    SWEEP_READ,
    SWEEP_FOLD,
    SWEEP_CLEAR,
};

/* What the owner wanted the sweep for. */
enum then { THEN_REST, THEN_GIVE, THEN_TAKE, THEN_D1 };

struct thread {
    uint8_t pc;
    uint8_t owner; /* F4: whom it read; D1, D2: whose list it drains */
    uint8_t marks; /* a sweep's reading */
    uint8_t then;
};

/* All of it; no padding, since states are compared as bytes. */
struct state {
    struct thread t[NTHREADS];
    uint8_t free_bits;
    uint8_t free_marks;
    uint8_t owner;
    uint8_t pending;
    uint8_t lists; /* bit o: the span is on the list of owner o */
    uint8_t unswept;
    uint8_t broken; /* pushed twice, or freed with marks */
    uint8_t reserved;
};

/* ---- the steps ---------------------------------------------------------------------------- */

/* Whether a marker may push on the owner's list. */
static int keeps_list(uint8_t owner, enum mutant m) {
    return owner == MCACHE || owner == MCENTRAL || (owner == LARGE && m == LARGE_HAS_LIST);
}

static void step_note_pending(struct state *s, struct thread *t, enum mutant m) {
    switch (t->pc) {
    case F2:
        t->pc = s->pending ? REST : F3;
        break;
    case F3:
        t->pc = s->pending ? REST : F4;
        s->pending = 1;
        break;
    case F4:
        t->owner = s->owner;
        t->pc = keeps_list(t->owner, m) ? F4_PUSH : F5;
        break;
    case F4_PUSH:
        s->broken |= s->lists != 0;
        s->lists |= (uint8_t)(1u << t->owner);
        t->pc = REST;
        break;
    case F5:
        s->pending = 0;
        t->pc = m == NO_RECHECK ? REST : F5_RECHECK;
        break;
    default: /* F5_RECHECK */
        t->pc = keeps_list(s->owner, m) ? F2 : REST;
        break;
    }
}

static void after_sweep(struct state *s, struct thread *t) {
    t->pc = t->then == THEN_D1 ? D1_LATE : REST;
    if (t->then == THEN_TAKE)
        s->owner = MCACHE;
    if (t->then != THEN_GIVE)
        return;
    s->broken |= s->free_bits == ALL && s->free_marks != 0;
    s->owner = s->free_bits == ALL ? NOBODY : MCENTRAL;
    s->unswept = 0;
}

static void step_sweep(struct state *s, struct thread *t) {
    switch (t->pc) {
    case SWEEP_READ:
        t->marks = s->free_marks;
        t->pc = SWEEP_FOLD;
        if (t->marks == 0)
            after_sweep(s, t);
        break;
    case SWEEP_FOLD:
        s->free_bits |= t->marks;
        t->pc = SWEEP_CLEAR;
        break;
    default: /* SWEEP_CLEAR */
        s->free_marks &= (uint8_t)~t->marks;
        after_sweep(s, t);
        break;
    }
}

static void step_drain(struct state *s, struct thread *t, enum mutant m) {
    switch (t->pc) {
    case D1:
        s->pending = 0;
        t->pc = D2;
        break;
    case D2:
        t->then = m == D1_AFTER_D2 ? THEN_D1 : THEN_REST;
        if (s->owner != t->owner) {
            if (m == D1_AFTER_D2)
                s->pending = 0;
            t->pc = F2;
        } else if (t->owner == MCACHE) {
            t->pc = SWEEP_READ;
        } else { /* the mcentral only notes it, and sweeps when it takes it */
            s->unswept = 1;
            t->pc = t->then == THEN_D1 ? D1_LATE : REST;
        }
        break;
    default: /* D1_LATE */
        s->pending = 0;
        t->pc = REST;
        break;
    }
}

/* What a freer may begin to do: F1 for slot i, if it lives. */
static int begin_free(struct state *s, struct thread *t, unsigned i) {
    unsigned bit = 1u << i;
    if (i >= NSLOTS || (s->owner != MCACHE && s->owner != MCENTRAL) ||
        ((s->free_bits | s->free_marks) & bit) != 0)
        return 0;
    s->free_marks |= (uint8_t)bit;
    t->pc = F2;
    return 1;
}

static int begin_drain(struct state *s, struct thread *t, uint8_t owner, enum mutant m) {
    if ((s->lists >> owner & 1) == 0)
        return 0;
    s->lists &= (uint8_t) ~(1u << owner);
    t->owner = owner;
    t->pc = m == D1_AFTER_D2 ? D2 : D1;
    return 1;
}

static int begin_sweep(struct thread *t, enum then then) {
    t->then = (uint8_t)then;
    t->pc = SWEEP_READ;
    return 1;
}

static int use_header(struct state *s, enum owner to) {
    s->free_bits = ALL;
    s->free_marks = 0;
    s->owner = (uint8_t)to;
    return 1;
}

enum { NCHOICES = 12 };

/* What the owner may begin to do; 0: not now. */
static int begin_owner(struct state *s, struct thread *t, unsigned choice, enum mutant m) {
    unsigned bit = 1u << (choice & 1);
    switch (choice) {
    case 0: /* allocate a slot */
    case 1:
        if (s->owner != MCACHE || (s->free_bits & bit) == 0)
            return 0;
        s->free_bits &= (uint8_t)~bit;
        return 1;
    case 2: /* free one that lives */
    case 3:
        if (s->owner != MCACHE || ((s->free_bits | s->free_marks) & bit) != 0)
            return 0;
        s->free_bits |= (uint8_t)bit;
        return 1;
    case 4:
        return begin_drain(s, t, MCACHE, m);
    case 5:
        return begin_drain(s, t, MCENTRAL, m);
    case 6: /* sweep the current span */
        return s->owner == MCACHE && begin_sweep(t, THEN_REST);
    case 7: /* give to the mcentral, or to the heap if it is empty */
        return s->owner == MCACHE && begin_sweep(t, THEN_GIVE);
    case 8: /* take from the mcentral: swept partial, or unswept */
        if (s->owner != MCENTRAL || (!s->unswept && s->free_bits == 0))
            return 0;
        if (s->unswept) {
            s->unswept = 0;
            return begin_sweep(t, THEN_TAKE);
        }
        s->owner = MCACHE;
        return 1;
    case 9:
        return s->owner == NOBODY && use_header(s, MCACHE);
    case 10:
        return s->owner == NOBODY && use_header(s, LARGE);
    default:
        if (s->owner != LARGE)
            return 0;
        s->owner = NOBODY;
        return 1;
    }
}

/* next makes one step of thread k in s.  False: there is no such step. */
static int next(struct state *s, unsigned k, unsigned choice, enum mutant m) {
    struct thread *t = &s->t[k];
    if (t->pc == REST)
        return k == OWNER_THREAD ? begin_owner(s, t, choice, m) : begin_free(s, t, choice);
    if (choice != 0)
        return 0;
    if (t->pc <= F5_RECHECK)
        step_note_pending(s, t, m);
    else if (t->pc <= D1_LATE)
        step_drain(s, t, m);
    else
        step_sweep(s, t);
    if (t->pc == REST) /* what it remembers means nothing any more */
        *t = (struct thread){.pc = REST};
    return 1;
}

static int is_right(const struct state *s) {
    int drained = (s->lists & (1u << MCACHE | 1u << MCENTRAL)) != 0;
    for (unsigned k = 0; k < NTHREADS; k++)
        if (s->t[k].pc != REST)
            return !s->broken;
    if (s->free_marks != 0 && !drained && !(s->owner == MCENTRAL && s->unswept))
        return 0;
    return !s->broken && (!s->pending || drained);
}

/* ---- the search --------------------------------------------------------------------------- */

enum { LOG_SEEN = 18, MAX_SEEN = 1 << LOG_SEEN };

/* States seen, a hash table; and those of them that are still to be looked into. */
struct search {
    struct state *seen;
    uint8_t *used;
    uint32_t *todo;
    size_t nseen;
    size_t ntodo;
};

static size_t hash(const struct state *s) {
    uint64_t h = 0xcbf29ce484222325u;
    for (size_t i = 0; i < sizeof *s; i++)
        h = (h ^ ((const uint8_t *)s)[i]) * 0x100000001b3u;
    return (size_t)((h ^ h >> 32) * 0x9e3779b97f4a7c15u >> (64 - LOG_SEEN));
}

static void note_state(struct search *x, const struct state *s) {
    size_t i = hash(s);
    while (x->used[i] && memcmp(&x->seen[i], s, sizeof *s) != 0)
        i = (i + 1) % MAX_SEEN;
    if (x->used[i])
        return;
    assert_true(++x->nseen < MAX_SEEN / 4 * 3);
    x->used[i] = 1;
    x->seen[i] = *s;
    x->todo[x->ntodo++] = (uint32_t)i;
}

/* explore returns whether every state that can be reached is right. */
static int explore(enum mutant m, size_t *ret_nstates) {
    struct search x = {.seen = calloc(MAX_SEEN, sizeof *x.seen),
                       .used = calloc(MAX_SEEN, 1),
                       .todo = calloc(MAX_SEEN, sizeof *x.todo)};
    assert_true(x.seen != NULL && x.used != NULL && x.todo != NULL);
    struct state first = {.owner = NOBODY};
    note_state(&x, &first);
    int right = 1;
    while (right && x.ntodo > 0) {
        struct state s = x.seen[x.todo[--x.ntodo]];
        right = is_right(&s);
        for (unsigned k = 0; right && k < NTHREADS; k++)
            for (unsigned choice = 0; choice < NCHOICES; choice++) {
                struct state to = s;
                if (next(&to, k, choice, m))
                    note_state(&x, &to);
            }
    }
    *ret_nstates = x.nseen;
    free(x.seen);
    free(x.used);
    free(x.todo);
    return right;
}

/* ---- tests -------------------------------------------------------------------------------- */

static void no_mark_is_lost(void **state) {
    (void)state;
    size_t n;
    assert_true(explore(AS_WRITTEN, &n));
    print_message("%zu states\n", n);
    assert_true(n > 10000); /* the threads do get into each other's way */
}

static void a_flag_cleared_after_the_sweep_is_noticed(void **state) {
    (void)state;
    size_t n;
    assert_false(explore(D1_AFTER_D2, &n));
}

static void an_owner_that_is_not_read_again_is_noticed(void **state) {
    (void)state;
    size_t n;
    assert_false(explore(NO_RECHECK, &n));
}

static void a_list_that_nobody_drains_is_noticed(void **state) {
    (void)state;
    size_t n;
    assert_false(explore(LARGE_HAS_LIST, &n));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_mark_is_lost),
        cmocka_unit_test(a_flag_cleared_after_the_sweep_is_noticed),
        cmocka_unit_test(an_owner_that_is_not_read_again_is_noticed),
        cmocka_unit_test(a_list_that_nobody_drains_is_noticed),
    };
    return cmocka_run_group_tests_name("pending_model", tests, NULL, NULL);
}
