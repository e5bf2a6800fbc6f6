/* SPDX-License-Identifier: BSD-3-Clause
 *
 * leak_random SEED PLUGIN: a program with planted leaks.
 *
 * A random graph of objects is built; some of them are kept through random kinds of roots, and what
 * these lead to; all others are lost.  The graph is kept in indices and hidden addresses, so that
 * the program itself leads to nothing.  It prints what it has lost and what it has kept, and rests.
 */
#include <dlfcn.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#include "leak_world.h"

enum { MOST = 3000, MOST_EDGES = 4, MOST_ROOTS = 60, MOST_THREADS = 6, KEYS = 50 };

/* No two numbers in one word: 192 before another would look like the address of an object. */
static struct object {
    uintptr_t hidden;
    uint64_t size;
    uint64_t nedges;
    uint64_t to[MOST_EDGES];
    uint64_t kept;
} objects[MOST];
static uint64_t nobjects;

static uint64_t state;

static uint32_t below(uint64_t n) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((state >> 33) % n);
}

/* ---- the graph ----------------------------------------------------------------------------- */

static uint32_t random_size(void) {
    static const uint32_t most[] = {8, 16, 64, 200, 1000, 5000, 40000, 300000};
    uint32_t kind = below(100);
    return 8 + below(most[kind < 30   ? 1
                          : kind < 60 ? 2
                          : kind < 80 ? 3
                          : kind < 95 ? 4
                          : kind < 98 ? 5
                          : kind < 99 ? 6
                                      : 7]);
}

/* Of some, the first address was another. */
static NOINLINE void resize(struct object *o) {
    o->size = random_size();
    void *p = realloc((void *)HIDE(o->hidden), o->size);
    memset(p, 0, o->size);
    o->hidden = HIDE(p);
}

static NOINLINE void drop(uintptr_t hidden) {
    free((void *)HIDE(hidden));
}

static void *make_some(void *arg) {
    for (uint64_t n = *(uint64_t *)arg; n > 0; n--) {
        struct object *o = &objects[nobjects++];
        o->size = random_size();
        o->hidden = world_make(o->size);
        if (below(10) == 0)
            drop(world_make(random_size()));
        if (below(10) == 0)
            resize(o);
    }
    world_wipe();
    return NULL;
}

/* Some objects are made by threads that end. */
static NOINLINE void make_objects(void) {
    uint64_t total = 50 + below(MOST - 50), most = total / 3;
    while (nobjects < total) {
        uint64_t n = 1 + below(most);
        pthread_t t;
        n = n < total - nobjects ? n : total - nobjects;
        if (below(2) == 0) {
            make_some(&n);
            continue;
        }
        pthread_create(&t, NULL, make_some, &n);
        pthread_join(t, NULL);
    }
}

/* Pointers lead to first bytes, and within. */
static NOINLINE void make_edges(void) {
    for (uint32_t i = 0; i < nobjects; i++) {
        struct object *o = &objects[i];
        uint64_t words = o->size / 8, n = below(MOST_EDGES + 1), at[MOST_EDGES];
        for (uint32_t k = 0; k < n && k < words; k++) {
            at[k] = words == n ? k : below(words);
            for (uint32_t j = 0; j < k; j++)
                if (at[j] == at[k])
                    at[k] = UINT64_MAX;
            if (at[k] == UINT64_MAX)
                break;
            uint64_t to = below(4) ? below(nobjects) : (i + 1 + below(3)) % nobjects;
            uint64_t offset = below(3) ? 0 : below(objects[to].size);
            world_put((char *)HIDE(o->hidden) + 8 * at[k], objects[to].hidden, offset);
            o->to[o->nedges++] = to;
        }
    }
}

static void keep(uint32_t i) {
    static uint64_t todo[MOST * (MOST_EDGES + 1)];
    uint64_t n = 0;
    todo[n++] = i;
    while (n) {
        struct object *o = &objects[todo[--n]];
        if (o->kept)
            continue;
        o->kept = 1;
        for (uint32_t k = 0; k < o->nedges; k++)
            todo[n++] = o->to[k];
    }
}

/* choose returns the hidden address of an object that is a root from now on. */
static uintptr_t choose(void) {
    uint32_t i = below(nobjects);
    keep(i);
    return objects[i].hidden;
}

/* ---- roots --------------------------------------------------------------------------------- */

static uintptr_t in_data[64] = {1}, in_bss[64];
static __thread uintptr_t in_tls[8];
static uintptr_t *mapped;
static pthread_key_t keys[KEYS];
static const struct leak_plugin *plugin;

/* Threads that rest: what each of them is to hold. */
enum { STACK, TLS, PLUGIN_TLS, KEY, REGISTER, KINDS };
static struct holder {
    uint64_t kind;
    uintptr_t hidden;
    uint64_t at;
    volatile uint64_t holds; /* 1: from now on */
} holders[MOST_THREADS];

static NOINLINE void set_key(uint32_t key, uintptr_t hidden) {
    pthread_setspecific(keys[key], (void *)HIDE(hidden));
}

static NOINLINE void hold(struct holder *h) {
    volatile uintptr_t on_stack[4] = {0};
    switch (h->kind) {
    case STACK:
        world_put((void *)&on_stack[h->at % 4], h->hidden, h->at);
        break;
    case TLS:
        world_put(&in_tls[h->at % 8], h->hidden, 0);
        break;
    case PLUGIN_TLS:
        world_put(&plugin->tls()[h->at % 64], h->hidden, 0);
        break;
    case KEY:
        set_key(h->at % KEYS, h->hidden);
        break;
    default:
        break;
    }
    world_wipe();
    if (h->kind == REGISTER)
        world_hold(h->hidden, &h->holds);
    h->holds = 1;
    world_rest(0);
}

/* Its stack may be that of a thread that has ended: nothing of it is to show through. */
static void *begin_to_hold(void *arg) {
    world_wipe();
    hold(arg);
    return NULL;
}

static NOINLINE void start_holders(void) {
    uint32_t n = 1 + below(MOST_THREADS);
    pthread_t t;
    for (uint32_t i = 0; i < n; i++) {
        holders[i].kind = below(KINDS);
        holders[i].at = below(8);
        holders[i].hidden = choose();
        pthread_create(&t, NULL, begin_to_hold, &holders[i]);
    }
    for (uint32_t i = 0; i < n; i++)
        while (!holders[i].holds)
            sched_yield();
}

/* A thread that ends: what its stack and its variables lead to is lost. */
static void *forget(void *arg) {
    volatile uintptr_t on_stack[64];
    for (unsigned i = 0; i < 64; i++)
        world_put((void *)&on_stack[i], objects[below(nobjects)].hidden, 0);
    world_put(&in_tls[0], objects[below(nobjects)].hidden, 0);
    return arg;
}

static NOINLINE void end_threads(void) {
    for (uint32_t n = below(4); n > 0; n--) {
        pthread_t t;
        pthread_create(&t, NULL, forget, NULL);
        pthread_join(t, NULL);
    }
}

/* Coroutines that rest. */
enum { COROUTINES = 3, STACK_BYTES = 64 << 10 };
static ucontext_t back, coroutines[COROUTINES];
static uintptr_t coroutine_holds[COROUTINES];

static void coroutine(int i) {
    volatile uintptr_t on_stack[4] = {0};
    world_put((void *)&on_stack[1], coroutine_holds[i], 0);
    world_wipe();
    swapcontext(&coroutines[i], &back);
    abort();
}

static NOINLINE void start_coroutine(int i, bool on_heap) {
    void *stack = on_heap ? calloc(1, STACK_BYTES)
                          : mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE,
                                 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    coroutine_holds[i] = choose();
    getcontext(&coroutines[i]);
    coroutines[i].uc_stack.ss_sp = stack;
    coroutines[i].uc_stack.ss_size = STACK_BYTES;
    makecontext(&coroutines[i], (void (*)(void))coroutine, 1, i);
    swapcontext(&back, &coroutines[i]);
    memset(&back, 0, sizeof back);
}

static NOINLINE void put_roots(void) {
    for (uint32_t n = below(MOST_ROOTS); n > 0; n--) {
        uintptr_t *const tables[] = {in_data, in_bss, mapped, plugin->data, plugin->bss};
        uint32_t kind = below(7), at = 1 + below(63);
        uintptr_t hidden;
        if (kind < 5 && tables[kind][at] != 0)
            continue;
        if (kind == 5 && in_tls[at % 8] != 0)
            continue;
        if (kind == 6 && pthread_getspecific(keys[at % KEYS]) != NULL)
            continue;
        hidden = choose();
        if (kind < 5)
            world_put(&tables[kind][at], hidden, 0);
        else if (kind == 5)
            world_put(&in_tls[at % 8], hidden, 0);
        else
            set_key(at % KEYS, hidden);
    }
    for (int i = 0; i < COROUTINES; i++)
        if (below(2))
            start_coroutine(i, below(2));
}

static NOINLINE void set_up(const char *path) {
    void *so = dlopen(path, RTLD_NOW);
    plugin = so ? dlsym(so, "leak_plugin") : NULL;
    if (!plugin) {
        fprintf(stderr, "%s\n", dlerror());
        exit(2);
    }
    mapped = mmap(NULL, 1 << 16, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (int i = 0; i < KEYS; i++)
        pthread_key_create(&keys[i], NULL);
}

int main(int argc, char **argv) {
    if (argc != 3)
        return 64;
    world_begin();
    state = strtoull(argv[1], NULL, 10) * 2654435761u + 1;
    set_up(argv[2]);
    make_objects();
    world_wipe();
    make_edges();
    end_threads();
    put_roots();
    start_holders();
    for (uint32_t i = 0; i < nobjects; i++)
        world_say(!objects[i].kept, "object", objects[i].hidden);
    world_rest(1);
}
