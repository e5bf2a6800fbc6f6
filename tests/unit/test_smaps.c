/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The kernel's list of mappings: each line of a made one, and the process's own.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "image/smaps.h"

#define MAX_TAKEN 4096

static struct {
    struct smaps_mapping m[MAX_TAKEN];
    size_t n;
} taken;

static void take(void *arg, const struct smaps_mapping *m) {
    assert_ptr_equal(arg, &taken);
    assert_true(taken.n < MAX_TAKEN);
    taken.m[taken.n++] = *m;
}

static struct smaps *begin(void) {
    static struct smaps s;
    memset(&s, 0, sizeof s);
    s.take = take;
    s.arg = &taken;
    taken.n = 0;
    return &s;
}

/* read_text has a list read that is n bytes of text. */
static bool read_text(const char *text, size_t n) {
    char path[64];
    int fd = memfd_create("smaps", 0);
    if (fd < 0)
        skip(); /* a filter refuses it */
    assert_int_equal(write(fd, text, n), n);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    bool done = smaps_read(begin(), path);
    close(fd);
    return done;
}

static const struct {
    const char *text;
    struct smaps_mapping want;
} cases[] = {
    {"c000000000-c004000000 rw-p 00000000 00:00 0 \nSize: 65536 kB\nRss: 12 kB\nPss: 5 kB\n"
     "AnonHugePages:      8 kB\nSwap:                3 kB\nSwapPss: 99 kB\nVmFlags: rd wr\n",
     {0xc000000000, 0xc004000000, PROT_READ | PROT_WRITE, false, 0, 12288, 3072, 8192, ""}},
    {"7f00-7f10 r-xp 00001000 fe:01 1311                     /usr/lib/x86_64/libc.so.6\nRss: 4 "
     "kB\n",
     {0x7f00, 0x7f10, PROT_READ | PROT_EXEC, false, 1311, 4096, 0, 0, "/usr/lib/x86_64"}},
    {"1000-2000 rw-s 00000000 00:01 2048  /dev/zero (deleted)\nRss: 0 kB\n",
     {0x1000, 0x2000, PROT_READ | PROT_WRITE, true, 2048, 0, 0, 0, "/dev/zero (dele"}},
    {"7ffd0000-7ffd1000 rw-p 00000000 00:00 0   [stack]\nRss: 132 kB\n",
     {0x7ffd0000, 0x7ffd1000, PROT_READ | PROT_WRITE, false, 0, 135168, 0, 0, "[stack]"}},
    {"ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0 [vsyscall]\n",
     {0xffffffffff600000, 0xffffffffff601000, PROT_EXEC, false, 0, 0, 0, 0, "[vsyscall]"}},
    {"1000-2000 ---p 00000000 00:00 0\nRss: 0 kB\n", {0x1000, 0x2000, 0, false, 0, 0, 0, 0, ""}},
};

static void assert_mapping(const struct smaps_mapping *got, const struct smaps_mapping *want) {
    assert_int_equal(got->start, want->start);
    assert_int_equal(got->end, want->end);
    assert_int_equal(got->prot, want->prot);
    assert_int_equal(got->shared, want->shared);
    assert_int_equal(got->inode, want->inode);
    assert_int_equal(got->resident, want->resident);
    assert_int_equal(got->swapped, want->swapped);
    assert_int_equal(got->huge, want->huge);
    assert_string_equal(got->path, want->path);
}

static void test_a_mapping_of_each_kind(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_true(read_text(cases[i].text, strlen(cases[i].text)));
        assert_int_equal(taken.n, 1);
        assert_mapping(&taken.m[0], &cases[i].want);
    }
}

/* More than is read at a time, with paths as long as they get: no line is cut, none is lost. */
static void test_a_list_of_many_reads(void **state) {
    static char text[8 << 20], path[4096];
    size_t n = 0, ncases = sizeof cases / sizeof cases[0];
    (void)state;
    memset(path, 'p', sizeof path - 1);
    for (size_t i = 0; i < 600; i++) {
        n += (size_t)snprintf(text + n, sizeof text - n, "%s", cases[i % ncases].text);
        n += (size_t)snprintf(text + n, sizeof text - n,
                              "5000-6000 r--p 00000000 fe:01 1 /%s\nRss: %zu kB\n", path, i);
    }
    assert_true(n > 20 * (size_t)SMAPS_TEXT);
    assert_true(read_text(text, n));
    assert_int_equal(taken.n, 1200);
    for (size_t i = 0; i < 600; i++) {
        assert_mapping(&taken.m[2 * i], &cases[i % ncases].want);
        assert_int_equal(taken.m[2 * i + 1].resident, i << 10);
    }
}

/* What is no list does no harm: nothing is taken for a mapping, or something senseless. */
static void test_nonsense_is_read_to_its_end(void **state) {
    static char text[3 * SMAPS_TEXT];
    (void)state;
    assert_true(read_text("", 0));
    assert_int_equal(taken.n, 0);
    memset(text, 'x', sizeof text); /* a line without an end */
    assert_true(read_text(text, sizeof text));
    assert_int_equal(taken.n, 0);
    for (uint32_t i = 0, x = 1; i < sizeof text; i++, x = x * 1664525 + 1013904223)
        text[i] = "0123abf- rwxp:\nRs\0kB"[(x >> 16) % 20];
    assert_true(read_text(text, sizeof text));
    assert_false(smaps_read(begin(), "/nonexistent"));
    assert_int_equal(taken.n, 0);
}

/* 3 of 5 pages are written: so many are resident. */
static void test_the_own_list(void **state) {
    char *p = mmap(NULL, 7 * 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    size_t i = 0;
    (void)state;
    assert_true(p != MAP_FAILED);
    assert_int_equal(mprotect(p + 4096, 5 * 4096, PROT_READ | PROT_WRITE), 0);
    madvise(p, 7 * 4096, MADV_NOHUGEPAGE); /* some kernels back four pages at once */
    memset(p + 4096, 1, 3 * 4096);
    assert_true(smaps_read(begin(), "/proc/self/smaps"));
    while (i < taken.n && taken.m[i].start != (uintptr_t)p + 4096)
        i++;
    assert_true(i < taken.n);
    assert_int_equal(taken.m[i].end, (uintptr_t)p + 6 * 4096);
    assert_int_equal(taken.m[i].resident, 3 * 4096);
    assert_int_equal(taken.m[i].prot, PROT_READ | PROT_WRITE);
    munmap(p, 7 * 4096);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_mapping_of_each_kind),
        cmocka_unit_test(test_a_list_of_many_reads),
        cmocka_unit_test(test_nonsense_is_read_to_its_end),
        cmocka_unit_test(test_the_own_list),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
