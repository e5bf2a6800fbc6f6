/* SPDX-License-Identifier: BSD-3-Clause
 *
 * leak_cases PLUGIN: one object, or a few, for each way to lose or to keep one.
 *
 * Each case has a name; the program prints what is lost and what is kept, and rests.  Addresses
 * stand in clear only where the case has them (leak_world.h).
 */
#include <dlfcn.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include "leak_world.h"

enum { KEYS = 100, STACK_BYTES = 64 << 10, SIZE = 48 };

static const struct leak_plugin *plugin;

static NOINLINE uintptr_t kept(const char *name, void *place) {
    uintptr_t hidden = world_make(SIZE);
    world_put(place, hidden, 0);
    world_say(0, name, hidden);
    return hidden;
}

static NOINLINE uintptr_t lost(const char *name, uintptr_t size) {
    uintptr_t hidden = world_make(size);
    world_say(1, name, hidden);
    return hidden;
}

static NOINLINE void point(uintptr_t from, unsigned word, uintptr_t to, uintptr_t offset) {
    world_put((uintptr_t *)HIDE(from) + word, to, offset);
}

static NOINLINE void drop(uintptr_t hidden) {
    free((void *)HIDE(hidden));
}

/* ---- lost ---------------------------------------------------------------------------------- */

static NOINLINE void lose(void) {
    static const uintptr_t sizes[] = {1, 8, 17, 100, 1000, 9000, 33000, 100000, 3000000};
    for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++)
        lost("direct", sizes[i]);
    uintptr_t head = lost("chain-head", SIZE), last = head;
    for (int i = 0; i < 100; i++) {
        uintptr_t next = lost("chain", SIZE);
        point(last, 1, next, i % 3);
        last = next;
    }
    uintptr_t a = lost("ring", SIZE), b = lost("ring", SIZE), c = lost("ring-tail", SIZE);
    point(a, 0, b, 0);
    point(b, 0, a, 0);
    point(b, 1, c, 0);
    point(lost("self", SIZE), 2, last, 0);
    uintptr_t self = lost("self", SIZE);
    point(self, 3, self, 8);
}

/* Only an object that has been freed leads to it. */
static NOINLINE void lose_under_freed(void) {
    uintptr_t from = world_make(4000);
    point(from, 300, lost("under-freed", SIZE), 0);
    drop(from);
}

/* Of a pointer that is changed, the old value. */
static NOINLINE void lose_by_overwriting(void) {
    static uintptr_t place;
    uintptr_t old = lost("overwritten", SIZE);
    world_put(&place, old, 0);
    kept("overwriting", &place);
}

static __thread uintptr_t own_tls[4];
static pthread_key_t keys[KEYS];

static NOINLINE void set_key(unsigned key, uintptr_t hidden) {
    pthread_setspecific(keys[key], (void *)HIDE(hidden));
}

/* What a thread that has ended had: on its stack, in its variables and keys. */
static void *end(void *arg) {
    volatile uintptr_t on_stack[4];
    world_put((void *)&on_stack[0], lost("ended-stack", SIZE), 0);
    world_put(&own_tls[0], lost("ended-tls", SIZE), 0);
    world_put(&plugin->tls()[0], lost("ended-plugin-tls", SIZE), 0);
    set_key(3, lost("ended-key", SIZE));
    set_key(90, lost("ended-late-key", SIZE));
    return arg;
}

static NOINLINE void lose_by_ending(void) {
    pthread_t t;
    pthread_create(&t, NULL, end, NULL);
    pthread_join(t, NULL);
}

/* ---- kept ---------------------------------------------------------------------------------- */

static uintptr_t in_data = 1, in_bss;

static NOINLINE void keep_in_memory(void) {
    static uintptr_t in_function, interior, end_of;
    uintptr_t *page =
        mmap(NULL, 1 << 16, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    kept("data", &in_data);
    kept("bss", &in_bss);
    kept("static", &in_function);
    uintptr_t *withheld =
        mmap(NULL, 1 << 16, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    madvise(withheld, 1 << 16, MADV_DONTFORK);
    uintptr_t *wiped =
        mmap(NULL, 1 << 16, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    madvise(wiped, 1 << 16, MADV_WIPEONFORK);
    kept("mapped", &page[5000]);
    kept("withheld", &withheld[5000]);
    kept("wiped", &wiped[5000]);
    kept("plugin-data", &plugin->data[7]);
    kept("plugin-bss", &plugin->bss[7]);
    kept("plugin-tls", &plugin->tls()[7]);
    kept("tls", &own_tls[1]);
    uintptr_t inside = world_make(SIZE), last = world_make(SIZE);
    world_put(&interior, inside, 20);
    world_put(&end_of, last, SIZE - 1);
    world_say(0, "interior", inside);
    world_say(0, "last-byte", last);
}

static NOINLINE void keep_by_objects(void) {
    static uintptr_t root, large;
    uintptr_t last = kept("list", &root), big = world_make(500000);
    for (int i = 0; i < 100; i++) {
        uintptr_t next = world_make(SIZE);
        point(last, 2, next, 0);
        world_say(0, "list", next);
        last = next;
    }
    world_put(&large, big, 0);
    uintptr_t under = world_make(SIZE);
    point(big, 62000, under, 0);
    world_say(0, "large", big);
    world_say(0, "under-large", under);
}

static NOINLINE void keep_by_keys(void) {
    for (unsigned i = 0; i < KEYS; i++) {
        uintptr_t hidden = world_make(SIZE);
        set_key(i, hidden);
        world_say(0, "key", hidden);
    }
}

/* A register that calls preserve, and one that only this code has. */
static volatile uint64_t holds[6];
static uintptr_t held[2];

static void *hold_register(void *arg) {
    world_hold(held[0], arg);
}

static NOINLINE void stay(volatile uint64_t *flag) {
    *flag = 1;
    world_rest(0);
}

static NOINLINE void on_thread(volatile uint64_t *flag) {
    volatile uintptr_t on_stack[4] = {0};
    kept("thread-stack", (void *)&on_stack[1]);
    kept("thread-tls", &own_tls[2]);
    kept("thread-plugin-tls", &plugin->tls()[9]);
    set_key(70, kept("thread-key", (void *)&on_stack[2]));
    on_stack[2] = 0;
    stay(flag);
}

static void *hold_thread(void *arg) {
    world_wipe();
    on_thread(arg);
    return NULL;
}

/* A handler on another stack: that of the thread is in use, too, and so are variables beside it. */
static volatile uintptr_t *below_handler;
static struct {
    uintptr_t below[1024]; /* so many that some are in no page of the file's */
    char stack[STACK_BYTES];
    uintptr_t above[64];
} other;

static void handler(int sig) {
    (void)sig;
    stay(&holds[2]);
}

static NOINLINE void on_other_stack(void) {
    volatile uintptr_t on_stack[4] = {0};
    stack_t s = {.ss_sp = other.stack, .ss_size = sizeof other.stack};
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_ONSTACK};
    below_handler = on_stack;
    sigaltstack(&s, NULL);
    sigaction(SIGUSR1, &action, NULL);
    kept("below-handler", (void *)&on_stack[1]);
    kept("beside-handler", &other.below[1000]);
    kept("beside-handler", &other.above[9]);
    raise(SIGUSR1);
}

static void *hold_handler(void *arg) {
    world_wipe();
    on_other_stack();
    return arg;
}

/* A stack that the program gives, in a block of which it uses the rest, too. */
static void *rest_there(void *arg) {
    volatile uintptr_t on_stack[4] = {0};
    world_wipe();
    kept("given-stack", (void *)&on_stack[1]);
    stay(arg);
    return NULL;
}

static NOINLINE void keep_beside_stack(void) {
    enum { SIZE_OF_BLOCK = 4 * STACK_BYTES };
    pthread_t t;
    pthread_attr_t attr;
    uintptr_t *block =
        mmap(NULL, SIZE_OF_BLOCK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    pthread_attr_init(&attr);
    pthread_attr_setstack(&attr, (char *)block + STACK_BYTES, 2 * STACK_BYTES);
    kept("beside-stack", &block[9]);
    kept("beside-stack", (char *)block + SIZE_OF_BLOCK - 64);
    pthread_create(&t, &attr, rest_there, (void *)&holds[4]);
    pthread_attr_destroy(&attr);
}

static NOINLINE void keep_by_threads(void) {
    pthread_t t;
    held[0] = world_make(SIZE);
    world_say(0, "register", held[0]);
    pthread_create(&t, NULL, hold_register, (void *)&holds[0]);
    pthread_create(&t, NULL, hold_thread, (void *)&holds[1]);
    pthread_create(&t, NULL, hold_handler, NULL);
    keep_beside_stack();
    for (int i = 0; i < 5; i++)
        while (!holds[i] && i != 3)
            sched_yield();
}

/* A coroutine that rests while its thread is on its own stack, and a thread that is on another, one
 * of several in one block. */
static ucontext_t back, resting, resting_below, running;

static void coroutine(void) {
    volatile uintptr_t on_stack[4] = {0};
    kept("coroutine", (void *)&on_stack[1]);
    world_wipe();
    swapcontext(&resting, &back);
}

static void coroutine_below(void) {
    volatile uintptr_t on_stack[4] = {0};
    kept("coroutine-below", (void *)&on_stack[1]);
    world_wipe();
    swapcontext(&resting_below, &back);
}

/* The library's own stacks, which are no objects. */
static ucontext_t resting_given, running_given;

static void coroutine_given(void) {
    volatile uintptr_t on_stack[4] = {0};
    kept("coroutine-given", (void *)&on_stack[1]);
    world_wipe();
    swapcontext(&resting_given, &back);
}

static void run_given(void) {
    volatile uintptr_t on_stack[4] = {0};
    kept("on-given-stack", (void *)&on_stack[1]);
    stay(&holds[5]);
}

static void *leave_for_given(void *arg) {
    static ucontext_t left;
    world_wipe();
    swapcontext(&left, &running_given);
    return arg;
}

static void run_elsewhere(void) {
    volatile uintptr_t on_stack[4] = {0};
    kept("on-coroutine-stack", (void *)&on_stack[1]);
    stay(&holds[3]);
}

static NOINLINE void start(ucontext_t *c, void *stack, void (*run)(void)) {
    getcontext(c);
    c->uc_stack.ss_sp = stack;
    c->uc_stack.ss_size = STACK_BYTES;
    makecontext(c, run, 0);
}

static NOINLINE void leave(void) {
    volatile uintptr_t on_stack[4] = {0};
    static ucontext_t left;
    kept("left-stack", (void *)&on_stack[1]);
    world_wipe();
    swapcontext(&left, &running);
}

static void *leave_stack(void *arg) {
    world_wipe();
    leave();
    return arg;
}

static NOINLINE void keep_by_given_stacks(void) {
    enum { GUARD = 0x100 };
    pthread_t t;
    void *(*stack_alloc)(size_t, unsigned) =
        (void *(*)(size_t, unsigned))dlsym(RTLD_DEFAULT, "gomalloc_stack_alloc");
    start(&resting_given, stack_alloc(STACK_BYTES, 0), coroutine_given);
    swapcontext(&back, &resting_given);
    memset(&back, 0, sizeof back);
    start(&running_given, stack_alloc(STACK_BYTES, GUARD), run_given);
    pthread_create(&t, NULL, leave_for_given, NULL);
    while (!holds[5])
        sched_yield();
}

static NOINLINE void keep_by_coroutines(void) {
    pthread_t t;
    char *block =
        mmap(NULL, 2 * STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    start(&resting, calloc(1, STACK_BYTES), coroutine);
    swapcontext(&back, &resting);
    start(&resting_below, block, coroutine_below);
    swapcontext(&back, &resting_below);
    memset(&back, 0, sizeof back);
    start(&running, block + STACK_BYTES, run_elsewhere);
    pthread_create(&t, NULL, leave_stack, NULL);
    while (!holds[3])
        sched_yield();
}

static NOINLINE void set_up(const char *path) {
    void *so = dlopen(path, RTLD_NOW);
    plugin = so ? dlsym(so, "leak_plugin") : NULL;
    if (!plugin) {
        fprintf(stderr, "%s\n", dlerror());
        exit(2);
    }
    for (int i = 0; i < KEYS; i++)
        pthread_key_create(&keys[i], NULL);
}

static NOINLINE void do_all(void) {
    lose_by_ending();
    lose();
    lose_under_freed();
    lose_by_overwriting();
    keep_in_memory();
    keep_by_objects();
    keep_by_keys();
    keep_by_threads();
    keep_by_coroutines();
    keep_by_given_stacks();
}

int main(int argc, char **argv) {
    volatile uintptr_t on_stack[4] = {0};
    if (argc < 2)
        return 64;
    world_begin();
    set_up(argv[1]);
    kept("main-stack", (void *)&on_stack[1]);
    do_all();
    world_rest(1);
}
