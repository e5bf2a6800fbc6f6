/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Short rows, and the table of them.
 */
#include "unwind/rowcache.h"

#include <assert.h>
#include <string.h>

#include "unwind/cfi_private.h"
#include "sys/mem.h"
#include "sys/persistent.h"

#define FIRST_BITS 12 /* log2 of entries: so that tag and row fill a word */
#define LAST_BITS  16 /* cc1plus uses 20,000 addresses */

static_assert(ROW_ADDRESS_BITS - (FIRST_BITS - 1) + ROW_BITS == 64, "an entry is a word");

_Atomic(struct rowcache *) rowcache;

static unsigned entry_bits(const struct rowcache *t) {
    return ROW_ADDRESS_BITS - t->tag_bits + 1;
}

static size_t table_bytes(const struct rowcache *t) {
    return sizeof(uint64_t) << entry_bits(t);
}

static struct rowcache *new_table(unsigned bits) {
    struct rowcache *t = persistent_alloc(sizeof *t, 64, MEM_RECORDER);
    if (t == NULL)
        return NULL;
    t->tag_bits = ROW_ADDRESS_BITS - (bits - 1);
    t->tag_mask = ((uint64_t)1 << t->tag_bits) - 1;
    t->entries = mem_alloc_sparse(table_bytes(t), MEM_RECORDER);
    if (t->entries == NULL)
        return NULL;
    mem_used((void *)t->entries, table_bytes(t), MEM_RECORDER);
    return t;
}

bool rowcache_init(void) {
    if (atomic_load_explicit(&rowcache, memory_order_relaxed) != NULL)
        return true;
    struct rowcache *t = new_table(FIRST_BITS);
    atomic_store_explicit(&rowcache, t, memory_order_release);
    return t != NULL;
}

/* Entries are zeroed one by one: readers are in it all the time. */
void rowcache_clear(void) {
    struct rowcache *t = atomic_load_explicit(&rowcache, memory_order_acquire);
    for (size_t i = 0; i < (size_t)1 << entry_bits(t); i++) {
        if (atomic_load_explicit(&t->entries[i], memory_order_relaxed) != 0)
            atomic_store_explicit(&t->entries[i], 0, memory_order_relaxed);
    }
}

/* enter puts an entry of that hash in its pair: the one put last is moved aside, and what was there
 * is dropped. */
static void enter(struct rowcache *t, uint64_t h, uint64_t row) {
    _Atomic uint64_t *pair = &t->entries[h >> t->tag_bits << 1];
    uint64_t e = atomic_load_explicit(&pair[0], memory_order_relaxed);
    if (e != 0)
        atomic_store_explicit(&pair[1], e, memory_order_relaxed);
    atomic_store_explicit(&pair[0], (h & t->tag_mask) << ROW_BITS | row, memory_order_relaxed);
}

/* take_over copies the rows of code that stays, to be computed anew by nobody.  Those of other code
 * may be on the point of being forgotten, where rowcache_clear would not see them any more. */
static void take_over(struct rowcache *to, const struct rowcache *from) {
    for (size_t i = (size_t)1 << entry_bits(from); i-- > 0;) {
        uint64_t e = atomic_load_explicit(&from->entries[i], memory_order_relaxed);
        uint64_t row = e & (((uint64_t)1 << ROW_BITS) - 1);
        if (e != 0 && (row & ROW_CHECKED) == 0)
            enter(to, (uint64_t)i >> 1 << from->tag_bits | e >> ROW_BITS, row);
    }
}

/* grow puts a table of twice the size in the place of t.  The old one's memory is given back, its
 * addresses are not: who still reads there finds nothing. */
static gm_cold void grow(struct rowcache *t) {
    uint32_t n = atomic_load_explicit(&t->nput, memory_order_relaxed);
    /* One thread does it: who makes the count jump. */
    if (!atomic_compare_exchange_strong_explicit(&t->nput, &n, n | UINT32_C(1) << 31,
                                                 memory_order_relaxed, memory_order_relaxed) ||
        n >> 31 != 0)
        return;
    struct rowcache *bigger = new_table(entry_bits(t) + 1);
    if (bigger == NULL)
        return;
    take_over(bigger, t);
    atomic_store_explicit(&bigger->nput, n / 2, memory_order_relaxed);
    atomic_store_explicit(&rowcache, bigger, memory_order_release);
    mem_unused((void *)t->entries, table_bytes(t), MEM_RECORDER);
}

static void put(uint64_t pc, uint64_t row) {
    struct rowcache *t = atomic_load_explicit(&rowcache, memory_order_acquire);
    if ((row & (ROW_FLEETING | ROW_WIDE)) != 0)
        return;
    uint32_t n = atomic_fetch_add_explicit(&t->nput, 1, memory_order_relaxed);
    enter(t, row_hash(pc), row);
    if (gm_unlikely(n >> (entry_bits(t) - 1) != 0 && entry_bits(t) < LAST_BITS))
        grow(t);
}

/* simple_expression reads a block of the form: register + offset, and then a load or not.  False:
 * it is another. */
static bool simple_expression(const struct cfi_place *p, unsigned *ret_reg, int64_t *ret_offset,
                              bool *ret_load) {
    const uint8_t *block = (const uint8_t *)(uintptr_t)p->value;
    struct cfi_cursor c = {block, block + p->room, false};
    uint64_t n = cfi_uleb(&c);
    if (c.bad || n > (uint64_t)(c.end - c.p))
        return false;
    c.end = c.p + n;
    *ret_reg = (unsigned)cfi_bytes(&c, 1) - 0x70; /* breg0 */
    *ret_offset = cfi_sleb(&c);
    *ret_load = c.p < c.end && cfi_bytes(&c, 1) == 0x06; /* deref */
    return !c.bad && c.p == c.end && *ret_reg < CFI_NREGS;
}

static bool is_at(const struct cfi_place *p, unsigned reg, int64_t offset) {
    unsigned r;
    int64_t o;
    bool loads;
    return p->rule == CFI_AT_EXPRESSION && simple_expression(p, &r, &o, &loads) && !loads &&
           r == reg && o == offset;
}

/* Words that fit into the field, or not. */
static bool words(int64_t bytes, uint64_t max, uint64_t *ret) {
    *ret = (uint64_t)(bytes / 8);
    return bytes >= 0 && bytes % 8 == 0 && (uint64_t)bytes / 8 <= max;
}

/* The CFA is what a word in the frame says. */
static uint64_t by_expression(const struct cfi_row *full) {
    uint64_t offset;
    unsigned reg;
    int64_t bytes;
    bool loads;
    if (!simple_expression(&full->cfa, &reg, &bytes, &loads) || !loads)
        return ROW_SLOW;
    if (full->signal && reg == CFI_RSP && bytes == UCONTEXT_RSP &&
        is_at(&full->regs[CFI_RBP], CFI_RSP, UCONTEXT_RBP) &&
        is_at(&full->regs[CFI_RIP], CFI_RSP, UCONTEXT_RIP))
        return ROW_SIGNAL;
    if (!full->signal && reg == CFI_RBP && bytes > INT64_MIN && words(-bytes, 0xffff, &offset) &&
        is_at(&full->regs[CFI_RBP], CFI_RBP, 0) && full->regs[CFI_RIP].rule == CFI_AT_OFFSET &&
        full->regs[CFI_RIP].value == -8)
        return row_make(ROW_DRAP, 0, offset);
    return ROW_SLOW;
}

/* shorten puts a full row into the short terms. */
static uint64_t shorten(const struct cfi_row *full) {
    const struct cfi_place *rip = &full->regs[CFI_RIP];
    const struct cfi_place *rbp = &full->regs[CFI_RBP];
    uint64_t offset;
    uint64_t saved = 0;
    if (rip->rule == CFI_UNDEFINED)
        return ROW_END;
    if (full->cfa.rule == CFI_IS_EXPRESSION)
        return by_expression(full);
    if (full->signal || full->regs[CFI_RSP].rule != CFI_SAME || rip->rule != CFI_AT_OFFSET ||
        rip->value != -8 || (full->cfa.reg != CFI_RSP && full->cfa.reg != CFI_RBP) ||
        !words(full->cfa.value, ROW_OFFSET_MAX, &offset))
        return ROW_SLOW;
    if (rbp->rule == CFI_AT_OFFSET
            ? rbp->value == INT64_MIN || !words(-rbp->value, ROW_RBP_MAX, &saved) || saved == 0
            : rbp->rule != CFI_SAME)
        return ROW_SLOW;
    return row_make(full->cfa.reg == CFI_RBP ? ROW_RBP : ROW_RSP, saved, offset);
}

/* from_short does so with a short one.  ROW_NONE: that would not be right. */
static uint64_t from_short(const struct cfi_short *s) {
    uint64_t offset;
    uint64_t saved = 0;
    if ((s->cfa_reg != CFI_RSP && s->cfa_reg != CFI_RBP) ||
        !words(s->cfa_offset, ROW_OFFSET_MAX, &offset) ||
        (s->rbp != 0 && (s->rbp == INT64_MIN || !words(-s->rbp, ROW_RBP_MAX, &saved))))
        return ROW_NONE;
    return row_make(s->cfa_reg == CFI_RBP ? ROW_RBP : ROW_RSP, saved, offset);
}

static uint64_t compute(const struct cfi_object *o, struct info_pages *info, uint64_t pc) {
    struct cfi_fde fde;
    struct cfi_short s;
    struct cfi_row full;
    if (!cfi_find_fde(o, pc, &fde))
        return ROW_LOST;
    if (info != NULL)
        info_pages_note(info, o->hdr, &fde);
    uint64_t row = cfi_short_row(&fde, pc, &s) ? from_short(&s) : ROW_NONE;
    if (row != ROW_NONE)
        return row;
    return cfi_full_row(&fde, pc, &full) ? shorten(&full) : ROW_LOST;
}

gm_noinline uint64_t rowcache_miss(uint64_t pc) {
    struct cfi_object o;
    struct info_pages *info;
    enum codeobj_kind kind = codeobj_of(pc, &o, &info);
    if (kind == CODEOBJ_NONE)
        return ROW_LOST | ROW_FLEETING;
    uint64_t row = compute(&o, info, pc);
    if (kind == CODEOBJ_CHECKED)
        row |= ROW_CHECKED;
    if (kind == CODEOBJ_UNKNOWN)
        row |= ROW_FLEETING;
    put(pc, row);
    return row;
}
