/* SPDX-License-Identifier: BSD-3-Clause
 *
 * malloc's family, function by function: alignment, errno, overflow, sizes of zero.
 *
 * Expectations are glibc's, since programs are written against it, and all of this program but the
 * functions that glibc lacks passes without a preload as well: run so, it tests itself.
 */
#include <dlfcn.h>
#include <errno.h>
#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "check.h"

/* Through volatile pointers, so that the compiler neither knows the functions nor warns of what is
 * wrong on purpose. */
static void *(*volatile do_malloc)(size_t) = malloc;
static void (*volatile do_free)(void *) = free;
static void *(*volatile do_calloc)(size_t, size_t) = calloc;
static void *(*volatile do_realloc)(void *, size_t) = realloc;
static void *(*volatile do_reallocarray)(void *, size_t, size_t) = reallocarray;
static int (*volatile do_posix_memalign)(void **, size_t, size_t) = posix_memalign;
static void *(*volatile do_aligned_alloc)(size_t, size_t) = aligned_alloc;
static void *(*volatile do_memalign)(size_t, size_t) = memalign;
static void *(*volatile do_valloc)(size_t) = valloc;
static void *(*volatile do_pvalloc)(size_t) = pvalloc;

static const size_t sizes[] = {0,     1,     7,     8,      9,       15,      16,      17,    24,
                               25,    31,    32,    33,     48,      64,      100,     128,   255,
                               256,   1000,  1024,  4095,   4096,    8192,    10000,   32767, 32768,
                               32769, 40960, 65536, 100000, 1 << 20, 5000001, 64 << 20};
#define NSIZES (sizeof sizes / sizeof sizes[0])

enum { UNTOUCHED = 12345 }; /* an errno that nobody sets */

static bool aligned(const void *p, size_t to) {
    return ((uintptr_t)p & (to - 1)) == 0;
}

/* The fundamental alignment of an object of n bytes: that of the largest type that fits. */
static size_t fundamental(size_t n) {
    return n >= 16 ? 16 : n >= 8 ? 8 : n >= 4 ? 4 : n >= 2 ? 2 : 1;
}

static void malloc_gives_distinct_writable_aligned_memory(void **state) {
    (void)state;
    void *p[NSIZES];
    for (size_t i = 0; i < NSIZES; i++) {
        errno = UNTOUCHED;
        p[i] = do_malloc(sizes[i]);
        assert_non_null(p[i]);
        assert_int_equal(errno, UNTOUCHED);
        assert_true(aligned(p[i], fundamental(sizes[i])));
        assert_true(malloc_usable_size(p[i]) >= sizes[i]);
        fill(p[i], sizes[i], (unsigned)i);
    }
    for (size_t i = 0; i < NSIZES; i++) {
        assert_true(filled(p[i], sizes[i], (unsigned)i));
        errno = UNTOUCHED;
        do_free(p[i]);
        assert_int_equal(errno, UNTOUCHED);
    }
}

static void malloc_of_nothing_is_unique(void **state) {
    (void)state;
    void *a = do_malloc(0), *b = do_malloc(0), *c = do_calloc(0, 8), *d = do_realloc(NULL, 0);
    assert_non_null(a);
    assert_non_null(b);
    assert_non_null(c);
    assert_non_null(d);
    assert_true(a != b && a != c && a != d && b != c && b != d && c != d);
    do_free(a);
    do_free(b);
    do_free(c);
    do_free(d);
    do_free(NULL);
}

static void every_byte_of_the_usable_size_can_be_written(void **state) {
    (void)state;
    enum { N = 2000 };
    static void *p[N];
    for (int i = 0; i < N; i++) {
        p[i] = do_malloc((size_t)i * 3);
        size_t usable = malloc_usable_size(p[i]);
        assert_true(usable >= (size_t)i * 3);
        fill(p[i], usable, (unsigned)i);
    }
    for (int i = 0; i < N; i++) {
        assert_true(filled(p[i], malloc_usable_size(p[i]), (unsigned)i));
        do_free(p[i]);
    }
    assert_int_equal(malloc_usable_size(NULL), 0);
}

static void too_much_is_enomem(void **state) {
    (void)state;
    static const size_t much[] = {PTRDIFF_MAX,     (size_t)PTRDIFF_MAX + 1,
                                  SIZE_MAX - 4096, SIZE_MAX - 1,
                                  SIZE_MAX,        (size_t)1 << 62};
    for (size_t i = 0; i < sizeof much / sizeof much[0]; i++) {
        void *(*volatile one[])(size_t) = {malloc, valloc, pvalloc};
        for (size_t f = 0; f < 3; f++) {
            errno = 0;
            assert_null(one[f](much[i]));
            assert_int_equal(errno, ENOMEM);
        }
        errno = 0;
        assert_null(do_calloc(1, much[i]));
        assert_int_equal(errno, ENOMEM);
        errno = 0;
        assert_null(do_aligned_alloc(64, much[i]));
        assert_int_equal(errno, ENOMEM);
        errno = 0;
        assert_null(do_memalign(1 << 20, much[i]));
        assert_int_equal(errno, ENOMEM);
        void *p = &p;
        errno = 0;
        assert_int_equal(do_posix_memalign(&p, 64, much[i]), ENOMEM);
        assert_int_equal(errno, ENOMEM);
        assert_ptr_equal(p, &p);
    }
}

static void a_failed_realloc_leaves_the_object(void **state) {
    (void)state;
    char *p = do_malloc(100);
    fill(p, 100, 3);
    errno = 0;
    assert_null(do_realloc(p, PTRDIFF_MAX));
    assert_int_equal(errno, ENOMEM);
    errno = 0;
    assert_null(do_reallocarray(p, SIZE_MAX / 2, 4));
    assert_int_equal(errno, ENOMEM);
    assert_true(filled(p, 100, 3));
    do_free(p);
}

static void products_that_overflow_are_enomem(void **state) {
    (void)state;
    static const size_t pair[][2] = {{SIZE_MAX, 2},
                                     {2, SIZE_MAX},
                                     {(size_t)1 << 32, (size_t)1 << 32},
                                     {((size_t)1 << 32) + 1, (size_t)1 << 32},
                                     {SIZE_MAX / 3, 4}};
    for (size_t i = 0; i < sizeof pair / sizeof pair[0]; i++) {
        errno = 0;
        assert_null(do_calloc(pair[i][0], pair[i][1]));
        assert_int_equal(errno, ENOMEM);
        errno = 0;
        assert_null(do_reallocarray(NULL, pair[i][0], pair[i][1]));
        assert_int_equal(errno, ENOMEM);
    }
}

static void calloc_clears_memory_that_was_used_before(void **state) {
    (void)state;
    for (int round = 0; round < 4; round++) {
        for (size_t i = 0; i < NSIZES; i++) {
            size_t n = sizes[i];
            char *p = do_malloc(n);
            memset(p, 0xa5, malloc_usable_size(p));
            do_free(p);
            errno = UNTOUCHED;
            p = do_calloc(1, n);
            assert_int_equal(errno, UNTOUCHED);
            for (size_t k = 0; k < n; k++)
                assert_int_equal(p[k], 0);
            memset(p, 0x5a, n);
            do_free(p);
        }
    }
}

static void realloc_keeps_contents_growing_and_shrinking(void **state) {
    (void)state;
    for (size_t i = 0; i < NSIZES; i++) {
        for (size_t k = 0; k < NSIZES; k++) {
            size_t from = sizes[i], to = sizes[k], kept = from < to ? from : to;
            if (from == 0 || to == 0 || from + to > (6u << 20))
                continue;
            char *p = do_malloc(from);
            fill(p, from, 9);
            errno = UNTOUCHED;
            char *q = do_realloc(p, to);
            assert_non_null(q);
            assert_int_equal(errno, UNTOUCHED);
            assert_true(aligned(q, fundamental(to)));
            assert_true(filled(q, kept, 9));
            assert_true(malloc_usable_size(q) >= to);
            do_free(q);
        }
    }
}

static void realloc_in_small_steps_keeps_contents(void **state) {
    (void)state;
    char *p = NULL;
    for (size_t n = 1; n < 200000; n += 1 + n / 50) {
        p = do_realloc(p, n);
        p[n - 1] = (char)n;
    }
    for (size_t n = 1; n < 200000; n += 1 + n / 50)
        assert_int_equal(p[n - 1], (char)n);
    do_free(p);
}

static void realloc_to_nothing_frees(void **state) {
    (void)state;
    /* glibc: returns NULL and the object is gone.  If it were not, this loop would need 6 GiB. */
    long before = status_kib("VmRSS:");
    for (int i = 0; i < 6000; i++) {
        char *p = do_malloc(1 << 20);
        memset(p, 1, 1 << 20);
        assert_null(do_realloc(p, 0));
    }
    assert_true(status_kib("VmRSS:") - before < 512 * 1024);
    char *q = do_malloc(100);
    assert_null(do_reallocarray(q, 0, 100));
}

static void aligned_functions_align(void **state) {
    (void)state;
    for (size_t to = 8; to <= 8u << 20; to *= 2) {
        for (size_t i = 0; i < NSIZES; i++) {
            if (sizes[i] > 2u << 20)
                continue;
            void *a = NULL, *b, *c;
            errno = UNTOUCHED;
            assert_int_equal(do_posix_memalign(&a, to, sizes[i]), 0);
            b = do_aligned_alloc(to, sizes[i]);
            c = do_memalign(to, sizes[i]);
            assert_int_equal(errno, UNTOUCHED);
            assert_true(a != NULL && b != NULL && c != NULL && a != b && b != c && a != c);
            assert_true(aligned(a, to) && aligned(b, to) && aligned(c, to));
            assert_true(malloc_usable_size(a) >= sizes[i] && malloc_usable_size(c) >= sizes[i]);
            fill(a, sizes[i], 1);
            fill(b, sizes[i], 2);
            fill(c, sizes[i], 3);
            assert_true(filled(a, sizes[i], 1) && filled(b, sizes[i], 2));
            do_free(a);
            do_free(b);
            do_free(c);
        }
    }
}

/* Of so much address space a few pages are touched. */
static void alignments_go_beyond_a_gib(void **state) {
    (void)state;
    for (size_t to = 16u << 20; to <= (size_t)4 << 30; to *= 4) {
        void *a = NULL;
        errno = UNTOUCHED;
        int error = do_posix_memalign(&a, to, 100000);
        if (error == ENOMEM && to > (size_t)1 << 30)
            continue; /* the system may refuse it: overcommit, a limit */
        assert_int_equal(error, 0);
        char *b = do_aligned_alloc(to, 100000), *c = do_memalign(to, 1);
        if (to <= (size_t)1 << 30)
            assert_true(b != NULL && c != NULL && errno == UNTOUCHED);
        assert_true(aligned(a, to) && aligned(b, to) && aligned(c, to));
        assert_true(malloc_usable_size(a) >= 100000);
        fill(a, 100000, 6);
        if (b != NULL)
            fill(b, 100000, 7);
        assert_true(filled(a, 100000, 6));
        char *more = do_realloc(a, 200000);
        assert_non_null(more);
        assert_true(filled(more, 100000, 6));
        do_free(more);
        do_free(b);
        do_free(c);
    }
}

static void reallocs_that_fail_or_free_say_so(void **state) {
    (void)state;
    char *p = do_malloc(100);
    fill(p, 100, 8);
    static const size_t much[] = {PTRDIFF_MAX, (size_t)PTRDIFF_MAX + 1, SIZE_MAX};
    for (size_t i = 0; i < sizeof much / sizeof much[0]; i++) {
        errno = 0;
        assert_null(do_realloc(p, much[i]));
        assert_int_equal(errno, ENOMEM);
        errno = 0;
        assert_null(do_reallocarray(p, much[i], 2));
        assert_int_equal(errno, ENOMEM);
    }
    assert_true(filled(p, 100, 8));
    p = do_reallocarray(p, 30, 10);
    assert_true(filled(p, 100, 8));
    errno = UNTOUCHED;
    assert_null(do_reallocarray(p, 10, 0));
    assert_int_equal(errno, UNTOUCHED);
    p = do_reallocarray(NULL, 0, SIZE_MAX);
    assert_non_null(p);
    do_free(p);
}

/* With the parameters that programs set.  What they mean to glibc means nothing to others; none
 * fails the program. */
static void mallopt_takes_glibc_s_parameters(void **state) {
    (void)state;
    static const int known[] = {M_MMAP_THRESHOLD, M_TRIM_THRESHOLD, M_TOP_PAD,  M_MMAP_MAX,
                                M_PERTURB,        M_ARENA_TEST,     M_ARENA_MAX};
    static const int value[] = {128 * 1024, 128 * 1024, 0, 65536, 0, 2, 8};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        errno = UNTOUCHED;
        assert_int_equal(mallopt(known[i], value[i]), 1);
        assert_int_equal(errno, UNTOUCHED);
    }
    do_free(do_malloc(1000));
}

static void an_aligned_object_can_grow(void **state) {
    (void)state;
    for (size_t to = 16; to <= 65536; to *= 4) {
        char *p = do_memalign(to, 5000);
        fill(p, 5000, 4);
        p = do_realloc(p, 500000);
        assert_true(filled(p, 5000, 4));
        do_free(p);
    }
}

static void bad_alignments_are_einval(void **state) {
    (void)state;
    static const size_t bad[] = {0, 1, 2, 3, 4, 7, 9, 12, 24, 40, 4095, 4097, SIZE_MAX};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        void *p = &p;
        errno = UNTOUCHED;
        assert_int_equal(do_posix_memalign(&p, bad[i], 64), EINVAL);
        assert_ptr_equal(p, &p);
        assert_int_equal(errno, UNTOUCHED);
    }
    errno = 0;
    assert_null(do_memalign(SIZE_MAX, 64));
    assert_int_equal(errno, EINVAL);
    /* Not a power of two: EINVAL, or (memalign, older glibc) the next one is taken. */
    static const size_t odd[] = {24, 48, 100, 5000};
    for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++) {
        void *(*volatile two[])(size_t, size_t) = {aligned_alloc, memalign};
        for (int f = 0; f < 2; f++) {
            size_t next = 1;
            while (next < odd[i])
                next *= 2;
            errno = 0;
            void *p = two[f](odd[i], 64);
            assert_true(p == NULL ? errno == EINVAL : aligned(p, next));
            do_free(p);
        }
    }
}

static void valloc_and_pvalloc_give_pages(void **state) {
    (void)state;
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    for (size_t i = 0; i < NSIZES; i++) {
        void *a = do_valloc(sizes[i]), *b = do_pvalloc(sizes[i]);
        assert_true(a != NULL && b != NULL && aligned(a, page) && aligned(b, page));
        size_t whole = (sizes[i] + page - 1) / page * page;
        assert_true(malloc_usable_size(b) >= whole);
        memset(b, 1, whole);
        do_free(a);
        do_free(b);
    }
}

static void freeing_preserves_errno_whatever_it_does(void **state) {
    (void)state;
    enum { N = 40 };
    void *p[N];
    for (int i = 0; i < N; i++) {
        p[i] = do_malloc((size_t)1 << (i % 26));
        memset(p[i], 1, (size_t)1 << (i % 26));
    }
    errno = UNTOUCHED;
    for (int i = 0; i < N; i++)
        do_free(p[i]);
    do_free(NULL);
    malloc_trim(0);
    assert_int_equal(errno, UNTOUCHED);
}

static void sized_frees_and_cfree_free(void **state) {
    (void)state;
    union {
        void *symbol;
        void (*sized)(void *, size_t);
        void (*aligned_sized)(void *, size_t, size_t);
        void (*plain)(void *);
    } fs = {dlsym(RTLD_DEFAULT, "free_sized")}, fas = {dlsym(RTLD_DEFAULT, "free_aligned_sized")},
      cf = {dlsym(RTLD_DEFAULT, "cfree")};
    if (dlsym(RTLD_DEFAULT, "gomalloc_version") == NULL)
        skip(); /* glibc 2.36 has none of them */
    assert_true(fs.symbol != NULL && fas.symbol != NULL && cf.symbol != NULL);
    long before = status_kib("VmRSS:");
    for (int i = 0; i < 3000; i++) {
        size_t n = (size_t)1 << 20;
        void *p[] = {do_malloc(n), do_aligned_alloc(4096, n), do_calloc(1, n)};
        for (int k = 0; k < 3; k++)
            memset(p[k], 1, n);
        errno = UNTOUCHED;
        fs.sized(p[0], n);
        fas.aligned_sized(p[1], 4096, n);
        cf.plain(p[2]);
        assert_int_equal(errno, UNTOUCHED);
    }
    fs.sized(NULL, 0);
    fas.aligned_sized(NULL, 64, 0);
    cf.plain(NULL);
    assert_true(status_kib("VmRSS:") - before < 512 * 1024);
}

static void mallinfo2_follows_what_is_allocated(void **state) {
    (void)state;
    enum { N = 160, SIZE = 65536 };
    void *p[N];
    struct mallinfo2 a = mallinfo2();
    for (int i = 0; i < N; i++)
        p[i] = do_malloc(SIZE);
    struct mallinfo2 b = mallinfo2();
    for (int i = 0; i < N; i++)
        do_free(p[i]);
    struct mallinfo2 c = mallinfo2();
    size_t grown = b.uordblks + b.hblkhd - a.uordblks - a.hblkhd;
    size_t shrunk = b.uordblks + b.hblkhd - c.uordblks - c.hblkhd;
    assert_in_range(grown, (size_t)N * SIZE, (size_t)N * SIZE * 5 / 4);
    assert_in_range(shrunk, (size_t)N * SIZE, (size_t)N * SIZE * 5 / 4);
    assert_true(b.arena + b.hblkhd >= b.uordblks);
}

static void malloc_stats_writes_to_stderr(void **state) {
    (void)state;
    char path[] = "/tmp/malloc_stats.XXXXXX";
    int fd = mkstemp(path), saved = dup(2);
    assert_true(fd >= 0 && saved >= 0);
    unlink(path);
    dup2(fd, 2);
    malloc_stats();
    fflush(stderr);
    dup2(saved, 2);
    assert_true(lseek(fd, 0, SEEK_END) > 20);
    close(fd);
    close(saved);
}

static void malloc_info_writes_xml(void **state) {
    (void)state;
    char *text = NULL;
    size_t n = 0;
    FILE *f = open_memstream(&text, &n);
    assert_int_equal(malloc_info(0, f), 0);
    fclose(f);
    assert_non_null(strstr(text, "<malloc"));
    assert_non_null(strstr(text, "</malloc>"));
    do_free(text);
    errno = 0;
    assert_int_not_equal(malloc_info(1, stdout), 0);
}

static void malloc_trim_gives_free_memory_back(void **state) {
    (void)state;
    enum { N = 4096, SIZE = 32000 }; /* 125 MiB in small objects */
    static void *p[N];
    for (int i = 0; i < N; i++) {
        p[i] = do_malloc(SIZE);
        memset(p[i], 1, SIZE);
    }
    long full = status_kib("VmRSS:");
    for (int i = 0; i < N; i++)
        do_free(p[i]);
    malloc_trim(0);
    long trimmed = status_kib("VmRSS:");
    assert_true(full - trimmed > N * (SIZE / 1024) / 2);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(malloc_gives_distinct_writable_aligned_memory),
        cmocka_unit_test(malloc_of_nothing_is_unique),
        cmocka_unit_test(every_byte_of_the_usable_size_can_be_written),
        cmocka_unit_test(too_much_is_enomem),
        cmocka_unit_test(a_failed_realloc_leaves_the_object),
        cmocka_unit_test(products_that_overflow_are_enomem),
        cmocka_unit_test(calloc_clears_memory_that_was_used_before),
        cmocka_unit_test(realloc_keeps_contents_growing_and_shrinking),
        cmocka_unit_test(realloc_in_small_steps_keeps_contents),
        cmocka_unit_test(realloc_to_nothing_frees),
        cmocka_unit_test(aligned_functions_align),
        cmocka_unit_test(alignments_go_beyond_a_gib),
        cmocka_unit_test(an_aligned_object_can_grow),
        cmocka_unit_test(reallocs_that_fail_or_free_say_so),
        cmocka_unit_test(mallopt_takes_glibc_s_parameters),
        cmocka_unit_test(bad_alignments_are_einval),
        cmocka_unit_test(valloc_and_pvalloc_give_pages),
        cmocka_unit_test(freeing_preserves_errno_whatever_it_does),
        cmocka_unit_test(sized_frees_and_cfree_free),
        cmocka_unit_test(mallinfo2_follows_what_is_allocated),
        cmocka_unit_test(malloc_stats_writes_to_stderr),
        cmocka_unit_test(malloc_info_writes_xml),
        cmocka_unit_test(malloc_trim_gives_free_memory_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
