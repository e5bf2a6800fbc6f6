/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The bitmap of a chunk, and summaries: named cases, and slow twins on random bitmaps.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "heap/mpallocbits.h"
#include "palloc_world.h"
#include "random.h"

#define PAGES PALLOC_CHUNK_PAGES
#define NONE  PALLOC_NOT_FOUND

/* Pages as one byte each: what the slow twins work on. */
struct slow {
    bool used[PAGES];
};

static struct slow to_slow(const struct palloc_bits *b) {
    struct slow s;
    for (unsigned i = 0; i < PAGES; i++)
        s.used[i] = (b->w[i / 64] & (uint64_t)1 << (i % 64)) != 0;
    return s;
}

static struct palloc_bits from_ranges(const struct bit_range *r) {
    struct palloc_bits b = {0};
    for (; r->n != 0; r++) {
        for (unsigned i = r->i; i < r->i + r->n; i++)
            b.w[i / 64] |= (uint64_t)1 << (i % 64);
    }
    return b;
}

/* random_bits makes a bitmap of runs; some are dense, some nearly empty, some in whole words. */
static struct palloc_bits random_bits(struct random *r) {
    static const unsigned lengths[] = {1, 2, 3, 8, 40, 64, 130, 400};
    struct palloc_bits b = {0};
    unsigned max_used = lengths[random_below(r, 8)];
    unsigned max_free = lengths[random_below(r, 8)];
    for (unsigned i = random_below(r, max_free + 1); i < PAGES;) {
        for (unsigned n = random_below(r, max_used) + 1; n > 0 && i < PAGES; n--, i++)
            b.w[i / 64] |= (uint64_t)1 << (i % 64);
        i += random_below(r, max_free) + 1;
    }
    return b;
}

static void same_bits(const char *name, const struct palloc_bits *got,
                      const struct palloc_bits *want) {
    for (unsigned k = 0; k < PALLOC_WORDS; k++) {
        if (got->w[k] != want->w[k])
            fail_msg("%s: word %u is %llx, not %llx", name, k, (unsigned long long)got->w[k],
                     (unsigned long long)want->w[k]);
    }
}

static void ranges_are_set_cleared_and_counted(void **state) {
    (void)state;
    static const struct {
        const char *name;
        struct bit_range r;
    } cases[] = {
        {"first page", {0, 1}},    {"last page", {511, 1}},         {"inside a word", {3, 20}},
        {"a word", {64, 64}},      {"to a word's end", {70, 58}},   {"over a boundary", {60, 8}},
        {"two words", {128, 128}}, {"over a whole word", {63, 66}}, {"all but the ends", {1, 510}},
        {"all", {0, 512}},         {"63 pages", {1, 63}},           {"65 pages", {64, 65}},
    };
    for (size_t c = 0; c < sizeof(cases) / sizeof(cases[0]); c++) {
        const struct bit_range r = cases[c].r;
        struct palloc_bits inside = from_ranges((struct bit_range[]){r, {0, 0}});
        struct palloc_bits outside;
        for (unsigned k = 0; k < PALLOC_WORDS; k++)
            outside.w[k] = ~inside.w[k];

        struct palloc_bits b = {0};
        assert_true(palloc_bits_is_clear(&b, r.i, r.n));
        palloc_bits_set_range(&b, r.i, r.n);
        same_bits(cases[c].name, &b, &inside);
        assert_int_equal(palloc_bits_popcnt_range(&b, 0, PAGES), r.n);
        assert_int_equal(palloc_bits_popcnt_range(&b, r.i, r.n), r.n);
        assert_false(palloc_bits_is_clear(&b, r.i, r.n));

        palloc_bits_set_all(&b);
        palloc_bits_clear_range(&b, r.i, r.n);
        same_bits(cases[c].name, &b, &outside);
        assert_int_equal(palloc_bits_popcnt_range(&b, 0, PAGES), PAGES - r.n);
        assert_int_equal(palloc_bits_popcnt_range(&b, r.i, r.n), 0);
        assert_true(palloc_bits_is_clear(&b, r.i, r.n));
        palloc_bits_clear_all(&b);
        assert_true(palloc_bits_is_clear(&b, 0, PAGES));
    }
}

static void random_ranges_agree_with_the_slow_twin(void **state) {
    (void)state;
    struct random rnd = {1};
    for (unsigned round = 0; round < 20000; round++) {
        struct palloc_bits b = random_bits(&rnd);
        struct slow s = to_slow(&b);
        unsigned i = random_below(&rnd, PAGES);
        unsigned n = random_below(&rnd, PAGES - i) + 1;
        unsigned count = 0;
        for (unsigned k = i; k < i + n; k++)
            count += s.used[k];
        assert_int_equal(palloc_bits_popcnt_range(&b, i, n), count);
        assert_int_equal(palloc_bits_is_clear(&b, i, n), count == 0);
        assert_int_equal(palloc_bits_get(&b, i), s.used[i]);
        bool set = random_below(&rnd, 2) != 0;
        if (set)
            palloc_bits_set_range(&b, i, n);
        else
            palloc_bits_clear_range(&b, i, n);
        memset(s.used + i, set, n);
        struct slow after = to_slow(&b);
        assert_memory_equal(&after, &s, sizeof(s));
    }
}

static void a_used_page_is_not_scavenged(void **state) {
    (void)state;
    struct palloc_data m = {0};
    palloc_bits_set_all(&m.scavenged);
    palloc_data_alloc_range(&m, 60, 10);
    assert_int_equal(palloc_bits_popcnt_range(&m.alloc, 0, PAGES), 10);
    assert_int_equal(palloc_bits_popcnt_range(&m.scavenged, 0, PAGES), PAGES - 10);
    assert_true(palloc_bits_is_clear(&m.scavenged, 60, 10));
    palloc_data_alloc_all(&m);
    assert_int_equal(palloc_bits_popcnt_range(&m.alloc, 0, PAGES), PAGES);
    assert_true(palloc_bits_is_clear(&m.scavenged, 0, PAGES));
}

static void find_takes_the_first_run(void **state) {
    (void)state;
    static const struct {
        const char *name;
        struct bit_range used[6];
        unsigned npages, search_idx;
        unsigned want, want_search_idx;
    } cases[] = {
        {"empty, one page", {{0, 0}}, 1, 0, 0, 0},
        {"empty, a word", {{0, 0}}, 64, 0, 0, 0},
        {"empty, all", {{0, 0}}, 512, 0, 0, 0},
        {"full, one page", {{0, 512}}, 1, 0, NONE, NONE},
        {"full, two pages", {{0, 512}}, 2, 0, NONE, NONE},
        {"full, 65 pages", {{0, 512}}, 65, 0, NONE, NONE},
        {"the last page", {{0, 511}}, 1, 0, 511, 511},
        {"the last page is not two", {{0, 511}}, 2, 0, NONE, 511},
        {"a short run comes before", {{0, 4}, {6, 10}, {20, 492}}, 4, 0, 16, 4},
        {"over a word boundary", {{0, 60}, {70, 442}}, 10, 0, 60, 60},
        {"a run that ends at the boundary is too short",
         {{0, 60}, {64, 6}, {80, 432}},
         5,
         0,
         70,
         60},
        {"64 pages over a boundary", {{0, 40}, {104, 408}}, 64, 0, 40, 40},
        {"65 pages, 64 free", {{0, 40}, {104, 408}}, 65, 0, NONE, 40},
        {"65 pages over three words", {{0, 63}, {128, 384}}, 65, 0, 63, 63},
        {"a full word breaks a long run", {{128, 64}}, 150, 0, 192, 0},
        {"a large run at the end", {{0, 300}}, 212, 0, 300, 300},
        {"larger than what is left", {{0, 300}}, 213, 0, NONE, 300},
        {"search from a later word", {{64, 64}}, 1, 64, 128, 128},
        {"search_idx picks its word", {{0, 0}}, 3, 70, 64, 64},
        {"more than a chunk", {{0, 0}}, 513, 0, NONE, 0},
    };
    for (size_t c = 0; c < sizeof(cases) / sizeof(cases[0]); c++) {
        struct palloc_bits b = from_ranges(cases[c].used);
        unsigned search;
        unsigned got = palloc_bits_find(&b, cases[c].npages, cases[c].search_idx, &search);
        if (got != cases[c].want || search != cases[c].want_search_idx)
            fail_msg("%s: found %u, search %u", cases[c].name, got, search);
    }
}

/* The first run of n free pages from page `from` on, one page at a time. */
static unsigned slow_find(const struct slow *s, unsigned from, unsigned n) {
    unsigned run = 0;
    for (unsigned i = from; i < PAGES; i++) {
        run = s->used[i] ? 0 : run + 1;
        if (run == n)
            return i + 1 - n;
    }
    return NONE;
}

static void find_agrees_with_the_slow_twin(void **state) {
    (void)state;
    struct random rnd = {2};
    for (unsigned round = 0; round < 30000; round++) {
        struct palloc_bits b = random_bits(&rnd);
        struct slow s = to_slow(&b);
        unsigned from = random_below(&rnd, PALLOC_WORDS) * 64;
        unsigned n = random_below(&rnd, round % 2 == 0 ? 70 : PAGES) + 1;
        unsigned search;
        assert_int_equal(palloc_bits_find(&b, n, from, &search), slow_find(&s, from, n));
        /* All free pages seen up to the run: the first of them. */
        unsigned first = slow_find(&s, from, 1);
        assert_int_equal(search, first);
    }
}

static void bit_ranges_in_a_word(void **state) {
    (void)state;
    static const struct {
        const char *name;
        uint64_t c;
        unsigned n, want;
    } cases[] = {
        {"none", 0, 1, 64},
        {"lowest bit", 1, 1, 0},
        {"highest bit", (uint64_t)1 << 63, 1, 63},
        {"all", ~(uint64_t)0, 64, 0},
        {"63 of 63", ~(uint64_t)0 >> 1, 63, 0},
        {"64 of 63", ~(uint64_t)0 >> 1, 64, 64},
        {"three of 0110'1110", 0x6e, 3, 1},
        {"two of 0110'1101", 0x6d, 2, 2},
        {"the second run is long enough", 0xff0f, 5, 8},
        {"alternating", 0x5555555555555555, 2, 64},
        {"more than a word", ~(uint64_t)0, 65, 64},
    };
    for (size_t c = 0; c < sizeof(cases) / sizeof(cases[0]); c++) {
        unsigned got = find_bit_range64(cases[c].c, cases[c].n);
        if (got != cases[c].want && (got < 64 || cases[c].want < 64))
            fail_msg("%s: %u", cases[c].name, got);
    }
}

static void summaries_of_bitmaps(void **state) {
    (void)state;
    static const struct {
        const char *name;
        struct bit_range used[6];
        unsigned start, max, end;
    } cases[] = {
        {"free", {{0, 0}}, 512, 512, 512},
        {"full", {{0, 512}}, 0, 0, 0},
        {"first used", {{0, 1}}, 0, 511, 511},
        {"last used", {{511, 1}}, 511, 511, 0},
        {"start is the longest", {{300, 212}}, 300, 300, 0},
        {"one page inside", {{0, 100}, {101, 411}}, 0, 1, 0},
        {"62 pages inside a word", {{0, 65}, {127, 385}}, 0, 62, 0},
        {"a run over a word boundary", {{0, 120}, {140, 372}}, 0, 20, 0},
        {"an inner run beats those at boundaries",
         {{0, 3}, {7, 57}, {66, 4}, {90, 410}, {504, 8}},
         0,
         20,
         0},
    };
    for (size_t c = 0; c < sizeof(cases) / sizeof(cases[0]); c++) {
        struct palloc_bits b = from_ranges(cases[c].used);
        struct palloc_sum sum = palloc_bits_summarize(&b);
        if (palloc_sum_start(sum) != cases[c].start || palloc_sum_max(sum) != cases[c].max ||
            palloc_sum_end(sum) != cases[c].end)
            fail_msg("%s: (%u, %u, %u)", cases[c].name, (unsigned)palloc_sum_start(sum),
                     (unsigned)palloc_sum_max(sum), (unsigned)palloc_sum_end(sum));
    }
}

/* The summary of n pages, one page at a time. */
static struct palloc_sum slow_summary(const bool *used, unsigned n) {
    unsigned start = 0, max = 0, run = 0;
    while (start < n && !used[start])
        start++;
    for (unsigned i = 0; i < n; i++) {
        run = used[i] ? 0 : run + 1;
        if (run > max)
            max = run;
    }
    return pack_palloc_sum(start, max, run);
}

static void summaries_agree_with_the_slow_twin(void **state) {
    (void)state;
    struct random rnd = {3};
    for (unsigned round = 0; round < 30000; round++) {
        struct palloc_bits b = random_bits(&rnd);
        struct slow s = to_slow(&b);
        assert_int_equal(palloc_bits_summarize(&b).v, slow_summary(s.used, PAGES).v);
    }
}

/* Pages come into use and free at random; the summary is always worked out from the one before. */
static void a_summary_follows_its_bitmap(void **state) {
    (void)state;
    struct random rnd = {5};
    for (int round = 0; round < 200; round++) {
        struct palloc_bits b = random_bits(&rnd);
        struct palloc_sum sum = palloc_bits_summarize(&b);
        for (int step = 0; step < 200; step++) {
            unsigned i = random_below(&rnd, PAGES);
            bool used = palloc_bits_get(&b, i);
            unsigned n = 1;
            unsigned most = random_below(&rnd, 10) != 0 ? 20 : PAGES;
            while (i + n < PAGES && n < most && palloc_bits_get(&b, i + n) == used)
                n++;
            (used ? palloc_bits_clear_range : palloc_bits_set_range)(&b, i, n);
            sum = (used ? palloc_bits_sum_after_free : palloc_bits_sum_after_alloc)(&b, sum, i, n);
            struct slow s = to_slow(&b);
            assert_int_equal(sum.v, slow_summary(s.used, PAGES).v);
        }
    }
}

static void merging_agrees_with_looking_at_all_pages(void **state) {
    (void)state;
    struct random rnd = {4};
    static bool used[8 * PAGES];
    for (unsigned round = 0; round < 5000; round++) {
        struct palloc_sum sums[8];
        for (unsigned k = 0; k < 8; k++) {
            struct palloc_bits b = random_bits(&rnd);
            switch (random_below(&rnd, 3)) {
            case 0:
                palloc_bits_clear_all(&b);
                break;
            case 1:
                if (random_below(&rnd, 4) == 0)
                    palloc_bits_set_all(&b);
                break;
            }
            struct slow s = to_slow(&b);
            memcpy(used + (size_t)k * PAGES, s.used, PAGES);
            sums[k] = palloc_bits_summarize(&b);
        }
        assert_int_equal(merge_summaries(sums, LOG_PALLOC_CHUNK_PAGES).v,
                         slow_summary(used, 8 * PAGES).v);
    }
}

static void a_root_summary_says_that_all_is_free(void **state) {
    (void)state;
    struct palloc_sum part = pack_palloc_sum(1 << 18, 1 << 18, 1 << 18);
    struct palloc_sum all[8] = {part, part, part, part, part, part, part, part};
    struct palloc_sum root = merge_summaries(all, 18);
    assert_int_equal(root.v, (uint64_t)1 << 63);
    assert_int_equal(palloc_sum_start(root), 1 << 21);
    assert_int_equal(palloc_sum_max(root), 1 << 21);
    assert_int_equal(palloc_sum_end(root), 1 << 21);
    all[3] = pack_palloc_sum((1 << 18) - 1, (1 << 18) - 1, 0);
    root = merge_summaries(all, 18);
    assert_int_equal(palloc_sum_start(root), (1 << 20) - 1);
    assert_int_equal(palloc_sum_max(root), 1 << 20);
    assert_int_equal(palloc_sum_end(root), 1 << 20);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranges_are_set_cleared_and_counted),
        cmocka_unit_test(random_ranges_agree_with_the_slow_twin),
        cmocka_unit_test(a_used_page_is_not_scavenged),
        cmocka_unit_test(find_takes_the_first_run),
        cmocka_unit_test(find_agrees_with_the_slow_twin),
        cmocka_unit_test(bit_ranges_in_a_word),
        cmocka_unit_test(summaries_of_bitmaps),
        cmocka_unit_test(summaries_agree_with_the_slow_twin),
        cmocka_unit_test(a_summary_follows_its_bitmap),
        cmocka_unit_test(merging_agrees_with_looking_at_all_pages),
        cmocka_unit_test(a_root_summary_says_that_all_is_free),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
