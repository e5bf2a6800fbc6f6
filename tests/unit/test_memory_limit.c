/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Which control group's limit holds, and how near it is: on trees made for the purpose, as the
 * kernel makes them in versions 1 and 2, and as containers show them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/memory_limit.h"

static char root[64];
static struct memory_limit found;

static int make_root(void **state) {
    (void)state;
    strcpy(root, "/tmp/memory_limit.XXXXXX");
    return mkdtemp(root) == NULL;
}

static int remove_root(void **state) {
    char command[128];
    (void)state;
    snprintf(command, sizeof command, "rm -rf '%s'", root);
    return system(command);
}

/* put writes a file below the root, and makes its folders. */
static void put(const char *path, const char *text) {
    char name[256];
    snprintf(name, sizeof name, "%s%s", root, path);
    for (char *p = name + strlen(root) + 1; (p = strchr(p, '/')) != NULL; p++) {
        *p = '\0';
        mkdir(name, 0700);
        *p = '/';
    }
    FILE *f = fopen(name, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static unsigned percent_of(const char *groups) {
    memory_limit_find_in(&found, groups, root);
    return memory_limit_percent(&found);
}

static void version_2(void **state) {
    (void)state;
    put("/a/b/memory.max", "1000000000\n");
    put("/a/b/memory.current", "912345678\n");
    put("/a/memory.max", "max\n");
    put("/a/memory.current", "5000000000\n");
    assert_int_equal(percent_of("0::/a/b\n"), 91);
    assert_int_equal(found.n, 1);
    put("/a/b/memory.current", "10\n"); /* read anew each time */
    assert_int_equal(memory_limit_percent(&found), 0);
}

static void a_group_around_it(void **state) {
    (void)state;
    put("/a/b/c/memory.max", "4000000\n");
    put("/a/b/c/memory.current", "1000000\n");
    put("/a/memory.max", "8000000\n");
    put("/a/memory.current", "6000001\n");
    assert_int_equal(percent_of("0::/a/b/c\n"), 75);
    assert_int_equal(found.n, 2);
}

static void version_1(void **state) {
    (void)state;
    put("/memory/docker/x/memory.limit_in_bytes", "2000000\n");
    put("/memory/docker/x/memory.usage_in_bytes", "1000100\n");
    put("/memory/memory.limit_in_bytes", "9223372036854771712\n");
    put("/memory/memory.usage_in_bytes", "9223372036854771712\n");
    const char *groups =
        "7:cpu,cpuacct:/other\n4:hugetlb,memory:/docker/x\n1:name=systemd:/y\n0::/\n";
    assert_int_equal(percent_of(groups), 50);
    assert_int_equal(found.n, 1);
}

static void a_container_that_sees_its_own_group_as_root(void **state) {
    (void)state;
    put("/memory.max", "100000\n");
    put("/memory.current", "99000\n");
    assert_int_equal(percent_of("0::/system.slice/docker-123.scope\n"), 99);
}

static void no_limit_at_all(void **state) {
    (void)state;
    put("/a/memory.max", "max\n");
    put("/a/memory.current", "5000\n");
    put("/b/memory.max", "nonsense\n");
    assert_int_equal(percent_of("0::/a\n"), 0);
    assert_int_equal(percent_of("0::/b\n"), 0);
    assert_int_equal(percent_of("0::/not/there\n"), 0);
    assert_int_equal(percent_of(""), 0);
    assert_int_equal(percent_of("nonsense\n::\n:\n0:\n"), 0);
    assert_int_equal(found.n, 0);
}

static void deeper_than_is_looked(void **state) {
    char path[200] = "", text[256], name[256];
    (void)state;
    for (int i = 0; i < 12; i++) {
        strcat(path, "/g");
        snprintf(name, sizeof name, "%s/memory.max", path);
        put(name, "1000\n");
    }
    snprintf(text, sizeof text, "0::%s\n", path);
    assert_int_equal(percent_of(text), 0);
    assert_int_equal(found.n, MEMORY_LIMIT_LEVELS);
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup_teardown(f, make_root, remove_root)
    const struct CMUnitTest tests[] = {
        TEST(version_2),       TEST(a_group_around_it),
        TEST(version_1),       TEST(a_container_that_sees_its_own_group_as_root),
        TEST(no_limit_at_all), TEST(deeper_than_is_looked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
