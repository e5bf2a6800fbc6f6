/* SPDX-License-Identifier: BSD-3-Clause
 *
 * leak_named [fork | check]: what a program says about its memory for leak checks: named roots,
 * ignored objects, by gomalloc's functions and by LeakSanitizer's; and memory that it protects.
 *
 * It says what is lost and what is kept (leak_world.h), and rests; with "fork", its child does,
 * which has inherited most of it; with "check" it checks itself, and ends.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <signal.h>
#include <unistd.h>

#include "leak_world.h"

#define WEAK __attribute__((weak))

/* As programs declare them that may be built without a sanitizer. */
extern void __lsan_register_root_region(const void *p, size_t size) WEAK;
extern void __lsan_unregister_root_region(const void *p, size_t size) WEAK;
extern void __lsan_ignore_object(const void *p) WEAK;
extern void __lsan_disable(void) WEAK;
extern void __lsan_enable(void) WEAK;
extern void __lsan_do_leak_check(void) WEAK;
extern int __lsan_do_recoverable_leak_check(void) WEAK;

extern int gomalloc_root_add(const void *p, size_t size) WEAK;
extern int gomalloc_root_remove(const void *p, size_t size) WEAK;
extern int gomalloc_ignore(const void *p) WEAK;

enum { SIZE = 48, PAGE = 4096 };

static void need(int ok, const char *what) {
    if (!ok) {
        printf("failed %s 0\n", what);
        fflush(stdout);
        _exit(2);
    }
}

static NOINLINE void point(uintptr_t from, unsigned word, uintptr_t to) {
    world_put((uintptr_t *)HIDE(from) + word, to, 0);
}

static char *shared(void) {
    char *p = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    need(p != MAP_FAILED, "mmap");
    return p;
}

static NOINLINE uintptr_t kept(const char *name, void *place) {
    uintptr_t hidden = world_make(SIZE);
    world_put(place, hidden, 0);
    world_say(0, name, hidden);
    return hidden;
}

static NOINLINE uintptr_t lost(const char *name, void *place) {
    uintptr_t hidden = world_make(SIZE);
    if (place)
        world_put(place, hidden, 0);
    world_say(1, name, hidden);
    return hidden;
}

static NOINLINE void name_regions(void) {
    char *p = shared();
    need(gomalloc_root_add(p + PAGE, PAGE) == 0, "root_add");
    need(gomalloc_root_add(p, 64) == 0, "root_add");
    need(gomalloc_root_remove(p, 64) == 0, "root_remove");
    need(gomalloc_root_remove(p, 64) == -1, "root_remove again");
    need(gomalloc_root_add(NULL, 8) == -1, "root_add of nothing");
    __lsan_register_root_region(p + 2 * PAGE, 128);
    __lsan_register_root_region(p + 3 * PAGE, 128);
    __lsan_unregister_root_region(p + 3 * PAGE, 128);
    uintptr_t head = kept("named", p + PAGE + 8), under = world_make(SIZE);
    point(head, 2, under);
    world_say(0, "under-named", under);
    kept("registered", p + 2 * PAGE + 120);
    lost("shared", p + 128);
    lost("removed", p + 8);
    lost("unregistered", p + 3 * PAGE);
    lost("behind-registered", p + 2 * PAGE + 128);
    mprotect(p, 4 * PAGE, PROT_READ);
}

static NOINLINE void protect(void) {
    char *p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    kept("protected", p + 80);
    mprotect(p, PAGE, PROT_READ);
}

static NOINLINE void ignore_one(int by_lsan, size_t size) {
    uintptr_t hidden = world_make(size), under = world_make(SIZE);
    point(hidden, 1, under);
    if (by_lsan)
        __lsan_ignore_object((void *)HIDE(hidden));
    else
        need(gomalloc_ignore((char *)HIDE(hidden) + 9) == 0, "ignore");
    world_say(0, "ignored", hidden);
    world_say(0, "under-ignored", under);
}

/* An object in the place of one that was ignored, and its neighbour. */
static NOINLINE void ignore_freed(size_t size) {
    uintptr_t first = world_make(size);
    need(gomalloc_ignore((void *)HIDE(first)) == 0, "ignore");
    free((void *)HIDE(first));
    for (int i = 0; i < 3; i++)
        world_say(1, "in-place-of-ignored", world_make(size));
}

static void *lose_in_thread(void *arg) {
    lost("beside-disabled", NULL);
    return arg;
}

static void *other_disables(void *arg) {
    __lsan_disable();
    world_say(0, "thread-disabled", world_make(SIZE));
    return arg; /* whoever gets this thread's cache is not disabled */
}

static NOINLINE void in_thread(void *(*run)(void *)) {
    pthread_t thread;
    need(pthread_create(&thread, NULL, run, NULL) == 0, "thread");
    pthread_join(thread, NULL);
}

static NOINLINE void say_made(void *p) {
    need(p != NULL, "memory");
    world_say(0, "disabled", HIDE(p));
}

static NOINLINE void disable(void) {
    static const size_t sizes[] = {1, 16, 48, 500, 5000, 40000, 600000, 3000000};
    __lsan_disable();
    for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        say_made(memset(malloc(sizes[i]), 0, sizes[i]));
        say_made(calloc(1, sizes[i]));
        say_made(memset(aligned_alloc(64, sizes[i]), 0, sizes[i]));
        void *p = malloc(10);
        say_made(memset(realloc(p, sizes[i] + 100), 0, sizes[i]));
    }
    __lsan_disable();
    say_made(calloc(1, SIZE));
    __lsan_enable();
    say_made(calloc(1, SIZE));
    in_thread(lose_in_thread);
    __lsan_enable();
    __lsan_enable(); /* one too many */
    for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++)
        world_say(1, "enabled", world_make(sizes[i]));
    in_thread(other_disables);
    in_thread(lose_in_thread);
}

static NOINLINE void do_all(void) {
    name_regions();
    protect();
    ignore_one(0, SIZE);
    ignore_one(1, SIZE);
    ignore_one(0, 400000);
    ignore_one(1, 5000000);
    ignore_freed(304);
    ignore_freed(70000);
    disable();
    lost("plain", NULL);
}

/* A program that forks has its agent when it has worked for a moment, and allocates then. */
static NOINLINE void wait_for_agent(void) {
    char path[512];
    snprintf(path, sizeof path, "%s/%d.sock", getenv("GOMALLOC_DIR"), (int)getpid());
    for (int i = 0; i < 20000 && access(path, F_OK) != 0; i++) {
        for (size_t size = 1; size < 1000000; size *= 2)
            free((void *)HIDE(world_make(size)));
        usleep(1000);
    }
}

/* Two checks at once, beside threads at work. */
static volatile int over;

static void *works(void *arg) {
    for (size_t i = 0; !over; i++)
        free(malloc(i * 37 % 100000));
    return arg;
}

static void *checks(void *arg) {
    *(int *)arg = __lsan_do_recoverable_leak_check();
    return NULL;
}

static void check_twice(void) {
    pthread_t threads[4];
    int found[2] = {-1, -1};
    for (int i = 0; i < 2; i++)
        need(pthread_create(&threads[i], NULL, works, NULL) == 0, "thread");
    for (int i = 0; i < 2; i++)
        need(pthread_create(&threads[2 + i], NULL, checks, &found[i]) == 0, "thread");
    for (int i = 0; i < 2; i++)
        pthread_join(threads[2 + i], NULL);
    over = 1;
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    printf("found %d %d\n", found[0], found[1]);
}

static int check(void) {
    printf("found %d\n", __lsan_do_recoverable_leak_check());
    lost("found", NULL);
    check_twice();
    __lsan_do_leak_check();
    puts("goes on");
    return 0;
}

int main(int argc, char **argv) {
    world_begin();
    if (argc > 1 && strcmp(argv[1], "check") == 0)
        return check();
    do_all();
    if (argc > 1 && strcmp(argv[1], "fork") == 0) {
        fflush(stdout);
        if (fork() != 0)
            world_rest(0);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        printf("pid %d\n", (int)getpid());
        ignore_one(1, SIZE);
        name_regions();
        lost("child", NULL);
    }
    wait_for_agent();
    world_rest(1);
}
