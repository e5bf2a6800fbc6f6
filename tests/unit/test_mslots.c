/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Slot tables: what is recorded reads back, what is cleared or released does not; and that an
 * object is ignored is known beside that, until it is freed.  Nothing of that is lost when a table
 * becomes a wide one, whatever others do meanwhile.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "heap/mslots.h"
#include "sys/mem.h"

static struct span_owner owner;

static struct mspan small_span(uint32_t elem_size, uint16_t nelems) {
    return (struct mspan){
        .elem_size = elem_size, .nelems = nelems, .npages = 1, .owner = (uintptr_t)&owner};
}

static void nothing_is_recorded_in_a_fresh_span(void **state) {
    (void)state;
    struct mspan s = small_span(64, 128);
    assert_int_equal(mslots_tag(&s, 5), 0);
    assert_int_equal(mslots_slack(&s, 5), 0);
    mslots_clear(&s, 5);
    mslots_release(&s);
    assert_int_equal(s.owner, (uintptr_t)&owner);
}

static void every_slot_keeps_its_own_site_and_slack(void **state) {
    (void)state;
    static const struct {
        uint32_t elem_size;
        uint16_t nelems;
    } shapes[] = {{8, 1024}, {16, 512}, {24, 341}, {48, 170}, {1024, 8}, {9472, 6}, {32768, 1}};
    for (size_t k = 0; k < sizeof shapes / sizeof shapes[0]; k++) {
        struct mspan s = small_span(shapes[k].elem_size, shapes[k].nelems);
        for (uint32_t i = 0; i < s.nelems; i++)
            assert_true(mslots_record(&s, i, 1000 + i, i % s.elem_size));
        for (uint32_t i = 0; i < s.nelems; i++) {
            assert_int_equal(mslots_tag(&s, i), 1000 + i);
            assert_int_equal(mslots_slack(&s, i), i % s.elem_size);
        }
        mslots_release(&s);
    }
}

static void the_first_record_marks_the_owner_and_release_unmarks_it(void **state) {
    (void)state;
    struct mspan s = small_span(64, 128);
    assert_true(mslots_record(&s, 0, 7, 0));
    assert_int_equal(s.owner, (uintptr_t)&owner | SPAN_RECORDED);
    assert_ptr_equal(mspan_owner(&s), &owner);
    mslots_release(&s);
    assert_int_equal(s.owner, (uintptr_t)&owner);
    assert_null(s.sites);
}

static void clearing_forgets_one_slot(void **state) {
    (void)state;
    struct mspan s = small_span(64, 128);
    for (uint32_t i = 0; i < 128; i++)
        mslots_record(&s, i, i + 1, 3);
    mslots_clear(&s, 77);
    for (uint32_t i = 0; i < 128; i++)
        assert_int_equal(mslots_tag(&s, i), i == 77 ? 0 : i + 1);
    assert_int_equal(mslots_slack(&s, 77), 0);
    mslots_release(&s);
}

static void slack_is_capped_for_small_objects(void **state) {
    (void)state;
    static const struct {
        uint32_t elem_size;
        size_t most;
    } shapes[] = {{64, UINT8_MAX}, {256, UINT8_MAX}, {288, UINT16_MAX}, {32768, UINT16_MAX}};
    for (size_t k = 0; k < sizeof shapes / sizeof shapes[0]; k++) {
        struct mspan s = small_span(shapes[k].elem_size, 2);
        mslots_record(&s, 0, 1, 5);
        mslots_record(&s, 1, 1, 1000000);
        assert_int_equal(mslots_slack(&s, 1), shapes[k].most);
        mslots_resize(&s, 1, 77);
        assert_int_equal(mslots_slack(&s, 1), 77);
        assert_int_equal(mslots_slack(&s, 0), 5);
        mslots_release(&s);
    }
}

static void resizing_leaves_alone_what_is_not_recorded(void **state) {
    (void)state;
    struct mspan s = small_span(64, 128);
    mslots_resize(&s, 3, 9);
    assert_null(s.sites);
    mslots_record(&s, 4, 1, 0);
    mslots_resize(&s, 3, 9);
    assert_int_equal(mslots_tag(&s, 3), 0);
    assert_int_equal(mslots_slack(&s, 3), 0);
    mslots_release(&s);
}

static void an_entry_has_the_epoch_in_which_it_was_made(void **state) {
    (void)state;
    struct mspan s = small_span(64, 128);
    for (uint32_t i = 0; i < 128; i++) {
        mepoch_now_ = (uint16_t)(500 * i);
        mslots_record(&s, i, 1 + i, i % 64);
        mepoch_now_ = 7;
        mslots_resize(&s, i, i % 60);
    }
    for (uint32_t i = 0; i < 128; i++)
        assert_int_equal(mslots_epoch(&s, i), 500 * i);
    mslots_clear(&s, 5);
    assert_int_equal(mslots_epoch(&s, 5), MEPOCH_UNKNOWN);
    mslots_release(&s);
    assert_int_equal(mslots_epoch(&s, 6), MEPOCH_UNKNOWN);
}

static void a_large_object_keeps_its_size(void **state) {
    (void)state;
    struct mspan s = {.elem_size = 0, .nelems = 1, .npages = 100, .owner = (uintptr_t)&owner};
    assert_true(mslots_record(&s, 0, 9, 300000));
    assert_int_equal(mslots_tag(&s, 0), 9);
    assert_int_equal(mslots_slack(&s, 0), 300000);
    assert_int_equal(s.large_requested, 100 * 8192 - 300000);
    assert_int_equal(s.owner, (uintptr_t)&owner | SPAN_RECORDED);
    mslots_release(&s);
    assert_int_equal(s.owner, (uintptr_t)&owner);
    assert_int_equal(s.large_requested, 0);
    assert_int_equal(mslots_tag(&s, 0), 0);
}

static void a_table_used_again_is_empty(void **state) {
    (void)state;
    static const uint32_t tags[] = {MSLOTS_NARROW_MAX | MSLOTS_ASK, UINT32_MAX};
    for (unsigned k = 0; k < 2; k++) {
        struct mspan a = small_span(64, 128);
        for (uint32_t i = 0; i < 128; i++)
            mslots_record(&a, i, tags[k], UINT16_MAX);
        struct mslots_table *table = a.sites;
        mslots_release(&a);
        struct mspan b = small_span(64, 128);
        mslots_record(&b, 0, tags[k] - 1, 0);
        assert_ptr_equal(b.sites, table);
        for (uint32_t i = 1; i < 128; i++)
            assert_int_equal(mslots_tag(&b, i), 0);
        mslots_release(&b);
    }
}

static void a_slot_takes_5_or_6_bytes_where_numbers_are_small(void **state) {
    (void)state;
    static const struct {
        uint32_t elem_size, nelems;
        uint32_t tag;
        uint64_t bytes;
    } rows[] = {{64, 128, MSLOTS_NARROW_MAX, 128 * 5},
                {512, 64, MSLOTS_ASK | 1, 64 * 6},
                {64, 128, MSLOTS_NARROW_MAX + 1, 128 * 7 + 32},
                {512, 64, MSLOTS_ASK | (MSLOTS_NARROW_MAX + 1), 64 * 8 + 32}};
    for (size_t k = 0; k < sizeof rows / sizeof rows[0]; k++) {
        struct mspan s[16]; /* more than others have left */
        uint64_t before = mem_stats[MEM_SLOT].used;
        for (unsigned i = 0; i < 16; i++) {
            s[i] = small_span(rows[k].elem_size, (uint16_t)rows[k].nelems);
            assert_true(mslots_record(&s[i], 0, rows[k].tag, 0));
        }
        assert_in_range(mem_stats[MEM_SLOT].used - before, 14 * rows[k].bytes, 16 * rows[k].bytes);
        for (unsigned i = 0; i < 16; i++)
            mslots_release(&s[i]);
    }
}

static void a_wide_table_has_all_that_the_narrow_one_had(void **state) {
    (void)state;
    static const uint32_t sizes[] = {32, 288};
    for (unsigned k = 0; k < 2; k++) {
        struct mspan s = small_span(sizes[k], 100);
        uint64_t before = mem_stats[MEM_SLOT].used;
        for (uint32_t i = 1; i < 100; i++) {
            mepoch_now_ = (uint16_t)(600 * i);
            mslots_record(&s, i, i % 3 == 0 ? MSLOTS_ASK | i : 100 * i, i % sizes[k]);
        }
        mslots_clear(&s, 50);
        assert_true(mslots_ignore(&s, 51));
        mepoch_now_ = 9;
        assert_true(mslots_record(&s, 0, MSLOTS_NARROW_MAX + 1, 5));
        assert_int_equal(mslots_tag(&s, 0), MSLOTS_NARROW_MAX + 1);
        for (uint32_t i = 1; i < 100; i++) {
            uint32_t tag = i % 3 == 0 ? MSLOTS_ASK | i : 100 * i;
            assert_int_equal(mslots_tag(&s, i), i == 50 ? 0 : tag);
            assert_int_equal(mslots_slack(&s, i), i == 50 ? 0 : i % sizes[k]);
            assert_int_equal(mslots_epoch(&s, i), i == 50 ? MEPOCH_UNKNOWN : 600 * i);
            assert_int_equal(mslots_is_ignored(&s, i), i == 51);
        }
        mslots_release(&s);
        /* Both of its tables serve again. */
        uint64_t made = mem_stats[MEM_SLOT].used;
        assert_true(made > before || k != 0);
        struct mspan b = small_span(sizes[k], 100);
        mslots_record(&b, 1, 1, 0);
        mslots_record(&b, 0, MSLOTS_NARROW_MAX + 1, 0);
        assert_int_equal(mem_stats[MEM_SLOT].used, made);
        mslots_release(&b);
    }
}

static void what_may_take_a_tags_place_has_room_there(void **state) {
    (void)state;
    struct mspan s = small_span(64, 128);
    const uint32_t later = MSLOTS_NARROW_MAX + 77;
    assert_true(mslots_record(&s, 1, 3, 0));
    assert_true(mslots_record_for(&s, 0, MSLOTS_ASK | 5, later, 0));
    assert_int_equal(mslots_tag(&s, 0), MSLOTS_ASK | 5);
    assert_true(mslots_replace(&s, 0, MSLOTS_ASK | 5, later));
    assert_int_equal(mslots_tag(&s, 0), later);
    assert_int_equal(mslots_tag(&s, 1), 3);
    mslots_release(&s);
}

/* One frees, or ends the judging of objects, while the owner's table becomes a wide one. */
struct widened {
    struct mspan s;
    _Atomic unsigned ready; /* both have come so far */
    bool ok;
};

static void *change_entries(void *arg) {
    struct widened *x = arg;
    x->ready++;
    while (x->ready < 2)
        ;
    for (uint32_t i = 0; i < 64; i++) {
        x->ok &= mslots_replace(&x->s, 2 * i, MSLOTS_ASK | (i + 1), i + 1);
        mslots_clear(&x->s, 2 * i + 1);
    }
    return NULL;
}

static void nothing_is_lost_that_others_do_while_a_table_becomes_wide(void **state) {
    (void)state;
    for (int round = 0; round < 300; round++) {
        static struct widened x;
        pthread_t other;
        x.s = small_span(32, 256);
        x.ready = 0;
        x.ok = true;
        for (uint32_t i = 0; i < 64; i++) {
            mslots_record(&x.s, 2 * i, MSLOTS_ASK | (i + 1), 0);
            mslots_record(&x.s, 2 * i + 1, 7, 0);
        }
        assert_int_equal(pthread_create(&other, NULL, change_entries, &x), 0);
        x.ready++;
        while (x.ready < 2)
            ;
        assert_true(mslots_record(&x.s, 255, MSLOTS_NARROW_MAX + 1, 0));
        pthread_join(other, NULL);
        assert_true(x.ok);
        for (uint32_t i = 0; i < 64; i++) {
            assert_int_equal(mslots_tag(&x.s, 2 * i), i + 1);
            assert_int_equal(mslots_tag(&x.s, 2 * i + 1), 0);
        }
        mslots_release(&x.s);
    }
}

static void releasing_and_making_tables_takes_no_new_memory(void **state) {
    (void)state;
    uint64_t before = 0;
    for (int round = 0; round < 1000; round++) {
        struct mspan s[20];
        for (uint32_t i = 0; i < 20; i++) {
            s[i] = small_span(8, (uint16_t)(1024 >> i % 10));
            mslots_record(&s[i], 0, 1, 0);
        }
        for (uint32_t i = 0; i < 20; i++)
            mslots_release(&s[i]);
        if (round == 0)
            before = mem_stats[MEM_SLOT].used;
    }
    assert_int_equal(mem_stats[MEM_SLOT].used, before);
}

static void *churn(void *arg) {
    uint32_t id = *(uint32_t *)arg;
    struct span_owner mine = {.id = id};
    for (int round = 0; round < 3000; round++) {
        struct mspan s = small_span(32, 256);
        s.owner = (uintptr_t)&mine;
        for (uint32_t i = 0; i < 256; i += 17)
            mslots_record(&s, i, id * 1000 + i, i % 32);
        for (uint32_t i = 0; i < 256; i++) {
            uint32_t want = i % 17 == 0 ? id * 1000 + i : 0;
            if (mslots_tag(&s, i) != want || mspan_owner(&s) != &mine)
                return NULL;
        }
        mslots_release(&s);
    }
    return arg;
}

static void threads_never_share_a_table(void **state) {
    (void)state;
    pthread_t threads[4];
    uint32_t ids[4] = {1, 2, 3, 4};
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, churn, &ids[i]), 0);
    for (int i = 0; i < 4; i++) {
        void *ret;
        pthread_join(threads[i], &ret);
        assert_ptr_equal(ret, &ids[i]);
    }
}

static void an_ignored_object_is_so_until_it_is_freed(void **state) {
    (void)state;
    struct mspan s = small_span(64, 128);
    assert_false(mslots_is_ignored(&s, 3));
    assert_true(mslots_ignore(&s, 3));
    assert_true(mslots_is_ignored(&s, 3));
    assert_false(mslots_is_ignored(&s, 4));
    /* Free has to come by the table, which is all that the recorder sees of it. */
    assert_int_equal(s.owner, (uintptr_t)&owner | SPAN_RECORDED);
    assert_int_equal(mslots_tag(&s, 3), 0);
    assert_int_equal(mslots_slack(&s, 3), 0);
    assert_int_equal(mslots_epoch(&s, 3), MEPOCH_UNKNOWN);
    mslots_settle(&s);
    assert_int_equal(s.owner, (uintptr_t)&owner | SPAN_RECORDED);
    mslots_clear(&s, 3);
    assert_false(mslots_is_ignored(&s, 3));
    mslots_settle(&s);
    assert_int_equal(s.owner, (uintptr_t)&owner);
    mslots_release(&s);
}

static void what_is_recorded_and_that_it_is_ignored_do_not_disturb_each_other(void **state) {
    (void)state;
    struct mspan s = small_span(64, 128);
    assert_true(mslots_record(&s, 5, MSLOTS_ASK | 9, 7));
    assert_true(mslots_ignore(&s, 5));
    assert_int_equal(mslots_tag(&s, 5), MSLOTS_ASK | 9);
    assert_int_equal(mslots_slack(&s, 5), 7);
    assert_false(mslots_replace(&s, 5, 9, 10));
    assert_true(mslots_replace(&s, 5, MSLOTS_ASK | 9, 10));
    assert_int_equal(mslots_tag(&s, 5), 10);
    assert_true(mslots_is_ignored(&s, 5));
    mslots_clear(&s, 5);
    assert_true(mslots_record(&s, 5, 11, 0));
    assert_false(mslots_is_ignored(&s, 5));
    mslots_release(&s);
}

/* A thread settles while others ignore objects of its span. */
struct shared_span {
    struct mspan s;
    _Atomic bool over;
};

static void *settle(void *arg) {
    struct shared_span *x = arg;
    while (!x->over)
        mslots_settle(&x->s);
    return NULL;
}

static void *ignore(void *arg) {
    struct shared_span *x = arg;
    static _Atomic uint32_t next;
    uint32_t slot = next++;
    for (int round = 0; round < 20000; round++) {
        if (!mslots_ignore(&x->s, slot) || (x->s.owner & SPAN_RECORDED) == 0 ||
            !mslots_is_ignored(&x->s, slot))
            return NULL;
        mslots_clear(&x->s, slot);
    }
    return arg;
}

static void an_ignored_object_of_any_thread_is_known_to_free(void **state) {
    (void)state;
    static struct shared_span x;
    pthread_t threads[3];
    x.s = small_span(64, 128);
    assert_int_equal(pthread_create(&threads[0], NULL, settle, &x), 0);
    for (int i = 1; i < 3; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, ignore, &x), 0);
    for (int i = 1; i < 3; i++) {
        void *ret;
        pthread_join(threads[i], &ret);
        assert_ptr_equal(ret, &x);
    }
    x.over = true;
    pthread_join(threads[0], NULL);
    mslots_release(&x.s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_recorded_in_a_fresh_span),
        cmocka_unit_test(every_slot_keeps_its_own_site_and_slack),
        cmocka_unit_test(the_first_record_marks_the_owner_and_release_unmarks_it),
        cmocka_unit_test(clearing_forgets_one_slot),
        cmocka_unit_test(slack_is_capped_for_small_objects),
        cmocka_unit_test(resizing_leaves_alone_what_is_not_recorded),
        cmocka_unit_test(an_entry_has_the_epoch_in_which_it_was_made),
        cmocka_unit_test(a_large_object_keeps_its_size),
        cmocka_unit_test(a_table_used_again_is_empty),
        cmocka_unit_test(a_slot_takes_5_or_6_bytes_where_numbers_are_small),
        cmocka_unit_test(a_wide_table_has_all_that_the_narrow_one_had),
        cmocka_unit_test(what_may_take_a_tags_place_has_room_there),
        cmocka_unit_test(nothing_is_lost_that_others_do_while_a_table_becomes_wide),
        cmocka_unit_test(releasing_and_making_tables_takes_no_new_memory),
        cmocka_unit_test(threads_never_share_a_table),
        cmocka_unit_test(an_ignored_object_is_so_until_it_is_freed),
        cmocka_unit_test(what_is_recorded_and_that_it_is_ignored_do_not_disturb_each_other),
        cmocka_unit_test(an_ignored_object_of_any_thread_is_known_to_free),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
