/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Which pages are there: the runs that the kernel tells, by itself and page by page.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "leak/present.h"
#include "random.h"

enum { PAGE = 4096, PAGES = 3000 };

static bool touched[PAGES];

static char *reserve(size_t n) {
    char *p =
        mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    assert_ptr_not_equal(p, MAP_FAILED);
    madvise(p, n, MADV_NOHUGEPAGE);
    return p;
}

/* By pages, as earlier kernels have it, or as this one does. */
static void open_as(struct present *p, bool by_page) {
    present_open(p);
    p->by_page = by_page;
}

/* Runs do not overlap, and cover the pages that were touched, and no others. */
static void check(const char *base, bool by_page, size_t first, size_t last) {
    static struct present p;
    uintptr_t from = (uintptr_t)base + first * PAGE + 100, to;
    uintptr_t end = (uintptr_t)base + last * PAGE + 200;
    size_t page = first;
    open_as(&p, by_page);
    if (p.fd < 0)
        skip();
    while (present_next(&p, &from, end, &to)) {
        assert_true(from < to && to <= end);
        for (; page < (from - (uintptr_t)base) / PAGE; page++)
            assert_false(touched[page]);
        for (; page * PAGE + (uintptr_t)base < to; page++)
            assert_true(touched[page]);
        from = to;
    }
    for (; page <= last; page++)
        assert_false(touched[page]);
    present_close(&p);
}

static void runs_are_what_was_touched(void **state) {
    struct random r = {.state = 7};
    char *base = reserve((size_t)PAGES * PAGE);
    (void)state;
    for (size_t i = 0; i + 40 < PAGES; i += 1 + random_below(&r, 30))
        for (size_t n = random_below(&r, 8); n > 0; n--, i++) {
            base[i * PAGE] = 1;
            touched[i] = true;
        }
    for (int i = 0; i < 20; i++) {
        size_t first = random_below(&r, PAGES),
               last = first + random_below(&r, PAGES - (unsigned)first);
        check(base, false, first, last);
        check(base, true, first, last);
    }
    check(base, false, 0, PAGES - 1);
    check(base, true, 0, PAGES - 1);
    munmap(base, (size_t)PAGES * PAGE);
}

/* Of a file's pages, those that were written are changed. */
static void what_was_changed_is_told_apart(void **state) {
    static struct present p;
    char name[] = "/tmp/gomalloc-present.XXXXXX";
    int fd = mkstemp(name);
    uintptr_t to;
    (void)state;
    assert_true(fd >= 0);
    unlink(name);
    assert_int_equal(ftruncate(fd, (off_t)16 * PAGE), 0);
    char *base = mmap(NULL, (size_t)16 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    assert_ptr_not_equal(base, MAP_FAILED);
    volatile char sum = 0;
    for (int i = 0; i < 8; i++)
        sum = (char)(sum + base[i * PAGE]);
    base[5 * PAGE] = 1;
    for (int by_page = 0; by_page < 2; by_page++) {
        uintptr_t from = (uintptr_t)base, end = from + (uintptr_t)16 * PAGE;
        open_as(&p, by_page != 0);
        if (p.fd < 0)
            skip();
        assert_true(present_next(&p, &from, end, &to));
        assert_int_equal(from, (uintptr_t)base);
        p.changed = true;
        assert_true(present_next(&p, &from, end, &to));
        assert_int_equal(from, (uintptr_t)base + (uintptr_t)5 * PAGE);
        assert_int_equal(to, from + PAGE);
        from = to;
        assert_false(present_next(&p, &from, end, &to));
        present_close(&p);
    }
    munmap(base, (size_t)16 * PAGE);
    close(fd);
}

static void a_kernel_that_says_nothing_has_all_there(void **state) {
    struct present p = {.fd = -1};
    uintptr_t from = 4096, to = 0;
    (void)state;
    assert_true(present_next(&p, &from, 1 << 20, &to));
    assert_int_equal(from, 4096);
    assert_int_equal(to, 1 << 20);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(runs_are_what_was_touched),
        cmocka_unit_test(what_was_changed_is_told_apart),
        cmocka_unit_test(a_kernel_that_says_nothing_has_all_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
