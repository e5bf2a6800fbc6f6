/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A counting shim: what the recorder's figures are held against.
 *
 * It is preloaded before libgomalloc.so, so that every call of malloc's family and of C++'s
 * operators comes here first, and is passed on.  For each place of the program that calls (the
 * return address) it counts objects and bytes since the start, and those that are live; at the end
 * of the process it writes them to COUNTING_DIR/PID, a line a place:
 *
 *      ADDRESS EARLY-OBJECTS EARLY-BYTES OBJECTS BYTES LIVE-OBJECTS LIVE-BYTES
 *
 * Early is what was allocated before this library was initialised, which is just after
 * libgomalloc.so: the recorder knows the stacks of only a part of these.  All else are totals,
 * early ones included.
 *
 * It shares no code and no idea with the recorder: return addresses instead of stacks, one table
 * under one lock, and each live object in a hash of its own instead of a bitmap.  The recorder sees
 * a frame of this library as the innermost; the next one has the return address that is counted
 * here.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define EXPORT        __attribute__((visibility("default"), noinline))
#define CALLER        ((uintptr_t)__builtin_return_address(0))
#define PLACE_BITS    16
#define OBJECT_BITS   22
#define HASH(x, bits) ((uint64_t)(x)*0x9e3779b97f4a7c15u >> (64 - (bits)))

struct figures {
    uint64_t objects;
    uint64_t bytes;
};

struct place {
    uintptr_t address; /* 0: free */
    struct figures early, all, live;
};

struct object {
    uintptr_t address; /* 0: free */
    uint64_t size;
    struct place *place;
};

/* Touched as needed. */
static struct place places[1 << PLACE_BITS];
static struct object objects[1 << OBJECT_BITS];
static uint64_t nobjects;
static bool initialised;

/* The lock of all this. */
static atomic_flag busy = ATOMIC_FLAG_INIT;

static void lock(void) {
    while (atomic_flag_test_and_set(&busy))
        sched_yield();
}

static void unlock(void) {
    atomic_flag_clear(&busy);
}

/* A process is not forked while a thread is between the recorder's count and ours. */
static _Atomic unsigned inside; /* threads in calls */
static _Atomic(uintptr_t) forking;
static _Thread_local unsigned calls __attribute__((tls_model("initial-exec")));

static void enter(void) {
    while (calls == 0) {
        atomic_fetch_add(&inside, 1);
        uintptr_t who = atomic_load(&forking);
        if (who == 0 || who == (uintptr_t)&calls)
            break;
        atomic_fetch_sub(&inside, 1);
        sched_yield();
    }
    calls++;
}

static void leave(int *unused) {
    (void)unused;
    if (--calls == 0)
        atomic_fetch_sub(&inside, 1);
}

static void complain(const char *what) {
    if (write(2, what, strlen(what)) < 0)
        _exit(99);
    _exit(98);
}

static struct place *place_of(uintptr_t address) {
    uint64_t i = HASH(address, PLACE_BITS);
    for (unsigned n = 0; n < 1 << PLACE_BITS; n++, i = (i + 1) & ((1 << PLACE_BITS) - 1)) {
        if (places[i].address == address || places[i].address == 0) {
            places[i].address = address;
            return &places[i];
        }
    }
    complain("counting: too many places\n");
    return NULL;
}

static void add(uintptr_t caller, void *p, size_t size) {
    if (p == NULL)
        return;
    lock();
    struct place *place = place_of(caller);
    uint64_t i = HASH(p, OBJECT_BITS);
    while (objects[i].address != 0)
        i = (i + 1) & ((1 << OBJECT_BITS) - 1);
    if (++nobjects > (1 << OBJECT_BITS) * 3 / 4)
        complain("counting: too many objects\n");
    objects[i] = (struct object){(uintptr_t)p, size, place};
    struct figures *f[] = {&place->all, &place->live, &place->early};
    for (int k = 0; k < (initialised ? 2 : 3); k++) {
        f[k]->objects++;
        f[k]->bytes += size;
    }
    unlock();
}

/* Closes the gap at i: what follows moves up, unless it stands before its own place then. */
static void close_gap(uint64_t i) {
    const uint64_t mask = (1 << OBJECT_BITS) - 1;
    for (uint64_t k = (i + 1) & mask; objects[k].address != 0; k = (k + 1) & mask) {
        uint64_t home = HASH(objects[k].address, OBJECT_BITS);
        if (((k - home) & mask) >= ((k - i) & mask)) {
            objects[i] = objects[k];
            i = k;
        }
    }
    objects[i].address = 0;
}

/* drop is called before the object is freed, because its address may be another's at once.  False:
 * it has come from elsewhere, by the loader before this library was there. */
static bool drop(void *p, struct object *ret) {
    bool found = false;
    if (p == NULL)
        return false;
    lock();
    for (uint64_t i = HASH(p, OBJECT_BITS); objects[i].address != 0;
         i = (i + 1) & ((1 << OBJECT_BITS) - 1)) {
        if (objects[i].address != (uintptr_t)p)
            continue;
        *ret = objects[i];
        ret->place->live.objects--;
        ret->place->live.bytes -= ret->size;
        nobjects--;
        close_gap(i);
        found = true;
        break;
    }
    unlock();
    return found;
}

static void undrop(const struct object *o) {
    lock();
    o->place->all.objects--; /* which add counts again */
    o->place->all.bytes -= o->size;
    unlock();
    add(o->place->address, (void *)o->address, o->size);
}

/* The next library's function of that name, and that this one is under way. */
#define NEXT(type, name, ...)                                                                      \
    static _Atomic(uintptr_t) next_;                                                               \
    uintptr_t at_ = atomic_load_explicit(&next_, memory_order_relaxed);                            \
    if (at_ == 0) {                                                                                \
        at_ = (uintptr_t)dlsym(RTLD_NEXT, #name);                                                  \
        atomic_store_explicit(&next_, at_, memory_order_relaxed);                                  \
    }                                                                                              \
    enter();                                                                                       \
    __attribute__((cleanup(leave))) int in_ = 0; /* operator new may throw */                      \
    type (*next)(__VA_ARGS__) = (type(*)(__VA_ARGS__))at_

EXPORT void *malloc(size_t size) {
    NEXT(void *, malloc, size_t);
    void *p = next(size);
    add(CALLER, p, size);
    return p;
}

EXPORT void *calloc(size_t n, size_t size) {
    NEXT(void *, calloc, size_t, size_t);
    void *p = next(n, size);
    add(CALLER, p, n * size);
    return p;
}

EXPORT void free(void *p) {
    NEXT(void, free, void *);
    struct object o;
    drop(p, &o);
    next(p);
}

static void resized(uintptr_t caller, bool known, const struct object *old, void *p, size_t size) {
    if (p != NULL)
        add(caller, p, size);
    else if (known && size != 0)
        undrop(old); /* it could not be had */
}

EXPORT void *realloc(void *old, size_t size) {
    NEXT(void *, realloc, void *, size_t);
    struct object o;
    bool known = drop(old, &o);
    void *p = next(old, size);
    resized(CALLER, known, &o, p, size);
    return p;
}

EXPORT void *reallocarray(void *old, size_t n, size_t size) {
    NEXT(void *, reallocarray, void *, size_t, size_t);
    struct object o;
    bool known = drop(old, &o);
    void *p = next(old, n, size);
    resized(CALLER, known, &o, p, n * size);
    return p;
}

EXPORT int posix_memalign(void **ret, size_t align, size_t size) {
    NEXT(int, posix_memalign, void **, size_t, size_t);
    int error = next(ret, align, size);
    if (error == 0)
        add(CALLER, *ret, size);
    return error;
}

#define ALIGNED(name)                                                                              \
    EXPORT void *name(size_t align, size_t size) {                                                 \
        NEXT(void *, name, size_t, size_t);                                                        \
        void *p = next(align, size);                                                               \
        add(CALLER, p, size);                                                                      \
        return p;                                                                                  \
    }
ALIGNED(aligned_alloc)
void *memalign(size_t align, size_t size);
ALIGNED(memalign)

EXPORT void *valloc(size_t size) {
    NEXT(void *, valloc, size_t);
    void *p = next(size);
    add(CALLER, p, size);
    return p;
}

/* C++: size_t is m, std::align_val_t another integer. */
#define NEW(name, more, ...)                                                                       \
    void *name more;                                                                               \
    EXPORT void *name more {                                                                       \
        NEXT(void *, name, size_t, uintptr_t, uintptr_t);                                          \
        void *p = next(__VA_ARGS__);                                                               \
        add(CALLER, p, size);                                                                      \
        return p;                                                                                  \
    }
NEW(_Znwm, (size_t size), size, 0, 0)
NEW(_Znam, (size_t size), size, 0, 0)
NEW(_ZnwmRKSt9nothrow_t, (size_t size, uintptr_t tag), size, tag, 0)
NEW(_ZnamRKSt9nothrow_t, (size_t size, uintptr_t tag), size, tag, 0)
NEW(_ZnwmSt11align_val_t, (size_t size, size_t align), size, align, 0)
NEW(_ZnamSt11align_val_t, (size_t size, size_t align), size, align, 0)
NEW(_ZnwmSt11align_val_tRKSt9nothrow_t, (size_t size, size_t a, uintptr_t tag), size, a, tag)
NEW(_ZnamSt11align_val_tRKSt9nothrow_t, (size_t size, size_t a, uintptr_t tag), size, a, tag)

#define DELETE(name)                                                                               \
    void name(void *p, uintptr_t a, uintptr_t b);                                                  \
    EXPORT void name(void *p, uintptr_t a, uintptr_t b) {                                          \
        NEXT(void, name, void *, uintptr_t, uintptr_t);                                            \
        struct object o;                                                                           \
        drop(p, &o);                                                                               \
        next(p, a, b);                                                                             \
    }
DELETE(_ZdlPv)
DELETE(_ZdaPv)
DELETE(_ZdlPvm)
DELETE(_ZdaPvm)
DELETE(_ZdlPvRKSt9nothrow_t)
DELETE(_ZdaPvRKSt9nothrow_t)
DELETE(_ZdlPvSt11align_val_t)
DELETE(_ZdaPvSt11align_val_t)
DELETE(_ZdlPvmSt11align_val_t)
DELETE(_ZdaPvmSt11align_val_t)
DELETE(_ZdlPvSt11align_val_tRKSt9nothrow_t)
DELETE(_ZdaPvSt11align_val_tRKSt9nothrow_t)

static void before_fork(void) {
    atomic_store(&forking, (uintptr_t)&calls);
    while (atomic_load(&inside) != 0)
        sched_yield();
}

static void after_fork(void) {
    atomic_store(&forking, 0);
}

static void fork_child(void) {
    atomic_store(&inside, 0);
    atomic_store(&forking, 0);
}

/* libgomalloc.so is a dependency (CMakeLists.txt), so its constructor has run, and its destructor,
 * which writes the image, comes after ours. */
__attribute__((constructor)) static void begin(void) {
    pthread_atfork(before_fork, after_fork, fork_child);
    initialised = true;
}

__attribute__((destructor)) static void end(void) {
    const char *directory = getenv("COUNTING_DIR");
    char line[512];
    int saved = errno;
    if (directory == NULL)
        return;
    snprintf(line, sizeof line, "%s/%d", directory, (int)getpid());
    int fd = open(line, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    lock();
    for (const struct place *p = places; p < places + (1 << PLACE_BITS); p++) {
        if (p->all.objects == 0)
            continue;
        int n = snprintf(line, sizeof line, "%lu %lu %lu %lu %lu %lu %lu\n", p->address,
                         p->early.objects, p->early.bytes, p->all.objects, p->all.bytes,
                         p->live.objects, p->live.bytes);
        if (write(fd, line, (size_t)n) != n)
            complain("counting: cannot write\n");
    }
    unlock();
    close(fd);
    errno = saved;
}
