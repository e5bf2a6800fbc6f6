/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Memory that the program keeps from its children: what a copy lacks, and how it gets it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "heap/malloc.h"
#include "leak/withheld.h"

enum { BYTES = 12 << 12 };

static uintptr_t *map_at(void *at) {
    uintptr_t *p = mmap(at, BYTES, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | (at != NULL ? MAP_FIXED : 0), -1, 0);
    assert_ptr_not_equal(p, MAP_FAILED);
    return p;
}

/* look_in_copy has a copy look at itself; returns the first word at p there, 1: there is none. */
static int look_in_copy(struct withheld *w, const uintptr_t *p) {
    int status;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        withheld_look(w);
        unsigned char there;
        _exit(mincore((void *)(uintptr_t)p, 4096, &there) != 0 ? 1 : p[0] != 0 ? 2 : 0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WEXITSTATUS(status);
}

/* A copy has all of it when it is given, and another one nothing again. */
static void give_and_take_back(struct withheld *w, const uintptr_t *p, int without) {
    withheld_give(w);
    assert_int_equal(look_in_copy(w, p), 2);
    withheld_keep(w);
    assert_int_equal(withheld_refused(w), 0);
    assert_int_equal(look_in_copy(w, p), without);
}

static void what_a_child_does_not_get_is_given_to_the_copy_only(void **state) {
    uintptr_t *p = map_at(NULL);
    (void)state;
    p[0] = 5;
    assert_int_equal(madvise(p, BYTES, MADV_DONTFORK), 0);
    struct withheld *w = withheld_begin();
    assert_int_equal(look_in_copy(w, p), 1);
    assert_int_equal(withheld_lacks(w), BYTES);
    give_and_take_back(w, p, 1);
    withheld_end(w);
    munmap(p, BYTES);
}

static void what_a_child_gets_wiped_counts_if_it_leads_into_the_heap(void **state) {
    uintptr_t *p = map_at(NULL);
    (void)state;
    assert_int_equal(madvise(p, BYTES, MADV_WIPEONFORK), 0);
    p[0] = 5;
    struct withheld *w = withheld_begin();
    assert_int_equal(look_in_copy(w, p), 0);
    assert_int_equal(withheld_lacks(w), 0);
    withheld_end(w);
    void *object = heap_alloc(mcache_attach(), 64, false);
    memcpy((char *)p + 4096 + 3, &object, sizeof object);
    w = withheld_begin();
    assert_int_equal(look_in_copy(w, p), 0);
    assert_int_equal(withheld_lacks(w), BYTES);
    give_and_take_back(w, p, 0);
    withheld_end(w);
    munmap(p, BYTES);
}

/* As posix_spawn maps a stack for its child, again and again at the same place. */
static void what_comes_and_goes_is_not_lacking(void **state) {
    uintptr_t *p = map_at(NULL);
    (void)state;
    struct withheld *w = withheld_begin();
    munmap(p, BYTES);
    assert_int_equal(look_in_copy(w, p), 1);
    map_at(p);
    assert_int_equal(withheld_lacks(w), 0);
    withheld_end(w);
    munmap(p, BYTES);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_child_does_not_get_is_given_to_the_copy_only),
        cmocka_unit_test(what_a_child_gets_wiped_counts_if_it_leads_into_the_heap),
        cmocka_unit_test(what_comes_and_goes_is_not_lacking),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
