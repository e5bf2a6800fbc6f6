/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Where a mark begins: one object is kept by one pointer that stands in one place, and it is seen
 * whether that place counts.  Not for sanitizers: their shadows are terabytes of what would be the
 * program's.
 */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "heap/malloc.h"
#include "leak/roots.h"
#include "leak/stack_extent.h"
#include "sys/owned.h"

enum { PAGE = 4096 };

/* The object's address is never in clear but in the place under test. */
static uintptr_t hidden;
#define HIDE(p) (~(uintptr_t)(p))

static struct mcache *self(void) {
    struct mcache *c = mcache_self != &mcache0 ? mcache_self : mcache_attach();
    c->next_sample = INT64_MAX; /* there is no recorder here */
    return c;
}

static gm_noinline void make_hidden(void) {
    void *p = heap_alloc(self(), 80, false);
    memset(p, 0, 80);
    hidden = HIDE(p);
}

static gm_noinline void free_hidden(void) {
    void *p = (void *)HIDE(hidden);
    if (!heap_free_fast(p))
        assert_int_equal(heap_free_slow((uintptr_t)p), FREE_OK);
}

/* Stores the address, by way of no variable that stays. */
static gm_noinline void reveal(void *place) {
    *(volatile uintptr_t *)place = HIDE(hidden);
}

static gm_noinline void wipe_stack(void) {
    volatile char room[8192];
    for (size_t i = 0; i < sizeof room; i++)
        room[i] = 0;
}

static struct roots_report report;

/* is_kept tells whether the roots lead to the object. */
static bool is_kept(const struct roots *r) {
    struct mark m;
    assert_true(mark_begin(&m, &(struct mark_options){.interior = true}));
    assert_true(roots_mark(&m, r, &report));
    assert_true(mark_all(&m));
    bool kept = !mark_is_unseen(&m, HIDE(hidden));
    mark_end(&m);
    return kept;
}

static uintptr_t thread_pointer(void) {
    uintptr_t v;
    __asm__("movq %%fs:0, %0" : "=r"(v));
    return v;
}

/* The calling thread, stopped here as it were; its stack counts from sp on. */
static struct root_thread this_thread(uintptr_t sp) {
    return (struct root_thread){.tid = (uint32_t)gettid(), .sp = sp, .tp = thread_pointer()};
}

static bool is_kept_by_memory(void) {
    uintptr_t here = (uintptr_t)__builtin_frame_address(0);
    struct root_thread t = this_thread(here + 1024); /* what calls this */
    struct roots r = {.threads = &t, .nthreads = 1, .mapped = true};
    wipe_stack();
    return is_kept(&r);
}

static char *map(size_t n) {
    char *p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(p != MAP_FAILED);
    return p;
}

static void test_nothing_keeps_an_object_that_nothing_points_to(void **state) {
    (void)state;
    make_hidden();
    assert_false(is_kept_by_memory());
    assert_false(report.no_mappings);
    assert_int_equal(report.unknown, 0);
    free_hidden();
}

static void test_memory_that_the_program_has_mapped_keeps_unless_told_otherwise(void **state) {
    (void)state;
    char *p = map(3 * PAGE);
    make_hidden();
    reveal(p + PAGE + 8);
    assert_true(is_kept_by_memory());
    struct root_thread t = this_thread(UINTPTR_MAX);
    assert_false(is_kept(&(struct roots){.threads = &t, .nthreads = 1}));
    struct root_region region = {(uintptr_t)p + PAGE, (uintptr_t)p + PAGE + 16};
    assert_true(
        is_kept(&(struct roots){.threads = &t, .nthreads = 1, .regions = &region, .nregions = 1}));
    munmap(p, 3 * PAGE);
    assert_false(is_kept_by_memory());
    free_hidden();
}

static void test_unaligned_words_do_not_keep(void **state) {
    (void)state;
    char *p = map(PAGE);
    make_hidden();
    reveal(p + 9);
    assert_false(is_kept_by_memory());
    reveal(p + 16);
    assert_true(is_kept_by_memory());
    munmap(p, PAGE);
    free_hidden();
}

static bool kernel_tells_of_pages(void) {
    return access("/proc/self/pagemap", R_OK) == 0;
}

/* A file of two pages, the second of which has the address. */
static int file_with_address(void) {
    char path[] = "/tmp/roots-XXXXXX";
    int fd = mkstemp(path);
    uintptr_t page[PAGE / sizeof(uintptr_t)] = {0};
    unlink(path);
    assert_int_equal(ftruncate(fd, PAGE), 0);
    reveal(&page[7]);
    assert_int_equal(pwrite(fd, page, sizeof page, PAGE), sizeof page);
    page[7] = 0;
    return fd;
}

static void test_what_was_written_and_then_protected_keeps(void **state) {
    (void)state;
    char *p = map(2 * PAGE);
    make_hidden();
    reveal(p + PAGE + 16);
    assert_int_equal(mprotect(p, 2 * PAGE, PROT_READ), 0);
    assert_true(is_kept_by_memory());
    assert_int_equal(mprotect(p, 2 * PAGE, PROT_READ | PROT_EXEC), 0);
    assert_true(is_kept_by_memory());
    munmap(p, 2 * PAGE);
    free_hidden();
}

static void test_a_files_read_only_pages_keep_if_the_process_has_changed_them(void **state) {
    (void)state;
    if (!kernel_tells_of_pages())
        skip();
    make_hidden();
    int fd = file_with_address();
    wipe_stack();
    char *p = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    assert_true(p != MAP_FAILED);
    volatile char touched = p[PAGE];
    (void)touched;
    mprotect(p, 2 * PAGE, PROT_READ);
    assert_false(is_kept_by_memory()); /* what the file says */
    mprotect(p, 2 * PAGE, PROT_READ | PROT_WRITE);
    reveal(p + 160);
    mprotect(p, 2 * PAGE, PROT_READ);
    assert_true(is_kept_by_memory());
    munmap(p, 2 * PAGE);
    close(fd);
    free_hidden();
}

static bool is_kept_by_region(char *start, char *end) {
    uintptr_t here = (uintptr_t)__builtin_frame_address(0);
    struct root_thread t = this_thread(here + 1024);
    struct root_region region = {(uintptr_t)start, (uintptr_t)end};
    wipe_stack();
    return is_kept(&(struct roots){
        .threads = &t, .nthreads = 1, .regions = &region, .nregions = 1, .mapped = true});
}

static void test_shared_memory_keeps_only_where_the_program_has_named_it(void **state) {
    (void)state;
    char *p = mmap(NULL, 3 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(p != MAP_FAILED);
    make_hidden();
    reveal(p + PAGE + 80);
    assert_false(is_kept_by_memory());
    assert_true(is_kept_by_region(p + PAGE, p + 2 * PAGE));
    assert_true(is_kept_by_region(p + PAGE + 77, p + PAGE + 88)); /* whole words of it */
    assert_int_equal(report.kind[ROOT_REGION].objects, 1);
    assert_int_equal(report.kind[ROOT_REGION].bytes, 8);
    assert_false(is_kept_by_region(p, p + PAGE + 80));
    assert_false(is_kept_by_region(p + PAGE + 88, p + 3 * PAGE));
    munmap(p + 2 * PAGE, PAGE); /* the rest of it counts */
    assert_true(is_kept_by_region(p, p + 3 * PAGE));
    assert_int_equal(report.unreadable_bytes, 0);
    munmap(p, 2 * PAGE);
    assert_false(is_kept_by_region(p, p + 3 * PAGE));
    free_hidden();
}

/* From now on, and for good. */
static bool forbid(uint32_t call) {
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const struct sock_fprog filter = {.len = sizeof code / sizeof *code, .filter = code};
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
}

static void test_memory_is_read_where_a_filter_refuses_the_call_for_it(void **state) {
    (void)state;
    int status;
    char *p = map(PAGE);
    make_hidden();
    pid_t pid = fork();
    if (pid == 0) {
        if (!forbid(SYS_process_vm_readv))
            _exit(77);
        bool before = is_kept_by_memory();
        reveal(p + 80);
        _exit(!before && is_kept_by_memory() ? 7 : 8);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    munmap(p, PAGE);
    free_hidden();
    if (WEXITSTATUS(status) == 77)
        skip();
    assert_int_equal(WEXITSTATUS(status), 7);
}

/* The copy of a process has none of its shared pages in its page table. */
static void test_named_shared_memory_keeps_in_a_copy_of_the_process(void **state) {
    (void)state;
    int status;
    char *p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(p != MAP_FAILED);
    make_hidden();
    reveal(p + 80);
    pid_t pid = fork();
    if (pid == 0)
        _exit(is_kept_by_region(p, p + PAGE) ? 7 : 8);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 7);
    munmap(p, PAGE);
    free_hidden();
}

/* The kernel makes one mapping of the library's bss and what the program maps behind it. */
static void test_a_mapping_right_behind_the_librarys_data_keeps(void **state) {
    extern char end[];
    (void)state;
    char *behind = (char *)(((uintptr_t)end + PAGE - 1) & ~(uintptr_t)(PAGE - 1));
    char *p = mmap(behind, 4 * PAGE, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    if (p == MAP_FAILED)
        skip(); /* the heap of brk is there */
    assert_ptr_equal(p, behind);
    make_hidden();
    assert_false(is_kept_by_memory());
    reveal(p + PAGE);
    assert_true(is_kept_by_memory());
    munmap(p, 4 * PAGE);
    free_hidden();
}

static void test_the_librarys_own_memory_does_not_keep(void **state) {
    (void)state;
    char *p = mem_alloc(2 * PAGE, MEM_OTHER);
    make_hidden();
    reveal(p + PAGE);
    assert_false(is_kept_by_memory());
    owned_remove(p + PAGE, PAGE); /* as if it were the program's */
    assert_true(is_kept_by_memory());
    owned_add(p + PAGE, PAGE, MEM_OTHER);
    mem_free(p, 2 * PAGE, MEM_OTHER, 0, 0);
    free_hidden();
}

static void test_terabytes_that_were_never_touched_cost_nothing(void **state) {
    (void)state;
    size_t n = (size_t)1 << 41;
    char *p =
        mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED)
        skip();
    make_hidden();
    reveal(p + (n >> 9) + 24);
    munmap(p + (n >> 8), n - (n >> 8)); /* 8 GiB stay */
    assert_true(is_kept_by_memory());
    assert_true(report.kind[ROOT_MAPPED].bytes < (uint64_t)1 << 30);
    munmap(p, n >> 8);
    free_hidden();
}

static void test_memory_whose_file_was_cut_is_passed_over(void **state) {
    (void)state;
    char path[] = "/tmp/roots-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0 && ftruncate(fd, 2 * PAGE) == 0);
    unlink(path);
    char *p = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    assert_true(p != MAP_FAILED);
    make_hidden();
    reveal(p + PAGE + 64);
    assert_true(is_kept_by_memory());
    assert_int_equal(ftruncate(fd, 0), 0); /* its pages fault from now on */
    assert_false(is_kept_by_memory());
    munmap(p, 2 * PAGE);
    close(fd);
    free_hidden();
}

struct other {
    pthread_barrier_t barrier;
    struct root_thread thread;
    uintptr_t regs[4];
    int where;
};
enum { NOWHERE, IN_STACK, BELOW_STACK, IN_TLS, IN_KEY, IN_REGISTER };

static __thread uintptr_t in_tls;
static pthread_key_t key;

static gm_noinline void leave_below(void) {
    volatile uintptr_t deep[512];
    deep[10] = 0;
    reveal((void *)&deep[10]);
}

static void *live(void *arg) {
    struct other *o = arg;
    volatile uintptr_t here = 0;
    self();
    if (o->where == IN_STACK)
        reveal((void *)&here);
    if (o->where == IN_TLS)
        reveal(&in_tls);
    if (o->where == IN_KEY)
        pthread_setspecific(key, (void *)HIDE(hidden));
    if (o->where == IN_REGISTER)
        reveal(&o->regs[2]);
    wipe_stack();
    if (o->where == BELOW_STACK)
        leave_below();
    o->thread = (struct root_thread){.tid = (uint32_t)gettid(),
                                     .sp = (uintptr_t)__builtin_frame_address(0) - 256,
                                     .tp = thread_pointer(),
                                     .regs_lo = (uintptr_t)o->regs,
                                     .regs_hi = (uintptr_t)(o->regs + 4)};
    pthread_barrier_wait(&o->barrier);
    pthread_barrier_wait(&o->barrier);
    pthread_setspecific(key, NULL);
    return NULL;
}

static const pthread_attr_t *given; /* its attributes, NULL: the usual */

/* The registers are stored in memory that is no root itself. */
static bool is_kept_by_thread(int where) {
    static struct other *o;
    pthread_t thread;
    o = mem_alloc(PAGE, MEM_OTHER);
    o->where = where;
    pthread_barrier_init(&o->barrier, NULL, 2);
    assert_int_equal(pthread_create(&thread, given, live, o), 0);
    pthread_barrier_wait(&o->barrier);
    struct root_thread threads[2] = {this_thread((uintptr_t)__builtin_frame_address(0)), o->thread};
    wipe_stack();
    bool kept = is_kept(&(struct roots){.threads = threads, .nthreads = 2, .mapped = true});
    pthread_barrier_wait(&o->barrier);
    pthread_join(thread, NULL);
    mem_free(o, PAGE, MEM_OTHER, 0, 0);
    return kept;
}

static void test_a_threads_stack_registers_and_own_variables_keep(void **state) {
    (void)state;
    make_hidden();
    assert_true(is_kept_by_thread(IN_STACK));
    assert_true(is_kept_by_thread(IN_TLS));
    assert_true(is_kept_by_thread(IN_KEY));
    assert_true(is_kept_by_thread(IN_REGISTER));
    assert_int_equal(report.kind[ROOT_REGISTER].objects, 1);
    free_hidden();
}

static void test_what_is_below_the_stack_pointer_does_not_keep(void **state) {
    (void)state;
    make_hidden();
    assert_false(is_kept_by_thread(BELOW_STACK));
    free_hidden();
}

/* The calling thread is on a stack that lies in the middle of three pages. */
static bool is_kept_beside(char *p, size_t at, bool alternate) {
    struct root_thread threads[2] = {this_thread((uintptr_t)__builtin_frame_address(0)),
                                     {.sp = (uintptr_t)p + PAGE + PAGE / 2}};
    if (alternate) {
        threads[1].alt_lo = (uintptr_t)p + PAGE;
        threads[1].alt_hi = (uintptr_t)p + (size_t)2 * PAGE;
    }
    reveal(p + at);
    wipe_stack();
    bool kept = is_kept(&(struct roots){.threads = threads, .nthreads = 2, .mapped = true});
    memset(p, 0, 3 * PAGE);
    return kept;
}

static void test_memory_beside_an_alternate_stack_keeps(void **state) {
    char *p = map(3 * PAGE);
    (void)state;
    make_hidden();
    assert_true(is_kept_beside(p, 80, true));
    assert_false(is_kept_beside(p, PAGE + 80, true));
    assert_true(is_kept_beside(p, PAGE + PAGE / 2 - 80, true)); /* red zone */
    assert_true(is_kept_beside(p, PAGE + PAGE / 2 + 80, true));
    assert_true(is_kept_beside(p, (size_t)2 * PAGE + 80, true));
    munmap(p, 3 * PAGE);
    free_hidden();
}

static void test_memory_beside_a_stack_of_unknown_size_keeps(void **state) {
    char *p = map(3 * PAGE);
    (void)state;
    make_hidden();
    assert_true(is_kept_beside(p, 80, false));
    assert_true(is_kept_beside(p, PAGE + PAGE / 2 + 80, false));
    assert_true(is_kept_beside(p, (size_t)2 * PAGE + 80, false));
    munmap(p, 3 * PAGE);
    free_hidden();
}

static void *learn(void *arg) {
    *(size_t *)arg = stack_extent_learn(&(struct roots){.self_tp = thread_pointer()});
    return NULL;
}

/* libc says of the first thread, which is this one, that all memory below its stack's end is it. */
static void test_a_stack_that_the_first_thread_has_gone_to_is_of_unknown_size(void **state) {
    static char stack[2 * PAGE]; /* below the descriptor */
    struct root_thread t = this_thread((uintptr_t)stack + PAGE);
    struct stack_extent x;
    pthread_t thread;
    size_t place = 0;
    (void)state;
    assert_int_equal(pthread_create(&thread, NULL, learn, &place), 0);
    pthread_join(thread, NULL);
    assert_int_not_equal(place, 0);
    assert_true(t.sp < t.tp);
    assert_false(stack_extent_of(place, &t, &x));
}

/* Of a thread whose stack the program has given it. */
static void test_memory_beside_a_given_stack_keeps(void **state) {
    (void)state;
    enum { QUARTER = 64 << 10 };
    char *p = map((size_t)4 * QUARTER);
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    assert_int_equal(pthread_attr_setstack(&attr, p + QUARTER, (size_t)2 * QUARTER), 0);
    given = &attr;
    make_hidden();
    assert_true(is_kept_by_thread(IN_STACK));
    assert_false(is_kept_by_thread(BELOW_STACK));
    memset(p, 0, (size_t)4 * QUARTER);
    reveal(p + 80);
    assert_true(is_kept_by_thread(NOWHERE));
    memset(p, 0, (size_t)4 * QUARTER);
    reveal(p + (size_t)4 * QUARTER - 80);
    assert_true(is_kept_by_thread(NOWHERE));
    given = NULL;
    pthread_attr_destroy(&attr);
    munmap(p, (size_t)4 * QUARTER);
    free_hidden();
}

static void test_the_kept_stack_of_a_thread_that_has_ended_does_not_keep(void **state) {
    pthread_attr_t attr;
    (void)state;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, 1 << 20); /* libc does not keep the largest */
    given = &attr;
    make_hidden();
    assert_true(is_kept_by_thread(IN_STACK));
    assert_false(is_kept_by_memory());
    assert_true(report.dead_stacks >= 1);
    given = NULL;
    pthread_attr_destroy(&attr);
    free_hidden();
}

int main(void) {
    pthread_key_create(&key, NULL);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_keeps_an_object_that_nothing_points_to),
        cmocka_unit_test(test_memory_that_the_program_has_mapped_keeps_unless_told_otherwise),
        cmocka_unit_test(test_unaligned_words_do_not_keep),
        cmocka_unit_test(test_what_was_written_and_then_protected_keeps),
        cmocka_unit_test(test_a_files_read_only_pages_keep_if_the_process_has_changed_them),
        cmocka_unit_test(test_shared_memory_keeps_only_where_the_program_has_named_it),
        cmocka_unit_test(test_memory_is_read_where_a_filter_refuses_the_call_for_it),
        cmocka_unit_test(test_named_shared_memory_keeps_in_a_copy_of_the_process),
        cmocka_unit_test(test_a_mapping_right_behind_the_librarys_data_keeps),
        cmocka_unit_test(test_the_librarys_own_memory_does_not_keep),
        cmocka_unit_test(test_terabytes_that_were_never_touched_cost_nothing),
        cmocka_unit_test(test_memory_whose_file_was_cut_is_passed_over),
        cmocka_unit_test(test_a_threads_stack_registers_and_own_variables_keep),
        cmocka_unit_test(test_what_is_below_the_stack_pointer_does_not_keep),
        cmocka_unit_test(test_memory_beside_an_alternate_stack_keeps),
        cmocka_unit_test(test_memory_beside_a_stack_of_unknown_size_keeps),
        cmocka_unit_test(test_a_stack_that_the_first_thread_has_gone_to_is_of_unknown_size),
        cmocka_unit_test(test_memory_beside_a_given_stack_keeps),
        cmocka_unit_test(test_the_kept_stack_of_a_thread_that_has_ended_does_not_keep),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
