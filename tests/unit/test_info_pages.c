/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The pages of unwind information that were read are given back, and no page that differs from its
 * file is.
 *
 * This program has so many functions that their unwind information has pages which nobody else
 * brings into memory: where a page is read, the kernel maps up to 64 KiB around it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "unwind/cfi_private.h"
#include "unwind/info_pages.h"
#include "unwind/rowcache.h"

#define STRING(x) #x
#define TEXT(x)   STRING(x)

#define NFUNCTIONS    50000
#define FUNCTION_SIZE 2 /* bytes */
#define PAGE          UINT64_C(4096)
#define AROUND        UINT64_C(0x10000)

extern const char many_functions[];
__asm__(".text\n"
        ".globl many_functions\n"
        "many_functions:\n"
        ".rept " TEXT(NFUNCTIONS) "\n"
                                  ".cfi_startproc\n"
                                  "nop\n"
                                  ".cfi_def_cfa_offset 24\n"
                                  "ret\n"
                                  ".cfi_endproc\n"
                                  ".endr\n");

/* Pages from start up to end. */
struct range {
    uint64_t start;
    uint64_t end;
};

static struct range table, records; /* which only the unwinder reads */

static uint64_t function(unsigned i) {
    return (uintptr_t)many_functions + (uint64_t)i * FUNCTION_SIZE;
}

/* after_nop is where, in a function, the CFA is rsp + 24. */
static uint64_t after_nop(unsigned i) {
    return function(i) + 1;
}

static struct cfi_fde fde_of(unsigned i) {
    struct cfi_object o;
    struct cfi_fde fde;
    assert_true(cfi_object_of(function(i), &o));
    assert_true(cfi_find_fde(&o, function(i), &fde));
    return fde;
}

/* within returns what is left of a range without the pages that reading beside it may bring. */
static struct range within(uint64_t start, uint64_t end) {
    struct range r = {(start + 2 * AROUND) & ~(AROUND - 1), (end - AROUND) & ~(AROUND - 1)};
    assert_true(r.start + AROUND < r.end);
    return r;
}

static struct info_pages *own_info(void) {
    struct cfi_object o;
    struct info_pages *ret;
    assert_int_equal(codeobj_of(function(0), &o, &ret), CODEOBJ_PERMANENT);
    assert_non_null(ret);
    return ret;
}

static int begin(void **state) {
    struct cfi_object o;
    (void)state;
    if (!cfi_init() || !rowcache_init())
        return -1;
    codeobj_init();
    cfi_object_of(function(0), &o);
    struct cfi_fde first = fde_of(0), last = fde_of(NFUNCTIONS - 1);
    table = within((uintptr_t)o.hdr, first.table_end);
    records = within((uintptr_t)first.program.p, (uintptr_t)last.program.p);
    return 0;
}

/* read_all reads of every 20th function, and so of every page. */
static void read_all(void) {
    for (unsigned i = 0; i < NFUNCTIONS; i += 20) {
        uint64_t row = rowcache_miss(after_nop(i));
        assert_int_equal(row_kind(row), ROW_RSP);
        assert_int_equal(row_offset(row), 3);
    }
}

/* pagemap asks the kernel about the pages of a range. */
static uint64_t *pagemap(struct range r) {
    size_t bytes = (r.end - r.start) / PAGE * sizeof(uint64_t);
    uint64_t *entries = malloc(bytes);
    int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        skip();
    assert_non_null(entries);
    assert_int_equal(pread(fd, entries, bytes, (off_t)(r.start / PAGE * 8)), bytes);
    close(fd);
    return entries;
}

static size_t resident(struct range r) {
    uint64_t *entries = pagemap(r);
    size_t n = 0;
    for (size_t i = 0; i < (r.end - r.start) / PAGE; i++)
        n += entries[i] >> 63;
    free(entries);
    return n;
}

static void what_was_read_is_given_back(void **state) {
    size_t pages;
    (void)state;
    for (int i = 0; i < 3; i++) {
        read_all();
        assert_int_not_equal(resident(table), 0);
        assert_int_not_equal(resident(records), 0);
        assert_true(info_pages_give_back(&pages));
        assert_true(pages >= (records.end - records.start) / PAGE / 2);
        assert_int_equal(resident(table), 0);
        assert_int_equal(resident(records), 0);
        assert_false(info_pages_give_back(&pages));
        assert_int_equal(pages, 0);
    }
    read_all(); /* as well as before */
}

static void it_is_done_when_it_is_time(void **state) {
    uint64_t now = UINT64_C(1) << 40, next;
    size_t pages;
    (void)state;
    while ((next = info_pages_turn(now)) != UINT64_MAX) {
        assert_true(next > now);
        now = next;
    }
    read_all();
    next = info_pages_turn(++now);
    assert_int_equal(resident(records), 0);
    assert_true(next >= now + 10000000 && next < now + 1000000000);
    read_all();
    assert_int_equal(info_pages_turn(next - 1), next);
    assert_int_not_equal(resident(records), 0);
    info_pages_turn(next);
    assert_int_equal(resident(records), 0);
    assert_false(info_pages_give_back(&pages));
}

/* touch says that all was read, without reading. */
static void touch(void) {
    struct info_pages *p = own_info();
    assert_true(p->records.start < records.start && records.end < p->records.end);
    atomic_store(&p->touched, true);
}

static void protect(uint64_t at, uint64_t n, int protection) {
    assert_int_equal(mprotect((void *)at, n, protection), 0);
}

/* As if the unwind information were in one segment with code, or with what is written. */
static void nothing_is_taken_from_code_or_data(void **state) {
    static const int protections[] = {PROT_READ | PROT_EXEC, PROT_READ | PROT_WRITE};
    struct info_pages *p = own_info();
    uint64_t start = p->records.start < p->table.start ? p->records.start : p->table.start;
    size_t pages;
    (void)state;
    start &= ~(PAGE - 1);
    for (size_t i = 0; i < 2; i++) {
        read_all();
        protect(start, records.end - start, protections[i]);
        p->map_start = p->map_end = 0; /* it is found out again where it is */
        size_t before = resident(records);
        assert_int_not_equal(before, 0);
        assert_true(info_pages_give_back(&pages));
        assert_int_equal(resident(records), before);
        protect(start, records.end - start, PROT_READ);
    }
    p->map_start = p->map_end = 0;
    touch();
    assert_true(info_pages_give_back(&pages));
    assert_int_equal(resident(records), 0);
}

static void what_was_written_stays(void **state) {
    volatile uint8_t *at = (uint8_t *)(records.start + 5 * PAGE + 100);
    size_t pages;
    (void)state;
    read_all();
    uint8_t was = *at;
    protect(records.start + 5 * PAGE, PAGE, PROT_READ | PROT_WRITE);
    *at = (uint8_t)~was;
    for (int i = 0; i < 2; i++) {
        touch();
        assert_true(info_pages_give_back(&pages));
        assert_int_equal(*at, (uint8_t)~was);
        protect(records.start + 5 * PAGE, PAGE, i == 0 ? PROT_READ : PROT_READ | PROT_WRITE);
    }
    *at = was;
    protect(records.start + 5 * PAGE, PAGE, PROT_READ);
    assert_int_equal(resident((struct range){records.start, records.start + 5 * PAGE}), 0);
}

/* As if a program that moves its memory to huge pages had replaced the file's. */
static void memory_without_a_file_stays(void **state) {
    size_t n = records.end - records.start, pages;
    char *copy = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    (void)state;
    assert_ptr_not_equal(copy, MAP_FAILED);
    memcpy(copy, (void *)records.start, n);
    protect((uintptr_t)copy, n, PROT_READ);
    assert_ptr_equal(mremap(copy, n, n, MREMAP_MAYMOVE | MREMAP_FIXED, (void *)records.start),
                     records.start);
    size_t before = resident(records);
    touch();
    assert_true(info_pages_give_back(&pages));
    assert_int_equal(resident(records), before);
    read_all();
    info_pages_give_back(&pages);
    read_all();
}

static _Atomic bool done;

static void *read_on(void *arg) {
    (void)arg;
    for (int i = 0; i < 5; i++)
        read_all();
    return NULL;
}

static void *give_back_on(void *arg) {
    size_t pages;
    (void)arg;
    while (!atomic_load(&done))
        info_pages_give_back(&pages);
    return NULL;
}

static void who_reads_meanwhile_reads_the_same(void **state) {
    pthread_t readers[3], giver;
    (void)state;
    assert_int_equal(pthread_create(&giver, NULL, give_back_on, NULL), 0);
    for (int i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&readers[i], NULL, read_on, NULL), 0);
    for (int i = 0; i < 3; i++)
        pthread_join(readers[i], NULL);
    atomic_store(&done, true);
    pthread_join(giver, NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_read_is_given_back),
        cmocka_unit_test(it_is_done_when_it_is_time),
        cmocka_unit_test(who_reads_meanwhile_reads_the_same),
        cmocka_unit_test(nothing_is_taken_from_code_or_data),
        cmocka_unit_test(what_was_written_stays),
        cmocka_unit_test(memory_without_a_file_stays), /* the last: it stays so */
    };
    return cmocka_run_group_tests(tests, begin, NULL);
}
