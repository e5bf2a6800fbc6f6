/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A program whose pins are known: pins_demo SEED.
 *
 * It fills spans of three sizes with objects, frees nearly all of them, and says which of its
 * functions keep which spans by what is left, computed from the addresses alone: the spans of these
 * sizes are pages of 8 KiB.  For each unit of --by span and --util 25 a line
 *
 *      FUNCTION BYTES SOLE_BYTES BLOCKS OBJECTS
 *
 * those with most bytes first.  The sizes are such as nothing else in a small program asks for.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define PAGE    8192u
#define NOBJECT 6000
#define NKEEPER 4

static const size_t sizes[] = {208, 416, 704};
static uint64_t state;

static uint32_t random_below(uint32_t n) {
    state = state * UINT64_C(6364136223846793005) + 1442695040888963407;
    return (uint32_t)(state >> 33) % n;
}

/* Each is a site of its own. */
#define NOINLINE __attribute__((noinline, noclone))
NOINLINE static void *filler(size_t n) {
    void *p = malloc(n);
    __asm__ volatile("" : "+r"(p));
    return p;
}
NOINLINE static void *keep_often(size_t n) {
    void *p = malloc(n);
    __asm__ volatile("" : "+r"(p));
    return p;
}
NOINLINE static void *keep_seldom(size_t n) {
    void *p = malloc(n);
    __asm__ volatile("" : "+r"(p));
    return p;
}
NOINLINE static void *keep_rarely(size_t n) {
    void *p = malloc(n);
    __asm__ volatile("" : "+r"(p));
    return p;
}
NOINLINE static void *keep_dense(size_t n) {
    void *p = malloc(n);
    __asm__ volatile("" : "+r"(p));
    return p;
}

static const struct {
    const char *name;
    void *(*make)(size_t n);
    uint32_t per_mille; /* of objects */
} keepers[NKEEPER] = {{"keep_often", keep_often, 9},
                      {"keep_seldom", keep_seldom, 4},
                      {"keep_rarely", keep_rarely, 1},
                      {"keep_dense", keep_dense, 6}};

struct object {
    void *p;
    size_t size;
    int keeper; /* -1: filler */
};

static struct object objects[3 * NOBJECT];
static size_t nobjects;

static struct sum {
    uint64_t bytes, sole, blocks, objects;
    int keeper;
} sums[NKEEPER];

/* fill allocates; keep_dense comes in runs, so that some spans are not sparse. */
static void fill(size_t size) {
    int run = 0;
    for (int i = 0; i < NOBJECT; i++) {
        uint32_t r = random_below(1000), below = 0;
        int k = run > 0 ? NKEEPER - 1 : -1;
        run -= run > 0;
        for (int j = 0; j < NKEEPER && k < 0; j++)
            if (r < (below += keepers[j].per_mille))
                k = j;
        if (k == NKEEPER - 1 && run == 0)
            run = (int)random_below(30);
        objects[nobjects++] =
            (struct object){k < 0 ? filler(size) : keepers[k].make(size), size, k};
    }
}

static int by_address(const void *a, const void *b) {
    const struct object *x = a, *y = b;
    return ((uintptr_t)x->p > (uintptr_t)y->p) - ((uintptr_t)x->p < (uintptr_t)y->p);
}

/* The order of sites in a division is not known here: a remainder goes to any of them, so what is
 * counted is floor and the difference is less than a byte a span. */
static void count_span(const struct object *o, size_t n) {
    uint64_t of[NKEEPER] = {0};
    int sites = 0;
    for (size_t i = 0; i < n; i++)
        sites += of[o[i].keeper]++ == 0;
    if (n * o->size * 100 >= 25 * PAGE)
        return;
    for (int k = 0; k < NKEEPER; k++) {
        sums[k].bytes += PAGE * of[k] / n;
        sums[k].sole += sites == 1 && of[k] ? PAGE : 0;
        sums[k].blocks += of[k] != 0;
        sums[k].objects += of[k];
    }
}

static int by_bytes(const void *a, const void *b) {
    const struct sum *x = a, *y = b;
    return (y->bytes > x->bytes) - (y->bytes < x->bytes);
}

int main(int argc, char **argv) {
    size_t kept = 0;
    state = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
    for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++)
        fill(sizes[i]);
    for (size_t i = 0; i < nobjects; i++)
        if (objects[i].keeper < 0)
            free(objects[i].p);
        else
            objects[kept++] = objects[i];
    qsort(objects, kept, sizeof(*objects), by_address);
    for (size_t i = 0, j; i < kept; i = j) {
        for (j = i; j < kept && (uintptr_t)objects[j].p / PAGE == (uintptr_t)objects[i].p / PAGE;)
            j++;
        count_span(&objects[i], j - i);
    }
    for (int k = 0; k < NKEEPER; k++)
        sums[k].keeper = k;
    qsort(sums, NKEEPER, sizeof(*sums), by_bytes);
    for (int k = 0; k < NKEEPER; k++)
        if (sums[k].objects)
            printf("%s %llu %llu %llu %llu\n", keepers[sums[k].keeper].name,
                   (unsigned long long)sums[k].bytes, (unsigned long long)sums[k].sole,
                   (unsigned long long)sums[k].blocks, (unsigned long long)sums[k].objects);
    return 0;
}
